/**
 * The neighbours on a link, found by address: 16 words each, one cache line.
 *
 *     | KEY | MAC_HI | MAC_LO | FLAGS | UNANSWERED | QUEUE | NEXT | SERIAL | 4 times, as doubles |
 *
 * The key is the address, of IPv6 its digest; the whole addresses of IPv6 are beside them, and are
 * compared where keys are equal. The index is chained, by the low bits of the key: the hosts of one
 * subnet differ in these. Space is reserved for the maximum; the system allocates memory only where
 * it is touched.
 */
import { ADDRESS6_WORDS, isSameAddress6 } from "../wire/address6.ts";

const SHIFT = 4;

/** Stands for the words of an address of IPv4, which has none. */
export const NO_WORDS: Int32Array = new Int32Array(0);

export const KEY = 0;
/** MAC address, meaningless until KNOWN. */
export const MAC_HI = 1;
export const MAC_LO = 2;
export const FLAGS = 3;
/** Requests since its last answer. */
export const UNANSWERED = 4;
/** The queue that it is in (`neighbor_queues.ts`). */
export const QUEUE = 5;
/** FLAGS of a place that is free again. */
const FREED = -1;
/** 1 + the next of the same chain; 0 ends it. */
const NEXT = 6;
/** Above 0, and another one for whoever is at this place next; 0 in a free one. */
export const SERIAL = 7;

/** Times are doubles, at half the index of the words. When its MAC address was last confirmed. */
export const CONFIRMED = 4;
/** When it was last asked. */
export const REQUESTED = 5;
/** When a packet was last sent to it, to the second. */
export const USED = 6;
/** Since when it waits to be asked, or has owed an answer. */
export const SINCE = 7;

/**
 * A large ArrayBuffer begins 16 bytes into a page: skip 48 so that each neighbour is one cache
 * line.
 */
const OFFSET_BYTES = 48;

export class NeighborTable {
  readonly capacity: number;
  count = 0;
  readonly words: Int32Array<ArrayBuffer>;
  readonly times: Float64Array<ArrayBuffer>;
  /** Whole addresses of IPv6, four words for each number; null: keys are addresses of IPv4. */
  readonly addresses: Int32Array<ArrayBuffer> | null;
  readonly #index: Int32Array<ArrayBuffer>;
  /** Neighbours from here on have never been used. */
  #untouched = 0;
  /** Chain of freed ones through their NEXT word. */
  #freed = 0;
  #serial = 0;

  constructor(capacity: number, isIpv6 = false) {
    const buffer = new ArrayBuffer(OFFSET_BYTES + 4 * (capacity << SHIFT));
    this.capacity = capacity;
    this.words = new Int32Array(buffer, OFFSET_BYTES);
    this.times = new Float64Array(buffer, OFFSET_BYTES);
    this.addresses = isIpv6 ? new Int32Array(ADDRESS6_WORDS * capacity) : null;
    this.#index = new Int32Array(1 << Math.max(8, 32 - Math.clz32(capacity)));
  }

  /**
   * Index of the first word of the neighbour of that key, or -1. Its whole address, if it has one,
   * is in `whole` from `from` on; so everywhere below.
   */
  find(key: number, whole: Int32Array = NO_WORDS, from: number = 0): number {
    const { words } = this;
    let at = this.#index[key & (this.#index.length - 1)]! - 1;
    while (at >= 0 && (words[at + KEY] !== key || !this.#isWhole(at, whole, from))) {
      at = words[at + NEXT]! - 1;
    }
    return at;
  }

  #isWhole(at: number, whole: Int32Array, from: number): boolean {
    const { addresses } = this;
    return addresses === null || isSameAddress6(addresses, wholeAt(at), whole, from);
  }

  /**
   * Adds an address that is not in the table, with all other words 0; -1 when the table is full.
   */
  insert(key: number, whole: Int32Array = NO_WORDS, from: number = 0): number {
    if (this.count === this.capacity) return -1;
    const { words } = this;
    const freed = this.#freed;
    const at = freed > 0 ? freed - 1 : this.#untouched++ << SHIFT;
    if (freed > 0) this.#freed = words[at + NEXT]!;
    words.fill(0, at, at + (1 << SHIFT));
    const { addresses } = this;
    for (let i = 0; addresses !== null && i < ADDRESS6_WORDS; i++) {
      addresses[wholeAt(at) + i] = whole[from + i]!;
    }
    const bucket = key & (this.#index.length - 1);
    words[at + KEY] = key;
    this.renew(at);
    words[at + NEXT] = this.#index[bucket]!;
    this.#index[bucket] = at + 1;
    this.count++;
    return at;
  }

  /** Numbers from here on have never been used. */
  get end(): number {
    return this.#untouched;
  }

  /** Whether there is a neighbour at a place below `end`. */
  isUsed(at: number): boolean {
    return this.words[at + FLAGS] !== FREED;
  }

  remove(at: number): void {
    const { words } = this;
    const bucket = words[at + KEY]! & (this.#index.length - 1);
    const next = words[at + NEXT]!;
    let before = this.#index[bucket]! - 1;
    if (before === at) {
      this.#index[bucket] = next;
    } else {
      while (words[before + NEXT] !== at + 1) before = words[before + NEXT]! - 1;
      words[before + NEXT] = next;
    }
    words[at + FLAGS] = FREED;
    words[at + SERIAL] = 0;
    words[at + NEXT] = this.#freed;
    this.#freed = at + 1;
    this.count--;
  }

  /** Gives the neighbour another serial, as if it were another one. */
  renew(at: number): void {
    this.#serial = this.#serial % 0x7fff_ffff + 1;
    this.words[at + SERIAL] = this.#serial;
  }

  has(at: number, flag: number): boolean {
    return (this.words[at + FLAGS]! & flag) !== 0;
  }

  time(at: number, which: number): number {
    return this.times[(at >> 1) + which]!;
  }

  setTime(at: number, which: number, ms: number): void {
    this.times[(at >> 1) + which] = ms;
  }
}

/** A neighbour's number, from 0 on. */
export function numberOf(at: number): number {
  return at >> SHIFT;
}

/** Index of the first word of that number; -1 for -1. */
export function atOf(number: number): number {
  return number < 0 ? -1 : number << SHIFT;
}

/** Where in `NeighborTable.addresses` the whole address of the neighbour at `at` begins. */
export function wholeAt(at: number): number {
  return numberOf(at) * ADDRESS6_WORDS;
}
