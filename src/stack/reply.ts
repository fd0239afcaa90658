/**
 * Packets of the proxy's own: to anybody, or back to the station and host that a PDU came from. The
 * type of their addresses says which family they are of.
 */
import type { Address } from "../wire/address.ts";
import type { Address6 } from "../wire/address6.ts";
import type { Arena } from "../core/arena.ts";
import { complement, halves, sumBytes } from "../wire/checksum.ts";
import * as ethernet from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { OVER_IPV6, type Pdu } from "../wire/pdu.ts";

/** Where both addresses are in the header, and how long they are. */
const ADDRESSES4 = ethernet.ETHERNET_BYTES + 12;
const ADDRESSES4_BYTES = 8;
const ADDRESSES6 = ethernet.ETHERNET_BYTES + ipv6.SOURCE;
const ADDRESSES6_BYTES = 32;

/** An address of either family: of IPv6 its four words. */
export type PacketAddress = Address | Address6;

/** What an own packet's header says, beside its receiver. */
export interface OwnHeader {
  readonly src: PacketAddress;
  readonly protocol: number;
  readonly l4Bytes: number;
  /** Type of service or traffic class. */
  readonly tos: number;
  /** IPv4's alone. */
  readonly id: number;
  readonly flags: number;
}

/**
 * Takes room for a packet to `dst` and writes its headers, all but the Ethernet addresses. Returns
 * the frame's offset, or -1 if there is no room; `layer4Of` it is where its `l4Bytes` bytes of
 * layer 4 go.
 */
export function beginPacket(arena: Arena, dst: PacketAddress, header: OwnHeader): number {
  const { src, l4Bytes } = header;
  const isIpv4 = typeof dst === "number";
  const headerBytes = isIpv4 ? ipv4.IPV4_MIN_BYTES : ipv6.IPV6_BYTES;
  const frame = arena.scratch(ethernet.ETHERNET_BYTES + headerBytes + l4Bytes);
  if (frame < 0) return -1;
  const { view } = arena;
  ethernet.setEtherType(
    view,
    frame,
    isIpv4 ? ethernet.ETHERTYPE_IPV4 : ethernet.ETHERTYPE_IPV6,
  );
  const ip = frame + ethernet.ETHERNET_BYTES;
  if (!isIpv4) {
    ipv6.writeHeader(view, ip, {
      trafficClass: header.tos,
      flowLabel: 0,
      payloadLength: l4Bytes,
      nextHeader: header.protocol,
      hopLimit: ipv6.DEFAULT_HOP_LIMIT,
      src: src as Address6,
      dst,
    });
    return frame;
  }
  ipv4.writeHeader(view, ip, {
    totalLength: ipv4.IPV4_MIN_BYTES + l4Bytes,
    tos: header.tos,
    id: header.id,
    flags: header.flags,
    ttl: ipv4.DEFAULT_TTL,
    protocol: header.protocol,
    src: src as Address,
    dst,
  });
  ipv4.setChecksum(view, ip, complement(sumBytes(view, ip, ipv4.IPV4_MIN_BYTES, 0)));
  return frame;
}

/** As `beginPacket`, for an answer to `pdu`, which must not have been rewritten yet. */
export function beginReply(arena: Arena, pdu: Pdu, header: OwnHeader): number {
  const frame = beginPacket(arena, sourceOf(pdu), header);
  if (frame < 0) return -1;
  const { view } = arena;
  const { ETHERNET_BYTES } = ethernet;
  const etherType = ethernet.etherType(view, frame);
  arena.bytes.copyWithin(frame, pdu.frame, pdu.frame + ETHERNET_BYTES);
  ethernet.setEtherType(view, frame, etherType);
  ethernet.turnAround(view, frame);
  return frame;
}

/** Queues an answer whose layer 4 has been written; false when the list is full. */
export function sendReply(arena: Arena, frame: number, l4Bytes: number): boolean {
  return arena.send(frame, layer4Of(arena.view, frame) - frame + l4Bytes);
}

/** Layer 4 of a packet of the proxy's own. */
export function layer4Of(view: DataView, frame: number): number {
  const ip = frame + ethernet.ETHERNET_BYTES;
  return ip + (isOverIpv6(view, frame) ? ipv6.IPV6_BYTES : ipv4.IPV4_MIN_BYTES);
}

/** Checksum of the finished layer 4 of such a packet, whose own field is 0 as yet. */
export function layer4Checksum(
  view: DataView,
  frame: number,
  protocol: number,
  l4Bytes: number,
): number {
  const pseudoHeader = isOverIpv6(view, frame)
    ? sumBytes(view, frame + ADDRESSES6, ADDRESSES6_BYTES, protocol + halves(l4Bytes))
    : sumBytes(view, frame + ADDRESSES4, ADDRESSES4_BYTES, protocol + l4Bytes);
  return complement(sumBytes(view, layer4Of(view, frame), l4Bytes, pseudoHeader));
}

export function sourceOf(pdu: Pdu): PacketAddress {
  return (pdu.protocol & OVER_IPV6) !== 0 ? pdu.addresses.subarray(0, 4) : pdu.src;
}

export function destinationOf(pdu: Pdu): PacketAddress {
  return (pdu.protocol & OVER_IPV6) !== 0 ? pdu.addresses.subarray(4, 8) : pdu.dst;
}

function isOverIpv6(view: DataView, frame: number): boolean {
  return ethernet.etherType(view, frame) === ethernet.ETHERTYPE_IPV6;
}
