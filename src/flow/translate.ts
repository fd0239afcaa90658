/**
 * Rewrites addresses and ports in place and updates every checksum that covers them (RFC 1624).
 *
 * A complete checksum is adjusted for addresses and ports. A partial one
 * (VIRTIO_NET_HDR_F_NEEDS_CSUM) holds only the sum of the pseudo-header, not complemented, so only
 * the addresses count. A UDP checksum of 0 means none and stays 0 (RFC 768; RFC 3022 §4.1). The
 * "port" of an ICMP query is its identifier; its checksum covers no address (RFC 5508 §3.1), that
 * of ICMPv6 does (RFC 4443 §2.3).
 */
import type { Address } from "../wire/address.ts";
import { ADDRESS6_WORDS } from "../wire/address6.ts";
import { delta16, delta32, deltaAddress6, fold, updated } from "../wire/checksum.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { isIcmp, isTcp, type Pdu, RAISES_TTL } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import * as udp from "../wire/udp.ts";

/** Words of `Translation.addresses`. */
export const NEW_SOURCE = 0;
export const NEW_DESTINATION: number = ADDRESS6_WORDS;

/** The new tuple of a PDU; over IPv6, addresses are keys. */
export class Translation {
  /** With which it leaves, and over which family: as in `Pdu.protocol`. */
  protocol = 0;
  src = 0;
  dst = 0;
  srcPort = 0;
  dstPort = 0;
  /** Next hop towards `dst`, if a route was asked for. */
  nextHop = 0;
  /** Over IPv6 the addresses whose keys are `src` and `dst`, four words each. */
  readonly addresses: Int32Array<ArrayBuffer> = new Int32Array(2 * ADDRESS6_WORDS);
  /** The one whose key is `nextHop`: four words from `hopAt` on. */
  hops: Int32Array = this.addresses;
  hopAt = 0;
}

/** The routes of the link by which a PDU leaves. */
export interface NextHops {
  /** 0: there is no route. */
  nextHop(address: Address): number;
}

/** As `NextHops`, over IPv6. */
export interface NextHops6 {
  /**
   * Says in `to` which is the next hop towards its destination. False: there is no route.
   */
  route(to: Translation): boolean;
}

/** Writes the tuple `to`, and the TTL (RFC 1812 §5.3.1). */
export function translate(view: DataView, pdu: Pdu, to: Translation, ttl: number): void {
  const addresses = delta32(pdu.src, to.src) + delta32(pdu.dst, to.dst);
  ipv4.setSource(view, pdu.ip, to.src);
  ipv4.setDestination(view, pdu.ip, to.dst);
  setTtl(view, pdu, ttl, addresses);
  const ports = delta16(pdu.srcPort, to.srcPort) + delta16(pdu.dstPort, to.dstPort);
  if (pdu.protocol === ipv4.PROTOCOL_TCP) {
    const checksum = adjusted(pdu, tcp.checksum(view, pdu.l4), addresses, ports);
    tcp.setChecksum(view, pdu.l4, checksum);
    tcp.setPorts(view, pdu.l4, to.srcPort, to.dstPort);
  } else if (pdu.protocol === ipv4.PROTOCOL_ICMP) {
    const identifier = icmpv4.isRequest(pdu.icmpType) ? to.srcPort : to.dstPort;
    icmpv4.setIdentifier(view, pdu.l4, identifier);
    icmpv4.updateChecksum(view, pdu.l4, pdu.end, ports);
  } else {
    const checksum = udp.checksum(view, pdu.l4);
    if (checksum !== 0 || pdu.partialChecksum !== 0) {
      udp.setChecksum(view, pdu.l4, adjusted(pdu, checksum, addresses, ports));
    }
    udp.setPorts(view, pdu.l4, to.srcPort, to.dstPort);
  }
}

/** As `translate`, over IPv6: writes the tuple `to` and the hop limit. */
export function translate6(view: DataView, pdu: Pdu, to: Translation, hopLimit: number): void {
  const { ip, l4 } = pdu;
  const addresses = deltaAddress6(view, ip + ipv6.SOURCE, to.addresses, NEW_SOURCE) +
    deltaAddress6(view, ip + ipv6.DESTINATION, to.addresses, NEW_DESTINATION);
  ipv6.setSource(view, ip, to.addresses, NEW_SOURCE);
  ipv6.setDestination(view, ip, to.addresses, NEW_DESTINATION);
  ipv6.setHopLimit(view, ip, hopLimit);
  const ports = delta16(pdu.srcPort, to.srcPort) + delta16(pdu.dstPort, to.dstPort);
  if (isTcp(pdu.protocol)) {
    tcp.setChecksum(view, l4, adjusted(pdu, tcp.checksum(view, l4), addresses, ports));
    tcp.setPorts(view, l4, to.srcPort, to.dstPort);
  } else if (isIcmp(pdu.protocol)) {
    const isRequest = pdu.icmpType === icmpv6.ICMPV6_ECHO_REQUEST;
    icmpv6.setIdentifier(view, l4, isRequest ? to.srcPort : to.dstPort);
    icmpv6.updateChecksum(view, l4, addresses + ports);
  } else {
    udp.setChecksum(view, l4, adjusted(pdu, udp.checksum(view, l4), addresses, ports));
    udp.setPorts(view, l4, to.srcPort, to.dstPort);
  }
}

/** Checksum of TCP or UDP, complete or partial, after a change with these deltas. */
export function adjusted(
  pdu: Readonly<Pdu>,
  checksum: number,
  addresses: number,
  ports: number,
): number {
  return pdu.partialChecksum !== 0
    ? fold(checksum + addresses)
    : updated(checksum, addresses + ports);
}

/**
 * The TTL to send a packet with that is forwarded: never above one less than it came with, so that
 * loops end (RFC 1812 §5.3.1), unless the policy raises it.
 */
export function ttlToSend({ newTtl, ttl }: Readonly<Pdu>): number {
  if (newTtl === 0) return ttl - 1;
  return newTtl > RAISES_TTL ? newTtl - RAISES_TTL : Math.min(newTtl, ttl - 1);
}

/**
 * Writes the TTL to send with, and updates the header checksum for it and for `delta`, the change
 * of the addresses.
 */
export function setTtl(view: DataView, pdu: Pdu, ttl: number, delta: number): void {
  const checksum = updated(
    ipv4.checksum(view, pdu.ip),
    delta + delta16(pdu.ttl << 8, ttl << 8),
  );
  ipv4.setChecksum(view, pdu.ip, checksum);
  ipv4.setTtl(view, pdu.ip, ttl);
}
