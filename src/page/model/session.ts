/**
 * What the page knows: how it stands with the proxy, the tree and its numbers. While it is paused,
 * what is shown stays; the history goes on.
 */
import { type Counters, type EventShape, merged, type TreeShape } from "./feed.ts";
import { History } from "./history.ts";
import { Link } from "./link.ts";
import { Outline } from "./outline.ts";
import { type Rates, ratesBetween } from "./rates.ts";

/** A tree with numbers of it. */
export interface Shown {
  readonly tree: TreeShape;
  readonly counters: Counters;
  /** Null: there was only one event yet. */
  readonly rates: Rates | null;
}

export class Session {
  readonly link: Link = new Link();
  readonly history: History = new History();
  outline: Outline = new Outline([]);
  shown: Shown | null = null;
  #tree: TreeShape | null = null;
  #counters: Counters | null = null;
  #rates: Rates | null = null;
  #isPaused = false;
  /** There are other rows than before. */
  #hasOtherRows = false;

  get isPaused(): boolean {
    return this.#isPaused;
  }

  pause(isPaused: boolean, nowMs: number): void {
    this.#isPaused = isPaused;
    if (!isPaused) this.#show(nowMs);
  }

  /** Whether the rows have changed since it was asked last. */
  takeOtherRows(): boolean {
    const had = this.#hasOtherRows;
    this.#hasOtherRows = false;
    return had;
  }

  /** A try to connect begins. */
  tries(nowMs: number): void {
    this.link.tries(nowMs);
  }

  failed(nowMs: number): void {
    this.link.failed(nowMs);
    if (this.#counters !== null) this.history.gap(this.#counters.ms + 1000);
  }

  heardTree(tree: TreeShape, nowMs: number): void {
    if (this.#tree !== null && contentOf(this.#tree) !== contentOf(tree)) {
      this.link.reloaded(nowMs);
    }
    this.#tree = tree;
    this.#show(nowMs);
  }

  /** Takes an event; whether the tree is another one than is known, and has to be asked for. */
  heardEvent(isFull: boolean, event: EventShape, nowMs: number): boolean {
    const before = this.#counters;
    if (isFull) this.#counters = event as Counters;
    else if (before === null || before.tree !== event.tree) return true;
    else this.#counters = merged(before, event);
    this.#rates = ratesBetween(before, this.#counters);
    if (this.#rates !== null) this.history.add(event.ms, this.#rates);
    if (before !== null && event.uptime_s < before.uptime_s) this.link.reloaded(nowMs);
    this.link.heard(nowMs, (this.#rates?.packetsIn ?? 0) + (this.#rates?.packetsOut ?? 0) > 0);
    this.#show(nowMs);
    return this.#tree?.tree !== event.tree;
  }

  #show(nowMs: number): void {
    const [tree, counters] = [this.#tree, this.#counters];
    if (this.#isPaused || tree === null || counters === null || tree.tree !== counters.tree) {
      return;
    }
    const before = this.shown;
    const isSame = before !== null && hasSameNodes(before.tree, tree);
    if (!isSame) {
      this.outline = new Outline(tree.nodes);
      this.#hasOtherRows = true;
    }
    const hitsBefore = isSame ? before.counters.hits : null;
    if (this.outline.update(counters.hits, hitsBefore, nowMs)) this.#hasOtherRows = true;
    this.shown = { tree, counters, rates: this.#rates };
  }
}

/** What a reload can change. */
function contentOf({ nodes, backends }: TreeShape): string {
  return JSON.stringify([nodes, backends]);
}

function hasSameNodes(a: TreeShape, b: TreeShape): boolean {
  return a === b || JSON.stringify(a.nodes) === JSON.stringify(b.nodes);
}
