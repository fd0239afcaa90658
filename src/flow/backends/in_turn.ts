/**
 * Members in turn, smoothly by weight: of weights 4, 1 and 1, a a b a a c, not a a a a b c. Each
 * has its turns at even distances of 1 / weight on a line of time, begun at a place of its own;
 * whose turn is next is next.
 */
import { Heap } from "./heap.ts";
import type { Member } from "./member.ts";

/** Sums of fractions may be this much too small. */
const ROUNDING = 1e-9;

export class InTurn {
  readonly #members: readonly Member[];
  readonly #heap: Heap;
  /** Of the last turn. */
  #now: number;

  /** Goes on after the last turn of `earlier`, whose members may have been others. */
  constructor(members: readonly Member[], earlier: InTurn | null) {
    this.#members = members;
    this.#heap = new Heap(members.length);
    this.#now = earlier === null ? 0 : earlier.#now % 1;
    for (const member of members) this.setFree(member);
  }

  /** Whether the member is full may have changed. */
  setFree(member: Member): void {
    if (member.isFull) this.#heap.remove(member.place);
    else this.#heap.put(member.place, this.#turnAfter(member, this.#now), member.place);
  }

  /** Place of the next member that is not full, or -1. */
  next(): number {
    const place = this.#heap.least;
    if (place < 0) return -1;
    this.#now = this.#heap.keyOf(place);
    this.#heap.put(place, this.#turnAfter(this.#members[place]!, this.#now), place);
    return place;
  }

  /** The member's first turn after `now`. */
  #turnAfter({ place, currentWeight: weight }: Member, now: number): number {
    const start = (place + 0.5) / this.#members.length;
    return (Math.floor(now * weight - start + ROUNDING) + 1 + start) / weight;
  }
}
