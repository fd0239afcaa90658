/**
 * RSTs of the proxy's own: to refuse a TCP segment, as a closed port does (RFC 9293 §3.10.7.1), and
 * to end a connection (§3.5.3).
 */
import type { Address } from "../wire/address.ts";
import type { Arena } from "../core/arena.ts";
import type { Random } from "../core/random.ts";
import { complement, pseudoHeaderSum, sumBytes } from "../wire/checksum.ts";
import { ETHERNET_BYTES } from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import type { Pdu } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import { beginPacket, beginReply, frameOf, type OwnHeader, sendReply } from "./reply.ts";

/** Length of an RST's frame. */
export const RESET_FRAME_BYTES: number = ETHERNET_BYTES + ipv4.IPV4_MIN_BYTES + tcp.TCP_MIN_BYTES;

/** An RST's addresses and numbers; the ACK flag is set where `ack` is not null. */
export interface Reset {
  readonly src: Address;
  readonly dst: Address;
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
  const segment = beginReply(arena, pdu, headerOf(pdu.dst, random));
  if (segment < 0) return false;
  const acknowledges = (pdu.tcpFlags & tcp.ACK) !== 0;
  writeReset(arena.view, segment, {
    src: pdu.dst,
    dst: pdu.src,
    srcPort: pdu.dstPort,
    dstPort: pdu.srcPort,
    seq: acknowledges ? pdu.ack : 0,
    ack: acknowledges ? null : (pdu.seq + segmentLength(pdu)) | 0,
  });
  return sendReply(arena, segment, tcp.TCP_MIN_BYTES);
}

/** Makes the frame of an RST, without Ethernet addresses: its offset, or -1 if there is no room. */
export function makeReset(arena: Arena, reset: Reset, random: Random): number {
  const segment = beginPacket(arena, reset.dst, headerOf(reset.src, random));
  if (segment < 0) return -1;
  writeReset(arena.view, segment, reset);
  return frameOf(segment);
}

function headerOf(src: Address, random: Random): OwnHeader {
  return {
    src,
    protocol: ipv4.PROTOCOL_TCP,
    l4Bytes: tcp.TCP_MIN_BYTES,
    tos: 0,
    id: random.uint32() & 0xffff,
    flags: ipv4.DONT_FRAGMENT,
  };
}

function writeReset(view: DataView, segment: number, reset: Reset): void {
  tcp.writeHeader(view, segment, {
    srcPort: reset.srcPort,
    dstPort: reset.dstPort,
    seq: reset.seq,
    ack: reset.ack ?? 0,
    flags: reset.ack === null ? tcp.RST : tcp.RST | tcp.ACK,
  });
  const pseudo = pseudoHeaderSum(reset.src, reset.dst, ipv4.PROTOCOL_TCP, tcp.TCP_MIN_BYTES);
  tcp.setChecksum(view, segment, complement(sumBytes(view, segment, tcp.TCP_MIN_BYTES, pseudo)));
}

/** Sequence numbers that the segment takes: its data, and one for each of SYN and FIN. */
function segmentLength(pdu: Pdu): number {
  const syn = (pdu.tcpFlags & tcp.SYN) !== 0 ? 1 : 0;
  const fin = (pdu.tcpFlags & tcp.FIN) !== 0 ? 1 : 0;
  return pdu.end - pdu.payload + syn + fin;
}
