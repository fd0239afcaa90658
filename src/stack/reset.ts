/** Rejects a TCP segment with an RST, as a closed port does (RFC 9293 §3.10.7.1). */
import type { Arena } from "../core/arena.ts";
import type { Random } from "../core/random.ts";
import { complement, pseudoHeaderSum, sumBytes } from "../wire/checksum.ts";
import * as ipv4 from "../wire/ipv4.ts";
import type { Pdu } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import { beginReply, sendReply } from "./reply.ts";

/**
 * Queues an RST to the sender of `pdu`, a TCP segment that was not rewritten. Returns false when
 * none is sent: for an RST, or without buffer space.
 */
export function sendReset(arena: Arena, pdu: Pdu, random: Random): boolean {
  if ((pdu.tcpFlags & tcp.RST) !== 0) return false;
  const segment = beginReply(arena, pdu, {
    src: pdu.dst,
    protocol: ipv4.PROTOCOL_TCP,
    l4Bytes: tcp.TCP_MIN_BYTES,
    tos: 0,
    id: random.uint32() & 0xffff,
    flags: ipv4.DONT_FRAGMENT,
  });
  if (segment < 0) return false;
  const { view } = arena;
  const acknowledges = (pdu.tcpFlags & tcp.ACK) !== 0;
  tcp.writeHeader(view, segment, {
    srcPort: pdu.dstPort,
    dstPort: pdu.srcPort,
    seq: acknowledges ? pdu.ack : 0,
    ack: acknowledges ? 0 : (pdu.seq + tcp.segmentLength(pdu)) | 0,
    flags: acknowledges ? tcp.RST : tcp.RST | tcp.ACK,
  });
  const pseudo = pseudoHeaderSum(pdu.dst, pdu.src, ipv4.PROTOCOL_TCP, tcp.TCP_MIN_BYTES);
  tcp.setChecksum(view, segment, complement(sumBytes(view, segment, tcp.TCP_MIN_BYTES, pseudo)));
  return sendReply(arena, segment, tcp.TCP_MIN_BYTES);
}
