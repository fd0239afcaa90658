/**
 * Answers strays: a TCP segment that a translator has found no connection for gets an RST, as from
 * any host (RFC 9293 §3.10.7.1). So after a crash, or an idle time longer than ours, both ends hear
 * at once that their connection is gone.
 *
 * The RST goes back to the station that sent the segment, is as long as the shortest segment, and
 * never answers another. A packet to another host (`--preserve-source`) that has no connection does
 * not come here. The number in it is the sender's own: who could forge the right one needs no proxy
 * for that.
 *
 * The limit in all must not tell whether a segment that somebody has sent under another's name has
 * met a connection: who counts the RSTs that are left for himself could learn it from one more or
 * less (CVE-2016-5696). So each costs 0, 1 or 2 tokens at random, as Linux' ICMP errors do.
 */
import { below, type Random } from "../core/random.ts";
import { rateOf, SourceBuckets } from "../core/source_buckets.ts";
import { TokenBucket } from "../core/token_bucket.ts";
import { sendReset } from "../stack/reset.ts";
import { isIpv6, type Pdu } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import type { Link } from "./link.ts";

/**
 * RSTs a second and at once, in all and to one source: a backend may have lost very many
 * connections.
 */
const PER_SECOND = 10_000;
const AT_ONCE = 2000;
const TO_ONE = rateOf(1000, 1000);

/** Sources that are limited each for itself, at a time: IPv4 addresses, and /64s of IPv6. */
const MAX_BUCKETS = 1 << 15;

/** What an RST costs is random and below this; one token on average. */
const COSTS = 3;

export class Strays {
  readonly #random: Random;
  readonly #all: TokenBucket;
  /** Made for the first stray of a family. */
  #buckets: SourceBuckets | null = null;
  #buckets6: SourceBuckets | null = null;

  constructor(random: Random, nowMs: number) {
    this.#random = random;
    this.#all = new TokenBucket(PER_SECOND, AT_ONCE, nowMs);
  }

  /** Resets the sender of the segment, unless it was an RST or there were too many. */
  answer({ arena }: Link, pdu: Pdu, nowMs: number): void {
    if ((pdu.tcpFlags & tcp.RST) !== 0) return;
    if (!this.#mayTell(pdu, nowMs)) return;
    const random = this.#random;
    if (this.#all.take(nowMs, below(random, COSTS))) sendReset(arena, pdu, random);
  }

  #mayTell({ addresses, protocol, src }: Pdu, nowMs: number): boolean {
    const random = this.#random;
    if (!isIpv6(protocol)) {
      this.#buckets ??= new SourceBuckets({ keyWords: 1, maxBuckets: MAX_BUCKETS, random });
      this.#buckets.key[0] = src;
      return this.#buckets.take(TO_ONE, nowMs);
    }
    this.#buckets6 ??= new SourceBuckets({ keyWords: 2, maxBuckets: MAX_BUCKETS, random });
    this.#buckets6.key[0] = addresses[0]!;
    this.#buckets6.key[1] = addresses[1]!;
    return this.#buckets6.take(TO_ONE, nowMs);
  }
}
