/**
 * One IPv4 packet as plain values, converted to a whole frame and back. `packet_text.ts` has its
 * text.
 */
import { VNET_BYTES } from "../../core/arena.ts";
import type { Address, Mac } from "../../wire/address.ts";
import { complement, pseudoHeaderSum, sumBytes } from "../../wire/checksum.ts";
import { decodeIpv4, decodeTransport } from "../../wire/decode.ts";
import * as ethernet from "../../wire/ethernet.ts";
import * as icmpv4 from "../../wire/icmpv4.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import { Pdu } from "../../wire/pdu.ts";
import * as tcp from "../../wire/tcp.ts";
import * as udp from "../../wire/udp.ts";
import { leaveChecksum } from "../../wire/vnet.ts";

/** Fields that the protocol does not have are 0. */
export interface Packet {
  readonly protocol: number;
  readonly src: Address;
  readonly dst: Address;
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

/** Length of the shortest packet of a protocol: its headers. */
export function minTotalLength(protocol: number): number {
  return ipv4.IPV4_MIN_BYTES + transportBytes(protocol);
}

function transportBytes(protocol: number): number {
  switch (protocol) {
    case ipv4.PROTOCOL_ICMP:
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
export function hasIcmpId({ protocol, icmpType }: Packet): boolean {
  return protocol === ipv4.PROTOCOL_ICMP && icmpv4.ICMP_TYPES[icmpType]?.query === true;
}

/**
 * The packet as an Ethernet frame with correct checksums; data and other fields are zeroes. TCP
 * gets plausible sequence numbers: each side begins with 0, and its SYN counts one.
 */
export function frameOf(packet: Packet, from: Mac, to: Mac): Uint8Array<ArrayBuffer> {
  const { protocol, src, dst, totalLength } = packet;
  const view = new DataView(new ArrayBuffer(ethernet.ETHERNET_BYTES + totalLength));
  ethernet.setDestination(view, 0, to.hi, to.lo);
  ethernet.setSource(view, 0, from.hi, from.lo);
  ethernet.setEtherType(view, 0, ethernet.ETHERTYPE_IPV4);
  const ip = ethernet.ETHERNET_BYTES;
  ipv4.writeHeader(view, ip, { ...packet, tos: 0, id: 0, flags: ipv4.DONT_FRAGMENT });
  ipv4.setChecksum(view, ip, complement(sumBytes(view, ip, ipv4.IPV4_MIN_BYTES, 0)));
  const l4 = ip + ipv4.IPV4_MIN_BYTES;
  const lengthBytes = totalLength - ipv4.IPV4_MIN_BYTES;
  const transportChecksum = (): number =>
    complement(sumBytes(view, l4, lengthBytes, pseudoHeaderSum(src, dst, protocol, lengthBytes)));
  switch (protocol) {
    case ipv4.PROTOCOL_ICMP:
      icmpv4.writeHeader(view, l4, packet.icmpType, packet.icmpCode, packet.icmpId << 16);
      icmpv4.setChecksum(view, l4, complement(sumBytes(view, l4, lengthBytes, 0)));
      break;
    case ipv4.PROTOCOL_TCP:
      tcp.writeHeader(view, l4, {
        ...packet,
        seq: (packet.tcpFlags & tcp.SYN) !== 0 ? 0 : 1,
        ack: (packet.tcpFlags & tcp.ACK) !== 0 ? 1 : 0,
        flags: packet.tcpFlags,
      });
      tcp.setChecksum(view, l4, transportChecksum());
      break;
    case ipv4.PROTOCOL_UDP:
      udp.writeHeader(view, l4, { ...packet, lengthBytes });
      udp.setChecksum(view, l4, transportChecksum());
  }
  return new Uint8Array(view.buffer);
}

/**
 * The packet in an Ethernet frame; null if `decode.ts` does not accept it. TCP and UDP checksums
 * are not verified.
 */
export function packetOf(frame: Uint8Array): Packet | null {
  const record = new Uint8Array(VNET_BYTES + frame.length);
  record.set(frame, VNET_BYTES);
  const view = new DataView(record.buffer);
  if (frame.length < ethernet.ETHERNET_BYTES) return null;
  if (ethernet.etherType(view, VNET_BYTES) !== ethernet.ETHERTYPE_IPV4) return null;
  const pdu = new Pdu();
  pdu.frame = VNET_BYTES;
  pdu.frameBytes = frame.length;
  pdu.ip = pdu.frame + ethernet.ETHERNET_BYTES;
  if (decodeIpv4(view, pdu) !== 0) return null;
  leaveChecksum(view, pdu.frame, pdu.l4, pdu.protocol);
  if (decodeTransport(view, pdu) !== 0) return null;
  const { protocol, src, dst, ttl, totalLength, srcPort, dstPort } = pdu;
  const base = { protocol, src, dst, ttl, totalLength, srcPort: 0, dstPort: 0 };
  const plain = { ...base, tcpFlags: 0, icmpType: 0, icmpCode: 0, icmpId: 0 };
  switch (protocol) {
    case ipv4.PROTOCOL_ICMP: {
      const message = { ...plain, icmpType: pdu.icmpType, icmpCode: pdu.icmpCode };
      return hasIcmpId(message) ? { ...message, icmpId: icmpv4.identifier(view, pdu.l4) } : message;
    }
    case ipv4.PROTOCOL_TCP:
      return { ...plain, srcPort, dstPort, tcpFlags: pdu.tcpFlags };
    case ipv4.PROTOCOL_UDP:
      return { ...plain, srcPort, dstPort };
    default:
      return plain;
  }
}
