/** Packets of the proxy's own: to anybody, or back to the station and host that a PDU came from. */
import type { Address } from "../wire/address.ts";
import type { Arena } from "../core/arena.ts";
import { complement, sumBytes } from "../wire/checksum.ts";
import * as ethernet from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import type { Pdu } from "../wire/pdu.ts";

const HEADER_BYTES = ethernet.ETHERNET_BYTES + ipv4.IPV4_MIN_BYTES;

/** What an own packet's IPv4 header says, beside its receiver. */
export interface OwnHeader {
  readonly src: Address;
  readonly protocol: number;
  readonly l4Bytes: number;
  readonly tos: number;
  readonly id: number;
  readonly flags: number;
}

/**
 * Takes room for a packet to `dst` and writes its headers, all but the Ethernet addresses. Returns
 * the offset where its `l4Bytes` bytes of layer 4 go, or -1 if there is no room.
 */
export function beginPacket(arena: Arena, dst: Address, header: OwnHeader): number {
  const frame = arena.scratch(HEADER_BYTES + header.l4Bytes);
  if (frame < 0) return -1;
  const { view } = arena;
  ethernet.setEtherType(view, frame, ethernet.ETHERTYPE_IPV4);
  const ip = frame + ethernet.ETHERNET_BYTES;
  ipv4.writeHeader(view, ip, {
    totalLength: ipv4.IPV4_MIN_BYTES + header.l4Bytes,
    tos: header.tos,
    id: header.id,
    flags: header.flags,
    ttl: ipv4.DEFAULT_TTL,
    protocol: header.protocol,
    src: header.src,
    dst,
  });
  ipv4.setChecksum(view, ip, complement(sumBytes(view, ip, ipv4.IPV4_MIN_BYTES, 0)));
  return frame + HEADER_BYTES;
}

/** As `beginPacket`, for an answer to `pdu`, which must not have been rewritten yet. */
export function beginReply(arena: Arena, pdu: Pdu, header: OwnHeader): number {
  const l4 = beginPacket(arena, pdu.src, header);
  if (l4 < 0) return -1;
  const frame = frameOf(l4);
  arena.bytes.copyWithin(frame, pdu.frame, pdu.frame + ethernet.ETHERNET_BYTES);
  ethernet.turnAround(arena.view, frame);
  return l4;
}

/** Queues an answer whose layer 4 has been written at `l4`; false when the list is full. */
export function sendReply(arena: Arena, l4: number, l4Bytes: number): boolean {
  return arena.send(frameOf(l4), HEADER_BYTES + l4Bytes);
}

/** The frame of the packet whose layer 4 is at `l4`. */
export function frameOf(l4: number): number {
  return l4 - HEADER_BYTES;
}
