/**
 * RSTs of the proxy's own: to refuse a TCP segment, as a closed port does (RFC 9293 §3.10.7.1), and
 * to end a connection (§3.5.3).
 */
import type { Arena } from "../core/arena.ts";
import type { Random } from "../core/random.ts";
import { ETHERNET_BYTES } from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import { IPV6_BYTES } from "../wire/ipv6.ts";
import type { Pdu } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import {
  beginPacket,
  beginReply,
  destinationOf,
  layer4Checksum,
  layer4Of,
  type OwnHeader,
  type PacketAddress,
  sendReply,
  sourceOf,
} from "./reply.ts";

/** Length of an RST's frame, by family, and at most. */
export const RESET_FRAME_BYTES: number = ETHERNET_BYTES + ipv4.IPV4_MIN_BYTES + tcp.TCP_MIN_BYTES;
export const RESET6_FRAME_BYTES: number = ETHERNET_BYTES + IPV6_BYTES + tcp.TCP_MIN_BYTES;

/** An RST's addresses and numbers; the ACK flag is set where `ack` is not null. */
export interface Reset {
  readonly src: PacketAddress;
  readonly dst: PacketAddress;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly seq: number;
  readonly ack: number | null;
}

/**
 * Queues an RST to the sender of `pdu`, a TCP segment that was not rewritten. Returns false when
 * none is sent: for an RST, or without buffer space.
 */
export function sendReset(arena: Arena, pdu: Pdu, random: Random): boolean {
  if ((pdu.tcpFlags & tcp.RST) !== 0) return false;
  const src = destinationOf(pdu);
  const frame = beginReply(arena, pdu, headerOf(src, random));
  if (frame < 0) return false;
  const acknowledges = (pdu.tcpFlags & tcp.ACK) !== 0;
  writeReset(arena.view, frame, {
    src,
    dst: sourceOf(pdu),
    srcPort: pdu.dstPort,
    dstPort: pdu.srcPort,
    seq: acknowledges ? pdu.ack : 0,
    ack: acknowledges ? null : (pdu.seq + tcp.segmentLength(pdu)) | 0,
  });
  return sendReply(arena, frame, tcp.TCP_MIN_BYTES);
}

/** Makes the frame of an RST, without Ethernet addresses: its offset, or -1 if there is no room. */
export function makeReset(arena: Arena, reset: Reset, random: Random): number {
  const frame = beginPacket(arena, reset.dst, headerOf(reset.src, random));
  if (frame >= 0) writeReset(arena.view, frame, reset);
  return frame;
}

function headerOf(src: PacketAddress, random: Random): OwnHeader {
  return {
    src,
    protocol: ipv4.PROTOCOL_TCP,
    l4Bytes: tcp.TCP_MIN_BYTES,
    tos: 0,
    id: typeof src === "number" ? random.uint32() & 0xffff : 0,
    flags: ipv4.DONT_FRAGMENT,
  };
}

function writeReset(view: DataView, frame: number, reset: Reset): void {
  const segment = layer4Of(view, frame);
  tcp.writeHeader(view, segment, {
    srcPort: reset.srcPort,
    dstPort: reset.dstPort,
    seq: reset.seq,
    ack: reset.ack ?? 0,
    flags: reset.ack === null ? tcp.RST : tcp.RST | tcp.ACK,
  });
  const checksum = layer4Checksum(view, frame, ipv4.PROTOCOL_TCP, tcp.TCP_MIN_BYTES);
  tcp.setChecksum(view, segment, checksum);
}
