/**
 * The proxy's own ICMP messages (RFC 792): echo replies, and errors about dropped packets. What is
 * ICMPv6's alone is in `icmp6.ts`.
 */
import type { Address } from "../wire/address.ts";
import type { Arena } from "../core/arena.ts";
import type { Random } from "../core/random.ts";
import { type Rate, rateOf, SourceBuckets } from "../core/source_buckets.ts";
import { TokenBucket } from "../core/token_bucket.ts";
import { type Chain, SILENT } from "../wire/extension_headers.ts";
import { complement, delta16, sumBytes, updated } from "../wire/checksum.ts";
import { ADDRESS6_WORDS } from "../wire/address6.ts";
import * as ethernet from "../wire/ethernet.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import * as ipv4 from "../wire/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../wire/ipv6.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import type { Pdu } from "../wire/pdu.ts";
import type { OwnAddresses6 } from "./admit6.ts";
import { deservesError6, MAX_QUOTE6_BYTES } from "./icmp6.ts";
import { beginReply, layer4Of, sendReply } from "./reply.ts";

/** RFC 1812 §4.3.2.3: an error quotes as much as fits into a datagram of 576 bytes. */
export const MAX_QUOTE_BYTES: number = 576 - ipv4.IPV4_MIN_BYTES - icmpv4.ICMP_BYTES;

/** Errors a second and in a burst (RFC 1812 §4.3.2.8), in all and to one source. */
const ERRORS_PER_SECOND = 100;
const ERRORS_AT_ONCE = 50;
const TO_ONE = rateOf(20, 20);

/** "Fragmentation needed" and "packet too big" to one connection, or to a source without one. */
const TOO_LONG = rateOf(100, 100);

/** Most connections and sources with a limit of their own. */
const MAX_BUCKETS = 1 << 15;

// First word of a bucket's key: what it limits; then an address, a connection's reference, or of
// IPv6 the upper half of an address: one host has as many as it likes of the lower ones.
const OF_SOURCE = 0;
const TOO_LONG_OF_SOURCE = 1;
const TOO_LONG_OF_CONNECTION = 2;

/**
 * Turns the echo request into its reply, in place (RFC 1122 §3.2.2.6): to the station that sent the
 * frame, so that no ARP is needed.
 */
export function makeEchoReply(view: DataView, pdu: Pdu): void {
  ethernet.turnAround(view, pdu.frame);
  ipv4.setSource(view, pdu.ip, pdu.dst);
  ipv4.setDestination(view, pdu.ip, pdu.src);
  const ttls = delta16(pdu.ttl << 8, ipv4.DEFAULT_TTL << 8);
  ipv4.setChecksum(view, pdu.ip, updated(ipv4.checksum(view, pdu.ip), ttls));
  ipv4.setTtl(view, pdu.ip, ipv4.DEFAULT_TTL);
  icmpv4.setType(view, pdu.l4, icmpv4.ICMP_ECHO_REPLY);
  const types = delta16(icmpv4.ICMP_ECHO_REQUEST << 8, icmpv4.ICMP_ECHO_REPLY << 8);
  icmpv4.updateChecksum(view, pdu.l4, pdu.end, types);
}

/**
 * Sends ICMP errors, rate limited, and never about those of RFC 1812 §4.3.2.7.
 *
 * A sender that misses "fragmentation needed" can't send at all (RFC 2923 §2.1), so it is limited
 * for each connection or source alone: other errors and other senders, from however many addresses,
 * can't use up its limit. It has no limit in all: it is shorter than the packet that causes it.
 */
export class IcmpErrors {
  readonly #random: Random;
  readonly #all: TokenBucket;
  readonly #buckets: SourceBuckets;
  /** Made for the first error about IPv6. */
  #buckets6: SourceBuckets | null = null;

  constructor(random: Random, nowMs: number) {
    this.#random = random;
    this.#all = new TokenBucket(ERRORS_PER_SECOND, ERRORS_AT_ONCE, nowMs);
    this.#buckets = new SourceBuckets({ keyWords: 2, maxBuckets: MAX_BUCKETS, random });
  }

  /**
   * Queues an error of `type` and `code` about `pdu`, which must not have been rewritten yet, from
   * the proxy's address `own`; `rest` is bytes 4 to 7. An offloaded segment is quoted as received,
   * as Linux does: with its full length and a partial checksum.
   *
   * Returns false when none is sent: for an ICMP error, above a limit, or without buffer space.
   */
  send(
    arena: Arena,
    pdu: Pdu,
    own: Address,
    type: number,
    code: number,
    rest: number,
    nowMs: number,
  ): boolean {
    if (pdu.protocol === ipv4.PROTOCOL_ICMP && !isQuery(pdu.icmpType)) return false;
    if (!this.#mayTell(pdu, type, code, nowMs)) return false;
    const quoted = Math.min(MAX_QUOTE_BYTES, pdu.end - pdu.ip);
    const l4Bytes = icmpv4.ICMP_BYTES + quoted;
    const frame = beginReply(arena, pdu, {
      src: own,
      protocol: ipv4.PROTOCOL_ICMP,
      l4Bytes,
      tos: 0xc0, // internetwork control: RFC 1812 §4.3.2.5
      id: this.#random.uint32() & 0xffff,
      flags: 0,
    });
    if (frame < 0) return false;
    const { bytes, view } = arena;
    const icmp = layer4Of(view, frame);
    icmpv4.writeHeader(view, icmp, type, code, rest);
    bytes.copyWithin(icmp + icmpv4.ICMP_BYTES, pdu.ip, pdu.ip + quoted);
    icmpv4.setChecksum(view, icmp, complement(sumBytes(view, icmp, l4Bytes, 0)));
    return sendReply(arena, frame, l4Bytes);
  }

  /**
   * As `send`, an ICMPv6 error about a packet of IPv6, from one of the proxy's addresses on the
   * link. The chain of `pdu` need not have been whole.
   */
  send6(
    arena: Arena,
    pdu: Pdu,
    own: OwnAddresses6,
    type: number,
    code: number,
    rest: number,
    nowMs: number,
  ): boolean {
    if (!deservesError6(arena.view, pdu, own, type, code, rest)) return false;
    const source = own.sourceFor(pdu);
    if (!own.isUsable(source) || !this.#mayTell6(pdu, type, nowMs)) return false;
    const quoted = Math.min(MAX_QUOTE6_BYTES, pdu.end - pdu.ip);
    const l4Bytes = icmpv6.ICMPV6_BYTES + quoted;
    const at = ADDRESS6_WORDS * source;
    const frame = beginReply(arena, pdu, {
      src: own.words.subarray(at, at + ADDRESS6_WORDS),
      protocol: PROTOCOL_ICMPV6,
      l4Bytes,
      tos: 0,
      id: 0,
      flags: 0,
    });
    if (frame < 0) return false;
    const { bytes, view } = arena;
    ethernet.setSource(view, frame, own.mac.hi, own.mac.lo); // the frame may have been a group's
    const icmp = layer4Of(view, frame);
    icmpv6.writeHeader(view, icmp, type, code, rest);
    bytes.copyWithin(icmp + icmpv6.ICMPV6_BYTES, pdu.ip, pdu.ip + quoted);
    icmpv6.writeChecksum(view, frame + ethernet.ETHERNET_BYTES, icmp, icmp + l4Bytes);
    return sendReply(arena, frame, l4Bytes);
  }

  /**
   * Tells the sender what is wrong with the chain of extension headers of `pdu`, if it was for the
   * proxy and its sender may be told; false if nothing is sent.
   */
  tellChainFault(
    arena: Arena,
    pdu: Pdu,
    own: OwnAddresses6,
    chain: Readonly<Chain>,
    nowMs: number,
  ): boolean {
    const { code, pointer } = chain;
    const { addresses } = pdu;
    if (code === SILENT || !(own.has(addresses, 4) || own.listensTo(addresses, 4))) return false;
    const type = icmpv6.ICMPV6_PARAMETER_PROBLEM;
    return this.send6(arena, pdu, own, type, code, pointer, nowMs);
  }

  #mayTell6({ addresses, flow }: Pdu, type: number, nowMs: number): boolean {
    if (type !== icmpv6.ICMPV6_PACKET_TOO_BIG) {
      return this.#take6(OF_SOURCE, addresses[0]!, addresses[1]!, TO_ONE, nowMs) &&
        this.#all.take(nowMs);
    }
    return flow >= 0
      ? this.#take6(TOO_LONG_OF_CONNECTION, flow, 0, TOO_LONG, nowMs)
      : this.#take6(TOO_LONG_OF_SOURCE, addresses[0]!, addresses[1]!, TOO_LONG, nowMs);
  }

  #take6(kind: number, word0: number, word1: number, rate: Rate, nowMs: number): boolean {
    const random = this.#random;
    this.#buckets6 ??= new SourceBuckets({ keyWords: 3, maxBuckets: MAX_BUCKETS, random });
    const { key } = this.#buckets6;
    key[0] = kind;
    key[1] = word0;
    key[2] = word1;
    return this.#buckets6.take(rate, nowMs);
  }

  #mayTell(pdu: Pdu, type: number, code: number, nowMs: number): boolean {
    if (type === icmpv4.ICMP_UNREACHABLE && code === icmpv4.CODE_FRAGMENTATION_NEEDED) {
      return pdu.flow >= 0
        ? this.#take(TOO_LONG_OF_CONNECTION, pdu.flow, TOO_LONG, nowMs)
        : this.#take(TOO_LONG_OF_SOURCE, pdu.src, TOO_LONG, nowMs);
    }
    return this.#take(OF_SOURCE, pdu.src, TO_ONE, nowMs) && this.#all.take(nowMs);
  }

  #take(kind: number, of: number, rate: Rate, nowMs: number): boolean {
    const { key } = this.#buckets;
    key[0] = kind;
    key[1] = of;
    return this.#buckets.take(rate, nowMs);
  }
}

/** RFC 1812 §4.3.2.7: no error about an error, and an unknown type may be one. */
function isQuery(type: number): boolean {
  return icmpv4.ICMP_TYPES[type]?.query === true;
}
