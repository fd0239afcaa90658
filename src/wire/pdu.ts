/**
 * The packet as the tree sees it: the offsets of its headers in the arena, and the values of their
 * fields.
 *
 * There is one Pdu per appliance; `decode` fills it for each frame. All that is written are 32-bit
 * integers, so that it allocates nothing.
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "./ipv4.ts";
import { PROTOCOL_ICMPV6 } from "./ipv6.ts";

/** Values of `Pdu.side`. */
export const FROM_A = 0;
export const FROM_B = 1;

/** How a PDU relates to tracked connections. */
export const STATE_NEW = 0;
export const STATE_ESTABLISHED = 1;
export const STATE_INVALID = 2;

/**
 * Bit of `Pdu.protocol` in a packet of IPv6, whose connections are none of IPv4's: above all
 * protocol numbers, of which IPv4 has some that only differ in a lower bit.
 */
export const OVER_IPV6 = 0x8000;

/** Bits of `Pdu.steps`. */
export const STEP_TRACK = 1;
export const STEP_A_TO_B = 2;
export const STEP_B_TO_A = 4;

/** Bit of `Pdu.newTtl` above the TTL. */
export const RAISES_TTL = 0x100;

export class Pdu {
  // Offsets into the arena.
  frame = 0;
  /** Length of the frame as received, in bytes. */
  frameBytes = 0;
  ip = 0;
  l4 = 0;
  /** End of the IP packet: what follows is Ethernet padding. */
  end = 0;

  // Ethernet and IP.
  etherType = 0;
  /** 1 if the frame went to all or to a group, 0 if to the proxy's own MAC address. */
  broadcastFrame = 0;
  /** Addresses of IPv4; digests of those of IPv6. */
  src = 0;
  dst = 0;
  protocol = 0;
  ttl = 0;
  totalLength = 0;
  /** 1 for a fragment, or a packet reassembled from fragments. */
  fragment = 0;
  /**
   * Longest fragment of a reassembled packet, as IP packet in bytes; 0 if it was not fragmented.
   */
  fragmentBytes = 0;

  // TCP and UDP; an echo request has its identifier as source port, a reply as destination port.
  srcPort = 0;
  dstPort = 0;

  // TCP.
  tcpFlags = 0;
  seq = 0;
  ack = 0;
  /** As in the header, not scaled. */
  window = 0;

  // ICMP.
  icmpType = 0;
  icmpCode = 0;

  /** Offset of the TCP or UDP payload. */
  payload = 0;
  /** 1 if the layer 4 checksum holds the pseudo-header sum only (VIRTIO_NET_HDR_F_NEEDS_CSUM). */
  partialChecksum = 0;

  /**
   * Reference to the connection's entry in the flow table (`entry << 1 | direction`), or -1. Until
   * the lookup has confirmed it: a candidate.
   */
  flow = 0;
  /** FROM_A or FROM_B: the side that it came from. */
  side = 0;
  /** STATE_NEW, STATE_ESTABLISHED or STATE_INVALID. */
  state = 0;
  /** Why the state is invalid; else 0. */
  invalid = 0;
  /** What a segment makes of its connection, which it did not open, as `TcpTracker` has judged. */
  verdict = 0;
  /** STEP_… bits set by scanners and translators in the tree, carried out once it has decided. */
  steps = 0;
  /** TTL that a modifier has set, and RAISES_TTL if it may be above the one received; 0: none. */
  newTtl = 0;
  /** 1 if the PDU's connection got its entry from this PDU. */
  opened = 0;
  /** Number of the tree node at which evaluation ended. */
  exit = 0;

  /** Source and destination address of IPv6, four words each; over IPv4 nobody writes it. */
  readonly addresses: Int32Array = new Int32Array(8);
}

export function isIpv6(protocol: number): boolean {
  return (protocol & OVER_IPV6) !== 0;
}

/** True for TCP over either family; `protocol` as in a Pdu. So are the following. */
export function isTcp(protocol: number): boolean {
  return (protocol & ~OVER_IPV6) === PROTOCOL_TCP;
}

export function isUdp(protocol: number): boolean {
  return (protocol & ~OVER_IPV6) === PROTOCOL_UDP;
}

/** True for each family's own ICMP. */
export function isIcmp(protocol: number): boolean {
  return protocol === PROTOCOL_ICMP || protocol === (PROTOCOL_ICMPV6 | OVER_IPV6);
}

/** What the protocol is called over the other family: each has its own ICMP. */
export function acrossOf(protocol: number): number {
  if (!isIcmp(protocol)) return protocol ^ OVER_IPV6;
  return isIpv6(protocol) ? PROTOCOL_ICMP : PROTOCOL_ICMPV6 | OVER_IPV6;
}

/** True for an invalid PDU without a connection that has its addresses and ports. */
export function isStray(pdu: Readonly<Pdu>): boolean {
  return pdu.state === STATE_INVALID && pdu.flow < 0;
}
