/**
 * ICMPv6 errors about tracked connections, as `icmp_error.ts` has those of IPv4. A Packet Too Big
 * that names less than what every link takes is dropped, as its receiver would have to discard it
 * (RFC 8201 §4).
 *
 * What a router next to the proxy sends from its link-local address goes on from the proxy's own:
 * that address means nothing on another link.
 */
import { NOT_MINE, Reason } from "../core/reason.ts";
import { ADDRESS6_WORDS, copyAddress6, isLinkLocal, isSameAddress6 } from "../wire/address6.ts";
import type { AddressDigest } from "../wire/address_digest.ts";
import { delta16, deltaAddress6, updated } from "../wire/checksum.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import type { Pdu } from "../wire/pdu.ts";
import { decodeQuoted6, Quoted6, quotesPacket6 } from "../wire/quoted6.ts";
import * as tcp from "../wire/tcp.ts";
import * as udp from "../wire/udp.ts";
import { type FlowTable, SIDE_A, SIDE_B } from "./table.ts";
import { isUnderWay } from "./tcp_window.ts";
import { NEW_DESTINATION, NEW_SOURCE, type Translation } from "./translate.ts";

export class RelatedErrors6 {
  readonly #table: FlowTable;
  readonly #digest: AddressDigest;
  /** What the error that was found last quotes. */
  readonly quoted: Quoted6 = new Quoted6();
  /** What the quoted packet's sender sent it from and to. */
  readonly #tuple = new Int32Array(2 * ADDRESS6_WORDS);

  constructor(table: FlowTable, digest: AddressDigest) {
    this.#table = table;
    this.#digest = digest;
  }

  /** As `RelatedErrors.find`, of an ICMPv6 message. */
  find(view: DataView, pdu: Pdu): number {
    if (!quotesPacket6(pdu.icmpType)) return NOT_MINE;
    const quoted = this.quoted;
    const reason = decodeQuoted6(view, pdu, this.#digest, quoted);
    if (reason !== 0) return reason;
    if (quoted.hasTuple === 0) return NOT_MINE;
    const table = this.#table;
    const { answer, dst, protocol, src } = quoted;
    const ports = (quoted.dstPort << 16) | quoted.srcPort;
    const reference = table.find6(protocol, dst, src, ports, answer);
    if (reference < 0 || !table.hasSideB(reference >>> 1)) return NOT_MINE;
    const isTooShort = pdu.icmpType === icmpv6.ICMPV6_PACKET_TOO_BIG &&
      icmpv6.mtu(view, pdu.l4) < ipv6.MIN_MTU6_BYTES;
    if (isTooShort) return Reason["mtu-below-minimum"];
    const isBelieved = quoted.chain.protocol !== PROTOCOL_TCP ||
      isUnderWay(table, reference >>> 1, 1 - (reference & 1), this.quotedSequence(view));
    return isBelieved ? reference : Reason["out-of-window"];
  }

  /** See `RelatedErrors.quotedSequence`. */
  quotedSequence(view: DataView): number {
    return tcp.sequence(view, this.quoted.l4);
  }

  /**
   * Rewrites the error that `find` has just accepted, except its hop limit, and writes its new
   * source and destination to `to`.
   */
  translate(view: DataView, pdu: Pdu, reference: number, to: Translation): void {
    const table = this.#table;
    const whole = table.whole!;
    const quoted = this.quoted;
    const tuple = this.#tuple;
    const entry = reference >>> 1;
    const other = reference ^ 1;
    const { addresses } = to;
    to.dst = table.src(entry, other & 1);
    whole.copySource(other, addresses, NEW_DESTINATION);
    if (this.#isHidden(pdu, reference)) {
      to.src = table.dst(entry, other & 1);
      whole.copyDestination(other, addresses, NEW_SOURCE);
    } else {
      to.src = pdu.src;
      copyAddress6(pdu.addresses, NEW_SOURCE, addresses, NEW_SOURCE);
    }
    whole.copySource(other, tuple, NEW_SOURCE);
    whole.copyDestination(other, tuple, NEW_DESTINATION);
    const srcPort = table.srcPort(entry, other & 1);
    const dstPort = table.dstPort(entry, other & 1);
    rewriteQuote(view, quoted, tuple, srcPort, dstPort);
    ipv6.setSource(view, pdu.ip, addresses, NEW_SOURCE);
    ipv6.setDestination(view, pdu.ip, addresses, NEW_DESTINATION);
    icmpv6.writeChecksum(view, pdu.ip, pdu.l4, pdu.end);
  }

  /** True if the error is to come from the address that its receiver knows the other end by. */
  #isHidden(pdu: Pdu, reference: number): boolean {
    if (isLinkLocal(pdu.addresses[NEW_SOURCE]!)) return true;
    const whole = this.#table.whole!;
    const entry = reference >>> 1;
    if ((reference & 1) === SIDE_A) return this.#table.dst(entry, SIDE_B) === whole.ownKey;
    whole.copySource(reference, this.#tuple, 0);
    return isSameAddress6(pdu.addresses, NEW_SOURCE, this.#tuple, 0);
  }
}

/**
 * Restores the quoted packet as its sender sent it, from and to the addresses in `tuple`. Checksums
 * are adjusted where they are quoted, never recomputed: a wrong one stays wrong.
 */
function rewriteQuote(
  view: DataView,
  quoted: Quoted6,
  tuple: Int32Array,
  srcPort: number,
  dstPort: number,
): void {
  const { ip, l4, end, chain: { protocol } } = quoted;
  const delta = deltaAddress6(view, ip + ipv6.SOURCE, tuple, NEW_SOURCE) +
    deltaAddress6(view, ip + ipv6.DESTINATION, tuple, NEW_DESTINATION) +
    delta16(quoted.srcPort, srcPort) + delta16(quoted.dstPort, dstPort);
  ipv6.setSource(view, ip, tuple, NEW_SOURCE);
  ipv6.setDestination(view, ip, tuple, NEW_DESTINATION);
  if (protocol === PROTOCOL_TCP) {
    if (l4 + tcp.CHECKSUM + 2 <= end) {
      tcp.setChecksum(view, l4, updated(tcp.checksum(view, l4), delta));
    }
    tcp.setPorts(view, l4, srcPort, dstPort);
  } else if (protocol === PROTOCOL_UDP) {
    udp.setChecksum(view, l4, updated(udp.checksum(view, l4), delta));
    udp.setPorts(view, l4, srcPort, dstPort);
  } else {
    // One of the two ports is the identifier, the other stays 0.
    icmpv6.updateChecksum(view, l4, delta);
    icmpv6.setIdentifier(view, l4, srcPort | dstPort);
  }
}
