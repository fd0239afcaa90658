/**
 * A member by a number: each has as many of the numbers as it has weight. A binary search among
 * all; those that are full are left out by a Fenwick tree (Fenwick 1994), which takes a change in
 * O(log n), too.
 */
import type { Member } from "./member.ts";

export class ByWeight {
  /** Of all weights. */
  readonly total: number;
  /** Of the weights of those that are not full. */
  freeTotal: number;
  /** Weight of all if they have the same; else 0. */
  readonly #sameWeight: number;
  /** Sum of the weights up to this place's, its own included. */
  readonly #sums: Int32Array<ArrayBuffer>;
  /** Weights of those that are not full: a Fenwick tree; null: none has a limit. */
  readonly #free: Int32Array<ArrayBuffer> | null;
  readonly #weights: Int32Array<ArrayBuffer>;
  readonly #topStep: number;
  readonly #weightOf: (member: Member) => number;

  /**
   * One or more members; `isLimited`: one of them may become full. `weightOf` gives integers from 1
   * on.
   */
  constructor(
    members: readonly Member[],
    isLimited: boolean,
    weightOf: (member: Member) => number = ({ weight }) => weight,
  ) {
    const count = members.length;
    this.#weightOf = weightOf;
    this.#weights = Int32Array.from(members, weightOf);
    this.#sums = new Int32Array(count);
    let total = 0;
    for (let place = 0; place < count; place++) this.#sums[place] = total += this.#weights[place]!;
    this.total = this.freeTotal = total;
    const first = this.#weights[0]!;
    this.#sameWeight = this.#weights.every((weight) => weight === first) ? first : 0;
    this.#topStep = 2 ** Math.floor(Math.log2(count));
    this.#free = isLimited ? new Int32Array(count + 1) : null;
    if (isLimited) {
      this.freeTotal = 0;
      this.#weights.fill(0);
      for (const member of members) this.setFree(member);
    }
  }

  /** Place of the member that has the number `at`, 0 … total - 1. */
  placeAt(at: number): number {
    if (this.#sameWeight === 1) return at;
    if (this.#sameWeight > 0) return Math.floor(at / this.#sameWeight);
    let low = 0;
    for (let high = this.#sums.length - 1; low < high;) {
      const middle = (low + high) >>> 1;
      if (this.#sums[middle]! > at) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The same among those that are not full; `at` is 0 … freeTotal - 1. */
  freePlaceAt(at: number): number {
    const free = this.#free!;
    let place = 0;
    let left = at;
    for (let step = this.#topStep; step > 0; step >>= 1) {
      const next = place + step;
      if (next < free.length && free[next]! <= left) {
        place = next;
        left -= free[next]!;
      }
    }
    return place;
  }

  /** Whether the member is full may have changed. */
  setFree(member: Member): void {
    const free = this.#free!;
    const { place } = member;
    const weight = member.isFull ? 0 : this.#weightOf(member);
    const change = weight - this.#weights[place]!;
    if (change === 0) return;
    this.#weights[place] = weight;
    this.freeTotal += change;
    for (let at = place + 1; at < free.length; at += at & -at) free[at]! += change;
  }
}
