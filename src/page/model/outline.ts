/**
 * The tree as rows, one a node that is shown, in the order of the policy: what is folded has none,
 * and with a filter only what it finds has one, and what is above that.
 */
import type { NodeShape } from "./feed.ts";
import { nodeWords } from "./words.ts";

/** Up to so many nodes all are shown. */
export const FOLD_ABOVE = 200;

/** Of a large tree the nodes with the most packets are shown. */
export const MOST_UNFOLDED = 1000;

/** A subtree without traffic for so long is folded. */
export const QUIET_MS = 60_000;

export interface Row {
  readonly id: number;
  readonly depth: number;
  /** The row of its parent, -1: it is the root. */
  readonly parent: number;
  /** Its number among its siblings that are shown, from 1 on, and how many these are. */
  readonly place: number;
  readonly siblings: number;
  readonly hasChildren: boolean;
  /** How many nodes below it are folded away; 0: none. */
  readonly folded: number;
}

export class Outline {
  readonly nodes: readonly NodeShape[];
  readonly children: readonly (readonly number[])[];
  /** Nodes below each. */
  readonly below: readonly number[];
  /** What was folded or unfolded by hand. */
  readonly #byHand = new Map<number, boolean>();
  /** When a packet came to a node last. */
  readonly #busyMs: Float64Array;
  readonly #folded: Uint8Array;

  constructor(nodes: readonly NodeShape[]) {
    this.nodes = nodes;
    const children: number[][] = nodes.map(() => []);
    const below: number[] = nodes.map(() => 0);
    for (let id = nodes.length - 1; id > 0; id--) {
      const { parent } = nodes[id]!;
      children[parent]!.unshift(id);
      below[parent]! += below[id]! + 1;
    }
    this.children = children;
    this.below = below;
    this.#busyMs = new Float64Array(nodes.length).fill(-Infinity);
    this.#folded = new Uint8Array(nodes.length);
  }

  get isLarge(): boolean {
    return this.nodes.length > FOLD_ABOVE;
  }

  /** Takes what came to each node; whether other nodes are to be shown. */
  update(hits: readonly number[], before: readonly number[] | null, nowMs: number): boolean {
    if (!this.isLarge) return false;
    for (const [id, count] of hits.entries()) {
      if (count > (before?.[id] ?? 0)) this.#busyMs[id] = nowMs;
    }
    const least = hits.length > MOST_UNFOLDED ? hits.toSorted((a, b) => b - a)[MOST_UNFOLDED]! : -1;
    let hasChanged = false;
    for (let id = 0; id < this.nodes.length; id++) {
      const isQuiet = nowMs - this.#busyMs[id]! > QUIET_MS;
      // Whoever has a node below it that is shown has as many packets itself.
      const isFolded = Number(id > 0 && (isQuiet || hits[id]! <= least));
      if (this.#folded[id] !== isFolded) hasChanged = true;
      this.#folded[id] = isFolded;
    }
    return hasChanged;
  }

  isFolded(id: number): boolean {
    return this.children[id]!.length > 0 &&
      (this.#byHand.get(id) ?? this.#folded[id] === 1);
  }

  fold(id: number, isFolded: boolean): void {
    this.#byHand.set(id, isFolded);
  }

  /** Unfolds what is above a node. */
  reveal(id: number): void {
    for (let above = this.nodes[id]!.parent; above >= 0; above = this.nodes[above]!.parent) {
      if (this.isFolded(above)) this.fold(above, false);
    }
  }

  rows(filter = ""): Row[] {
    const found = filter === "" ? null : this.#found(filter);
    const rows: Row[] = [];
    const add = (id: number, depth: number, parent: number, place: number, siblings: number) => {
      const all = this.children[id]!;
      const shown = found === null ? all : all.filter((child) => found.has(child));
      const isFolded = found === null && this.isFolded(id);
      const row = rows.push({
        id,
        depth,
        parent,
        place,
        siblings,
        hasChildren: shown.length > 0,
        folded: isFolded ? this.below[id]! : 0,
      }) - 1;
      if (isFolded) return;
      for (const [i, child] of shown.entries()) add(child, depth + 1, row, i + 1, shown.length);
    };
    if (this.nodes.length > 0 && found?.has(0) !== false) add(0, 0, -1, 1, 1);
    return rows;
  }

  /** Nodes whose words have the filter's. */
  matches(filter: string): number[] {
    const wanted = filter.toLowerCase();
    return this.nodes.flatMap((node, id) =>
      nodeWords(node).toLowerCase().includes(wanted) ? [id] : []
    );
  }

  #found(filter: string): Set<number> {
    const found = new Set<number>();
    for (let id of this.matches(filter)) {
      for (; id >= 0 && !found.has(id); id = this.nodes[id]!.parent) found.add(id);
    }
    return found;
  }
}
