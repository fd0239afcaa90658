/**
 * The buckets of all limits per source, of the policy that runs and of those before it: one table,
 * made when a policy first has such a limit. A key is the number of the limit and the address; of
 * an IPv6 address the first 64 bits, as one host may have all that begin so.
 */
import type { Clock } from "../../core/clock.ts";
import type { Random } from "../../core/random.ts";
import { type Rate, SourceBuckets } from "../../core/source_buckets.ts";
import type { Pdu } from "../../wire/pdu.ts";
import { familyOf } from "./family.ts";

/** The number, and one word of an address or two. */
const KEY_WORDS = 2;
const KEY_WORDS_6 = 3;

export class SourceLimits {
  readonly #maxBuckets: number;
  readonly #random: Random;
  readonly #isIpv6On: boolean;
  #buckets: SourceBuckets | null = null;
  #limits = 0;

  constructor(maxBuckets: number, random: Random, isIpv6On: boolean) {
    this.#maxBuckets = maxBuckets;
    this.#random = random;
    this.#isIpv6On = isIpv6On;
  }

  /** What a table of that size holds at most. */
  static bytesOf(maxBuckets: number, isIpv6On: boolean): number {
    return SourceBuckets.bytesOf({ keyWords: isIpv6On ? KEY_WORDS_6 : KEY_WORDS, maxBuckets });
  }

  /** What the table holds at most, once there is one. */
  get maxBytes(): number {
    return SourceLimits.bytesOf(this.#maxBuckets, this.#isIpv6On);
  }

  /**
   * A new limit: a function that takes a token from the bucket of a PDU's source, false when there
   * is none.
   */
  add(rate: Rate, clock: Clock): (pdu: Readonly<Pdu>) => boolean {
    const buckets = this.#buckets ??= new SourceBuckets({
      keyWords: this.#isIpv6On ? KEY_WORDS_6 : KEY_WORDS,
      maxBuckets: this.#maxBuckets,
      random: this.#random,
    });
    const { key } = buckets;
    const number = ++this.#limits;
    return (pdu) => {
      if (familyOf(pdu) === 4) {
        key[0] = number;
        key[1] = pdu.src;
        if (key.length === KEY_WORDS_6) key[2] = 0;
      } else {
        key[0] = -number; // no IPv4 address has the same
        key[1] = pdu.addresses[0]!;
        key[2] = pdu.addresses[1]!;
      }
      return buckets.take(rate, clock.nowMs());
    };
  }
}
