/**
 * The nodes with a memory: balancers and rate limits. Each has one chooser, which both the walker
 * and the compiled function ask for the branch to take, so that they cannot differ in what they
 * remember.
 */
import { below } from "../../core/random.ts";
import { rateOf } from "../../core/source_buckets.ts";
import { TokenBucket } from "../../core/token_bucket.ts";
import { type Pdu, STATE_NEW } from "../../wire/pdu.ts";
import { stableHash } from "../../wire/stable_hash.ts";
import type { Affinity, Sticky } from "./affinity.ts";
import type { BalanceMethod, Branch, Tree } from "../language/ast.ts";
import type { Packet } from "../language/packet.ts";
import type { Environment } from "./environment.ts";
import { PacketView } from "./packet_view.ts";

export interface Chooser {
  /** Index of the branch to take; -1: the default decision. */
  choose(pdu: Pdu): number;
  /**
   * Index of the branch that this PDU and all later ones of its connection take, as far as only
   * their length, TTL and the like differ; -1: they may take others. It changes nothing.
   */
  constant(pdu: Pdu): number;
}

/** What of a balancer's node tells how it chooses. */
export type Balance = Pick<Extract<Tree, { node: "balance" }>, "by" | "per"> & {
  readonly branches: readonly Pick<Branch, "weight">[];
};
export type Limit = Omit<Extract<Tree, { node: "limit" }>, "node" | "then">;
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
  if (tree.per === "connection") return new PerConnection(choose, tree, environment);
  return { choose, constant: tree.by === "by hash" ? choose : never };
}

function never(): number {
  return -1;
}

/** A function that returns a place in the cycle of `total` shares. */
function drawer(
  by: BalanceMethod,
  total: number,
  { random }: Environment,
): (pdu: Pdu) => number {
  let next = 0;
  switch (by) {
    case "in turn":
      return () => {
        const place = next;
        next = place + 1 === total ? 0 : place + 1;
        return place;
      };
    case "at random":
      return () => below(random, total);
    case "by hash":
      return (pdu) => (stableHash(pdu) >>> 0) % total;
  }
}

/** Remembers the branch of every tracked connection; one that is not tracked chooses each time. */
class PerConnection implements Chooser, Sticky {
  readonly #choose: (pdu: Pdu) => number;
  readonly #affinity: Affinity;
  /**
   * By entry, branch + 1 and below it the entry's number of openings; 0: none. After 256 openings
   * none of which came here, what was another connection's counts: a branch, too, which is then
   * kept.
   */
  readonly #remembered: Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;
  /** Branch + 1 chosen for the PDU at hand. */
  #chosen = 0;

  constructor(choose: (pdu: Pdu) => number, tree: Balance, environment: Environment) {
    const { affinity, maxConnections } = environment;
    this.#choose = choose;
    this.#affinity = affinity;
    this.#remembered = cellBytes(tree) === 2
      ? new Uint16Array(maxConnections)
      : new Uint32Array(maxConnections);
  }

  choose(pdu: Pdu): number {
    if (this.#chosen === 0) this.#affinity.ask(this);
    const remembered = this.constant(pdu);
    const branch = remembered >= 0 ? remembered : this.#choose(pdu);
    this.#chosen = branch + 1;
    return branch;
  }

  /** What is remembered. */
  constant(pdu: Pdu): number {
    const tracked = pdu.flow >= 0 && pdu.state !== STATE_NEW;
    return (tracked ? this.#recall(pdu.flow >>> 1) : 0) - 1;
  }

  settle(entry: number): void {
    if (entry >= 0) {
      this.#remembered[entry] = (this.#chosen << OPENINGS_BITS) | this.#affinity.openings[entry]!;
    }
    this.#chosen = 0;
  }

  #recall(entry: number): number {
    const cell = this.#remembered[entry]!;
    return (cell & OPENINGS) === this.#affinity.openings[entry]! ? cell >>> OPENINGS_BITS : 0;
  }
}

const OPENINGS_BITS = 8;
const OPENINGS = (1 << OPENINGS_BITS) - 1;

/** What a balancer per connection remembers of one. */
export function cellBytes({ branches }: Pick<Balance, "branches">): number {
  return branches.length < 1 << (16 - OPENINGS_BITS) ? 2 : 4;
}

export function limiter(tree: Limit, { clock, sourceLimits }: Environment): Chooser {
  const { perSecond, burst } = tree;
  if (tree.per === "rule") {
    const bucket = new TokenBucket(perSecond, burst, clock.nowMs());
    return { choose: () => bucket.take(clock.nowMs()) ? 0 : -1, constant: never };
  }
  const take = sourceLimits.add(rateOf(perSecond, burst), clock);
  return { choose: (pdu) => take(pdu) ? 0 : -1, constant: never };
}

/**
 * A user's selector; what it returns beyond the branches, or throws, means the default decision.
 */
export function selector(tree: Select, environment: Environment): Chooser {
  const index = guarded(tree.name, tree.index, -1, environment);
  return {
    choose: (pdu) => {
      const branch = index(pdu);
      return Number.isInteger(branch) && branch >= 0 && branch < tree.branches.length ? branch : -1;
    },
    constant: never,
  };
}

/** A user's function, for PDUs; if it throws, `otherwise` counts, and the first time is told. */
export function guarded<T>(
  name: string,
  call: (packet: Packet) => T,
  otherwise: T,
  environment: Environment,
): (pdu: Readonly<Pdu>) => T {
  const view = new PacketView();
  let told = false;
  return (pdu) => {
    PacketView.show(view, pdu);
    try {
      return call(view);
    } catch (error) {
      if (!told) environment.customFailed(name, error);
      told = true;
      return otherwise;
    }
  };
}
