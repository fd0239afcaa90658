/**
 * Rewrites an ICMP error about a connection between the families into one of the other family (RFC
 * 7915 §4.2, §4.3, §5.2, §5.3), where it lies, so that its receiver finds its own packet in the
 * quote:
 *
 *     ICMP             | Ethernet | IPv4 | ICMP | quoted: IPv4 | TCP, UDP, echo … | extensions |
 *     ICMPv6  | Ethernet | IPv6 | ICMPv6 | quoted: IPv6        | TCP, UDP, echo … | extensions |
 *
 * What is quoted is cut to what an error of the new family holds; extensions go along where both
 * families' messages can have them (`quote_room.ts`). The quote tells of the packet that the
 * receiver has sent, whole: that the proxy has fragmented it since is the proxy's affair.
 *
 * Both functions return 0; or no-counterpart, and nothing has changed. `to` has the error's new
 * source and destination, `sent` the tuple with which the receiver has sent the quoted packet,
 * `mtu4` and `mtu6` are the MTUs of the links that the connection takes in each family. `pdu` stays
 * what the error was; `out`, another one, becomes what it is.
 */
import type { Arena } from "../core/arena.ts";
import { Reason } from "../core/reason.ts";
import { complement, delta16, pseudoHeaderSum6, sumBytes, updated } from "../wire/checksum.ts";
import {
  messageTo4,
  messageTo6,
  plateauBelow,
  pointerTo4,
  pointerTo6,
} from "../wire/icmp_counterpart.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { OVER_IPV6, type Pdu } from "../wire/pdu.ts";
import type { Quoted } from "../wire/quoted.ts";
import type { Quoted6 } from "../wire/quoted6.ts";
import * as tcp from "../wire/tcp.ts";
import * as udp from "../wire/udp.ts";
import * as vnet from "../wire/vnet.ts";
import {
  deltaTo4,
  deltaTo6,
  describe,
  flagsFor,
  LONGER_BYTES,
  MAX_TOTAL_BYTES,
  moveFront,
  typeAcross,
  writeHeader4,
  writeHeader6,
} from "./across.ts";
import { extensionsOf, fitted, placeQuote, ROOM4, ROOM6, UNIT4, UNIT6 } from "./quote_room.ts";
import type { Translation } from "./translate.ts";

const NO_COUNTERPART = Reason["no-counterpart"];

/** Makes the error of ICMP that quotes `quoted` one of ICMPv6. */
export function errorTo6(
  arena: Arena,
  pdu: Readonly<Pdu>,
  quoted: Readonly<Quoted>,
  to: Translation,
  sent: Translation,
  hopLimit: number,
  mtu4: number,
  mtu6: number,
  out: Pdu,
): number {
  const { view } = arena;
  const message = messageTo6(pdu.icmpType, pdu.icmpCode);
  const type = message >>> 8;
  const code = message & 0xff;
  let rest = restTo6(view, pdu, quoted, message, mtu4, mtu6);
  if (message < 0 || rest < 0 || !hasCounterpart(view, quoted)) return NO_COUNTERPART;
  const mayExtend = type === icmpv6.ICMPV6_UNREACHABLE || type === icmpv6.ICMPV6_TIME_EXCEEDED;
  const words = mayExtend ? icmpv4.quoteWords(view, pdu.l4) : 0;
  const extensions = extensionsOf(pdu, words * UNIT4, ROOM6);
  const available = ipv6.IPV6_BYTES + quoted.end - quoted.l4;
  const quoteBytes = fitted(available, ROOM6, pdu, extensions, UNIT6);
  if (extensions !== 0) rest = (quoteBytes / UNIT6) << 24;

  const addresses = deltaTo6(quoted.src, quoted.dst, sent);
  const tos = ipv4.tos(view, pdu.ip);
  const quotedTos = ipv4.tos(view, quoted.ip);
  const quotedTtl = ipv4.ttl(view, quoted.ip);
  const l4Bytes = ipv4.totalLength(view, quoted.ip) - ipv4.headerBytes(view, quoted.ip);
  const isEcho = quoted.protocol === ipv4.PROTOCOL_ICMP;
  const protocol = isEcho ? ipv6.PROTOCOL_ICMPV6 : quoted.protocol;

  const ip = placeQuote(arena, quoted, extensions, quoteBytes, ipv6.IPV6_BYTES);
  const icmp = ip - icmpv6.ICMPV6_BYTES;
  const end = extensions === 0 ? ip + quoteBytes : pdu.end;
  moveHeaders(arena, pdu, out, to, ipv6.PROTOCOL_ICMPV6 | OVER_IPV6, icmp, end, hopLimit);
  out.icmpType = type;
  out.icmpCode = code;
  writeHeader6(view, ip, quotedTos, l4Bytes, protocol, quotedTtl, sent);
  const l4 = ip + ipv6.IPV6_BYTES;
  if (isEcho) {
    const pseudoHeader = pseudoHeaderSum6(view, ip + ipv6.SOURCE, protocol, l4Bytes);
    writeEcho(view, l4, quoted.protocol, sent, pseudoHeader);
  } else {
    writeTransport(view, l4, protocol, quoted, sent, addresses);
  }
  icmpv6.writeHeader(view, icmp, type, code, rest);
  writeHeader6(view, out.ip, tos, end - icmp, ipv6.PROTOCOL_ICMPV6, hopLimit, to);
  icmpv6.writeChecksum(view, out.ip, icmp, end);
  return 0;
}

/** Makes the error of ICMPv6 that quotes `quoted` one of ICMP. */
export function errorTo4(
  arena: Arena,
  pdu: Readonly<Pdu>,
  quoted: Readonly<Quoted6>,
  to: Translation,
  sent: Translation,
  ttl: number,
  identification: number,
  mtu4: number,
  mtu6: number,
  out: Pdu,
): number {
  const { view } = arena;
  const message = messageTo4(pdu.icmpType, pdu.icmpCode);
  const type = message >>> 8;
  const code = message & 0xff;
  let rest = restTo4(view, pdu, message, mtu4, mtu6);
  if (message < 0 || rest < 0 || !hasCounterpart(view, quoted)) return NO_COUNTERPART;
  const mayExtend = pdu.icmpType === icmpv6.ICMPV6_UNREACHABLE ||
    pdu.icmpType === icmpv6.ICMPV6_TIME_EXCEEDED;
  const words = mayExtend ? icmpv6.quoteWords(view, pdu.l4) : 0;
  const extensions = extensionsOf(pdu, words * UNIT6, ROOM4);
  const available = ipv4.IPV4_MIN_BYTES + quoted.end - quoted.l4;
  const quoteBytes = fitted(available, ROOM4, pdu, extensions, UNIT4);
  if (extensions !== 0) rest = (quoteBytes / UNIT4) << 16;

  const addresses = deltaTo4(view, quoted.ip, sent);
  const tos = ipv6.trafficClass(view, pdu.ip);
  const quotedTos = ipv6.trafficClass(view, quoted.ip);
  const quotedTtl = ipv6.hopLimit(view, quoted.ip);
  const headerBytes = quoted.l4 - quoted.ip - ipv6.IPV6_BYTES;
  const l4Bytes = Math.max(0, ipv6.payloadLength(view, quoted.ip) - headerBytes);
  const totalLength = Math.min(ipv4.IPV4_MIN_BYTES + l4Bytes, MAX_TOTAL_BYTES);
  const isEcho = quoted.protocol === (ipv6.PROTOCOL_ICMPV6 | OVER_IPV6);
  const protocol = isEcho ? ipv4.PROTOCOL_ICMP : quoted.protocol & ~OVER_IPV6;
  const pseudoHeader = isEcho
    ? pseudoHeaderSum6(view, quoted.ip + ipv6.SOURCE, ipv6.PROTOCOL_ICMPV6, l4Bytes)
    : 0;

  const ip = placeQuote(arena, quoted, extensions, quoteBytes, ipv4.IPV4_MIN_BYTES);
  const icmp = ip - icmpv4.ICMP_BYTES;
  const end = extensions === 0 ? ip + quoteBytes : pdu.end;
  moveHeaders(arena, pdu, out, to, ipv4.PROTOCOL_ICMP, icmp, end, ttl);
  out.icmpType = type;
  out.icmpCode = code;
  writeHeader4(
    view,
    ip,
    quotedTos,
    totalLength,
    0,
    flagsFor(totalLength),
    quotedTtl,
    protocol,
    sent,
  );
  const l4 = ip + ipv4.IPV4_MIN_BYTES;
  if (isEcho) writeEcho(view, l4, quoted.protocol, sent, complement(pseudoHeader));
  else writeTransport(view, l4, protocol, quoted, sent, addresses);
  icmpv4.writeHeader(view, icmp, type, code, rest);
  icmpv4.setChecksum(view, icmp, complement(sumBytes(view, icmp, end - icmp, 0)));
  writeHeader4(
    view,
    out.ip,
    tos,
    end - out.ip,
    identification,
    0,
    ttl,
    ipv4.PROTOCOL_ICMP,
    to,
  );
  return 0;
}

/** Bytes 4 to 7 of the error of ICMPv6 without extensions; negative: there is none. */
function restTo6(
  view: DataView,
  pdu: Readonly<Pdu>,
  quoted: Readonly<Quoted>,
  message: number,
  mtu4: number,
  mtu6: number,
): number {
  switch (message >> 8) {
    case icmpv6.ICMPV6_PACKET_TOO_BIG: {
      const told = icmpv4.mtu(view, pdu.l4) || plateauBelow(ipv4.totalLength(view, quoted.ip));
      return Math.max(
        ipv6.MIN_MTU6_BYTES,
        Math.min(told + LONGER_BYTES, mtu6, mtu4 + LONGER_BYTES),
      );
    }
    case icmpv6.ICMPV6_PARAMETER_PROBLEM:
      return pdu.icmpType === icmpv4.ICMP_UNREACHABLE
        ? ipv6.NEXT_HEADER
        : pointerTo6(icmpv4.pointer(view, pdu.l4));
    default:
      return 0;
  }
}

/** Likewise of ICMP. */
function restTo4(
  view: DataView,
  pdu: Readonly<Pdu>,
  message: number,
  mtu4: number,
  mtu6: number,
): number {
  if (pdu.icmpType === icmpv6.ICMPV6_PACKET_TOO_BIG) {
    const told = Math.min(icmpv6.mtu(view, pdu.l4), mtu6) - LONGER_BYTES;
    return Math.max(ipv4.MIN_MTU_BYTES, Math.min(told, mtu4));
  }
  if (message >> 8 !== icmpv4.ICMP_PARAMETER_PROBLEM) return 0;
  const pointer = pointerTo4(icmpv6.pointer(view, pdu.l4));
  return pointer < 0 ? pointer : pointer << 24;
}

/** False for an ICMP query that is none in the other family. */
function hasCounterpart(view: DataView, { protocol, l4 }: Readonly<Quoted | Quoted6>): boolean {
  const isIcmp = protocol === ipv4.PROTOCOL_ICMP ||
    protocol === (ipv6.PROTOCOL_ICMPV6 | OVER_IPV6);
  return !isIcmp || typeAcross(protocol, icmpv4.type(view, l4)) >= 0;
}

/** Moves the frame's front to before the error at `icmp`, which ends at `end`. */
function moveHeaders(
  arena: Arena,
  pdu: Readonly<Pdu>,
  out: Pdu,
  to: Translation,
  protocol: number,
  icmp: number,
  end: number,
  ttl: number,
): void {
  const isTo6 = protocol !== ipv4.PROTOCOL_ICMP;
  describe(out, pdu, to, protocol, icmp - (isTo6 ? ipv6.IPV6_BYTES : ipv4.IPV4_MIN_BYTES), ttl);
  out.l4 = icmp;
  out.payload = icmp;
  out.end = end;
  out.totalLength = end - out.ip;
  out.frameBytes = end - out.frame;
  out.fragmentBytes = 0;
  moveFront(arena, pdu, out, vnet.GSO_TCPV4);
}

/**
 * Writes the ports of what is quoted of TCP or UDP, now at `l4`; `addresses` is the delta of those.
 * Checksums are adjusted where they are quoted, never recomputed: a wrong one stays wrong.
 */
function writeTransport(
  view: DataView,
  l4: number,
  protocol: number,
  quoted: Readonly<Quoted | Quoted6>,
  { srcPort, dstPort }: Translation,
  addresses: number,
): void {
  const delta = addresses + delta16(quoted.srcPort, srcPort) + delta16(quoted.dstPort, dstPort);
  if (protocol === ipv4.PROTOCOL_TCP) {
    if (tcp.CHECKSUM + 2 <= quoted.end - quoted.l4) {
      tcp.setChecksum(view, l4, updated(tcp.checksum(view, l4), delta));
    }
    tcp.setPorts(view, l4, srcPort, dstPort);
  } else {
    const checksum = udp.checksum(view, l4);
    if (checksum !== 0) udp.setChecksum(view, l4, updated(checksum, delta));
    udp.setPorts(view, l4, srcPort, dstPort);
  }
}

/** Of an echo one of the two ports is the identifier, the other is 0. */
function writeEcho(
  view: DataView,
  l4: number,
  protocol: number,
  { srcPort, dstPort }: Translation,
  pseudoHeader: number,
): void {
  const before = icmpv4.type(view, l4);
  const type = typeAcross(protocol, before);
  const identifier = srcPort | dstPort;
  const delta = delta16(before << 8, type << 8) +
    delta16(icmpv4.identifier(view, l4), identifier);
  icmpv4.setType(view, l4, type);
  icmpv4.setIdentifier(view, l4, identifier);
  icmpv6.updateChecksum(view, l4, pseudoHeader + delta);
}
