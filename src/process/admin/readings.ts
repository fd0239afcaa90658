/**
 * What the admin thread knows of the packet thread: the numbers as they were last filled in, and
 * what they mean. All who ask within a quarter of a second get the same ones.
 */
import { textAt } from "../../core/texts.ts";
import { labelAt, NO_TEXT, NODE_KINDS, type Outline } from "../../policy/engine/outline.ts";
import { MEMBER_STATUSES, type MemberStatus } from "../../flow/backends/member.ts";
import type { OwnSnapshot } from "../../datapath/snapshot.ts";
import { addressOfWords, type HostAddress } from "../../wire/host_address.ts";
import { Board, type MemberField } from "./layout.ts";
import type { About, Shape, SharedOutline, ToAdmin } from "./messages.ts";

/** Shortest time from one filling to the next. */
const INTERVAL_MS = 250;

/** Most of the packet thread's time that all who ask have together. */
const SHARE = 1 / 20;

/** Longest time to the next filling after a long one. */
const MAX_REST_MS = 2000;

/** How long the packet thread may take to answer. */
const ANSWER_MS = 5000;

/** Most nodes that are shown: the first ones. */
export const MAX_NODES_SHOWN = 10_000;

/** The packet thread has not answered. */
export class NoAnswer extends Error {}

/** What is known at one time. */
export interface Reading {
  /** Of the policy and the pools' members: another one after each change. */
  readonly tree: number;
  /** Unix time, in milliseconds. */
  readonly wallMs: number;
  readonly board: Board;
  readonly nodes: readonly ShownNode[];
  /** Nodes beyond those that are shown. */
  readonly hiddenNodes: number;
  readonly members: readonly ShownMember[];
  /** The proxy's addresses of IPv6. */
  readonly own: readonly OwnSnapshot[];
}

export interface ShownNode {
  readonly parent: number;
  /** What leads to it; null: nothing but its parent. */
  readonly arm: string | null;
  readonly text: string;
  readonly kind: typeof NODE_KINDS[number];
  readonly label: string | null;
  /** Nodes below it and itself. */
  readonly size: number;
}

/** A member of a pool, with its numbers. */
export interface ShownMember {
  readonly pool: string;
  readonly address: HostAddress;
  readonly port: number;
  /** How it is checked. */
  readonly check: string;
  readonly status: MemberStatus;
  /** Why its last check failed; null: it did not. */
  readonly failure: string | null;
  readonly get: (field: MemberField) => number;
}

export interface ReadingsOptions {
  readonly about: About;
  /** Has the numbers filled in. */
  readonly fill: () => void;
  readonly delay: (ms: number) => Promise<void>;
  readonly nowMs: () => number;
  readonly wallMs: () => number;
}

export class Readings {
  readonly #options: ReadingsOptions;
  readonly #failures: string[] = [];
  #own: readonly OwnSnapshot[] = [];
  #shape: Shape | null = null;
  #nodes: readonly ShownNode[] = [];
  #tree = 0;
  #last: Reading | null = null;
  /** From then on the numbers may be filled in again. */
  #nextMs = -Infinity;
  #pending: Promise<Reading> | null = null;
  /** What the packet thread was asked for and has not answered, which is not asked for again. */
  #filling: PromiseWithResolvers<number> | null = null;

  constructor(options: ReadingsOptions) {
    this.#options = options;
  }

  hear(message: Extract<ToAdmin, { to: "shape" | "failure" | "own" | "filled" }>): void {
    switch (message.to) {
      case "shape":
        this.#shape = message.shape;
        this.#nodes = nodesOf(outlineOf(message.shape.outline));
        this.#last = null;
        break;
      case "failure":
        this.#failures.push(message.text);
        break;
      case "own":
        this.#own = message.own;
        break;
      case "filled":
        this.#filling?.resolve(message.tookMs);
        this.#filling = null;
    }
  }

  /** As of at most a quarter of a second ago. Rejects with NoAnswer. */
  now(): Promise<Reading> {
    if (this.#last !== null && this.#options.nowMs() < this.#nextMs) {
      return Promise.resolve(this.#last);
    }
    return this.#pending ??= this.#read().finally(() => this.#pending = null);
  }

  async #read(): Promise<Reading> {
    const { fill, delay, nowMs, wallMs } = this.#options;
    const startMs = nowMs();
    if (startMs < this.#nextMs) await delay(this.#nextMs - startMs);
    const isAsked = this.#filling !== null;
    const filling = this.#filling ??= Promise.withResolvers();
    if (!isAsked) fill();
    const late = delay(ANSWER_MS).then(() => null);
    const tookMs = await Promise.race([filling.promise, late]);
    if (tookMs === null) {
      throw new NoAnswer(`The packet thread has not answered for ${ANSWER_MS} ms`);
    }
    this.#nextMs = nowMs() + Math.max(INTERVAL_MS, Math.min(MAX_REST_MS, tookMs * (1 / SHARE - 1)));
    const { memory, memberRows, outline } = this.#shape!;
    const board = new Board(memory, memberRows).copy();
    const members = this.#membersOf(board);
    const before = this.#last?.members;
    const isSame = before?.length === members.length &&
      members.every((member, i) => isSameMember(member, before[i]!));
    if (!isSame) this.#tree++;
    return this.#last = {
      tree: this.#tree,
      wallMs: wallMs(),
      board,
      nodes: this.#nodes,
      hiddenNodes: outline.sizes.length - this.#nodes.length,
      members,
      own: this.#own,
    };
  }

  #membersOf(board: Board): ShownMember[] {
    const members: ShownMember[] = [];
    for (let i = 0; i < board.get("members"); i++) {
      const get = (field: MemberField) => board.member(i, field);
      const pool = this.#shape!.pools[get("pool")];
      if (pool === undefined) continue; // it has come since these were told
      members.push({
        pool: pool.name,
        check: pool.check,
        address: addressIn(get),
        port: get("port"),
        status: MEMBER_STATUSES[get("status")]!,
        failure: this.#failures[get("failure")] ?? null,
        get,
      });
    }
    return members;
  }
}

function addressIn(get: (field: MemberField) => number): HostAddress {
  if (get("isIpv6") === 0) return get("word3");
  return addressOfWords(
    Int32Array.of(get("word0"), get("word1"), get("word2"), get("word3")),
  );
}

function isSameMember(a: ShownMember, b: ShownMember): boolean {
  return a.pool === b.pool && a.address === b.address && a.port === b.port;
}

/** In memory of this thread alone. */
function outlineOf(shared: SharedOutline): Outline {
  return {
    default: shared.default,
    sizes: new Int32Array(shared.sizes),
    heads: new Int32Array(shared.heads),
    words: new Int32Array(shared.words),
    labels: new Int32Array(shared.labels),
    kinds: new Int32Array(shared.kinds),
    texts: { bytes: new Uint8Array(shared.bytes), ends: new Uint32Array(shared.ends) },
  };
}

function nodesOf(outline: Outline): ShownNode[] {
  const { sizes, heads, words, kinds, texts } = outline;
  const count = Math.min(sizes.length, MAX_NODES_SHOWN);
  const nodes: ShownNode[] = [];
  const above: number[] = []; // of the node at hand, the root first
  for (let node = 0; node < count; node++) {
    while (above.length > 0 && node >= above.at(-1)! + sizes[above.at(-1)!]!) above.pop();
    const kind = NODE_KINDS[kinds[node]!]!;
    nodes.push({
      parent: above.at(-1) ?? -1,
      arm: heads[node] === NO_TEXT ? null : textAt(texts, heads[node]!),
      text: words[node] === NO_TEXT ? wordsOf(kind) : textAt(texts, words[node]!),
      kind,
      label: labelAt(outline, node),
      size: sizes[node]!,
    });
    above.push(node);
  }
  return nodes;
}

/** Selectors by predicates have no words of their own. */
function wordsOf(kind: ShownNode["kind"]): string {
  return kind === "filter" ? "filter" : "first match";
}

/** How many PDUs have come to each node that is shown. */
export function hitsOf({ board: { exits }, nodes }: Reading): number[] {
  let [end, sum] = [exits.length, 0];
  // From the last node on: what ended at a node's subtree is what ended from it on, less what ended
  // after that.
  const after = new Float64Array(exits.length + 1);
  for (; end > 0; end--) after[end - 1] = sum += exits[end - 1]!;
  return nodes.map(({ size }, node) => after[node]! - after[node + size]!);
}
