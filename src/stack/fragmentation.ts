/**
 * Cuts an IPv4 packet that is longer than the way allows into fragments (RFC 791 §3.2).
 *
 *     | Ethernet | IP, all options | data 0 … n | … | … |     one frame, becomes
 *
 *     | Ethernet | IP, all options    | data 0 … n |          in place
 *     | Ethernet | IP, copied options | data n … m |          in scratch space, one for each
 *
 * Each packet that is cut gets an identification of the proxy's own. Fragments of two clients' packets
 * would otherwise meet under one (source, destination, protocol, identification) at a backend, which
 * puts together what does not belong together (RFC 6864 §5.3.1).
 */
import type { Arena } from "../core/arena.ts";
import type { Random } from "../core/random.ts";
import { Reason } from "../core/reason.ts";
import { complement, sumBytes } from "../wire/checksum.ts";
import { ETHERNET_BYTES } from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import type { Pdu } from "../wire/pdu.ts";
import * as vnet from "../wire/vnet.ts";

/**
 * What came in fragments leaves in fragments no longer than those (a router on the way may have needed
 * them so short), but never shorter than what every host takes (RFC 791 §3.1).
 */
const MIN_FRAGMENT_BYTES = 576;

/** Most fragments of one packet at the MTU of any usual link: 65,515 bytes, 552 in each. */
export const MAX_PACKET_FRAGMENTS = 128;

/** Takes one finished fragment; returns 0 or a reason. */
export type SendFragment = (frame: number, lengthBytes: number) => number;

/**
 * True if the PDU may leave as it is through a device with that MTU: as one packet, or as those that the
 * interface is to cut it into.
 */
export function leavesWhole({ view }: Arena, pdu: Pdu, mtuBytes: number): boolean {
  if (pdu.totalLength <= mtuBytes && pdu.fragmentBytes === 0) return true;
  if (!vnet.isSegmented(view, pdu.frame)) return pdu.totalLength <= limitOf(pdu, mtuBytes);
  return pdu.payload - pdu.ip + vnet.segmentBytes(view, pdu.frame) <= mtuBytes;
}

/** Longest packet that the PDU may leave in. */
function limitOf(pdu: Pdu, mtuBytes: number): number {
  const mtu = Math.max(ipv4.MIN_MTU_BYTES, mtuBytes);
  return pdu.fragmentBytes === 0
    ? mtu
    : Math.min(mtu, Math.max(MIN_FRAGMENT_BYTES, pdu.fragmentBytes));
}

export class Fragmenter {
  readonly #random: Random;
  #identifications: Identifications | null = null;

  constructor(random: Random) {
    this.#random = random;
  }

  /**
   * Hands the PDU, a packet that does not leave whole, to `send` in fragments that a device with that
   * MTU takes, the first one first. Returns 0, the first reason that `send` gave, or no-buffer when the
   * scratch space is used up; then the rest is not sent.
   *
   * A TCP segment that the interface is to cut up is handed over whole, to be cut finer: where a byte
   * stream is cut is nobody's concern, and its receiver is spared the fragments.
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
    const headerBytes = ipv4.headerBytes(view, ip);
    const limitBytes = limitOf(pdu, mtuBytes);
    vnet.completeChecksum(view, frame, end); // no fragment can carry it
    this.#identifications ??= new Identifications(this.#random);
    ipv4.setIdentification(view, ip, this.#identifications.next());

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
 * 16-bit numbers, none of them 0, and each only once in 65,535: an odd factor and an offset that nobody
 * knows spread a counter over all of them.
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

/** True if the sender of the PDU wants it whole or not at all. */
export function dontFragment(view: DataView, pdu: Pdu): boolean {
  return (ipv4.flagsAndOffset(view, pdu.ip) & ipv4.DONT_FRAGMENT) !== 0;
}
