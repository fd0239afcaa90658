/** What a user's predicate or selector sees of a packet. */
import type { HostAddress } from "../../wire/host_address.ts";

/**
 * A packet, read-only: its header fields as received, before any translation, and how it relates to
 * the connections that are tracked. Every field says something about this packet only; one that its
 * protocol does not have is 0, or −1 where 0 has a meaning.
 *
 * There is one such object for all packets: read what is needed during the call, and don't keep it.
 * To write to it throws a TypeError.
 *
 * @example
 * ```ts
 * import { customPredicate, type Packet, parseHostAddress, SYN } from "@treegate/proxy";
 *
 * const admin = parseHostAddress("192.168.0.254");
 * const isOthersSyn = (packet: Packet): boolean =>
 *   packet.src !== admin && (packet.tcpFlags & SYN) !== 0;
 *
 * customPredicate("others-syn", isOthersSyn);
 * ```
 */
export interface Packet {
  /** True for a packet of IPv6. */
  readonly isIpv6: boolean;
  /**
   * Source address: compare it with `parseHostAddress(…)`, print it with `formatHostAddress`. Over
   * IPv4 it is a signed 32-bit integer, over IPv6 a bigint.
   */
  readonly src: HostAddress;
  /** Destination address, likewise. */
  readonly dst: HostAddress;
  /**
   * Protocol number, 0 to 255: `PROTOCOL_ICMP`, `PROTOCOL_TCP`, `PROTOCOL_UDP` or another; 58 for
   * ICMPv6.
   */
  readonly protocol: number;
  /** Time to live, or hop limit of IPv6, 0 to 255. */
  readonly ttl: number;
  /** Length of the IP packet in bytes, headers included, 20 to 65,535; once reassembled. */
  readonly length: number;
  /** True for a packet that came in fragments. */
  readonly isFragment: boolean;
  /** Source port of TCP or UDP, 0 to 65,535; 0 for any other protocol. */
  readonly srcPort: number;
  /** Destination port of TCP or UDP, 1 to 65,535; 0 for any other protocol. */
  readonly dstPort: number;
  /** Flags of TCP (RFC 9293 §3.1), the sum of `FIN`, `SYN` … `CWR`; 0 for any other protocol. */
  readonly tcpFlags: number;
  /** ICMP type (RFC 792, over IPv6 RFC 4443), 0 to 255; −1 for any other protocol. */
  readonly icmpType: number;
  /** ICMP code, 0 to 255; −1 for any other protocol. */
  readonly icmpCode: number;
  /** Whether the packet may open a connection, belongs to one, or does neither. */
  readonly state: "new" | "established" | "invalid";
  /** True for an invalid packet whose addresses and ports are no connection's. */
  readonly isStray: boolean;
  /**
   * The side whose interface it arrived on; with one interface for both, `b` is the backends' side.
   */
  readonly side: "a" | "b";
}
