/**
 * Token buckets by key, all in one table of fixed size: a key is one or more 32-bit words, such as
 * the number of a limit and a source address. Buckets of different keys may have different rates.
 *
 * Of a bucket only the time is held at which it will be full again (as in the generic cell rate
 * algorithm, ITU-T I.371): a full bucket needs no place, so a place is free when that time has
 * come.
 *
 * A key belongs to one set of WAYS places, by a hash whose tables are random, so that nobody
 * outside can choose keys that meet. If none of the places is free, a new key takes the one that
 * will be first, and goes on from its level: whoever comes back after losing its place finds no
 * more than it had left, and changing addresses gains nothing. A key that is refused displaces
 * nobody. The exception: a place whose level is below what the new key's rate knows is taken as an
 * empty bucket, so that slow limits do not keep fast ones from passing anything; as it then is the
 * next to go, a set lends one place this way.
 */
import type { Random } from "./random.ts";

/** Places of a set. With half of all places taken, fewer than one set in a hundred is full. */
const WAYS = 16;

const TABLE_WORDS = 4 * 256;

/** How fast a bucket fills. */
export interface Rate {
  /** Time for one token. */
  readonly tokenMs: number;
  /** Time from empty to full. */
  readonly fillMs: number;
}

/** `perSecond` tokens on average, `burst` at once. */
export function rateOf(perSecond: number, burst: number): Rate {
  const tokenMs = 1000 / perSecond;
  return { tokenMs, fillMs: burst * tokenMs };
}

export interface SourceBucketsOptions {
  /** Words of a key. */
  readonly keyWords: number;
  /** Most buckets that are not full at a time; memory for all of them is reserved at once. */
  readonly maxBuckets: number;
  readonly random: Random;
}

export class SourceBuckets {
  /** The key that `take` is about: to be written before each call. */
  readonly key: Int32Array<ArrayBuffer>;
  readonly #ways: number;
  readonly #sets: number;
  /** For each byte of a key, a random word by its value. */
  readonly #hash: Int32Array<ArrayBuffer>;
  readonly #keys: Int32Array<ArrayBuffer>;
  readonly #fullAtMs: Float64Array<ArrayBuffer>;

  constructor({ keyWords, maxBuckets, random }: SourceBucketsOptions) {
    this.#ways = Math.min(WAYS, maxBuckets);
    this.#sets = Math.floor(maxBuckets / this.#ways);
    this.key = new Int32Array(keyWords);
    this.#hash = new Int32Array(keyWords * TABLE_WORDS);
    this.#keys = new Int32Array(this.#sets * this.#ways * keyWords);
    this.#fullAtMs = new Float64Array(this.#sets * this.#ways);
    for (let i = 0; i < this.#hash.length; i++) this.#hash[i] = random.uint32();
  }

  /** What a table holds at most. */
  static bytesOf({ keyWords, maxBuckets }: Omit<SourceBucketsOptions, "random">): number {
    return 4 * keyWords * (TABLE_WORDS + 1) + maxBuckets * (4 * keyWords + 8);
  }

  /** Takes a token from the bucket of `key`; false when there is none. `nowMs` is 0 or above. */
  take({ tokenMs, fillMs }: Rate, nowMs: number): boolean {
    const place = this.#place();
    const lackMs = this.#fullAtMs[place]! - nowMs;
    const fromMs = lackMs < 0 ? 0 : lackMs < fillMs ? lackMs : fillMs;
    // A sum of fractions may be off in its last digits; a token is not refused for that.
    if (fromMs + tokenMs <= fillMs + tokenMs / 1024) {
      this.#put(place, nowMs + fromMs + tokenMs);
      return true;
    }
    // Emptier than this key's bucket can be: a slower one's. The new one is empty, and fills at its
    // rate.
    if (lackMs > fillMs) this.#put(place, nowMs + fillMs);
    return false;
  }

  /** The key's place; else the one that is full, or will be first. */
  #place(): number {
    const first = this.#set() * this.#ways;
    const end = first + this.#ways;
    const key = this.key;
    const keys = this.#keys;
    const fullAtMs = this.#fullAtMs;
    const words = key.length;
    let best = first;
    for (let place = first; place < end; place++) {
      // From the last word, the address: limits are fewer.
      let word = words - 1;
      while (word >= 0 && keys[place * words + word] === key[word]) word--;
      if (word < 0) return place;
      if (fullAtMs[place]! < fullAtMs[best]!) best = place;
    }
    return best;
  }

  #set(): number {
    const key = this.key;
    const table = this.#hash;
    let hash = 0;
    for (let i = 0; i < key.length; i++) {
      const word = key[i]!;
      const at = i * TABLE_WORDS;
      hash ^= table[at + (word & 255)]! ^ table[at + 256 + ((word >>> 8) & 255)]! ^
        table[at + 512 + ((word >>> 16) & 255)]! ^ table[at + 768 + (word >>> 24)]!;
    }
    return Math.floor((hash >>> 0) * this.#sets / 0x1_0000_0000);
  }

  #put(place: number, fullAtMs: number): void {
    const key = this.key;
    const at = place * key.length;
    for (let i = 0; i < key.length; i++) this.#keys[at + i] = key[i]!;
    this.#fullAtMs[place] = fullAtMs;
  }
}
