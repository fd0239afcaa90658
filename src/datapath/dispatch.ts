/**
 * What is done with a PDU once something has been decided about it: it leaves, changed, by the link
 * where its receiver is, or its sender hears why not.
 *
 *     carryOut ─┬─ forward: TTL, link, MTU ─ route, commit ─ translate ─ MSS ──┐
 *               ├─ echo reply: commit ─ turn round                            ├─ fragment ─ ARP
 *               ├─ reject                                                     │
 *               └─ drop as stray: an RST back                                 │
 *     relay      an ICMP error about a connection ─ translate ────────────────┘
 *
 * Nothing is committed for what TTL, link, MTU, an own address on trial or a missing route keep
 * here. Functions return the decision that was carried out, or a reason.
 *
 * A packet that leaves over the other family is another one, which `flow/across.ts` makes of it:
 * what its sender is told is about its own, and what leaves is fitted to the way of the other.
 */
import { Reason } from "../core/reason.ts";
import {
  faultAcross,
  LONGER_BYTES,
  mtuAcross,
  mustStayWhole,
  translateTo4,
  translateTo6,
} from "../flow/across.ts";
import type { Connections } from "../flow/connections.ts";
import type { RelatedErrors } from "../flow/icmp_error.ts";
import { SIDE_A } from "../flow/table.ts";
import { setTtl, translate, translate6, Translation, ttlToSend } from "../flow/translate.ts";
import { isOfOneLink } from "../stack/admit6.ts";
import { dropAtomicHeader } from "../stack/fragment_format.ts";
import { dontFragment, type Fragmenter, leavesWhole } from "../stack/fragmentation.ts";
import { clampMss } from "../stack/mss.ts";
import { ECHO_REPLY, FORWARD, REJECT } from "../policy/language/ast.ts";
import { hasExtensionHeaders } from "../wire/decode6.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as ipv6 from "../wire/ipv6.ts";
import {
  FROM_A,
  FROM_B,
  isIcmp,
  isIpv6,
  isTcp,
  Pdu,
  STEP_A_TO_B,
  STEP_B_TO_A,
} from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import type { Answers } from "./answers.ts";
import { BEYOND_SCOPE, NO_HOST, NO_ROUTE, TOO_FAR, TOO_LONG } from "./complaint.ts";
import type { Link } from "./link.ts";
import type { Link6 } from "./link6.ts";
import type { Resends } from "./resends.ts";
import type { Strays } from "./strays.ts";
import { Count, type Metrics } from "./metrics.ts";

export interface DispatchOptions {
  /** Side A's link and side B's, which may be one and the same. */
  readonly a: Link;
  readonly b: Link;
  readonly connections: Connections;
  readonly related: RelatedErrors;
  readonly answers: Answers;
  /** Null: strays are dropped in silence. */
  readonly strays: Strays | null;
  /** Null: no connection is tried elsewhere. */
  readonly resends: Resends | null;
  readonly fragmenter: Fragmenter;
  readonly metrics: Metrics;
  /** Null: if the sides' MTUs differ. */
  readonly clampMss: boolean | null;
}

export class Dispatch {
  readonly #options: DispatchOptions;
  readonly #translation = new Translation();
  /** What a packet becomes that leaves over the other family. */
  readonly #across = new Pdu();

  constructor(options: DispatchOptions) {
    this.#options = options;
  }

  /** Does what the tree said, its `outcome`, about the PDU that came in by `link`. */
  carryOut(link: Link, pdu: Pdu, outcome: number, nowMs: number): number {
    const { answers, strays } = this.#options;
    switch (outcome) {
      case FORWARD:
        return this.#forward(link, pdu, nowMs);
      case ECHO_REPLY:
        return this.#echo(link, pdu, nowMs);
      case REJECT:
        answers.reject(link, pdu, nowMs);
        return REJECT;
      case Reason.stray:
        strays?.answer(link, pdu, nowMs);
        return outcome;
      default:
        return outcome;
    }
  }

  /**
   * Sends an ICMP error about connection `related` on to its other end; the tree is not asked, it
   * admitted the connection. If `related` is a reason, the error can't be used.
   */
  relay(pdu: Pdu, related: number, nowMs: number): number {
    if (related < 0) return related;
    if (pdu.ttl <= 1) return Reason["ttl-expired"];
    const { resends } = this.#options;
    if (resends?.takesError(this.#options.b.arena.view, pdu, related, nowMs)) {
      return Reason.retried;
    }
    const out = this.linkTowards(related ^ 1);
    if (!out.isUp) return Reason["link-down"];
    const { view } = out.arena;
    const { connections, related: errors } = this.#options;
    if (connections.table.crosses(related >>> 1)) {
      return this.#relayAcross(pdu, related, out, nowMs);
    }
    const to = this.#translation;
    if (isIpv6(pdu.protocol)) {
      if (hasExtensionHeaders(pdu)) dropAtomicHeader(out.arena, pdu);
      errors.translate6(view, pdu, related, to);
      if (out.v6?.maySend(to) === false) return Reason["address-on-trial"];
    } else to.dst = errors.translate(view, pdu, related);
    if (!out.route(pdu.protocol, to)) return Reason["no-route"];
    if (isIpv6(pdu.protocol)) ipv6.setHopLimit(view, pdu.ip, pdu.ttl - 1);
    else setTtl(view, pdu, pdu.ttl - 1, 0);
    return this.#leave(pdu, out, nowMs, related >>> 1);
  }

  /** As `relay`, where the connection's other end is of the other family. */
  #relayAcross(pdu: Pdu, related: number, out: Link, nowMs: number): number {
    const { fragmenter, related: errors } = this.#options;
    const to = this.#translation;
    errors.aimAcross(related, to);
    const { protocol } = to;
    if (!out.hasFamily(protocol)) return Reason["link-down"];
    if (isIpv6(protocol) && !out.v6!.maySend(to)) return Reason["address-on-trial"];
    if (!out.route(protocol, to)) return Reason["no-route"];
    const mtu = out.mtuFor(protocol);
    const mtuThere = this.linkTowards(related).mtuFor(pdu.protocol);
    const reason = errors.translateAcross(
      out.arena,
      pdu,
      related,
      to,
      pdu.ttl - 1,
      fragmenter.identification(),
      isIpv6(protocol) ? mtuThere : mtu,
      isIpv6(protocol) ? mtu : mtuThere,
      this.#across,
    );
    return reason === 0 ? this.#leave(this.#across, out, nowMs, related >>> 1) : reason;
  }

  /** The side of a PDU that came in by `link` and whose connection is `flow`. */
  sideOf(link: Link, flow: number): number {
    const { a, b } = this.#options;
    return a === b ? flow & 1 : link === a ? FROM_A : FROM_B;
  }

  /**
   * The link over which an end of a connection is reached, given by its reference: a backend over
   * side B's, a client over the one whose address it asked for.
   */
  linkTowards(reference: number): Link {
    const { a, b, connections } = this.#options;
    if (a === b || (reference & 1) !== SIDE_A) return b;
    const { table } = connections;
    const { v6 } = a;
    const asked = table.dst(reference >>> 1, SIDE_A);
    const isOfA = v6 !== null && isIpv6(table.protocol(reference >>> 1))
      ? v6.hasKey(asked)
      : asked === a.own.address;
    return isOfA ? a : b;
  }

  #forward(link: Link, pdu: Pdu, nowMs: number): number {
    const { answers, b, connections, resends } = this.#options;
    if ((pdu.steps & (STEP_A_TO_B | STEP_B_TO_A)) === 0) return Reason["not-translated"];
    if (pdu.ttl <= 1) {
      answers.error(link, pdu, TOO_FAR, 0, nowMs);
      return Reason["ttl-expired"];
    }
    if (resends?.takesReset(pdu, nowMs)) return Reason.retried;
    const out = (pdu.steps & STEP_A_TO_B) !== 0 ? b : this.linkTowards(pdu.flow ^ 1);
    const protocol = connections.protocolTowards(pdu);
    const crosses = protocol !== pdu.protocol;
    if (!out.isUp || !out.hasFamily(protocol)) {
      answers.error(link, pdu, NO_ROUTE, 0, nowMs);
      return Reason["link-down"];
    }
    if (isIpv6(pdu.protocol) && out !== link && isOfOneLink(pdu)) {
      answers.error(link, pdu, BEYOND_SCOPE, 0, nowMs);
      return Reason["beyond-scope"];
    }
    const { view } = out.arena;
    if (crosses) {
      const fault = faultAcross(pdu);
      if (fault !== 0) return fault;
    }
    if (isIpv6(protocol) && !this.#hasSource6(pdu, out.v6!)) return Reason["address-on-trial"];
    const mtu = crosses ? mtuAcross(pdu, out.mtuFor(protocol)) : out.mtuFor(protocol);
    if (
      !leavesWhole(out.arena, pdu, mtu) &&
      (crosses ? mustStayWhole(view, pdu) : dontFragment(view, pdu))
    ) {
      answers.error(link, pdu, TOO_LONG, mtu, nowMs);
      return Reason["mtu-exceeded"];
    }
    const to = this.#translation;
    const reason = connections.commit(view, pdu, nowMs | 0, to, out.routes, out.v6);
    if (reason === Reason["no-route"]) {
      answers.error(link, pdu, NO_ROUTE, 0, nowMs);
    } else if (reason === Reason["no-backend"] || reason === Reason["backends-full"]) {
      answers.error(link, pdu, NO_HOST, 0, nowMs);
    } else if (reason !== 0) {
      answers.refuse(link, pdu, nowMs);
    }
    if (reason !== 0) return reason;
    if (pdu.opened !== 0) link.opened(pdu);
    if (to.protocol !== protocol) { // another try has changed the family
      const fault = this.#faultOfMove(pdu, out);
      if (fault !== 0) return fault;
    }
    const leaving = this.#rewrite(pdu, out);
    if (isTcp(pdu.protocol) && (pdu.tcpFlags & tcp.SYN) !== 0) {
      this.#clamp(view, leaving);
      resends?.remember(leaving);
    }
    this.#noteAnswers(pdu, out, nowMs);
    const left = this.#leave(leaving, out, nowMs, pdu.flow >> 1);
    resends?.follow(pdu, nowMs);
    return left;
  }

  /** Why the PDU can't leave over the family of its connection's new member; else 0. */
  #faultOfMove(pdu: Pdu, out: Link): number {
    const to = this.#translation;
    if (isIpv6(to.protocol) && !out.v6!.maySend(to)) return Reason["address-on-trial"];
    return to.protocol === pdu.protocol ? 0 : faultAcross(pdu);
  }

  /** Makes of the PDU what leaves, by the translation at hand: itself, or the other family's. */
  #rewrite(pdu: Pdu, { arena }: Link): Pdu {
    const to = this.#translation;
    const ttl = ttlToSend(pdu);
    if (to.protocol === pdu.protocol) {
      if (isIpv6(pdu.protocol)) {
        if (hasExtensionHeaders(pdu)) dropAtomicHeader(arena, pdu);
        translate6(arena.view, pdu, to, ttl);
      } else translate(arena.view, pdu, to, ttl);
      return pdu;
    }
    const across = this.#across;
    const { fragmenter } = this.#options;
    if (isIpv6(to.protocol)) translateTo6(arena, pdu, to, ttl, across);
    else translateTo4(arena, pdu, to, ttl, fragmenter.identification(), across);
    return across;
  }

  /** True if the source with which the PDU will leave there may be used (RFC 4862 §5.4). */
  #hasSource6(pdu: Pdu, v6: Link6): boolean {
    if (v6.own.areAllUsable) return true;
    const to = this.#translation;
    this.#options.connections.writeSource6(pdu, to);
    return v6.maySend(to);
  }

  /**
   * A SYN or a datagram to a backend wants an answer, and a SYN ACK, RST or datagram from there is
   * one: a next hop that owes one for long is asked whether it is there.
   */
  #noteAnswers(pdu: Pdu, out: Link, nowMs: number): void {
    const flags = isTcp(pdu.protocol) ? pdu.tcpFlags : tcp.SYN;
    if ((pdu.steps & STEP_A_TO_B) !== 0) {
      const to = this.#translation;
      if ((flags & tcp.SYN) !== 0) out.expectAnswer(to.protocol, to, nowMs);
    } else if ((flags & (tcp.SYN | tcp.RST)) !== 0) {
      this.#options.b.answered(pdu);
    }
  }

  /** Lowers the MSS that the leaving SYN announces to what both interfaces take, if it shall. */
  #clamp(view: DataView, pdu: Pdu): void {
    const { clampMss: isWanted } = this.#options;
    const mtuHere = this.#mtuTowards(pdu.flow, pdu.protocol);
    const mtuThere = this.#mtuTowards(pdu.flow ^ 1, pdu.protocol);
    if (isWanted ?? mtuHere !== mtuThere) clampMss(view, pdu, Math.min(mtuHere, mtuThere));
  }

  /** MTU towards that end of a connection, as packets of the family of `protocol` would have it. */
  #mtuTowards(reference: number, protocol: number): number {
    const there = this.#options.connections.table.protocolOf(reference);
    const mtu = this.linkTowards(reference).mtuFor(there);
    if (there === protocol) return mtu;
    return isIpv6(protocol) ? mtu + LONGER_BYTES : mtu - LONGER_BYTES;
  }

  /**
   * Sends the rewritten PDU of connection `entry` where the translation says, in fragments if need
   * be.
   */
  #leave(pdu: Pdu, out: Link, nowMs: number, entry: number): number {
    const { protocol, frame, end } = pdu;
    const to = this.#translation;
    const mtu = out.mtuFor(protocol);
    const reason = leavesWhole(out.arena, pdu, mtu)
      ? out.send(protocol, frame, end - frame, to, nowMs, entry)
      : this.#options.fragmenter.split(
        out.arena,
        pdu,
        mtu,
        (frame, bytes) => out.send(protocol, frame, bytes, to, nowMs, entry),
      );
    if (reason !== 0) return reason;
    this.#sent(out, pdu);
    return FORWARD;
  }

  #echo(link: Link, pdu: Pdu, nowMs: number): number {
    const { answers, connections } = this.#options;
    if (!isEchoRequest(pdu) || !link.isFor(pdu)) return Reason["not-echo-request"];
    const reason = connections.commit(link.arena.view, pdu, nowMs | 0, this.#translation);
    if (reason !== 0) return reason;
    const unsent = answers.echo(link, pdu);
    if (unsent !== 0) return unsent;
    this.#sent(link, pdu);
    return ECHO_REPLY;
  }

  #sent({ number }: Link, pdu: Pdu): void {
    const { counts } = this.#options.metrics;
    counts[Count.pdusOut + number]!++;
    counts[Count.pduBytesOut + number]! += pdu.totalLength;
  }
}

function isEchoRequest({ protocol, icmpType }: Readonly<Pdu>): boolean {
  const request = isIpv6(protocol) ? icmpv6.ICMPV6_ECHO_REQUEST : icmpv4.ICMP_ECHO_REQUEST;
  return isIcmp(protocol) && icmpType === request;
}
