/**
 * ICMP errors about tracked connections (RFC 5508 §4). The policy admitted the connection, so an
 * error about it goes to the connection's other end without entering the tree. Seen from the proxy,
 * about a packet that it forwarded
 *
 *     to B   outer  router → proxy    becomes   router → client  from the backend: proxy → client
 *            quote  proxy:pp → backend:sp       client:cp → proxy:sp
 *     to A   outer  any → proxy       becomes   proxy → backend      (RFC 5508 REQ-5 c)
 *            quote  proxy:sp → client:cp        backend:sp → proxy:pp
 *
 * (where the connection preserves its source, with the client's address instead of the proxy's on
 * side B, and the outer source of an error about a packet to A unchanged)
 *
 * so that the receiver finds its own packet in the quote. Type, code, the four bytes after the
 * checksum (the MTU, a pointer) and extensions stay. The connection is neither refreshed nor ended:
 * anyone who guesses the tuple can forge such an error (RFC 5927). For TCP it must quote a sequence
 * number that is in flight. Those of ICMPv6 are in `icmp_error6.ts`. Where the sides are of
 * different families, the error becomes one of the other (`icmp_across.ts`).
 */
import type { Arena } from "../core/arena.ts";
import type { Address } from "../wire/address.ts";
import { NOT_MINE, Reason } from "../core/reason.ts";
import { copyAddress6 } from "../wire/address6.ts";
import { complement, delta16, delta32, sumBytes, updated } from "../wire/checksum.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import * as ipv4 from "../wire/ipv4.ts";
import type { AddressDigest } from "../wire/address_digest.ts";
import { isIcmp, isIpv6, type Pdu } from "../wire/pdu.ts";
import { decodeQuoted, Quoted, quotesPacket } from "../wire/quoted.ts";
import * as tcp from "../wire/tcp.ts";
import * as udp from "../wire/udp.ts";
import { errorTo4, errorTo6 } from "./icmp_across.ts";
import { RelatedErrors6 } from "./icmp_error6.ts";
import { type FlowTable, SIDE_A, SIDE_B } from "./table.ts";
import { isUnderWay } from "./tcp_window.ts";
import { NEW_DESTINATION, NEW_SOURCE, Translation } from "./translate.ts";

export class RelatedErrors {
  readonly #table: FlowTable;
  readonly #quoted = new Quoted();
  /** Null: there is no IPv6. */
  readonly #over6: RelatedErrors6 | null;
  /** Of which family is the error that `find` has accepted last. */
  #isOfIpv6 = false;
  /** With which tuple the receiver of an error of the other family has sent what it quotes. */
  readonly #sent = new Translation();

  /** `digest` of IPv6 addresses; null: there are none. */
  constructor(table: FlowTable, digest: AddressDigest | null = null) {
    this.#table = table;
    this.#over6 = digest === null ? null : new RelatedErrors6(table, digest);
  }

  /**
   * Returns the reference of the connection that the ICMP error is about, with the side to which
   * the quoted packet went; NOT_MINE for any other PDU; or a reason to drop the error.
   */
  find(view: DataView, pdu: Pdu): number {
    if (!isIcmp(pdu.protocol)) return NOT_MINE;
    this.#isOfIpv6 = isIpv6(pdu.protocol);
    if (this.#isOfIpv6) return this.#over6!.find(view, pdu);
    if (!quotesPacket(pdu.icmpType)) return NOT_MINE;
    const quoted = this.#quoted;
    const reason = decodeQuoted(view, pdu, quoted);
    if (reason !== 0) return reason;
    if (quoted.hasTuple === 0) return NOT_MINE;
    // The quoted packet was sent by the proxy: swapped, its tuple is that of a packet from that
    // host.
    const ports = (quoted.dstPort << 16) | quoted.srcPort;
    const reference = this.#table.find(quoted.protocol, quoted.dst, quoted.src, ports);
    if (reference < 0 || !this.#table.hasSideB(reference >>> 1)) return NOT_MINE;
    const isBelieved = quoted.protocol !== ipv4.PROTOCOL_TCP ||
      isUnderWay(this.#table, reference >>> 1, 1 - (reference & 1), tcp.sequence(view, quoted.l4));
    return isBelieved ? reference : Reason["out-of-window"];
  }

  /**
   * The sequence number of the TCP segment that the error which `find` has just accepted quotes.
   */
  quotedSequence(view: DataView): number {
    return this.#isOfIpv6 ? this.#over6!.quotedSequence(view) : tcp.sequence(view, this.#quoted.l4);
  }

  /** As `translate`, of an error of ICMPv6: writes its new source and destination to `to`. */
  translate6(view: DataView, pdu: Pdu, reference: number, to: Translation): void {
    this.#over6!.translate(view, pdu, reference, to);
  }

  /**
   * Writes to `to` where an error about a connection between the families goes, and from whom: the
   * proxy's own address of the receiver's family, which that knows the other end by. Whoever has
   * sent the error has no address there.
   */
  aimAcross(reference: number, to: Translation): void {
    const table = this.#table;
    const other = reference ^ 1;
    const entry = reference >>> 1;
    to.protocol = table.protocolOf(other);
    to.src = table.dst(entry, other & 1);
    to.dst = table.src(entry, other & 1);
    if (!isIpv6(to.protocol)) return;
    table.whole!.copyDestination(other, to.addresses, NEW_SOURCE);
    table.whole!.copySource(other, to.addresses, NEW_DESTINATION);
  }

  /**
   * Makes of the error that `find` has just accepted one of the receiver's family, which leaves as
   * `aimAcross` has written to `to`: see `icmp_across.ts`. Returns 0, or why it can't be one.
   */
  translateAcross(
    arena: Arena,
    pdu: Pdu,
    reference: number,
    to: Translation,
    ttl: number,
    identification: number,
    mtu4: number,
    mtu6: number,
    out: Pdu,
  ): number {
    const table = this.#table;
    const sent = this.#sent;
    const side = 1 - (reference & 1);
    sent.src = to.dst;
    sent.dst = to.src;
    sent.srcPort = table.srcPort(reference >>> 1, side);
    sent.dstPort = table.dstPort(reference >>> 1, side);
    copyAddress6(to.addresses, NEW_DESTINATION, sent.addresses, NEW_SOURCE);
    copyAddress6(to.addresses, NEW_SOURCE, sent.addresses, NEW_DESTINATION);
    if (!this.#isOfIpv6) {
      return errorTo6(arena, pdu, this.#quoted, to, sent, ttl, mtu4, mtu6, out);
    }
    const { quoted } = this.#over6!;
    return errorTo4(arena, pdu, quoted, to, sent, ttl, identification, mtu4, mtu6, out);
  }

  /**
   * Rewrites the error that `find` has just accepted, except its TTL. Returns its new destination.
   */
  translate(view: DataView, pdu: Pdu, reference: number): number {
    const table = this.#table;
    const quoted = this.#quoted;
    const entry = reference >>> 1;
    const side = reference & 1;
    const other = 1 - side;
    const dst = table.src(entry, other);
    const own = table.dst(entry, other);
    const isPreserved = table.src(entry, SIDE_A) === table.dst(entry, SIDE_B);
    const isHidden = side === SIDE_A ? !isPreserved : pdu.src === table.src(entry, SIDE_B);
    const seenFrom = isHidden ? own : pdu.src;
    rewriteQuote(view, quoted, dst, own, table.srcPort(entry, other), table.dstPort(entry, other));
    icmpv4.setChecksum(view, pdu.l4, 0);
    icmpv4.setChecksum(view, pdu.l4, complement(sumBytes(view, pdu.l4, pdu.end - pdu.l4, 0)));
    const addresses = delta32(pdu.src, seenFrom) + delta32(pdu.dst, dst);
    ipv4.setChecksum(view, pdu.ip, updated(ipv4.checksum(view, pdu.ip), addresses));
    ipv4.setSource(view, pdu.ip, seenFrom);
    ipv4.setDestination(view, pdu.ip, dst);
    return dst;
  }
}

/**
 * Restores the quoted packet as its sender sent it. Checksums are adjusted where they are quoted,
 * never recomputed: a wrong one stays wrong.
 */
function rewriteQuote(
  view: DataView,
  quoted: Quoted,
  src: Address,
  dst: Address,
  srcPort: number,
  dstPort: number,
): void {
  const { ip, l4, end, protocol } = quoted;
  const addresses = delta32(quoted.src, src) + delta32(quoted.dst, dst);
  const ports = delta16(quoted.srcPort, srcPort) + delta16(quoted.dstPort, dstPort);
  ipv4.setChecksum(view, ip, updated(ipv4.checksum(view, ip), addresses));
  ipv4.setSource(view, ip, src);
  ipv4.setDestination(view, ip, dst);
  if (protocol === ipv4.PROTOCOL_TCP) {
    if (l4 + tcp.CHECKSUM + 2 <= end) {
      tcp.setChecksum(view, l4, updated(tcp.checksum(view, l4), addresses + ports));
    }
    tcp.setPorts(view, l4, srcPort, dstPort);
  } else if (protocol === ipv4.PROTOCOL_UDP) {
    const checksum = udp.checksum(view, l4);
    if (checksum !== 0) udp.setChecksum(view, l4, updated(checksum, addresses + ports));
    udp.setPorts(view, l4, srcPort, dstPort);
  } else {
    // A query: no pseudo-header, and one of the two ports is the identifier, the other stays 0.
    icmpv4.setChecksum(view, l4, updated(icmpv4.checksum(view, l4), ports));
    icmpv4.setIdentifier(view, l4, srcPort | dstPort);
  }
}
