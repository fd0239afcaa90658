/**
 * One IP packet of either family as plain values, converted to a whole frame and back; and a
 * fragment, read from its frame. `packet_text.ts` has their texts. Over IPv6 a packet has no
 * extension headers here.
 */
import { VNET_BYTES } from "../../core/arena.ts";
import { FRAGMENTS4, fragments6 } from "../../stack/fragment_format.ts";
import type { Mac } from "../../wire/address.ts";
import { complement, pseudoHeaderSum, pseudoHeaderSum6, sumBytes } from "../../wire/checksum.ts";
import { decodeIpv4, decodeTransport } from "../../wire/decode.ts";
import { decodeIpv6, decodeTransport6 } from "../../wire/decode6.ts";
import { ADDRESS6_WORDS } from "../../wire/address6.ts";
import * as ethernet from "../../wire/ethernet.ts";
import { Chain } from "../../wire/extension_headers.ts";
import { addressOfWords, type HostAddress, isIpv6, wordsOf } from "../../wire/host_address.ts";
import * as icmpv4 from "../../wire/icmpv4.ts";
import * as icmpv6 from "../../wire/icmpv6.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import * as ipv6 from "../../wire/ipv6.ts";
import { isIcmp, isIpv6 as isOverIpv6, OVER_IPV6, Pdu } from "../../wire/pdu.ts";
import * as tcp from "../../wire/tcp.ts";
import * as udp from "../../wire/udp.ts";
import { leaveChecksum } from "../../wire/vnet.ts";

/** Fields that the protocol does not have are 0. */
export interface Packet {
  /** Without the family, which the addresses tell; 58 for ICMPv6. */
  readonly protocol: number;
  readonly src: HostAddress;
  /** Of the same family. */
  readonly dst: HostAddress;
  /** Or hop limit. */
  readonly ttl: number;
  /** Of the IP packet, in bytes. */
  readonly totalLength: number;
  /** TCP and UDP. */
  readonly srcPort: number;
  readonly dstPort: number;
  /** Bits of the TCP header. */
  readonly tcpFlags: number;
  readonly icmpType: number;
  readonly icmpCode: number;
  /** Of an ICMP query. */
  readonly icmpId: number;
}

/** A part of a datagram, with the datagram's protocol; other fields are those of `Packet`. */
export interface Fragment extends Pick<Packet, "protocol" | "src" | "dst" | "ttl" | "totalLength"> {
  /** Where its data begins in the datagram, in bytes. */
  readonly start: number;
  readonly isLast: boolean;
}

/** Length of the shortest packet of a protocol: its headers. */
export function minTotalLength(protocol: number, isOverIpv6 = false): number {
  return ipBytes(isOverIpv6) + transportBytes(protocol, isOverIpv6);
}

/** Number of the family's own ICMP. */
export function icmpOf(isOverIpv6: boolean): number {
  return isOverIpv6 ? ipv6.PROTOCOL_ICMPV6 : ipv4.PROTOCOL_ICMP;
}

function ipBytes(isOverIpv6: boolean): number {
  return isOverIpv6 ? ipv6.IPV6_BYTES : ipv4.IPV4_MIN_BYTES;
}

function transportBytes(protocol: number, isOverIpv6: boolean): number {
  switch (protocol) {
    case icmpOf(isOverIpv6):
      return icmpv4.ICMP_BYTES;
    case ipv4.PROTOCOL_TCP:
      return tcp.TCP_MIN_BYTES;
    case ipv4.PROTOCOL_UDP:
      return udp.UDP_BYTES;
    default:
      return 0;
  }
}

/** True for an ICMP message with an identifier. */
export function hasIcmpId({ protocol, src, icmpType }: Packet): boolean {
  const types = isIpv6(src) ? icmpv6.ICMPV6_TYPES : icmpv4.ICMP_TYPES;
  return protocol === icmpOf(isIpv6(src)) && types[icmpType]?.query === true;
}

/**
 * The packet as an Ethernet frame with correct checksums; data and other fields are zeroes. TCP
 * gets plausible sequence numbers: each side begins with 0, and its SYN counts one.
 */
export function frameOf(packet: Packet, from: Mac, to: Mac): Uint8Array<ArrayBuffer> {
  const { protocol, src, totalLength } = packet;
  const view = new DataView(new ArrayBuffer(ethernet.ETHERNET_BYTES + totalLength));
  ethernet.setDestination(view, 0, to.hi, to.lo);
  ethernet.setSource(view, 0, from.hi, from.lo);
  writeIpHeader(view, packet);
  const l4 = ethernet.ETHERNET_BYTES + ipBytes(isIpv6(src));
  const lengthBytes = totalLength - ipBytes(isIpv6(src));
  const checksum = (pseudoHeader = pseudoHeaderOf(view, packet, lengthBytes)): number =>
    complement(sumBytes(view, l4, lengthBytes, pseudoHeader));
  switch (protocol) {
    case icmpOf(isIpv6(src)):
      icmpv4.writeHeader(view, l4, packet.icmpType, packet.icmpCode, packet.icmpId << 16);
      icmpv4.setChecksum(view, l4, isIpv6(src) ? checksum() : checksum(0));
      break;
    case ipv4.PROTOCOL_TCP:
      tcp.writeHeader(view, l4, {
        ...packet,
        seq: (packet.tcpFlags & tcp.SYN) !== 0 ? 0 : 1,
        ack: (packet.tcpFlags & tcp.ACK) !== 0 ? 1 : 0,
        flags: packet.tcpFlags,
      });
      tcp.setChecksum(view, l4, checksum());
      break;
    case ipv4.PROTOCOL_UDP:
      udp.writeHeader(view, l4, { ...packet, lengthBytes });
      udp.setChecksum(view, l4, checksum());
  }
  return new Uint8Array(view.buffer);
}

function writeIpHeader(view: DataView, packet: Packet): void {
  const { protocol, src, dst, ttl, totalLength } = packet;
  const ip = ethernet.ETHERNET_BYTES;
  if (isIpv6(src) && isIpv6(dst)) {
    ethernet.setEtherType(view, 0, ethernet.ETHERTYPE_IPV6);
    return ipv6.writeHeader(view, ip, {
      trafficClass: 0,
      flowLabel: 0,
      payloadLength: totalLength - ipv6.IPV6_BYTES,
      nextHeader: protocol,
      hopLimit: ttl,
      src: wordsOf(src),
      dst: wordsOf(dst),
    });
  }
  if (isIpv6(src) || isIpv6(dst)) throw new RangeError("Cannot make a packet of two families");
  ethernet.setEtherType(view, 0, ethernet.ETHERTYPE_IPV4);
  const rest = { tos: 0, id: 0, flags: ipv4.DONT_FRAGMENT };
  ipv4.writeHeader(view, ip, { protocol, src, dst, ttl, totalLength, ...rest });
  ipv4.setChecksum(view, ip, complement(sumBytes(view, ip, ipv4.IPV4_MIN_BYTES, 0)));
}

function pseudoHeaderOf(view: DataView, packet: Packet, lengthBytes: number): number {
  const { protocol, src, dst } = packet;
  return isIpv6(src) || isIpv6(dst)
    ? pseudoHeaderSum6(view, ethernet.ETHERNET_BYTES + ipv6.SOURCE, protocol, lengthBytes)
    : pseudoHeaderSum(src, dst, protocol, lengthBytes);
}

/**
 * The packet in an Ethernet frame; null if `decode.ts` or `decode6.ts` does not accept it, and for
 * a fragment. TCP and UDP checksums are not verified.
 */
export function packetOf(frame: Uint8Array): Packet | null {
  const read = headersOf(frame);
  if (read === null || read.pdu.fragment !== 0) return null;
  const { view, pdu } = read;
  leaveChecksum(view, pdu.frame, pdu.l4, pdu.protocol & ~OVER_IPV6);
  const decode = isOverIpv6(pdu.protocol) ? decodeTransport6 : decodeTransport;
  return decode(view, pdu) === 0 ? packetIn(pdu, idIn(view, pdu)) : null;
}

/** The fragment in an Ethernet frame; null for a whole packet, and for what is none. */
export function fragmentOf(frame: Uint8Array): Fragment | null {
  const read = headersOf(frame);
  if (read === null || read.pdu.fragment === 0) return null;
  const { view, pdu, chain } = read;
  const { startOf, isLast } = isOverIpv6(pdu.protocol) ? fragments6(chain) : FRAGMENTS4;
  const { protocol, src, dst, ttl, totalLength } = packetIn(pdu, 0);
  const place = { start: startOf(view, pdu), isLast: isLast(view, pdu) };
  return { protocol, src, dst, ttl, totalLength, ...place };
}

/** A copy of the frame, and its IP headers; null if there are none, or broken ones. */
function headersOf(frame: Uint8Array): { view: DataView; pdu: Pdu; chain: Chain } | null {
  const record = new Uint8Array(VNET_BYTES + frame.length);
  record.set(frame, VNET_BYTES);
  const view = new DataView(record.buffer);
  if (frame.length < ethernet.ETHERNET_BYTES) return null;
  const pdu = new Pdu();
  const chain = new Chain();
  pdu.frame = VNET_BYTES;
  pdu.frameBytes = frame.length;
  pdu.ip = pdu.frame + ethernet.ETHERNET_BYTES;
  switch (ethernet.etherType(view, VNET_BYTES)) {
    case ethernet.ETHERTYPE_IPV4:
      return decodeIpv4(view, pdu) === 0 ? { view, pdu, chain } : null;
    case ethernet.ETHERTYPE_IPV6:
      return decodeIpv6(view, pdu, NO_DIGEST, chain) === 0 ? { view, pdu, chain } : null;
    default:
      return null;
  }
}

/** The identifier, if the packet is a query. */
function idIn(view: DataView, pdu: Readonly<Pdu>): number {
  return isIcmp(pdu.protocol) ? icmpv4.identifier(view, pdu.l4) : 0;
}

/** Nobody asks for the digests here. */
const NO_DIGEST = { ofWords: () => 0 };

/** A decoded packet as plain values; `icmpId` is the identifier if it is a query. */
export function packetIn(pdu: Readonly<Pdu>, icmpId: number): Packet {
  const { addresses, ttl, totalLength, srcPort, dstPort, icmpType, icmpCode } = pdu;
  const isOverIpv6 = (pdu.protocol & OVER_IPV6) !== 0;
  const protocol = pdu.protocol & ~OVER_IPV6;
  const src = isOverIpv6 ? addressOfWords(addresses) : pdu.src;
  const dst = isOverIpv6 ? addressOfWords(addresses, ADDRESS6_WORDS) : pdu.dst;
  const base = { protocol, src, dst, ttl, totalLength, srcPort: 0, dstPort: 0 };
  const plain = { ...base, tcpFlags: 0, icmpType: 0, icmpCode: 0, icmpId: 0 };
  switch (protocol) {
    case icmpOf(isOverIpv6): {
      const message = { ...plain, icmpType, icmpCode };
      return hasIcmpId(message) ? { ...message, icmpId } : message;
    }
    case ipv4.PROTOCOL_TCP:
      return { ...plain, srcPort, dstPort, tcpFlags: pdu.tcpFlags };
    case ipv4.PROTOCOL_UDP:
      return { ...plain, srcPort, dstPort };
    default:
      return plain;
  }
}
