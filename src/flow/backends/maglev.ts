/**
 * Maglev hashing (Eisenbud et al. 2016, §3.4): a table of 65,537 slots, of which each member has as
 * many as it has weight. It is made in two steps:
 *
 * 1. of all members, whether they are there or not: in an order of its own, each takes free slots
 * in turn 2. slots of those that can't be chosen now go to the others, in the same manner
 *
 * So a member that is lost and found moves nobody but its own clients. The table depends on the
 * members' addresses, ports and weights, on who can be chosen, and on the key: not on the order in
 * which they are written or were lost. Instances of the proxy that know the same choose the same.
 */
import { type HashKey, keyedHash } from "../../wire/keyed_hash.ts";
import type { Member } from "./member.ts";

/** A prime number, so that every step walks through all slots. */
export const SLOTS = 65_537;

const FREE = 65_535;

export class Maglev {
  /** In the order of their addresses and ports. */
  readonly #members: readonly Member[];
  readonly #offsets: readonly number[];
  readonly #steps: readonly number[];
  /** Number of the member in each slot: after the first step, and now. */
  readonly #all: Uint16Array<ArrayBuffer>;
  readonly #slots: Uint16Array<ArrayBuffer>;

  /** Members of weight 1 or more, at most 65,535. */
  constructor(members: readonly Member[], key: HashKey) {
    this.#members = members.toSorted((a, b) =>
      (a.address >>> 0) - (b.address >>> 0) || a.port - b.port
    );
    const hashes = (salt: number, range: number) =>
      this.#members.map(({ address, port }) =>
        (keyedHash(key, address, port, salt, 0) >>> 0) % range
      );
    this.#offsets = hashes(1, SLOTS);
    this.#steps = hashes(2, SLOTS - 1).map((step) => step + 1);
    this.#all = new Uint16Array(SLOTS).fill(FREE);
    this.#fill(this.#all, this.#members.map((_, number) => number), SLOTS);
    this.#slots = this.#all.slice();
  }

  /** Who can be chosen has changed: those whose place is not -1, one or more. */
  refresh(): void {
    const slots = this.#slots;
    const members = this.#members;
    let free = 0;
    for (let slot = 0; slot < SLOTS; slot++) {
      const number = this.#all[slot]!;
      slots[slot] = members[number]!.place < 0 ? FREE : number;
      if (slots[slot] === FREE) free++;
    }
    if (free === 0) return;
    const present = members.flatMap(({ place }, number) => place < 0 ? [] : [number]);
    this.#fill(slots, present, free);
  }

  /** Place of the member that has a hash's slot. */
  placeOf(hash: number): number {
    return this.#members[this.#slots[(hash >>> 0) % SLOTS]!]!.place;
  }

  /**
   * Gives `free` free slots to these members: to each one, by weight, the next that is free in its
   * order.
   */
  #fill(slots: Uint16Array, numbers: readonly number[], free: number): void {
    const greatest = numbers.reduce((most, n) => Math.max(most, this.#members[n]!.weight), 0);
    const at = Int32Array.from(numbers, (number) => this.#offsets[number]!);
    const credits = new Int32Array(numbers.length);
    for (let left = free;;) {
      for (let i = 0; i < numbers.length; i++) {
        const number = numbers[i]!;
        credits[i]! += this.#members[number]!.weight;
        if (credits[i]! < greatest) continue;
        credits[i]! -= greatest;
        const step = this.#steps[number]!;
        let slot = at[i]!;
        while (slots[slot] !== FREE) slot = slot + step < SLOTS ? slot + step : slot + step - SLOTS;
        slots[slot] = number;
        at[i] = slot;
        if (--left === 0) return;
      }
    }
  }
}
