/**
 * Whether a policy treats all plain packets of a connection as it has treated one of them: what
 * `constant.ts` says, for the packet path. It takes no second walk. The packet has come to a node,
 * and all others come there too unless an arm on the way asks for something unknown. Of most nodes
 * there is no such arm; of a few the connection tells whether they may answer differently.
 */
import { GrowingMap } from "../../core/growing_map.ts";
import type { Slices } from "../../core/slices.ts";
import type { Pdu } from "../../wire/pdu.ts";
import type { Predicate } from "../language/ast.ts";
import { type Ask, compilePredicates } from "./compile.ts";
import { differs, losesClient, MAX_DOUBTS } from "./constant.ts";
import { armsOf, NODES_AT_ONCE, type Plan } from "./plan.ts";
import { asksUnknown, certainly, possibly } from "./unknown.ts";

/** No arm on the way to a node asks for something unknown. */
const NONE = 0;

/** Plain packets of any connection that come there may be treated differently. */
const KEPT = -1;

export class Doubts {
  readonly #plan: Plan;
  /** By node: NONE, KEPT, or the number of the last doubt before its end. */
  readonly #lastOf: Int32Array<ArrayBuffer> | null;
  readonly #chain: Chain;
  /** Say whether plain packets of a connection may answer differently; each once. */
  readonly #asks: readonly Ask[];

  static *of(plan: Plan): Slices<Doubts> {
    const chain = new Chain();
    let lastOf: Int32Array<ArrayBuffer> | null = null;
    // Nodes come after those above them.
    for (const { children, number, tree } of plan.nodes) {
      if (number % NODES_AT_ONCE === 0) yield;
      const arms = armsOf(tree);
      let last = differs(tree) ? KEPT : lastOf?.[number] ?? NONE;
      for (let i = 0; i < children.length; i++) {
        if (i % NODES_AT_ONCE === 0) yield;
        if (arms !== null && last !== KEPT) last = chain.add(last, arms[i]!.when);
        if (last === NONE) continue;
        lastOf ??= new Int32Array(plan.nodes.length);
        lastOf[children[i]!.number] = last;
      }
      if (lastOf !== null) lastOf[number] = last; // where it ends by default
    }
    return new Doubts(plan, lastOf, chain, yield* compilePredicates(plan, chain.predicates));
  }

  private constructor(
    plan: Plan,
    lastOf: Int32Array<ArrayBuffer> | null,
    chain: Chain,
    asks: readonly Ask[],
  ) {
    this.#plan = plan;
    this.#lastOf = lastOf;
    this.#chain = chain;
    this.#asks = asks;
  }

  /**
   * True if all plain packets of the connection that come from the same end as `pdu` end as it has
   * ended, at the node `pdu.exit`. It is a plain packet that was forwarded, and balancers know its
   * connection.
   */
  isConstant(pdu: Readonly<Pdu>): boolean {
    const { askOf, before } = this.#chain;
    let doubt = this.#lastOf === null ? NONE : this.#lastOf[pdu.exit]!;
    while (doubt > NONE) {
      if (this.#asks[askOf[doubt]!]!(pdu)) return false;
      doubt = before[doubt]!;
    }
    return doubt === NONE && !losesClient(this.#plan, pdu);
  }
}

/** Doubts, numbered from 1. */
class Chain {
  /** By doubt: the one before it on the way, or NONE. */
  readonly before: number[] = [NONE];
  /** By doubt: place of what it asks in `predicates`. */
  readonly askOf: number[] = [NONE];
  /** Where a subtree is used in many places, they are the same. */
  readonly predicates: Predicate[] = [];
  readonly #places = new GrowingMap<Predicate, number>();
  /** By doubt: how many there are on the way. */
  readonly #counts: number[] = [0];

  /** The last doubt on the way after an arm that asks `when`; KEPT: there are too many. */
  add(last: number, when: Predicate): number {
    if (!asksUnknown(when)) return last;
    const count = this.#counts[last]! + 1;
    if (count > MAX_DOUBTS) return KEPT;
    let place = this.#places.get(when);
    if (place === undefined) {
      place = this.predicates.push(uncertain(when)) - 1;
      this.#places.add(when, place);
    }
    this.#counts.push(count);
    this.askOf.push(place);
    return this.before.push(last) - 1;
  }
}

/** The predicate is possible and not certain. */
function uncertain(predicate: Predicate): Predicate {
  return { test: "all", of: [possibly(predicate), { test: "not", of: certainly(predicate) }] };
}
