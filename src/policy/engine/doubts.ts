/**
 * Whether a policy treats all plain packets of a connection as it has treated one of them: what
 * `constant.ts` says, for the packet path. It takes no second walk. The packet has come to a node,
 * and all others come there too unless an arm on the way asks for something unknown. Of most nodes
 * there is no such arm; of a few the connection tells whether they may answer differently.
 *
 * Read first: `constant.ts`.
 */
import { GrowingMap } from "../../core/growing_map.ts";
import type { Slices } from "../../core/slices.ts";
import type { Pdu } from "../../wire/pdu.ts";
import type { Family, Predicate } from "../language/ast.ts";
import { type Compiled, predicatesInSlices } from "./compile.ts";
import { differs, losesClient, MAX_DOUBTS } from "./constant.ts";
import type { LeavingAddresses } from "./environment.ts";
import { inFamily } from "./family.ts";
import { type Code, link, type Linkage } from "./link.ts";
import { armsOf, NODES_AT_ONCE, type Plan } from "./plan.ts";
import { asksUnknown, certainly, possibly } from "./unknown.ts";

/** No arm on the way to a node asks for something unknown. */
const NONE = 0;

/** Plain packets of any connection that come there may be treated differently. */
const KEPT = -1;

/** What is known of a plan in a family, as data. */
export interface DoubtsImage {
  /** By node: NONE, KEPT, or the number of the last doubt before its end; null: all are NONE. */
  readonly lastOf: Int32Array<ArrayBuffer> | null;
  /** By doubt: the one before it on the way, or NONE. */
  readonly before: Int32Array<ArrayBuffer>;
  /** By doubt: place of the function that it asks. */
  readonly askOf: Int32Array<ArrayBuffer>;
  /** Functions that say whether plain packets of a connection may answer differently; each once. */
  readonly code: Code;
}

/** With what can't cross threads. */
export function* doubtsIn(
  plan: Plan,
  family: Family,
): Slices<Compiled & { readonly image: DoubtsImage }> {
  const chain = new Chain(family);
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
  const compiled = yield* predicatesInSlices(plan, family, chain.predicates);
  const askOf = Int32Array.from(chain.askOf, (place) => compiled.places[place] ?? NONE);
  const before = Int32Array.from(chain.before);
  return { ...compiled, image: { lastOf, before, askOf, code: compiled.code } };
}

export class Doubts {
  readonly #image: DoubtsImage;
  readonly #asks: readonly Ask[];
  /** Addresses of members that are leaving. */
  readonly #leaving: readonly LeavingAddresses[];

  static *of(plan: Plan, family: Family = 4): Slices<Doubts> {
    const { image, leaving, customs } = yield* doubtsIn(plan, family);
    const { environment: { steps }, exits, choosers, targets } = plan;
    const linkage = { steps, exits, choosers, targets, leaving, customs };
    return yield* Doubts.link(image, linkage, [...plan.leaving.values()].flat());
  }

  /** `leaving`: of all pools. */
  static *link(
    image: DoubtsImage,
    linkage: Linkage,
    leaving: readonly LeavingAddresses[],
  ): Slices<Doubts> {
    const asks = (yield* link(image.code, linkage)) as readonly Ask[];
    return new Doubts(image, asks, leaving);
  }

  private constructor(
    image: DoubtsImage,
    asks: readonly Ask[],
    leaving: readonly LeavingAddresses[],
  ) {
    this.#image = image;
    this.#asks = asks;
    this.#leaving = leaving;
  }

  /**
   * True if all plain packets of the connection that come from the same end as `pdu` end as it has
   * ended, at the node `pdu.exit`. It is a plain packet that was forwarded, and balancers know its
   * connection.
   */
  isConstant(pdu: Readonly<Pdu>): boolean {
    const { lastOf, before, askOf } = this.#image;
    let doubt = lastOf === null ? NONE : lastOf[pdu.exit]!;
    while (doubt > NONE) {
      if (this.#asks[askOf[doubt]!]!(pdu)) return false;
      doubt = before[doubt]!;
    }
    return doubt === NONE && !losesClient(this.#leaving, pdu);
  }
}

/** Asks something of a PDU. */
type Ask = (pdu: Readonly<Pdu>) => boolean;

/** Doubts, numbered from 1; by doubt what `Doubts` has. */
class Chain {
  readonly before: number[] = [NONE];
  readonly askOf: number[] = [NONE];
  /** Where a subtree is used in many places, they are the same. */
  readonly predicates: Predicate[] = [];
  readonly #places = new GrowingMap<Predicate, number>();
  /** By doubt: how many there are on the way. */
  readonly #counts: number[] = [0];
  readonly #family: Family;

  constructor(family: Family) {
    this.#family = family;
  }

  /** The last doubt on the way after an arm that asks `when`; KEPT: there are too many. */
  add(last: number, written: Predicate): number {
    const when = inFamily(written, this.#family);
    if (!asksUnknown(when)) return last;
    const count = this.#counts[last]! + 1;
    if (count > MAX_DOUBTS) return KEPT;
    let place = this.#places.get(written);
    if (place === undefined) {
      place = this.predicates.push(uncertain(when)) - 1;
      this.#places.add(written, place);
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
