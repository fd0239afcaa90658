/**
 * What is left for the arms of a selector, as one arm after the other takes its share.
 *
 * Most arms of a long list ask about one field; what they take is cut out of that field's set. What
 * the others take is kept in a list, found again by a value that they ask for, so that ten thousand
 * arms need not be compared with each other.
 */
import type { Predicate } from "../language/ast.ts";
import { ABSENT, type Box, FIELD } from "./box.ts";
import { EVERYTHING, type Facts, type Restrictor } from "./facts.ts";
import { onlyOf } from "./interval_set.ts";

/** Fields whose single values are looked up, the most telling first. */
const KEY_FIELDS = [
  FIELD.src,
  FIELD.dst,
  FIELD.tcpDst,
  FIELD.udpDst,
  FIELD.tcpSrc,
  FIELD.udpSrc,
  FIELD.icmp,
] as const;

/** More than any field has. */
const VALUES = 2 ** 33;

/** Most boxes that one arm is compared with for each value it asks for. */
const MAX_COMPARED = 128;

export class Remaining {
  readonly #restrictor: Restrictor;
  #facts: Facts;
  readonly #taken: Box[] = [];
  readonly #takenByValue = new Map<number, Box[]>();

  constructor(restrictor: Restrictor, facts: Facts) {
    this.#restrictor = restrictor;
    this.#facts = facts;
  }

  /** What is left for `predicate`. */
  reaching(predicate: Predicate): Facts {
    return this.#untaken(this.#restrictor.restrict(this.#facts, predicate));
  }

  /** What is left. */
  rest(): Facts {
    return this.#untaken(this.#facts);
  }

  /** Takes everything for which `predicate` holds. */
  take(predicate: Predicate): void {
    const before = this.#facts;
    const after = this.#restrictor.restrict(before, predicate, false);
    if (after.boxes.length <= before.boxes.length && after.exact === before.exact) {
      this.#facts = after;
      return;
    }
    const taken = this.#restrictor.restrict(EVERYTHING, predicate);
    if (taken.exact) { for (const box of taken.boxes) this.#keep(box); }
    else this.#facts = { ...before, exact: false };
  }

  #keep(box: Box): void {
    this.#taken.push(box);
    let smallest: Box[] | null = null;
    for (const key of keysOf(box)) {
      const known = this.#takenByValue.get(key) ?? [];
      if (known.length === 0) this.#takenByValue.set(key, known);
      if (smallest === null || known.length < smallest.length) smallest = known;
    }
    smallest?.push(box);
  }

  #untaken(facts: Facts): Facts {
    if (this.#taken.length <= MAX_COMPARED) return this.#restrictor.subtract(facts, this.#taken);
    const boxes = facts.boxes.flatMap((box) => {
      const similar = keysOf(box).flatMap((key) =>
        (this.#takenByValue.get(key) ?? []).slice(0, MAX_COMPARED)
      );
      return this.#restrictor.subtract({ boxes: [box], exact: false }, similar).boxes;
    });
    return { boxes, exact: false };
  }
}

/** One number for each field of which the box has a single value. */
function keysOf(box: Box): readonly number[] {
  const keys: number[] = [];
  for (const field of KEY_FIELDS) {
    const value = onlyOf(box[field]!);
    if (value !== null && value !== ABSENT) keys.push(field * VALUES + value);
  }
  return keys;
}
