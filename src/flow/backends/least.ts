/**
 * The member with the fewest connections for its weight. Of several, the one whose turn it is: each
 * moves on by 1 / weight when it is chosen, so that a pool with little to do is used evenly, too.
 */
import { Heap } from "./heap.ts";
import type { Member } from "./member.ts";

export class Least {
  readonly #members: readonly Member[];
  readonly #heap: Heap;
  /** When each has its turn among equals. */
  readonly #turns: Float64Array<ArrayBuffer>;
  #now = 0;

  constructor(members: readonly Member[]) {
    this.#members = members;
    this.#heap = new Heap(members.length);
    this.#turns = Float64Array.from(
      members,
      ({ place, currentWeight: weight }) => (place + 0.5) / members.length / weight,
    );
    for (const member of members) this.changed(member);
  }

  /** The member has more or fewer connections. */
  changed(member: Member): void {
    const { place, load, currentWeight: weight } = member;
    if (member.isFull) this.#heap.remove(place);
    else this.#heap.put(place, load / weight, this.#turns[place]!);
  }

  /** Place of the member that is next, or -1: all are full. */
  next(): number {
    const place = this.#heap.least;
    if (place < 0) return -1;
    const member = this.#members[place]!;
    this.#now = Math.max(this.#now, this.#turns[place]!);
    this.#turns[place] = this.#now + 1 / member.currentWeight;
    this.changed(member);
    return place;
  }
}
