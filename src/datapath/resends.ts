/**
 * Another try, as seen from the packets: who refuses a connection of which the client has seen
 * nothing yet is not heard, and the connection's SYN goes to another backend. `flow/retries.ts`
 * remembers, `Connections` moves.
 *
 *     an RST, or an ICMP unreachable, in answer to a SYN ─┬─▶ remembered: the SYN leaves at once
 *     a SYN without an answer in `--connect-timeout` ─────┘   not: the client's next goes elsewhere
 *
 * The refusal counts only if it has the SYN's own number (RFC 9293 §3.10.7.3, RFC 5927 §4.1). Once
 * nobody is left to ask, it goes to the client like any other packet.
 *
 * A datagram is never kept. Its port unreachable goes to the client, whose next one goes elsewhere.
 */
import type { Connections } from "../flow/connections.ts";
import type { RelatedErrors } from "../flow/icmp_error.ts";
import type { Retries } from "../flow/retries.ts";
import { SIDE_A, SIDE_B } from "../flow/table.ts";
import { SYN_SENT } from "../flow/tcp_state.ts";
import { answersExactly, isnOfA } from "../flow/tcp_window.ts";
import { translateTo4, translateTo6 } from "../flow/across.ts";
import { translate, translate6, Translation } from "../flow/translate.ts";
import type { Fragmenter } from "../stack/fragmentation.ts";
import { ADDRESS6_WORDS, isSameAddress6 } from "../wire/address6.ts";
import { hasExtensionHeaders } from "../wire/decode6.ts";
import { ETHERNET_BYTES, etherType, ETHERTYPE_IPV6 } from "../wire/ethernet.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { isIpv6, isTcp, OVER_IPV6, Pdu, STEP_A_TO_B, STEP_B_TO_A } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import { decodeVnet, decodeVnet6 } from "../wire/vnet.ts";
import type { Link } from "./link.ts";

/** More than a remembered SYN takes. */
const ROOM_BYTES = 256;

export interface ResendsOptions {
  readonly connections: Connections;
  readonly retries: Retries;
  readonly related: RelatedErrors;
  /** Towards the backends. */
  readonly b: Link;
  /** Gives identifications to what crosses to IPv4. */
  readonly fragmenter: Pick<Fragmenter, "identification">;
}

export class Resends {
  readonly #options: ResendsOptions;
  readonly #pdu = new Pdu();
  /** What that becomes for a member of the other family. */
  readonly #across = new Pdu();
  readonly #to = new Translation();

  constructor(options: ResendsOptions) {
    this.#options = options;
  }

  /**
   * Remembers the SYN in `pdu`, which has been rewritten and is about to leave, if it is its
   * connection's first; none behind extension headers.
   */
  remember(pdu: Pdu): void {
    if ((pdu.steps & STEP_A_TO_B) === 0) return;
    if (isIpv6(pdu.protocol) && hasExtensionHeaders(pdu)) return;
    const { b, connections, retries } = this.#options;
    retries.remember(pdu.flow >>> 1, connections.target, b.arena, pdu.frame, pdu.end - pdu.frame);
  }

  /**
   * Takes an RST that refuses a connection, where that has another try; its decision is to forward
   * it.
   */
  takesReset(pdu: Pdu, nowMs: number): boolean {
    if ((pdu.tcpFlags & tcp.RST) === 0 || (pdu.steps & STEP_B_TO_A) === 0) return false;
    const { b, connections: { table } } = this.#options;
    const entry = pdu.flow >>> 1;
    if (table.state(entry) !== SYN_SENT || !answersExactly(table, entry, pdu)) return false;
    b.answered(pdu);
    return this.#refused(entry, nowMs);
  }

  /**
   * After a client's RST has left that ends what the member had of an older connection by the same
   * ports (RFC 9293 §3.5.1): the SYN follows at once. The client would send it seconds later.
   */
  follow(pdu: Pdu, nowMs: number): void {
    if ((pdu.tcpFlags & tcp.RST) === 0 || (pdu.steps & STEP_A_TO_B) === 0) return;
    const { b, connections: { table }, retries } = this.#options;
    const entry = pdu.flow >>> 1;
    if (table.state(entry) !== SYN_SENT || retries.target(entry) === null) return;
    if (!this.#maySend(entry)) return;
    if (pdu.seq === ((isnOfA(table, entry) + 1) | 0)) return; // the client gives up
    if (!retries.maySendAgain(entry)) return; // anybody can send an RST in the client's name
    const frame = retries.write(entry, b.arena);
    if (frame >= 0) this.#send(entry, frame, frame + retries.lengthOf(entry), nowMs);
  }

  /** Takes an ICMP error about connection `related` that refuses it, as above. */
  takesError(view: DataView, pdu: Pdu, related: number, nowMs: number): boolean {
    const { protocol, icmpType, icmpCode } = pdu;
    const isOfIpv6 = isIpv6(protocol);
    const unreachable = isOfIpv6 ? icmpv6.ICMPV6_UNREACHABLE : icmpv4.ICMP_UNREACHABLE;
    if (icmpType !== unreachable || (related & 1) !== SIDE_B) return false;
    const { connections, related: errors, retries } = this.#options;
    const { table } = connections;
    const entry = related >>> 1;
    if (!connections.isUnanswered(entry)) return false;
    if (!isTcp(table.protocol(entry))) {
      const noPort = isOfIpv6 ? icmpv6.CODE_PORT_UNREACHABLE6 : icmpv4.CODE_PORT_UNREACHABLE;
      const isPort = icmpCode === noPort && this.#isFromMember(pdu, entry);
      if (isPort && connections.hasOther(entry)) retries.refuse(entry);
      return false;
    }
    const isTooLong = !isOfIpv6 && icmpCode === icmpv4.CODE_FRAGMENTATION_NEEDED;
    if (isTooLong || retries.hasData(entry)) return false;
    return errors.quotedSequence(view) === isnOfA(table, entry) && this.#refused(entry, nowMs);
  }

  #isFromMember(pdu: Pdu, entry: number): boolean {
    const { connections, connections: { table } } = this.#options;
    if (!isIpv6(pdu.protocol)) return pdu.src === table.src(entry, SIDE_B);
    const { addresses } = this.#to;
    connections.writeTuple6((entry << 1) | SIDE_B, addresses, 0);
    return isSameAddress6(pdu.addresses, 0, addresses, 0);
  }

  /** SYNs that have waited for too long go elsewhere. */
  tick(nowMs: number): void {
    const { b, connections, retries } = this.#options;
    for (let entry: number; (entry = retries.due(nowMs)) >= 0;) {
      if (!b.isUp || !b.arena.hasRoom(1, ROOM_BYTES)) return;
      const isMeant = connections.isUnanswered(entry) && !retries.hasData(entry);
      if (!isMeant || !this.#again(entry, nowMs)) retries.forget(entry);
    }
  }

  #refused(entry: number, nowMs: number): boolean {
    const { connections, retries } = this.#options;
    if (retries.target(entry) !== null) return this.#again(entry, nowMs);
    // That of a client which has sent its SYN again is still here, and is refused twice.
    if (retries.isRefused(entry)) return true;
    if (!connections.hasOther(entry)) return false;
    connections.noteFailure(entry);
    retries.refuse(entry);
    return true;
  }

  /** False if the connection's packets to its member would have a source that must not be used. */
  #maySend(entry: number): boolean {
    const { connections } = this.#options;
    const protocol = this.#to.protocol = connections.table.protocolOf((entry << 1) | SIDE_B);
    if (isIpv6(protocol)) connections.aim6((entry << 1) | SIDE_A, this.#to);
    return this.#mayLeave();
  }

  /** Sends the remembered SYN to another member; false if there is none, or it may not leave. */
  #again(entry: number, nowMs: number): boolean {
    if (!this.#maySend(entry)) return false;
    const { b, connections, retries } = this.#options;
    const { table } = connections;
    const pdu = this.#pdu;
    pdu.flow = (entry << 1) | SIDE_A;
    pdu.protocol = table.protocol(entry);
    pdu.src = table.src(entry, SIDE_A);
    pdu.dst = table.dst(entry, SIDE_A);
    pdu.srcPort = table.srcPort(entry, SIDE_A);
    pdu.dstPort = table.dstPort(entry, SIDE_A);
    if (isIpv6(pdu.protocol)) connections.writeTuple6(pdu.flow, pdu.addresses, 0);
    const target = retries.target(entry)!;
    if (!connections.tryElsewhere(target, pdu, nowMs | 0, b.routes, b.v6)) return false;
    const frame = retries.write(entry, b.arena);
    if (frame >= 0) this.#send(entry, frame, frame + retries.lengthOf(entry), nowMs);
    if (!retries.isLeft(entry)) retries.forget(entry);
    return true;
  }

  /** The SYN as it left for an earlier member is rewritten for the present one; its TTL stays. */
  #send(entry: number, frame: number, end: number, nowMs: number): void {
    const { b, connections, connections: { table } } = this.#options;
    const { view } = b.arena;
    const to = this.#to;
    const protocol = to.protocol = table.protocolOf((entry << 1) | SIDE_B);
    this.#read(frame, end);
    to.srcPort = table.dstPort(entry, SIDE_B);
    to.dstPort = table.srcPort(entry, SIDE_B);
    to.src = table.dst(entry, SIDE_B);
    to.dst = table.src(entry, SIDE_B);
    if (isIpv6(protocol)) connections.aim6((entry << 1) | SIDE_A, to);
    if (!this.#mayLeave() || !b.route(protocol, to)) return;
    const syn = this.#pdu;
    const leaving = protocol === syn.protocol ? syn : this.#across;
    if (leaving !== syn) this.#cross();
    else if (isIpv6(protocol)) translate6(view, syn, to, syn.ttl);
    else translate(view, syn, to, syn.ttl);
    b.expectAnswer(protocol, to, nowMs);
    // What can't leave is lost as any packet.
    b.send(protocol, leaving.frame, leaving.end - leaving.frame, to, nowMs, entry);
  }

  /** False if it would leave from an address that must not be used now. */
  #mayLeave(): boolean {
    const { v6 } = this.#options.b;
    return v6 === null || !isIpv6(this.#to.protocol) || v6.maySend(this.#to);
  }

  /** What is at hand becomes a packet of the other family. */
  #cross(): void {
    const { b: { arena }, fragmenter } = this.#options;
    const syn = this.#pdu;
    const to = this.#to;
    if (isIpv6(to.protocol)) translateTo6(arena, syn, to, syn.ttl, this.#across);
    else translateTo4(arena, syn, to, syn.ttl, fragmenter.identification(), this.#across);
  }

  /** Reads the frame of a remembered SYN, which was right when it left. */
  #read(frame: number, end: number): void {
    const { view } = this.#options.b.arena;
    const pdu = this.#pdu;
    const ip = frame + ETHERNET_BYTES;
    const isOfIpv6 = etherType(view, frame) === ETHERTYPE_IPV6;
    const l4 = ip + (isOfIpv6 ? ipv6.IPV6_BYTES : ipv4.headerBytes(view, ip));
    const ports = tcp.ports(view, l4);
    pdu.frame = frame;
    pdu.frameBytes = end - frame;
    pdu.ip = ip;
    pdu.l4 = l4;
    pdu.payload = l4 + tcp.headerBytes(view, l4);
    pdu.end = end;
    pdu.totalLength = end - ip;
    pdu.srcPort = ports >>> 16;
    pdu.dstPort = ports & 0xffff;
    if (isOfIpv6) {
      pdu.protocol = ipv4.PROTOCOL_TCP | OVER_IPV6;
      pdu.ttl = ipv6.hopLimit(view, ip);
      decodeVnet6(view, pdu);
      ipv6.readSource(view, ip, pdu.addresses, 0);
      ipv6.readDestination(view, ip, pdu.addresses, ADDRESS6_WORDS);
    } else {
      pdu.protocol = ipv4.PROTOCOL_TCP;
      pdu.ttl = ipv4.ttl(view, ip);
      decodeVnet(view, pdu);
      pdu.src = ipv4.source(view, ip);
      pdu.dst = ipv4.destination(view, ip);
    }
  }
}
