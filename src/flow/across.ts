/**
 * Rewrites a packet of one family into one of the other, where it lies (RFC 7915 §4.1, §5.1):
 *
 *     IPv4            | vnet, Ethernet | IPv4, options | TCP, UDP or echo … |
 *     IPv6   | vnet, Ethernet | IPv6                   | TCP, UDP or echo … |
 *
 * Layer 4 stays, and the frame begins up to 20 bytes earlier (`FRONT_BYTES`), or later. Traffic
 * class and type of service are the same byte; options, extension headers and the flow label go.
 * ICMP errors, which quote a packet, are in `icmp_across.ts`.
 *
 * Checksums are adjusted as in `translate.ts`: here the addresses of one family replace those of
 * the other. A UDP checksum of 0, which IPv6 does not have, is computed (§4.5).
 */
import { type Arena, VNET_BYTES } from "../core/arena.ts";
import { Reason } from "../core/reason.ts";
import type { Address } from "../wire/address.ts";
import { copyAddress6 } from "../wire/address6.ts";
import { complement, delta16, fold, halves, pseudoHeaderSum6, sumBytes } from "../wire/checksum.ts";
import { ETHERNET_BYTES, ETHERTYPE_IPV4, ETHERTYPE_IPV6, setEtherType } from "../wire/ethernet.ts";
import { FRAGMENT_BYTES } from "../wire/extension_headers.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { isIcmp, isIpv6, isTcp, isUdp, OVER_IPV6, type Pdu } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import * as udp from "../wire/udp.ts";
import * as vnet from "../wire/vnet.ts";
import { adjusted, NEW_DESTINATION, NEW_SOURCE, type Translation } from "./translate.ts";

/** By how much an IPv6 header is longer. */
export const LONGER_BYTES: number = ipv6.IPV6_BYTES - ipv4.IPV4_MIN_BYTES;

/** What comes in fragments of IPv6 has a header more in each. */
const FRAGMENT_LONGER_BYTES = LONGER_BYTES + FRAGMENT_BYTES;

/** Up to this length a router may fragment what was IPv6 (§5.1): it came over any link. */
const MOST_WITHOUT_DF_BYTES = ipv6.MIN_MTU6_BYTES - LONGER_BYTES;

/** Of IPv4, all headers included. */
export const MAX_TOTAL_BYTES = 65_535;

/**
 * 0 if the PDU can become one of the other family, else the reason why not: only echoes have a
 * counterpart among ICMP's queries, and an IPv4 packet has at most 65,535 bytes.
 */
export function faultAcross(pdu: Readonly<Pdu>): number {
  const { protocol } = pdu;
  if (isIcmp(protocol)) return typeAcross(protocol, pdu.icmpType) < 0 ? NO_COUNTERPART : 0;
  if (!isTcp(protocol) && !isUdp(protocol)) return NO_COUNTERPART;
  return ipv4.IPV4_MIN_BYTES + pdu.end - pdu.l4 > MAX_TOTAL_BYTES ? NO_COUNTERPART : 0;
}

const NO_COUNTERPART = Reason["no-counterpart"];

/** The echo type that stands for this one in the other family; negative for any other type. */
export function typeAcross(protocol: number, type: number): number {
  if (isIpv6(protocol)) {
    if (type === icmpv6.ICMPV6_ECHO_REQUEST) return icmpv4.ICMP_ECHO_REQUEST;
    return type === icmpv6.ICMPV6_ECHO_REPLY ? icmpv4.ICMP_ECHO_REPLY : -1;
  }
  if (type === icmpv4.ICMP_ECHO_REQUEST) return icmpv6.ICMPV6_ECHO_REQUEST;
  return type === icmpv4.ICMP_ECHO_REPLY ? icmpv6.ICMPV6_ECHO_REPLY : -1;
}

/**
 * The longest packet of the PDU's family that has at most `mtuBytes` in the other one. Every packet
 * of IPv6 may have 1,280 bytes: what then does not fit is fragmented.
 */
export function mtuAcross(pdu: Readonly<Pdu>, mtuBytes: number): number {
  if (!isIpv6(pdu.protocol)) return mtuBytes - LONGER_BYTES;
  return Math.max(ipv6.MIN_MTU6_BYTES, mtuBytes + LONGER_BYTES);
}

/** True if the PDU must not be fragmented in the other family. */
export function mustStayWhole(view: DataView, pdu: Readonly<Pdu>): boolean {
  if (!isIpv6(pdu.protocol)) return (ipv4.flagsAndOffset(view, pdu.ip) & ipv4.DONT_FRAGMENT) !== 0;
  return pdu.fragmentBytes === 0 && pdu.totalLength > ipv6.MIN_MTU6_BYTES;
}

/**
 * Makes the packet of IPv4 one of IPv6 with the tuple `to` and that hop limit, which `faultAcross`
 * must have allowed. `pdu` stays what the packet was; `out`, another one, becomes what it is.
 */
export function translateTo6(
  arena: Arena,
  pdu: Readonly<Pdu>,
  to: Translation,
  hopLimit: number,
  out: Pdu,
): void {
  const { view } = arena;
  const { l4, end } = pdu;
  const ip = l4 - ipv6.IPV6_BYTES;
  const protocol = pdu.protocol === ipv4.PROTOCOL_ICMP ? ipv6.PROTOCOL_ICMPV6 : pdu.protocol;
  const addresses = deltaTo6(pdu.src, pdu.dst, to);
  const tos = ipv4.tos(view, pdu.ip);
  describe(out, pdu, to, protocol | OVER_IPV6, ip, hopLimit);
  out.fragmentBytes = fragmentBytesIn6(view, pdu, out.totalLength);
  copyAddress6(to.addresses, NEW_SOURCE, out.addresses, NEW_SOURCE);
  copyAddress6(to.addresses, NEW_DESTINATION, out.addresses, NEW_DESTINATION);
  moveFront(arena, pdu, out, vnet.GSO_TCPV6);
  writeHeader6(view, ip, tos, end - l4, protocol, hopLimit, to);
  if (protocol === ipv6.PROTOCOL_ICMPV6) {
    const message = writeEcho(view, pdu, to, out);
    const pseudoHeader = pseudoHeaderSum6(view, ip + ipv6.SOURCE, protocol, end - l4);
    icmpv6.updateChecksum(view, l4, message + pseudoHeader);
  } else if (lacksChecksum(view, pdu)) {
    udp.setPorts(view, l4, to.srcPort, to.dstPort);
    const lengthBytes = udp.length(view, l4);
    const pseudoHeader = pseudoHeaderSum6(view, ip + ipv6.SOURCE, protocol, lengthBytes);
    udp.setChecksum(view, l4, complement(sumBytes(view, l4, lengthBytes, pseudoHeader)));
  } else {
    writeTransport(view, pdu, to, addresses);
  }
}

/**
 * Makes the packet of IPv6 one of IPv4, as `translateTo6` does the other way round. A router may
 * fragment what is short, or came in fragments.
 */
export function translateTo4(
  arena: Arena,
  pdu: Readonly<Pdu>,
  to: Translation,
  ttl: number,
  identification: number,
  out: Pdu,
): void {
  const { view } = arena;
  const { l4, end } = pdu;
  const ip = l4 - ipv4.IPV4_MIN_BYTES;
  const isEcho = isIcmp(pdu.protocol);
  const protocol = isEcho ? ipv4.PROTOCOL_ICMP : pdu.protocol & ~OVER_IPV6;
  const addresses = isEcho ? 0 : deltaTo4(view, pdu.ip, to);
  const pseudoHeader = isEcho
    ? pseudoHeaderSum6(view, pdu.ip + ipv6.SOURCE, ipv6.PROTOCOL_ICMPV6, end - l4)
    : 0;
  const tos = ipv6.trafficClass(view, pdu.ip);
  describe(out, pdu, to, protocol, ip, ttl);
  out.fragmentBytes = Math.max(0, pdu.fragmentBytes - FRAGMENT_LONGER_BYTES);
  moveFront(arena, pdu, out, vnet.GSO_TCPV4);
  const flags = pdu.fragmentBytes === 0 ? flagsFor(end - ip) : 0;
  writeHeader4(view, ip, tos, end - ip, identification, flags, ttl, protocol, to);
  if (isEcho) {
    const message = writeEcho(view, pdu, to, out);
    icmpv4.updateChecksum(view, l4, end, message + complement(pseudoHeader));
  } else {
    writeTransport(view, pdu, to, addresses);
  }
}

/** DF for what must not be fragmented (§5.1). */
export function flagsFor(totalLength: number): number {
  return totalLength > MOST_WITHOUT_DF_BYTES ? ipv4.DONT_FRAGMENT : 0;
}

/** Writes an IPv6 header from and to the addresses of `to`. */
export function writeHeader6(
  view: DataView,
  ip: number,
  trafficClass: number,
  payloadBytes: number,
  protocol: number,
  hopLimit: number,
  { addresses }: Translation,
): void {
  ipv6.setVersionAndClass(view, ip, trafficClass);
  ipv6.setPayloadLength(view, ip, payloadBytes);
  ipv6.setNextHeader(view, ip, protocol);
  ipv6.setHopLimit(view, ip, hopLimit);
  ipv6.setSource(view, ip, addresses, NEW_SOURCE);
  ipv6.setDestination(view, ip, addresses, NEW_DESTINATION);
}

/** Writes an IPv4 header without options, and its checksum. */
export function writeHeader4(
  view: DataView,
  ip: number,
  tos: number,
  totalLength: number,
  identification: number,
  flags: number,
  ttl: number,
  protocol: number,
  { src, dst }: Translation,
): void {
  ipv4.setHeaderBytes(view, ip, ipv4.IPV4_MIN_BYTES);
  ipv4.setTos(view, ip, tos);
  ipv4.setTotalLength(view, ip, totalLength);
  ipv4.setIdentification(view, ip, identification);
  ipv4.setFlagsAndOffset(view, ip, flags);
  ipv4.setTtl(view, ip, ttl);
  ipv4.setProtocol(view, ip, protocol);
  ipv4.setChecksum(view, ip, 0);
  ipv4.setSource(view, ip, src);
  ipv4.setDestination(view, ip, dst);
  ipv4.setChecksum(view, ip, complement(sumBytes(view, ip, ipv4.IPV4_MIN_BYTES, 0)));
}

/** Delta for the addresses of a packet of IPv4 that become those of `to`. */
export function deltaTo6(src: Address, dst: Address, { addresses }: Translation): number {
  let sum = complement(fold(halves(src) + halves(dst)));
  for (let i = 0; i < 2 * NEW_DESTINATION; i++) sum += halves(addresses[i]!);
  return sum;
}

/** Delta for the addresses of the packet of IPv6 at `ip` that become those of `to`. */
export function deltaTo4(view: DataView, ip: number, { src, dst }: Translation): number {
  return complement(sumBytes(view, ip + ipv6.SOURCE, 32, 0)) + halves(src) + halves(dst);
}

/**
 * Longest fragment in which a packet leaves that has so many bytes as one of IPv6; 0: it need not
 * be fragmented. Whose sender does not ask for the path's MTU gets through every path (§4.1).
 */
function fragmentBytesIn6(view: DataView, pdu: Readonly<Pdu>, totalLength: number): number {
  if (totalLength > ipv6.MIN_MTU6_BYTES && !mustStayWhole(view, pdu)) return ipv6.MIN_MTU6_BYTES;
  return pdu.fragmentBytes === 0 ? 0 : pdu.fragmentBytes + FRAGMENT_LONGER_BYTES;
}

/** What the PDU is from now on, its IP header at `ip`; layer 4 and its end are where they were. */
export function describe(
  out: Pdu,
  pdu: Readonly<Pdu>,
  to: Translation,
  protocol: number,
  ip: number,
  ttl: number,
): void {
  out.frame = ip - ETHERNET_BYTES;
  out.frameBytes = pdu.end - out.frame;
  out.ip = ip;
  out.l4 = pdu.l4;
  out.payload = pdu.payload;
  out.end = pdu.end;
  out.totalLength = pdu.end - ip;
  out.etherType = isIpv6(protocol) ? ETHERTYPE_IPV6 : ETHERTYPE_IPV4;
  out.broadcastFrame = 0;
  out.protocol = protocol;
  out.src = to.src;
  out.dst = to.dst;
  out.srcPort = to.srcPort;
  out.dstPort = to.dstPort;
  out.ttl = ttl;
  out.fragment = pdu.fragment;
  out.tcpFlags = pdu.tcpFlags;
  out.seq = pdu.seq;
  out.ack = pdu.ack;
  out.window = pdu.window;
  out.icmpType = pdu.icmpType;
  out.icmpCode = pdu.icmpCode;
  out.partialChecksum = pdu.partialChecksum;
  out.flow = pdu.flow;
  out.side = pdu.side;
  out.state = pdu.state;
  out.steps = pdu.steps;
  out.opened = pdu.opened;
}

/** Moves the Ethernet and the vnet header to where `out` says. */
export function moveFront(
  { bytes, view }: Arena,
  pdu: Readonly<Pdu>,
  out: Readonly<Pdu>,
  tcpSegments: number,
): void {
  const from = pdu.frame - VNET_BYTES;
  bytes.copyWithin(out.frame - VNET_BYTES, from, pdu.frame + ETHERNET_BYTES);
  setEtherType(view, out.frame, out.etherType);
  if (out.partialChecksum === 0) return;
  vnet.changeFamily(view, out.frame, out.l4, out.payload, tcpSegments);
}

/** Writes type and identifier of an echo; returns the delta of both. */
function writeEcho(view: DataView, pdu: Readonly<Pdu>, to: Translation, out: Pdu): number {
  const { l4, icmpType } = pdu;
  const isRequest = icmpType === icmpv4.ICMP_ECHO_REQUEST ||
    icmpType === icmpv6.ICMPV6_ECHO_REQUEST;
  const before = icmpv4.identifier(view, l4);
  const identifier = isRequest ? to.srcPort : to.dstPort;
  out.icmpType = typeAcross(pdu.protocol, icmpType);
  icmpv4.setType(view, l4, out.icmpType);
  icmpv4.setIdentifier(view, l4, identifier);
  return delta16(icmpType << 8, out.icmpType << 8) + delta16(before, identifier);
}

/** True for a datagram whose sender has computed no checksum, nor leaves it to an interface. */
function lacksChecksum(view: DataView, pdu: Readonly<Pdu>): boolean {
  return isUdp(pdu.protocol) && pdu.partialChecksum === 0 && udp.checksum(view, pdu.l4) === 0;
}

/** Writes the ports of TCP or UDP and adjusts the checksum, `addresses` is the delta of those. */
function writeTransport(
  view: DataView,
  pdu: Readonly<Pdu>,
  to: Translation,
  addresses: number,
): void {
  const { l4 } = pdu;
  const ports = delta16(pdu.srcPort, to.srcPort) + delta16(pdu.dstPort, to.dstPort);
  if (isTcp(pdu.protocol)) {
    tcp.setChecksum(view, l4, adjusted(pdu, tcp.checksum(view, l4), addresses, ports));
    tcp.setPorts(view, l4, to.srcPort, to.dstPort);
  } else {
    udp.setChecksum(view, l4, adjusted(pdu, udp.checksum(view, l4), addresses, ports));
    udp.setPorts(view, l4, to.srcPort, to.dstPort);
  }
}
