/**
 * Decodes an IPv6 packet into a Pdu, as `decode.ts` does an IPv4 packet: the one place where
 * lengths are checked.
 *
 *     decodeIpv6         header and extension headers: 0, a reason, or a fault of the chain
 *     decodeTransport6   TCP, UDP or ICMPv6 behind them: 0 or a reason
 *
 * In the Pdu, `src` and `dst` are digests of the addresses, `addresses` has them whole, and
 * `protocol` has `OVER_IPV6` besides. A fault of the chain is also negative, but below all reasons:
 * `chainFaultOf` tells which it is, and the chain has the code and the pointer of the ICMPv6 error
 * that tells the sender. No other fault here is told to anyone.
 */
import { Reason } from "../core/reason.ts";
import { ADDRESS6_WORDS, readAddress6 } from "./address6.ts";
import type { AddressDigest } from "./address_digest.ts";
import { CORRECT, pseudoHeaderSum6, sumBytes } from "./checksum.ts";
import { decodeTcp } from "./decode.ts";
import { ETHERNET_BYTES } from "./ethernet.ts";
import { type Chain, isAtomic, walkChain } from "./extension_headers.ts";
import * as icmpv6 from "./icmpv6.ts";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "./ipv4.ts";
import { DESTINATION, IPV6_BYTES, PAYLOAD_LENGTH, PROTOCOL_ICMPV6, SOURCE } from "./ipv6.ts";
import { OVER_IPV6, type Pdu } from "./pdu.ts";
import * as udp from "./udp.ts";
import { decodeVnet6 } from "./vnet.ts";

const TCP6 = PROTOCOL_TCP | OVER_IPV6;
const UDP6 = PROTOCOL_UDP | OVER_IPV6;
const ICMP6 = PROTOCOL_ICMPV6 | OVER_IPV6;

/** A fault of the chain is this number minus its `ChainFault`. */
const CHAIN_FAULTS = -0x1000;

/** The `ChainFault` that is a result of `decodeIpv6`, or 0 if it is a reason or no fault. */
export function chainFaultOf(result: number): number {
  return result < CHAIN_FAULTS ? CHAIN_FAULTS - result : 0;
}

/**
 * True if extension headers stand before layer 4. If not, the chain may be that of an earlier
 * packet.
 */
export function hasExtensionHeaders(pdu: Readonly<Pdu>): boolean {
  return pdu.l4 !== pdu.ip + IPV6_BYTES;
}

/**
 * Decodes the IPv6 header word by word, and walks the chain of extension headers if there are any.
 * The payload length counts, not the frame's: short frames arrive padded.
 *
 *     | version, traffic class, flow label | payload length | next header, hop limit |
 *     | source … | destination …
 *
 * After a fault of the chain, the Pdu has all that is in the header itself. `ahead` has the digests
 * of source and destination at `at`, if they are known already.
 */
export function decodeIpv6(
  view: DataView,
  pdu: Pdu,
  digest: Pick<AddressDigest, "ofWords">,
  chain: Chain,
  ahead: Readonly<Int32Array> | null = null,
  at = 0,
): number {
  const ip = pdu.ip;
  const available = pdu.frameBytes - ETHERNET_BYTES;
  if (available < IPV6_BYTES) return Reason["ip-truncated"];
  if (view.getInt32(ip) >>> 28 !== 6) return Reason["ip-version"];
  const word = view.getInt32(ip + PAYLOAD_LENGTH);
  const totalLength = IPV6_BYTES + (word >>> 16);
  if (totalLength > available) return Reason["ip-truncated"];
  const protocol = (word >>> 8) & 0xff;
  const { addresses } = pdu;
  readAddress6(view, ip + SOURCE, addresses, 0);
  readAddress6(view, ip + DESTINATION, addresses, ADDRESS6_WORDS);
  pdu.src = ahead === null ? digest.ofWords(addresses, 0) : ahead[at]!;
  pdu.dst = ahead === null ? digest.ofWords(addresses, ADDRESS6_WORDS) : ahead[at + 1]!;
  pdu.l4 = ip + IPV6_BYTES;
  pdu.end = ip + totalLength;
  pdu.totalLength = totalLength;
  pdu.protocol = protocol | OVER_IPV6;
  pdu.ttl = word & 0xff;
  pdu.fragment = 0;
  pdu.fragmentBytes = 0;
  return protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP || protocol === PROTOCOL_ICMPV6
    ? 0
    : decodeChain(view, pdu, chain);
}

/** An atomic fragment is a whole packet (RFC 6946): it waits for no others. */
function decodeChain(view: DataView, pdu: Pdu, chain: Chain): number {
  const fault = walkChain(view, pdu.ip, pdu.end, chain);
  if (fault !== 0) return CHAIN_FAULTS - fault;
  pdu.l4 = chain.l4;
  pdu.protocol = chain.protocol | OVER_IPV6;
  pdu.fragment = chain.fragment !== 0 && !isAtomic(view, chain.fragment) ? 1 : 0;
  return 0;
}

/**
 * Decodes the TCP, UDP or ICMPv6 header and verifies its checksum; a packet of no next header
 * passes. Not for fragments.
 */
export function decodeTransport6(view: DataView, pdu: Pdu): number {
  const reason = decodeVnet6(view, pdu);
  if (reason !== 0) return reason;
  pdu.payload = pdu.l4;
  pdu.srcPort = 0;
  pdu.dstPort = 0;
  switch (pdu.protocol) {
    case TCP6:
      return decodeTcp(view, pdu, pseudoHeader(view, pdu, PROTOCOL_TCP, pdu.end - pdu.l4));
    case ICMP6:
      return decodeIcmpv6(view, pdu);
    case UDP6:
      return decodeUdp6(view, pdu);
    default:
      return 0;
  }
}

function decodeIcmpv6(view: DataView, pdu: Pdu): number {
  const icmp = pdu.l4;
  if (pdu.end - icmp < icmpv6.ICMPV6_BYTES) return Reason["icmp-truncated"];
  if (!icmpv6.isChecksumRight(view, pdu.ip, icmp, pdu.end)) return Reason["icmp-checksum"];
  pdu.icmpType = icmpv6.type(view, icmp);
  pdu.icmpCode = icmpv6.code(view, icmp);
  const identifier = icmpv6.identifier(view, icmp);
  if (pdu.icmpType === icmpv6.ICMPV6_ECHO_REQUEST) pdu.srcPort = identifier;
  if (pdu.icmpType === icmpv6.ICMPV6_ECHO_REPLY) pdu.dstPort = identifier;
  return 0;
}

/** Over IPv6 there is no datagram without a checksum (RFC 8200 §8.1). */
function decodeUdp6(view: DataView, pdu: Pdu): number {
  const datagram = pdu.l4;
  const available = pdu.end - datagram;
  if (available < udp.UDP_BYTES) return Reason["udp-truncated"];
  const lengthBytes = udp.length(view, datagram);
  if (lengthBytes < udp.UDP_BYTES || lengthBytes > available) return Reason["udp-truncated"];
  if (pdu.partialChecksum === 0) {
    const sum = pseudoHeader(view, pdu, PROTOCOL_UDP, lengthBytes);
    if (
      udp.checksum(view, datagram) === 0 || sumBytes(view, datagram, lengthBytes, sum) !== CORRECT
    ) return Reason["udp-checksum"];
  }
  pdu.srcPort = udp.sourcePort(view, datagram);
  pdu.dstPort = udp.destinationPort(view, datagram);
  // Source port 0: the sender wants no answer (RFC 768).
  if (pdu.dstPort === 0) return Reason["port-zero"];
  pdu.payload = datagram + udp.UDP_BYTES;
  return 0;
}

function pseudoHeader(view: DataView, pdu: Pdu, protocol: number, lengthBytes: number): number {
  return pseudoHeaderSum6(view, pdu.ip + SOURCE, protocol, lengthBytes);
}
