/**
 * Limits how often something is done for each of many sources: a token bucket for each, in a table of
 * fixed size that nobody can fill. Where a source's bucket may be is a set of four, found by a hash with
 * secret keys, so that none can choose whose set it shares.
 *
 * A bucket is one number, the time at which it is full again (the "theoretical arrival time" of ITU-T
 * I.371): a token makes that later, and a bucket whose time has passed is full. So zeroes are full
 * buckets, and memory is used as sources come. In a full set a newcomer takes over the bucket that is
 * nearest to full, with what is missing in it: however many sources come, a set never gives more than
 * its four buckets do.
 */
import type { Random } from "./random.ts";

const WAYS = 4;

export interface SourceLimitsOptions {
  /** For each source, on average and at once. */
  readonly perSecond: number;
  readonly burst: number;
  /** Buckets, a power of two from 8 on. */
  readonly size: number;
  readonly random: Random;
}

export class SourceLimits {
  readonly #tokenMs: number;
  readonly #emptyMs: number;
  readonly #shift: number;
  readonly #key: number;
  readonly #factor: number;
  readonly #lastFactor: number;
  readonly #sources: Int32Array<ArrayBuffer>;
  /** When each is full again. */
  readonly #fullMs: Float64Array<ArrayBuffer>;

  constructor({ perSecond, burst, size, random }: SourceLimitsOptions) {
    this.#tokenMs = 1000 / perSecond;
    this.#emptyMs = burst * this.#tokenMs;
    this.#shift = Math.clz32(size / WAYS) + 1;
    this.#key = random.uint32();
    this.#factor = random.uint32() | 1;
    this.#lastFactor = random.uint32() | 1;
    this.#sources = new Int32Array(size);
    this.#fullMs = new Float64Array(size);
  }

  /** Takes a token of `source`, a 32-bit integer; false when there is none. `nowMs` never goes back. */
  take(source: number, nowMs: number): boolean {
    const place = this.#place(source);
    const fullMs = Math.max(this.#fullMs[place]!, nowMs) + this.#tokenMs;
    if (fullMs - nowMs > this.#emptyMs) return false;
    this.#sources[place] = source;
    this.#fullMs[place] = fullMs;
    return true;
  }

  /** The source's bucket, or the one of its set that is nearest to full. */
  #place(source: number): number {
    const first = this.#set(source) * WAYS;
    let place = first;
    for (let i = first; i < first + WAYS; i++) {
      if (this.#sources[i] === source) return i;
      if (this.#fullMs[i]! < this.#fullMs[place]!) place = i;
    }
    return place;
  }

  /**
   * A multiplication by a secret odd number, of which the upper bits count, puts any two sources into
   * one set with a probability of 2 / sets at most (Dietzfelbinger et al., 1997). The one before it
   * makes sure that those of a collision tell nothing about others.
   */
  #set(source: number): number {
    const mixed = Math.imul(source ^ this.#key, this.#factor);
    return Math.imul(mixed ^ (mixed >>> 15), this.#lastFactor) >>> this.#shift;
  }
}
