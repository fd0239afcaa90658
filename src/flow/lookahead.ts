/**
 * Looks up the connections of a whole burst before its first frame is handled, so that the cache
 * misses of a large table overlap. It reads headers that are not checked yet, so what it finds are
 * *candidates*: `Connections.classify` confirms each, or looks it up again.
 */
import { type Arena, BURST_FRAMES, OFFSET_BITS } from "../core/arena.ts";
import { ADDRESS6_WORDS } from "../wire/address6.ts";
import type { AddressDigest } from "../wire/address_digest.ts";
import { ETHERNET_BYTES, etherType, ETHERTYPE_IPV6 } from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { OVER_IPV6 } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import type { FlowTable } from "./table.ts";

/** Up to the ports of TCP or UDP after an IPv4 header without options. */
const NEEDED_BYTES = ETHERNET_BYTES + ipv4.IPV4_MIN_BYTES + 4;

/** A whole IPv6 header; ports are read behind it without asking. */
const NEEDED_BYTES6 = ETHERNET_BYTES + ipv6.IPV6_BYTES;

/** What belongs to so many entries is in the processor's cache without being asked for. */
const CACHED_ENTRIES = 4096;

export class Lookahead {
  /** References by frame, or -1. */
  readonly candidates: Int32Array<ArrayBuffer> = new Int32Array(new ArrayBuffer(4 * BURST_FRAMES));
  /** By frame, digests of the source and destination of an IPv6 header that is there whole. */
  readonly digests: Int32Array<ArrayBuffer>;
  readonly #hashes = new Int32Array(new ArrayBuffer(4 * BURST_FRAMES));
  /** The frames with such a header. */
  readonly #frames6 = new Int32Array(new ArrayBuffer(4 * BURST_FRAMES));
  readonly #digest: AddressDigest | null;
  /** The last destination and its digest: it is the same for nearly all packets, the proxy's. */
  readonly #dst = new Int32Array(ADDRESS6_WORDS);
  #dstDigest = 0;

  /** `digest`: of IPv6 addresses; null: there are none. */
  constructor(digest: AddressDigest | null = null) {
    this.#digest = digest;
    this.digests = new Int32Array(digest === null ? 0 : 2 * BURST_FRAMES);
    if (digest !== null) this.#dstDigest = digest.ofWords(this.#dst, 0);
  }

  read({ view, rx, rxCount }: Arena, table: FlowTable): void {
    const hashes = this.#hashes;
    let count6 = 0;
    for (let i = 0; i < rxCount; i++) {
      const frame = rx[2 * i]! & OFFSET_BITS;
      const frameBytes = rx[2 * i + 1]!;
      if (
        this.#digest !== null && frameBytes >= NEEDED_BYTES6 &&
        etherType(view, frame) === ETHERTYPE_IPV6
      ) {
        this.#frames6[count6++] = i;
        hashes[i] = this.#hash6(view, frame + ETHERNET_BYTES, i, table, this.#digest);
        continue;
      }
      const ip = frame + ETHERNET_BYTES;
      hashes[i] = frameBytes < NEEDED_BYTES ? 0 : table.hashOf(
        ipv4.protocol(view, ip),
        ipv4.source(view, ip),
        ipv4.destination(view, ip),
        tcp.ports(view, ip + ipv4.IPV4_MIN_BYTES),
      );
    }
    table.findAll(hashes, rxCount, this.candidates);
    if (count6 > 0 && table.count > CACHED_ENTRIES) {
      table.whole!.load(this.candidates, this.#frames6, count6);
    }
  }

  #hash6(view: DataView, ip: number, i: number, table: FlowTable, digest: AddressDigest): number {
    const src = digest.ofPacket(view, ip + ipv6.SOURCE);
    const dst = this.#ofDestination(view, ip + ipv6.DESTINATION, digest);
    this.digests[2 * i] = src;
    this.digests[2 * i + 1] = dst;
    const protocol = ipv6.nextHeader(view, ip) | OVER_IPV6;
    return table.hashOf(protocol, src, dst, tcp.ports(view, ip + ipv6.IPV6_BYTES));
  }

  #ofDestination(view: DataView, at: number, digest: AddressDigest): number {
    const word0 = view.getInt32(at);
    const word1 = view.getInt32(at + 4);
    const word2 = view.getInt32(at + 8);
    const word3 = view.getInt32(at + 12);
    const last = this.#dst;
    if (word3 !== last[3] || word0 !== last[0] || word1 !== last[1] || word2 !== last[2]) {
      last[0] = word0;
      last[1] = word1;
      last[2] = word2;
      last[3] = word3;
      this.#dstDigest = digest.of(word0, word1, word2, word3);
    }
    return this.#dstDigest;
  }
}
