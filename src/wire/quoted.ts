/**
 * The packet that an ICMP error quotes (RFC 792; RFC 1812 §4.3.2.3; RFC 4884 for extensions):
 *
 *   | IPv4 header | ICMP, 8 bytes | quoted IPv4 header | quoted L4, 8 bytes or more | extensions |
 *     pdu.ip        pdu.l4          ip                   l4                         end
 *
 * RFC 5508 REQ-3: the quoted header's checksum must be right, options are skipped, and the quoted
 * layer 4 checksum is not verified: most quotes are too short for it.
 */
import { Reason } from "../core/reason.ts";
import { CORRECT, sumBytes } from "./checksum.ts";
import * as icmpv4 from "./icmpv4.ts";
import * as ipv4 from "./ipv4.ts";
import type { Pdu } from "./pdu.ts";
import * as udp from "./udp.ts";

/** Bytes of layer 4 that every error quotes (RFC 792). */
const QUOTED_L4_BYTES = 8;

/** The offsets of a quoted packet in the arena, and its tuple. */
export class Quoted {
  ip = 0;
  l4 = 0;
  /** End of the quoted packet, or of the part that is quoted; extensions follow. */
  end = 0;
  src = 0;
  dst = 0;
  protocol = 0;
  /** As in `Pdu`: a request has its identifier as source port, a reply as destination port. */
  srcPort = 0;
  dstPort = 0;
  /** 1 if the quote has a tuple: TCP, UDP or an ICMP query, whole or the first fragment. */
  hasTuple = 0;
}

/** True for the errors that concern a connection: neither redirect nor source quench (RFC 6633). */
export function quotesPacket(type: number): boolean {
  return type === icmpv4.ICMP_UNREACHABLE || type === icmpv4.ICMP_TIME_EXCEEDED ||
    type === icmpv4.ICMP_PARAMETER_PROBLEM;
}

/**
 * Fills `quoted` from an ICMP error that `decodeTransport` has accepted and `quotesPacket` is true
 * of. Returns 0, or the reason why the quote can't be used.
 */
export function decodeQuoted(view: DataView, pdu: Pdu, quoted: Quoted): number {
  const ip = pdu.l4 + icmpv4.ICMP_BYTES;
  const available = quoteEnd(view, pdu) - ip;
  if (available < ipv4.IPV4_MIN_BYTES || ipv4.version(view, ip) !== 4) return Reason["icmp-quote"];
  const headerBytes = ipv4.headerBytes(view, ip);
  const totalLength = ipv4.totalLength(view, ip);
  if (
    headerBytes < ipv4.IPV4_MIN_BYTES || available < headerBytes + QUOTED_L4_BYTES ||
    totalLength < headerBytes + QUOTED_L4_BYTES
  ) return Reason["icmp-quote"];
  if (sumBytes(view, ip, headerBytes, 0) !== CORRECT) return Reason["icmp-quote-checksum"];
  quoted.ip = ip;
  quoted.l4 = ip + headerBytes;
  quoted.end = ip + Math.min(available, totalLength);
  quoted.src = ipv4.source(view, ip);
  quoted.dst = ipv4.destination(view, ip);
  quoted.protocol = ipv4.protocol(view, ip);
  quoted.hasTuple = (ipv4.flagsAndOffset(view, ip) & ipv4.FRAGMENT_OFFSET) === 0 ? 1 : 0;
  quoted.srcPort = 0;
  quoted.dstPort = 0;
  if (quoted.hasTuple !== 0) readPorts(view, quoted);
  return 0;
}

/** Where the quote ends: RFC 4884 §4.1 counts it in 32-bit words, and extensions follow. */
function quoteEnd(view: DataView, pdu: Pdu): number {
  const start = pdu.l4 + icmpv4.ICMP_BYTES;
  const words = icmpv4.quoteWords(view, pdu.l4);
  return words === 0 ? pdu.end : Math.min(pdu.end, start + 4 * words);
}

function readPorts(view: DataView, quoted: Quoted): void {
  const { l4 } = quoted;
  if (quoted.protocol === ipv4.PROTOCOL_ICMP) {
    const type = icmpv4.type(view, l4);
    if (icmpv4.isRequest(type)) quoted.srcPort = icmpv4.identifier(view, l4);
    else if (icmpv4.isReply(type)) quoted.dstPort = icmpv4.identifier(view, l4);
    else quoted.hasTuple = 0;
  } else if (quoted.protocol === ipv4.PROTOCOL_TCP || quoted.protocol === ipv4.PROTOCOL_UDP) {
    // Both begin with their ports.
    quoted.srcPort = udp.sourcePort(view, l4);
    quoted.dstPort = udp.destinationPort(view, l4);
  } else {
    quoted.hasTuple = 0;
  }
}
