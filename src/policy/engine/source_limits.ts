/**
 * The buckets of all limits per source, of the policy that runs and of those before it: one table,
 * made when a policy first has such a limit. A key is the number of the limit and the address.
 */
import type { Clock } from "../../core/clock.ts";
import type { Random } from "../../core/random.ts";
import { type Rate, SourceBuckets } from "../../core/source_buckets.ts";

const KEY_WORDS = 2;

export class SourceLimits {
  readonly #maxBuckets: number;
  readonly #random: Random;
  #buckets: SourceBuckets | null = null;
  #limits = 0;

  constructor(maxBuckets: number, random: Random) {
    this.#maxBuckets = maxBuckets;
    this.#random = random;
  }

  /** What a table of that size holds at most. */
  static bytesOf(maxBuckets: number): number {
    return SourceBuckets.bytesOf({ keyWords: KEY_WORDS, maxBuckets });
  }

  /** What the table holds at most, once there is one. */
  get maxBytes(): number {
    return SourceLimits.bytesOf(this.#maxBuckets);
  }

  /**
   * A new limit: a function that takes a token from a source's bucket, false when there is none.
   */
  add(rate: Rate, clock: Clock): (source: number) => boolean {
    const buckets = this.#buckets ??= new SourceBuckets({
      keyWords: KEY_WORDS,
      maxBuckets: this.#maxBuckets,
      random: this.#random,
    });
    const { key } = buckets;
    const number = ++this.#limits;
    return (source) => {
      key[0] = number;
      key[1] = source;
      return buckets.take(rate, clock.nowMs());
    };
  }
}
