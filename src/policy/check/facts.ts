/**
 * What is known about a PDU at some place of a tree: the set of PDUs that can come there, as a
 * union of boxes (`box.ts`). The set is an upper bound: where there would be too many boxes, or too
 * much work, a test is ignored, which makes the set larger, never smaller; `exact` says that this
 * did not happen.
 *
 * Long because each predicate has its own meaning as a set, and its negation another.
 */
import { bitsOf, type HostAddress } from "../../wire/host_address.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../../wire/ipv6.ts";
import { STATE_ESTABLISHED, STATE_INVALID, STATE_NEW } from "../../wire/pdu.ts";
import {
  type AddressTerm,
  type ConnectionState,
  DST_ADDRS,
  type Interval,
  type Predicate,
} from "../language/ast.ts";
import { icmpKindIn } from "../language/icmp_words.ts";
import { AddressSpace } from "./address_space.ts";
import {
  BIT,
  type Box,
  domainOf,
  DOMAINS,
  FIELD,
  icmpValue,
  type Kind,
  minus,
  OPAQUE,
  protocolsOf,
  protocolValue,
  SHAPES,
  STRAY,
  withField,
} from "./box.ts";
import {
  difference,
  intersection,
  interval,
  type IntervalSet,
  intervalsOf,
  union,
  unionOf,
} from "./interval_set.ts";

const ONE: IntervalSet = interval(1, 1);

const STATES: Readonly<Record<ConnectionState, IntervalSet>> = {
  new: interval(STATE_NEW, STATE_NEW),
  established: interval(STATE_ESTABLISHED, STATE_ESTABLISHED),
  invalid: interval(STATE_INVALID, STRAY),
  stray: interval(STRAY, STRAY),
};

export interface Facts {
  /** Their union is the set; none: nothing comes here. */
  readonly boxes: readonly Box[];
  /** The set holds nothing that can't come here, as far as fields are independent. */
  readonly exact: boolean;
}

export const EVERYTHING: Facts = { boxes: [DOMAINS], exact: true };

/** Most boxes of one set. */
export const MAX_BOXES = 32;

/** Most work of one check, in intervals and predicates looked at: a few seconds. */
const MAX_WORK = 4_000_000;

/**
 * Addresses of a named list; `backends`: those of `--dst-addrs`, not known, are among them, too.
 */
interface Addresses {
  readonly set: IntervalSet;
  readonly backends: boolean;
}

/** A test of one field. */
interface Simple {
  readonly field: number;
  readonly set: IntervalSet;
}

/** Applies predicates to facts. */
export class Restrictor {
  readonly #lists = new Map<string, Addresses>();
  readonly #simple = new Map<Predicate, Simple | null>();
  readonly #outsides = new Map<Simple, IntervalSet>();
  readonly #split = new Map<Predicate, Predicate>();
  readonly #opaque = new Map<unknown, number>();
  readonly #kinds: readonly Kind[];
  readonly #space: AddressSpace;
  #work = 0;

  /**
   * `dstAddrs` null: not known. Unknown lists may be anything. There are PDUs of these kinds only.
   * `space` has all networks of IPv6 that predicates, lists and `dstAddrs` have.
   */
  constructor(
    lists: Readonly<Record<string, readonly AddressTerm[]>>,
    dstAddrs: readonly HostAddress[] | null,
    kinds: readonly Kind[] = SHAPES,
    space: AddressSpace = new AddressSpace([]),
  ) {
    this.#kinds = kinds;
    this.#space = space;
    const backends = (dstAddrs ?? []).flatMap((network) =>
      space.numbersOf({ network, prefixLength: bitsOf(network) })
    );
    this.#lists.set(DST_ADDRS, { set: unionOf(backends), backends: dstAddrs === null });
    for (const [name, terms] of Object.entries(lists)) {
      const addresses = this.#addresses(terms);
      if (addresses !== null && name !== DST_ADDRS) this.#lists.set(name, addresses);
    }
  }

  /** The PDUs of `facts` for which `predicate` holds, or for which it does not. */
  restrict(facts: Facts, predicate: Predicate, holds = true): Facts {
    if (facts.boxes.length === 0) return facts;
    if (!this.#afford(1)) return { ...facts, exact: false };
    const simple = this.#simpleOf(predicate);
    if (simple !== null) return this.restrictField(facts, simple.field, simple.set, holds);
    switch (predicate.test) {
      case "always":
        return holds ? facts : { boxes: [], exact: true };
      case "not":
        return this.restrict(facts, predicate.of, !holds);
      case "all":
      case "any":
        return (predicate.test === "all") === holds
          ? predicate.of.reduce((rest, part) => this.restrict(rest, part, holds), facts)
          : this.#oneOf(facts, predicate.of, holds);
      default: // addresses, backends that are not known among them
        return this.restrict(facts, this.#splitOf(predicate), holds);
    }
  }

  /** The PDUs of `facts` whose `field` is in `set`, or is not. */
  restrictField(facts: Facts, field: number, set: IntervalSet, holds = true): Facts {
    const boxes: Box[] = [];
    for (const box of facts.boxes) {
      const old = box[field] ?? BIT;
      if (!this.#afford(Math.min(old?.count ?? 0, set?.count ?? 0))) {
        return { ...facts, exact: false };
      }
      const made = withField(
        box,
        field,
        holds ? intersection(old, set) : difference(old, set),
        this.#kinds,
      );
      if (made !== null) boxes.push(made);
    }
    return { boxes, exact: facts.exact };
  }

  /** The PDUs of `facts` that are in none of `taken`. */
  subtract(facts: Facts, taken: readonly Box[]): Facts {
    let exact = facts.exact;
    const boxes = facts.boxes.flatMap((box) => {
      let pieces: readonly Box[] = [box];
      for (const other of taken) {
        if (pieces.length === 0) break;
        if (!this.#afford(pieces.length)) return giveUp();
        pieces = pieces.flatMap((piece) => minus(piece, other, this.#kinds));
        if (pieces.length > MAX_BOXES) return giveUp();
      }
      return pieces;

      function giveUp(): readonly Box[] {
        exact = false;
        return [box];
      }
    });
    return boxes.length > MAX_BOXES ? { ...facts, exact: false } : { boxes, exact };
  }

  /** The PDUs of `facts` for which one of `parts` holds (`holds` false: does not hold). */
  #oneOf(facts: Facts, parts: readonly Predicate[], holds: boolean): Facts {
    const byField = new Map<number, IntervalSet[]>();
    const others: Predicate[] = [];
    for (const part of parts) {
      const simple = this.#simpleOf(part);
      if (simple === null) {
        others.push(part);
        continue;
      }
      const sets = byField.get(simple.field) ?? [];
      if (sets.length === 0) byField.set(simple.field, sets);
      sets.push(holds ? simple.set : this.#outside(simple));
    }
    const boxes: Box[] = [];
    let exact = true;
    const add = (alternative: Facts): boolean => {
      boxes.push(...alternative.boxes);
      exact &&= alternative.exact;
      return boxes.length <= MAX_BOXES;
    };
    const few =
      [...byField].every(([field, sets]) =>
        add(this.restrictField(facts, field, this.#unionOf(sets)))
      ) && others.every((part) => add(this.restrict(facts, part, holds)));
    return few ? { boxes, exact } : { ...facts, exact: false };
  }

  #unionOf(sets: readonly IntervalSet[]): IntervalSet {
    if (sets.length === 1) return sets[0]!;
    this.#work += sets.reduce((sum, set) => sum + (set?.count ?? 0), 0);
    return unionOf(sets.flatMap((set) => intervalsOf(set)));
  }

  /** The values for which the test does not hold. */
  #outside(simple: Simple): IntervalSet {
    let outside = this.#outsides.get(simple);
    if (outside === undefined) {
      outside = difference(domainOf(simple.field), simple.set);
      this.#work += simple.set?.count ?? 0;
      this.#outsides.set(simple, outside);
    }
    return outside;
  }

  /** The predicate as test of one field, if it is one. */
  #simpleOf(predicate: Predicate): Simple | null {
    const known = this.#simple.get(predicate);
    if (known !== undefined) return known;
    const simple = this.#makeSimple(predicate);
    this.#simple.set(predicate, simple);
    return simple;
  }

  #makeSimple(predicate: Predicate): Simple | null {
    switch (predicate.test) {
      case "always":
        return null;
      case "not": {
        const of = this.#simpleOf(predicate.of);
        return of === null ? null : { field: of.field, set: this.#outside(of) };
      }
      case "all":
      case "any":
        return this.#simpleOfAll(predicate.of, predicate.test === "all");
      case "family":
        return { field: FIELD.protocol, set: protocolsOf(predicate.family) };
      case "protocol":
        return { field: FIELD.protocol, set: protocols(predicate.number) };
      case "address":
        return this.#simpleAddress(predicate);
      case "port": {
        const source = predicate.field === "srcPort";
        const set = unionOf(predicate.in);
        if (predicate.protocol === PROTOCOL_TCP) {
          return { field: source ? FIELD.tcpSrc : FIELD.tcpDst, set };
        }
        if (predicate.protocol === PROTOCOL_UDP) {
          return { field: source ? FIELD.udpSrc : FIELD.udpDst, set };
        }
        return this.#opaqueTest(predicate);
      }
      case "tcp-flags":
        return { field: FIELD.tcpFlags, set: flagSets(predicate.set, predicate.clear) };
      case "icmp":
      case "icmpv6":
        return { field: FIELD.icmp, set: messages(predicate) };
      case "number":
        return { field: FIELD[predicate.field], set: unionOf(predicate.in) };
      case "fragment":
        return { field: FIELD.fragment, set: ONE };
      case "state":
        return { field: FIELD.state, set: STATES[predicate.state] };
      case "side":
        return {
          field: FIELD.side,
          set: predicate.side === "b" ? ONE : interval(0, 0),
        };
      case "custom":
        return this.#opaqueTest(predicate.holds);
    }
  }

  #simpleOfAll(parts: readonly Predicate[], all: boolean): Simple | null {
    const first = parts[0] === undefined ? null : this.#simpleOf(parts[0]);
    if (first === null) return null;
    const sets: IntervalSet[] = [];
    for (const part of parts) {
      const simple = this.#simpleOf(part);
      if (simple === null || simple.field !== first.field) return null;
      if (!this.#afford(simple.set?.count ?? 0)) return null;
      sets.push(simple.set);
    }
    const set = all
      ? sets.reduce((rest, own) => intersection(rest, own))
      : unionOf(sets.flatMap((own) => intervalsOf(own)));
    return { field: first.field, set };
  }

  #simpleAddress(predicate: Extract<Predicate, { test: "address" }>): Simple | null {
    const addresses = this.#addresses(predicate.in);
    if (addresses === null) return this.#opaqueTest(predicate);
    const { set, backends } = addresses;
    if (!backends) return { field: FIELD[predicate.field], set };
    if (set !== null) return null;
    const source = predicate.field === "src";
    return { field: source ? FIELD.srcIsBackend : FIELD.dstIsBackend, set: ONE };
  }

  /** An address test with backends among others as the two tests that it is. */
  #splitOf(predicate: Predicate): Predicate {
    const known = this.#split.get(predicate);
    if (known !== undefined || predicate.test !== "address") return known ?? predicate;
    const networks = intervalsOf(this.#addresses(predicate.in)!.set);
    const { field } = predicate;
    const backends: Predicate = { test: "address", field, in: [{ list: DST_ADDRS }] };
    const others: Predicate = { test: "address", field, in: [] };
    this.#simple.set(others, { field: FIELD[field], set: unionOf(networks) });
    const both: Predicate = { test: "any", of: [backends, others] };
    this.#split.set(predicate, both);
    return both;
  }

  /** Null: a list in it is not known. */
  #addresses(terms: readonly AddressTerm[]): Addresses | null {
    const networks: Interval[] = [];
    let set: IntervalSet = null;
    let backends = false;
    for (const term of terms) {
      if ("network" in term) {
        networks.push(...this.#space.numbersOf(term));
        continue;
      }
      const list = this.#lists.get(term.list);
      if (list === undefined) return null;
      set = set === null ? list.set : union(set, list.set);
      backends ||= list.backends;
    }
    return { set: networks.length === 0 ? set : union(set, unionOf(networks)), backends };
  }

  /** A test of which nothing is known but that it is the same each time. */
  #opaqueTest(key: unknown): Simple {
    const field = this.#opaque.get(key) ?? OPAQUE + this.#opaque.size;
    this.#opaque.set(key, field);
    return { field, set: ONE };
  }

  #afford(work: number): boolean {
    this.#work += work;
    return this.#work <= MAX_WORK;
  }
}

/** Forgets what opaque tests said. */
export function withoutOpaque(facts: Facts): Facts {
  if (facts.boxes.every((box) => box.length <= OPAQUE)) return facts;
  return { boxes: facts.boxes.map((box) => box.slice(0, OPAQUE)), exact: false };
}

/** Values of a protocol's number in both families. */
function protocols(number: number): IntervalSet {
  const number6 = number === PROTOCOL_ICMP ? PROTOCOL_ICMPV6 : number;
  return unionOf(
    [protocolValue(4, number), protocolValue(6, number6)].map((n) => ({ first: n, last: n })),
  );
}

/** What a test of ICMP messages asks for in both families. */
function messages(test: Extract<Predicate, { test: "icmp" | "icmpv6" }>): IntervalSet {
  return unionOf(([4, 6] as const).flatMap((family) => {
    const kind = icmpKindIn(test, family);
    if (kind === null) return [];
    const { type, code } = kind;
    return {
      first: icmpValue(family, type, code ?? 0),
      last: icmpValue(family, type, code ?? 255),
    };
  }));
}

/** Values of the TCP flags byte with all of `set` and none of `clear`. */
function flagSets(set: number, clear: number): IntervalSet {
  const values: Interval[] = [];
  for (let value = 0; value <= 255; value++) {
    if ((value & set) === set && (value & clear) === 0) values.push({ first: value, last: value });
  }
  return unionOf(values);
}
