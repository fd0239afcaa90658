/**
 * Decodes bytes into a Pdu: the one place where lengths are checked. Getters and formatters read
 * what passes here without checking again.
 *
 * Three functions, in the order of the headers; each returns 0 or the reason to drop the frame.
 * Between `decodeIpv4` and `decodeTransport` the appliance decides whether the packet is for it,
 * and reassembles fragments.
 */
import { Reason } from "../core/reason.ts";
import { GROUP_HI, type Mac } from "./address.ts";
import { ARP_BYTES, isEthernetIpv4 } from "./arp.ts";
import { CORRECT, fold, halves, pseudoHeaderSum, sumBytes } from "./checksum.ts";
import * as ethernet from "./ethernet.ts";
import * as icmpv4 from "./icmpv4.ts";
import * as ipv4 from "./ipv4.ts";
import type { Pdu } from "./pdu.ts";
import { hasPriorityTag, stripTag, TAG_BYTES } from "./priority_tag.ts";
import * as tcp from "./tcp.ts";
import * as udp from "./udp.ts";
import { decodeVnet } from "./vnet.ts";

/**
 * Decodes the Ethernet header of the `frameBytes` bytes at `frame`, and an ARP packet after it. A
 * priority tag is removed: `pdu.frame` then begins later. `groups` has those of IPv6; null: there
 * is no IPv6.
 */
export function decodeFrame(
  view: DataView,
  frame: number,
  frameBytes: number,
  own: Mac,
  pdu: Pdu,
  groups: ethernet.Groups | null = null,
): number {
  pdu.frame = frame;
  pdu.frameBytes = frameBytes;
  if (frameBytes < ethernet.ETHERNET_BYTES) return Reason["frame-too-short"];
  const hi = ethernet.destinationHi(view, frame);
  const lo = ethernet.destinationLo(view, frame);
  pdu.broadcastFrame = hi === 0xffff && lo === -1 ? 1 : 0;
  const isToGroup = (hi !== own.hi || lo !== own.lo) && pdu.broadcastFrame === 0;
  if (isToGroup) {
    if ((hi & GROUP_HI) === 0) return Reason["foreign-mac"];
    if (groups === null || !groups.hears(hi, lo)) return Reason["multicast-mac"];
    pdu.broadcastFrame = 1;
  }
  const tagBytes = hasPriorityTag(view, frame, frameBytes) ? TAG_BYTES : 0;
  if (tagBytes !== 0) {
    stripTag(view, frame);
    pdu.frame = frame + tagBytes;
    pdu.frameBytes = frameBytes - tagBytes;
  }
  pdu.ip = pdu.frame + ethernet.ETHERNET_BYTES;
  pdu.etherType = ethernet.etherType(view, pdu.frame);
  if (isToGroup && pdu.etherType !== ethernet.ETHERTYPE_IPV6) return Reason["multicast-mac"];
  switch (pdu.etherType) {
    case ethernet.ETHERTYPE_IPV4:
      return ethernet.isFromStation(view, pdu.frame, own) ? 0 : Reason["source-mac"];
    case ethernet.ETHERTYPE_ARP:
      return pdu.frameBytes >= ethernet.ETHERNET_BYTES + ARP_BYTES && isEthernetIpv4(view, pdu.ip)
        ? 0
        : Reason["arp-malformed"];
    case ethernet.ETHERTYPE_IPV6:
      if (groups === null) return Reason["unknown-ethertype"];
      return ethernet.isFromStation(view, pdu.frame, own) ? 0 : Reason["source-mac"];
    case ethernet.ETHERTYPE_VLAN:
    case ethernet.ETHERTYPE_QINQ:
      return Reason["vlan-tagged"];
    default:
      return Reason["unknown-ethertype"];
  }
}

/**
 * Decodes the IPv4 header word by word. The total length counts, not the frame's: short frames
 * arrive padded.
 *
 *     | version, header length, TOS | total length | identification | flags, fragment offset |
 *     | TTL, protocol | checksum | source | destination | options …
 */
export function decodeIpv4(view: DataView, pdu: Pdu): number {
  const ip = pdu.ip;
  const available = pdu.frameBytes - ethernet.ETHERNET_BYTES;
  if (available < ipv4.IPV4_MIN_BYTES) return Reason["ip-truncated"];
  const lengths = view.getInt32(ip);
  if (lengths >>> 28 !== 4) return Reason["ip-version"];
  const headerBytes = ((lengths >>> 24) & 15) << 2;
  const totalLength = lengths & 0xffff;
  if (headerBytes < ipv4.IPV4_MIN_BYTES || headerBytes > totalLength) {
    return Reason["ip-header-length"];
  }
  if (totalLength > available) return Reason["ip-truncated"];
  const fragment = view.getInt32(ip + 4);
  const ttl = view.getInt32(ip + 8);
  const src = ipv4.source(view, ip);
  const dst = ipv4.destination(view, ip);
  const sum = halves(lengths) + halves(fragment) + halves(ttl) + halves(src) + halves(dst);
  if (headerBytes === ipv4.IPV4_MIN_BYTES) {
    if (fold(sum) !== CORRECT) return Reason["ip-checksum"];
  } else {
    const optionBytes = headerBytes - ipv4.IPV4_MIN_BYTES;
    if (sumBytes(view, ip + ipv4.IPV4_MIN_BYTES, optionBytes, sum) !== CORRECT) {
      return Reason["ip-checksum"];
    }
    if (!ipv4.optionsAcceptable(view, ip, headerBytes)) return Reason["ip-options"];
  }
  pdu.l4 = ip + headerBytes;
  pdu.end = ip + totalLength;
  pdu.totalLength = totalLength;
  pdu.src = src;
  pdu.dst = dst;
  pdu.protocol = (ttl >>> 16) & 0xff;
  pdu.ttl = ttl >>> 24;
  pdu.fragment = (fragment & (ipv4.MORE_FRAGMENTS | ipv4.FRAGMENT_OFFSET)) !== 0 ? 1 : 0;
  pdu.fragmentBytes = 0;
  return 0;
}

/**
 * Decodes the ICMP, TCP or UDP header and verifies its checksum; other protocols pass. Not for
 * fragments.
 */
export function decodeTransport(view: DataView, pdu: Pdu): number {
  const reason = decodeVnet(view, pdu);
  if (reason !== 0) return reason;
  pdu.payload = pdu.l4;
  pdu.srcPort = 0;
  pdu.dstPort = 0;
  switch (pdu.protocol) {
    case ipv4.PROTOCOL_TCP:
      return decodeTcp(
        view,
        pdu,
        pseudoHeaderSum(pdu.src, pdu.dst, ipv4.PROTOCOL_TCP, pdu.end - pdu.l4),
      );
    case ipv4.PROTOCOL_ICMP:
      return decodeIcmp(view, pdu);
    case ipv4.PROTOCOL_UDP:
      return decodeUdp(view, pdu);
    default:
      return 0;
  }
}

function decodeIcmp(view: DataView, pdu: Pdu): number {
  const icmp = pdu.l4;
  const lengthBytes = pdu.end - icmp;
  if (lengthBytes < icmpv4.ICMP_BYTES) return Reason["icmp-truncated"];
  if (sumBytes(view, icmp, lengthBytes, 0) !== CORRECT) return Reason["icmp-checksum"];
  pdu.icmpType = icmpv4.type(view, icmp);
  pdu.icmpCode = icmpv4.code(view, icmp);
  if (icmpv4.isRequest(pdu.icmpType)) pdu.srcPort = icmpv4.identifier(view, icmp);
  if (icmpv4.isReply(pdu.icmpType)) pdu.dstPort = icmpv4.identifier(view, icmp);
  return 0;
}

/**
 * Decodes the TCP segment of either family, whose pseudo-header has this sum. Word by word, as
 * IPv4:
 *
 *     | source port | destination port | sequence | acknowledgment |
 *     | header length, flags | window | checksum | urgent pointer | options …
 */
export function decodeTcp(view: DataView, pdu: Pdu, pseudoHeader: number): number {
  const segment = pdu.l4;
  const lengthBytes = pdu.end - segment;
  if (lengthBytes < tcp.TCP_MIN_BYTES) return Reason["tcp-truncated"];
  const flags = view.getInt32(segment + 12);
  const headerBytes = (flags >>> 28) << 2;
  if (headerBytes < tcp.TCP_MIN_BYTES || headerBytes > lengthBytes) {
    return Reason["tcp-header-length"];
  }
  pdu.tcpFlags = (flags >>> 16) & 0xff;
  if (!tcp.flagsPossible(pdu.tcpFlags)) return Reason["tcp-flags"];
  const ports = tcp.ports(view, segment);
  const seq = tcp.sequence(view, segment);
  const ack = tcp.acknowledgment(view, segment);
  if (pdu.partialChecksum === 0) {
    const sum = pseudoHeader + halves(ports) + halves(seq) + halves(ack) + halves(flags) +
      halves(view.getInt32(segment + 16));
    const rest = lengthBytes - tcp.TCP_MIN_BYTES;
    if (sumBytes(view, segment + tcp.TCP_MIN_BYTES, rest, sum) !== CORRECT) {
      return Reason["tcp-checksum"];
    }
  }
  pdu.srcPort = ports >>> 16;
  pdu.dstPort = ports & 0xffff;
  if (pdu.srcPort === 0 || pdu.dstPort === 0) return Reason["port-zero"];
  pdu.seq = seq;
  pdu.ack = ack;
  pdu.window = flags & 0xffff;
  pdu.payload = segment + headerBytes;
  return 0;
}

function decodeUdp(view: DataView, pdu: Pdu): number {
  const datagram = pdu.l4;
  const available = pdu.end - datagram;
  if (available < udp.UDP_BYTES) return Reason["udp-truncated"];
  const lengthBytes = udp.length(view, datagram);
  if (lengthBytes < udp.UDP_BYTES || lengthBytes > available) return Reason["udp-truncated"];
  if (
    pdu.partialChecksum === 0 && udp.checksum(view, datagram) !== 0 &&
    transportSum(view, pdu, lengthBytes) !== CORRECT
  ) return Reason["udp-checksum"];
  pdu.srcPort = udp.sourcePort(view, datagram);
  pdu.dstPort = udp.destinationPort(view, datagram);
  // Source port 0: the sender wants no answer (RFC 768).
  if (pdu.dstPort === 0) return Reason["port-zero"];
  pdu.payload = datagram + udp.UDP_BYTES;
  return 0;
}

function transportSum(view: DataView, pdu: Pdu, lengthBytes: number): number {
  const pseudo = pseudoHeaderSum(pdu.src, pdu.dst, pdu.protocol, lengthBytes);
  return sumBytes(view, pdu.l4, lengthBytes, pseudo);
}
