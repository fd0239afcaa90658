/**
 * Fragments packets that are longer than the MTU, or came in fragments: of IPv4 (RFC 791 §3.2)
 *
 *     | Ethernet | IP, all options | data 0 … n | … | … |     one frame, becomes
 *
 *     | Ethernet | IP, all options    | data 0 … n |          in place
 *     | Ethernet | IP, copied options | data n … m |          in scratch space, one for each
 *
 * and of IPv6 those that came in fragments (RFC 8200 §4.5), as nobody else may cut one:
 *
 *     | Ethernet | IPv6, headers | fragment header | data n … m |   in scratch space, all of them
 *
 * Each fragmented packet gets an identification of the proxy's own. Otherwise two clients' packets
 * could have the same (source, destination, protocol, identification) at a backend, which would mix
 * up their fragments (RFC 6864 §5.3.1).
 */
import type { Arena } from "../core/arena.ts";
import type { Random } from "../core/random.ts";
import { Reason } from "../core/reason.ts";
import { complement, sumBytes } from "../wire/checksum.ts";
import { ETHERNET_BYTES } from "../wire/ethernet.ts";
import {
  extensionBytes,
  FRAGMENT_BYTES,
  HEADER_FRAGMENT,
  HEADER_HOP_BY_HOP,
  HEADER_ROUTING,
  isExtension,
  MORE_FRAGMENTS6,
  writeFragmentHeader,
} from "../wire/extension_headers.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { OVER_IPV6, type Pdu } from "../wire/pdu.ts";
import * as vnet from "../wire/vnet.ts";

/**
 * A packet that was received in fragments is sent in fragments no longer than those (a router on
 * the path may need them that short), but not shorter than what every host accepts (RFC 791 §3.1)
 * or, of IPv6, every link.
 */
const MIN_FRAGMENT_BYTES = 576;

/** Most fragments of one packet at the MTU of any usual link: 65,515 bytes, 552 in each. */
export const MAX_PACKET_FRAGMENTS = 128;

/** Sends one finished fragment; returns 0 or a reason. */
export type SendFragment = (frame: number, lengthBytes: number) => number;

/**
 * True if the PDU fits that MTU as it is: as one packet, or as the segments that the interface
 * splits it into.
 */
export function leavesWhole({ view }: Arena, pdu: Pdu, mtuBytes: number): boolean {
  if (pdu.totalLength <= mtuBytes && pdu.fragmentBytes === 0) return true;
  if (!vnet.isSegmented(view, pdu.frame)) return pdu.totalLength <= limitOf(pdu, mtuBytes);
  return pdu.payload - pdu.ip + vnet.segmentBytes(view, pdu.frame) <= mtuBytes;
}

/** Longest packet or fragment that the PDU may be sent in. */
function limitOf(pdu: Pdu, mtuBytes: number): number {
  const isIpv6 = (pdu.protocol & OVER_IPV6) !== 0;
  const mtu = Math.max(isIpv6 ? ipv6.MIN_MTU6_BYTES : ipv4.MIN_MTU_BYTES, mtuBytes);
  if (pdu.fragmentBytes === 0) return mtu;
  return Math.min(
    mtu,
    Math.max(isIpv6 ? ipv6.MIN_MTU6_BYTES : MIN_FRAGMENT_BYTES, pdu.fragmentBytes),
  );
}

export class Fragmenter {
  readonly #random: Random;
  #identifications: Identifications | null = null;

  constructor(random: Random) {
    this.#random = random;
  }

  /** For a packet of IPv4 that is made of one of IPv6, and may be fragmented on its way. */
  identification(): number {
    this.#identifications ??= new Identifications(this.#random);
    return this.#identifications.next();
  }

  /**
   * Splits a PDU that does not fit that MTU into fragments and passes them to `send`, in order.
   * Returns 0, the first reason that `send` returned, or no-buffer when scratch space is used up;
   * then the rest is not sent.
   *
   * A TCP segment that the interface is to split is passed on whole, with a smaller segment size:
   * that avoids fragments, and segment boundaries mean nothing in a byte stream.
   */
  split(arena: Arena, pdu: Pdu, mtuBytes: number, send: SendFragment): number {
    const { bytes, view } = arena;
    const { frame, ip, end } = pdu;
    if (vnet.isSegmented(view, frame)) {
      const room = mtuBytes - (pdu.payload - ip);
      if (room < vnet.MIN_SEGMENT_BYTES) return Reason["mtu-exceeded"];
      vnet.setSegmentBytes(view, frame, room);
      return send(frame, end - frame);
    }
    const limitBytes = limitOf(pdu, mtuBytes);
    vnet.completeChecksum(view, frame, end); // the interface can't compute it over fragments
    if ((pdu.protocol & OVER_IPV6) !== 0) return this.#split6(arena, pdu, limitBytes, send);
    const headerBytes = ipv4.headerBytes(view, ip);
    ipv4.setIdentification(view, ip, this.identification());

    const data = ip + headerBytes;
    const firstBytes = (limitBytes - headerBytes) & ~7;
    finish(view, ip, firstBytes, ipv4.MORE_FRAGMENTS);
    let reason = send(frame, ETHERNET_BYTES + headerBytes + firstBytes);

    for (let at = data + firstBytes; at < end && reason === 0;) {
      const room = Math.min(limitBytes, headerBytes + end - at);
      const fragment = arena.scratch(ETHERNET_BYTES + room);
      if (fragment < 0) return Reason["no-buffer"];
      const header = fragment + ETHERNET_BYTES;
      bytes.copyWithin(fragment, frame, ip + ipv4.IPV4_MIN_BYTES);
      const optionBytes = ipv4.copyFragmentOptions(view, ip, header + ipv4.IPV4_MIN_BYTES);
      const laterBytes = ipv4.IPV4_MIN_BYTES + optionBytes;
      ipv4.setHeaderBytes(view, header, laterBytes);
      const isLast = laterBytes + end - at <= limitBytes;
      const dataBytes = isLast ? end - at : (limitBytes - laterBytes) & ~7;
      bytes.copyWithin(header + laterBytes, at, at + dataBytes);
      const offset = (at - data) / 8;
      finish(view, header, dataBytes, isLast ? offset : offset | ipv4.MORE_FRAGMENTS);
      reason = send(fragment, ETHERNET_BYTES + laterBytes + dataBytes);
      at += dataBytes;
    }
    return reason;
  }

  #split6(arena: Arena, pdu: Pdu, limitBytes: number, send: SendFragment): number {
    const { bytes, view } = arena;
    const { frame, ip, end } = pdu;
    const named = lastUnfragmentable(view, ip);
    const data = behind(view, ip, named);
    const nextHeader = view.getUint8(named);
    const identification = this.#random.uint32() | 0;
    const headerBytes = data - ip + FRAGMENT_BYTES;
    for (let at = data; at < end;) {
      const isLast = headerBytes + end - at <= limitBytes;
      const dataBytes = isLast ? end - at : (limitBytes - headerBytes) & ~7;
      const fragment = arena.scratch(ETHERNET_BYTES + headerBytes + dataBytes);
      if (fragment < 0) return Reason["no-buffer"];
      bytes.copyWithin(fragment, frame, data);
      view.setUint8(fragment + named - frame, HEADER_FRAGMENT);
      const payloadBytes = headerBytes - ipv6.IPV6_BYTES + dataBytes;
      ipv6.setPayloadLength(view, fragment + ETHERNET_BYTES, payloadBytes);
      const header = fragment + data - frame;
      const place = at - data | (isLast ? 0 : MORE_FRAGMENTS6);
      writeFragmentHeader(view, header, nextHeader, place, identification);
      bytes.copyWithin(header + FRAGMENT_BYTES, at, at + dataBytes);
      const reason = send(fragment, ETHERNET_BYTES + headerBytes + dataBytes);
      if (reason !== 0) return reason;
      at += dataBytes;
    }
    return 0;
  }
}

/**
 * Offset of the byte that names what follows the headers of a packet that each fragment has: those
 * up to a routing header, or hop-by-hop options (RFC 8200 §4.5). It is the first of the last one of
 * them.
 */
function lastUnfragmentable(view: DataView, ip: number): number {
  let named = ip + ipv6.NEXT_HEADER;
  let protocol = view.getUint8(named);
  for (let at = ip + ipv6.IPV6_BYTES; isExtension(protocol);) {
    if (protocol === HEADER_HOP_BY_HOP || protocol === HEADER_ROUTING) named = at;
    const lengthBytes = extensionBytes(view, at, protocol);
    protocol = view.getUint8(at);
    at += lengthBytes;
  }
  return named;
}

/** Where the headers end of which that byte is in the last. */
function behind(view: DataView, ip: number, named: number): number {
  if (named === ip + ipv6.NEXT_HEADER) return ip + ipv6.IPV6_BYTES;
  return named + extensionBytes(view, named, HEADER_HOP_BY_HOP);
}

/** Writes what differs from fragment to fragment. */
function finish(view: DataView, ip: number, dataBytes: number, flagsAndOffset: number): void {
  const headerBytes = ipv4.headerBytes(view, ip);
  ipv4.setTotalLength(view, ip, headerBytes + dataBytes);
  ipv4.setFlagsAndOffset(view, ip, flagsAndOffset);
  ipv4.setChecksum(view, ip, 0);
  ipv4.setChecksum(view, ip, complement(sumBytes(view, ip, headerBytes, 0)));
}

/**
 * 16-bit numbers other than 0, each once in 65,535: a counter, scrambled by a secret odd factor and
 * mask.
 */
class Identifications {
  readonly #factor: number;
  readonly #mask: number;
  #count: number;

  constructor(random: Random) {
    this.#factor = (random.uint32() & 0xffff) | 1;
    this.#mask = random.uint32() & 0xffff;
    this.#count = random.uint32() & 0xffff;
  }

  next(): number {
    this.#count = (this.#count + 1) & 0xffff;
    const id = (Math.imul(this.#count, this.#factor) & 0xffff) ^ this.#mask;
    return id === 0 ? this.next() : id;
  }
}

/** True if the PDU's DF bit is set; over IPv6 unless it came in fragments. */
export function dontFragment(view: DataView, pdu: Pdu): boolean {
  if ((pdu.protocol & OVER_IPV6) !== 0) return pdu.fragmentBytes === 0;
  return (ipv4.flagsAndOffset(view, pdu.ip) & ipv4.DONT_FRAGMENT) !== 0;
}
