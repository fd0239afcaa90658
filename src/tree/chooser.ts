/**
 * The nodes with a memory: balancers and rate limits. Each has one chooser, which both the walker and
 * the compiled function ask for the branch to take, so that they cannot differ in what they remember.
 */
import { below } from "../core/random.ts";
import { TokenBucket } from "../core/token_bucket.ts";
import { type Pdu, STATE_NEW } from "../wire/pdu.ts";
import { mix, tupleHash } from "../wire/tuple_hash.ts";
import type { BalanceMethod, CustomSelector, Tree } from "./ast.ts";
import type { Environment } from "./environment.ts";

export interface Chooser {
  /** Index of the branch to take; -1: the default decision. */
  choose(pdu: Pdu): number;
  /** After each PDU: its connection's entry, or -1; `opened`: it got the entry from this PDU. */
  settle?(entry: number, opened: boolean): void;
}

type Balance = Extract<Tree, { node: "balance" }>;
type Limit = Extract<Tree, { node: "limit" }>;
type Select = Extract<Tree, { node: "select" }>;

export function balancer(tree: Balance, environment: Environment): Chooser {
  const weights = tree.branches.map((branch) => branch.weight);
  const draw = drawer(tree.by, weights.reduce((sum, weight) => sum + weight, 0), environment);
  const choose = (pdu: Pdu): number => {
    let rest = draw(pdu);
    let index = 0;
    while (rest >= weights[index]!) rest -= weights[index++]!;
    return index;
  };
  return tree.per === "pdu"
    ? { choose }
    : new PerConnection(choose, weights.length, environment.maxConnections);
}

/** A function that returns a place in the cycle of `total` shares. */
function drawer(
  by: BalanceMethod,
  total: number,
  { random }: Environment,
): (pdu: Pdu) => number {
  let next = 0;
  switch (by) {
    case "round-robin":
      return () => {
        const place = next;
        next = place + 1 === total ? 0 : place + 1;
        return place;
      };
    case "random":
      return () => below(random, total);
    case "hash":
      return (pdu) => (tupleHash(pdu) >>> 0) % total;
  }
}

/** Remembers the branch of every tracked connection; one that is not tracked chooses each time. */
class PerConnection implements Chooser {
  readonly #choose: (pdu: Pdu) => number;
  readonly #branches: number;
  /** Branch + 1 by entry; 0: none. */
  readonly #remembered: Uint16Array<ArrayBuffer>;
  /** Branch + 1 chosen for the PDU at hand. */
  #chosen = 0;

  constructor(choose: (pdu: Pdu) => number, branches: number, maxConnections: number) {
    this.#choose = choose;
    this.#branches = branches;
    this.#remembered = new Uint16Array(maxConnections);
  }

  choose(pdu: Pdu): number {
    const tracked = pdu.flow >= 0 && pdu.state !== STATE_NEW;
    const remembered = tracked ? this.#remembered[pdu.flow >>> 1]! : 0;
    const branch = remembered > 0 && remembered <= this.#branches
      ? remembered - 1
      : this.#choose(pdu);
    this.#chosen = branch + 1;
    return branch;
  }

  settle(entry: number, opened: boolean): void {
    if (entry >= 0 && (opened || this.#chosen > 0)) this.#remembered[entry] = this.#chosen;
    this.#chosen = 0;
  }
}

export function limiter(tree: Limit, { clock }: Environment): Chooser {
  const { perSecond, burst } = tree;
  if (tree.per === "rule") {
    const bucket = new TokenBucket(perSecond, burst, clock.nowMs());
    return { choose: () => bucket.take(clock.nowMs()) ? 0 : -1 };
  }
  const buckets = new SourceBuckets(perSecond, burst);
  return { choose: (pdu) => buckets.take(pdu.src, clock.nowMs()) ? 0 : -1 };
}

/**
 * A token bucket for each source address, in a fixed table: 16,384 sets of 4. A new source takes the
 * place of the one in its set that has been silent longest, and starts with a full bucket.
 */
class SourceBuckets {
  static readonly #SETS = 1 << 14;
  static readonly #WAYS = 4;
  readonly #perMs: number;
  readonly #burst: number;
  readonly #sources = new Int32Array(SourceBuckets.#SETS * SourceBuckets.#WAYS);
  readonly #tokens = new Float64Array(this.#sources.length);
  /** Time of the last fill; -Infinity: free. */
  readonly #filledMs = new Float64Array(this.#sources.length).fill(-Infinity);

  constructor(perSecond: number, burst: number) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
  }

  take(source: number, nowMs: number): boolean {
    const place = this.#place(source);
    const filledMs = this.#filledMs[place]!;
    const isNew = filledMs === -Infinity || this.#sources[place] !== source;
    const filled = isNew
      ? this.#burst
      : Math.min(this.#burst, this.#tokens[place]! + (nowMs - filledMs) * this.#perMs);
    this.#sources[place] = source;
    this.#filledMs[place] = nowMs;
    this.#tokens[place] = filled < 1 ? filled : filled - 1;
    return filled >= 1;
  }

  #place(source: number): number {
    const first = (mix(source, 0) & (SourceBuckets.#SETS - 1)) * SourceBuckets.#WAYS;
    let oldest = first;
    for (let place = first; place < first + SourceBuckets.#WAYS; place++) {
      if (this.#sources[place] === source && this.#filledMs[place]! > -Infinity) return place;
      if (this.#filledMs[place]! < this.#filledMs[oldest]!) oldest = place;
    }
    return oldest;
  }
}

/** A user's selector; what it returns beyond the branches, or throws, means the default decision. */
export function customSelector(tree: Select, environment: Environment): Chooser {
  const index = guarded(tree.name, tree.index as CustomSelector, -1, environment);
  return {
    choose: (pdu) => {
      const branch = index(pdu);
      return Number.isInteger(branch) && branch >= 0 && branch < tree.branches.length ? branch : -1;
    },
  };
}

/** Calls a user's function; if it throws, `otherwise` counts, and the first time is told. */
export function guarded<T>(
  name: string,
  call: (pdu: Readonly<Pdu>) => T,
  otherwise: T,
  { customFailed }: Environment,
): (pdu: Readonly<Pdu>) => T {
  let told = false;
  return (pdu) => {
    try {
      return call(pdu);
    } catch (error) {
      if (!told) customFailed(name, error);
      told = true;
      return otherwise;
    }
  };
}
