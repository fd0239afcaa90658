/**
 * The packet that an ICMPv6 error quotes, as `quoted.ts` has it of IPv4 (RFC 4443 §2.4 (c); RFC
 * 4884 for extensions):
 *
 *   | IPv6 header | ICMPv6, 8 bytes | quoted IPv6 header | its extension headers | quoted L4 | … |
 *     pdu.ip        pdu.l4            ip                                           l4          end
 *
 * The quoted layer 4 checksum is not verified: the end of most packets is not there.
 */
import { Reason } from "../core/reason.ts";
import type { AddressDigest } from "./address_digest.ts";
import { ADDRESS6_WORDS, readAddress6 } from "./address6.ts";
import { Chain, FRAGMENT_OFFSET6, fragmentFlagsAndOffset, walkChain } from "./extension_headers.ts";
import * as icmpv6 from "./icmpv6.ts";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "./ipv4.ts";
import {
  DESTINATION,
  IPV6_BYTES,
  payloadLength,
  PROTOCOL_ICMPV6,
  SOURCE,
  version,
} from "./ipv6.ts";
import { OVER_IPV6, type Pdu } from "./pdu.ts";
import * as udp from "./udp.ts";

/** What is read of layer 4 at most, and all that an IPv4 error has to quote. */
const QUOTED_L4_BYTES = 8;

/** The offsets of a quoted packet in the arena, and its tuple. */
export class Quoted6 {
  ip = 0;
  l4 = 0;
  /** End of the quoted packet, or of the part that is quoted; extensions follow. */
  end = 0;
  /** Digests of the addresses, which an answer to the packet would have the other way round; */
  src = 0;
  dst = 0;
  /** so they stand here: the destination first. */
  readonly answer: Int32Array = new Int32Array(2 * ADDRESS6_WORDS);
  /** With `OVER_IPV6`. */
  protocol = 0;
  /** As in `Pdu`: a request has its identifier as source port, a reply as destination port. */
  srcPort = 0;
  dstPort = 0;
  /** 1 if the quote has a tuple: TCP, UDP or an echo, whole or the first fragment. */
  hasTuple = 0;
  readonly chain = new Chain();
}

/** True for the errors that concern a connection. */
export function quotesPacket6(type: number): boolean {
  return type === icmpv6.ICMPV6_UNREACHABLE || type === icmpv6.ICMPV6_PACKET_TOO_BIG ||
    type === icmpv6.ICMPV6_TIME_EXCEEDED || type === icmpv6.ICMPV6_PARAMETER_PROBLEM;
}

/**
 * Fills `quoted` from an ICMPv6 error that `decodeTransport6` has accepted and `quotesPacket6` is
 * true of. Returns 0, or the reason why the quote can't be used.
 */
export function decodeQuoted6(
  view: DataView,
  pdu: Pdu,
  digest: AddressDigest,
  quoted: Quoted6,
): number {
  const ip = pdu.l4 + icmpv6.ICMPV6_BYTES;
  const available = quoteEnd(view, pdu) - ip;
  if (available < IPV6_BYTES || version(view, ip) !== 6) return Reason["icmp-quote"];
  const end = ip + Math.min(available, IPV6_BYTES + payloadLength(view, ip));
  const { answer, chain } = quoted;
  // A chain that goes on beyond the quote, or ends in what is not known here, names no connection.
  if (walkChain(view, ip, end, chain) !== 0) return Reason["icmp-quote"];
  if (end - chain.l4 < QUOTED_L4_BYTES) return Reason["icmp-quote"];
  readAddress6(view, ip + DESTINATION, answer, 0);
  readAddress6(view, ip + SOURCE, answer, ADDRESS6_WORDS);
  quoted.ip = ip;
  quoted.l4 = chain.l4;
  quoted.end = end;
  quoted.dst = digest.ofWords(answer, 0);
  quoted.src = digest.ofWords(answer, ADDRESS6_WORDS);
  quoted.protocol = chain.protocol | OVER_IPV6;
  quoted.srcPort = 0;
  quoted.dstPort = 0;
  const isLater = chain.fragment !== 0 &&
    (fragmentFlagsAndOffset(view, chain.fragment) & FRAGMENT_OFFSET6) !== 0;
  quoted.hasTuple = isLater ? 0 : 1;
  if (!isLater) readPorts(view, quoted);
  return 0;
}

/**
 * Where the quote ends: of unreachable and time exceeded messages RFC 4884 §4 counts it in 64-bit
 * words, and extensions follow.
 */
function quoteEnd(view: DataView, pdu: Pdu): number {
  const isCounted = pdu.icmpType === icmpv6.ICMPV6_UNREACHABLE ||
    pdu.icmpType === icmpv6.ICMPV6_TIME_EXCEEDED;
  const words = isCounted ? icmpv6.quoteWords(view, pdu.l4) : 0;
  const start = pdu.l4 + icmpv6.ICMPV6_BYTES;
  return words === 0 ? pdu.end : Math.min(pdu.end, start + 8 * words);
}

function readPorts(view: DataView, quoted: Quoted6): void {
  const { l4, chain: { protocol } } = quoted;
  if (protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) {
    // Both begin with their ports.
    quoted.srcPort = udp.sourcePort(view, l4);
    quoted.dstPort = udp.destinationPort(view, l4);
    return;
  }
  const type = protocol === PROTOCOL_ICMPV6 ? icmpv6.type(view, l4) : -1;
  if (type === icmpv6.ICMPV6_ECHO_REQUEST) quoted.srcPort = icmpv6.identifier(view, l4);
  else if (type === icmpv6.ICMPV6_ECHO_REPLY) quoted.dstPort = icmpv6.identifier(view, l4);
  else quoted.hasTuple = 0;
}
