/**
 * One check of one backend on its way: what has been sent, and what an answer means.
 *
 *     icmp   echo request ──▶ its reply
 *     udp    payload ──▶ any datagram; port unreachable is a failure
 *     tcp    SYN ──▶ SYN ACK ──▶ RST            the service sees no connection (as in HAProxy)
 *     http   SYN ──▶ SYN ACK ──▶ ACK and GET ──▶ its status line ──▶ RST
 *
 * A lost frame is a failed check: nothing is sent twice. Of what comes back a dozen bytes are kept,
 * and a few segments answered, whatever a backend sends. Read RFC 9293 §3.10.7.3 for SYN-SENT.
 */
import type { ActiveCheck } from "../../policy/language/health.ts";
import * as icmpv4 from "../../wire/icmpv4.ts";
import * as icmpv6 from "../../wire/icmpv6.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../../wire/ipv6.ts";
import { isIcmp, isIpv6, isTcp, OVER_IPV6, type Pdu } from "../../wire/pdu.ts";
import { ACK, FIN, PSH, RST, SYN } from "../../wire/tcp.ts";
import type { Way } from "./way.ts";

/** `HTTP/1.1 200`: all of the answer that is read. */
const STATUS_BYTES = 12;

/** What may come back, as far as it is not read. */
const WINDOW = 1024;

/** Segments that are answered although the check is over, or that belong to none. */
const MOST_RESETS = 4;

// Where a probe is.
const OVER = 0;
const ASKED = 1;
/** The connection is open, and the request has been sent. */
const REQUESTED = 2;

/** Sends a segment of the probe's connection, if there is room to. */
export type SendSegment = (
  probe: Probe,
  segment: {
    readonly seq: number;
    readonly ack: number;
    readonly flags: number;
    readonly window: number;
    readonly data?: Uint8Array;
  },
) => void;

/** How the check ended; null: it goes on. A `failure` of null is success. */
export type ProbeEnd = { readonly failure: string | null } | null;

const SUCCESS: ProbeEnd = { failure: null };

export class Probe {
  readonly check: ActiveCheck;
  readonly way: Way;
  /** As in a Pdu. */
  readonly protocol: number;
  /** Of the backend; 0: none, as in an echo reply. */
  readonly port: number;
  /** The own port, or an echo request's identifier; -1: none yet. */
  ownPort = -1;
  /** First sequence number, or that of the echo request. */
  isn = 0;
  #state = OVER;
  /** What comes next from the other side. */
  #expected = 0;
  /** What is sent next. */
  #next = 0;
  #resets = 0;
  #statusLine = "";
  readonly #request: Uint8Array;

  /** `host` is what the request names: the backend's address. */
  constructor(check: ActiveCheck, way: Way, host: string) {
    const isOverIpv6 = typeof way.backend !== "number";
    this.check = check;
    this.way = way;
    const protocol = check.kind === "icmp"
      ? isOverIpv6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP
      : check.kind === "udp"
      ? PROTOCOL_UDP
      : PROTOCOL_TCP;
    this.protocol = isOverIpv6 ? protocol | OVER_IPV6 : protocol;
    this.port = check.kind === "icmp" ? 0 : check.port;
    this.#request = check.kind !== "http" ? new Uint8Array() : new TextEncoder().encode(
      `GET ${check.path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
    );
  }

  get isOver(): boolean {
    return this.#state === OVER;
  }

  /** Begins anew, from `ownPort`; the first frame is sent by the caller. */
  begin(ownPort: number, isn: number): void {
    this.ownPort = ownPort;
    this.isn = isn;
    this.#state = ASKED;
    this.#next = (isn + 1) | 0;
    this.#resets = MOST_RESETS;
    this.#statusLine = "";
  }

  /** Gives up; a connection that is open is reset. */
  abandon(send: SendSegment): void {
    if (this.#state === REQUESTED) this.#reset(send, this.#next);
    this.#state = OVER;
  }

  /** An answer with this probe's addresses and ports. */
  take(view: DataView, pdu: Pdu, send: SendSegment): ProbeEnd {
    if (isTcp(this.protocol)) return this.#takeSegment(view, pdu, send);
    if (this.#state === OVER) return null;
    if (isIcmp(this.protocol)) {
      const type = isIpv6(this.protocol) ? icmpv6.ICMPV6_ECHO_REPLY : icmpv4.ICMP_ECHO_REPLY;
      const isReply = pdu.icmpType === type &&
        icmpv4.sequence(view, pdu.l4) === (this.isn & 0xffff);
      if (!isReply) return null;
    }
    return this.#end(SUCCESS);
  }

  /**
   * An ICMP error that quotes what this probe has sent, of a connection its segment with number
   * `seq`.
   */
  takeError(pdu: Pdu, seq: number): ProbeEnd {
    const isOverIpv6 = isIpv6(this.protocol);
    const type = isOverIpv6 ? icmpv6.ICMPV6_UNREACHABLE : icmpv4.ICMP_UNREACHABLE;
    if (this.#state !== ASKED || pdu.icmpType !== type) return null;
    if (isTcp(this.protocol) && seq !== this.isn) return null; // RFC 5927 §4.1
    const { codes } = (isOverIpv6 ? icmpv6.ICMPV6_TYPES : icmpv4.ICMP_TYPES)[type]!;
    const name = codes?.[pdu.icmpCode] ?? `code ${pdu.icmpCode}`;
    return this.#end({ failure: `ICMP destination unreachable: ${name.toLowerCase()}` });
  }

  #takeSegment(view: DataView, pdu: Pdu, send: SendSegment): ProbeEnd {
    const isReset = (pdu.tcpFlags & RST) !== 0;
    const acks = (pdu.tcpFlags & ACK) !== 0;
    if (this.#state === OVER) {
      if (!isReset) this.#reset(send, acks ? pdu.ack : this.#next);
      return null;
    }
    if (this.#state === REQUESTED) return this.#takeAnswer(view, pdu, send);
    if (acks && pdu.ack !== this.#next) {
      if (!isReset) this.#reset(send, pdu.ack); // it remembers another connection
      return null;
    }
    if (isReset) return acks ? this.#end({ failure: "the connection was refused" }) : null;
    if (!acks || (pdu.tcpFlags & SYN) === 0) return null;
    this.#expected = (pdu.seq + 1) | 0;
    if (this.check.kind !== "http") {
      this.#reset(send, this.#next);
      return this.#end(SUCCESS);
    }
    this.#send(send, ACK | PSH, this.#request);
    this.#next = (this.#next + this.#request.length) | 0;
    this.#state = REQUESTED;
    return null;
  }

  #takeAnswer(view: DataView, pdu: Pdu, send: SendSegment): ProbeEnd {
    if ((pdu.tcpFlags & RST) !== 0) {
      const isExact = pdu.seq === this.#expected; // RFC 5961 §3.2
      return isExact ? this.#end({ failure: "the connection was reset" }) : null;
    }
    const known = (this.#expected - pdu.seq) | 0;
    if ((pdu.tcpFlags & SYN) !== 0 || known < 0) return null;
    const news = pdu.end - pdu.payload - known;
    const taken = Math.min(news, STATUS_BYTES - this.#statusLine.length);
    for (let i = 0; i < taken; i++) {
      this.#statusLine += String.fromCharCode(view.getUint8(pdu.payload + known + i));
    }
    if (news > 0) this.#expected = (this.#expected + news) | 0;
    if (this.#statusLine.length === STATUS_BYTES) {
      this.#reset(send, this.#next);
      return this.#end(this.#judge());
    }
    if ((pdu.tcpFlags & FIN) !== 0 && news >= 0) {
      this.#reset(send, this.#next);
      return this.#end({ failure: "the connection was closed without an answer" });
    }
    if (news > 0) this.#send(send, ACK);
    return null;
  }

  #judge(): ProbeEnd {
    const status = /^HTTP\/1\.[01] (\d{3})$/.exec(this.#statusLine)?.[1];
    if (status === undefined) return { failure: "the answer is not HTTP/1" };
    const wanted = this.check.kind === "http" ? this.check.status : 0;
    return Number(status) === wanted ? SUCCESS : { failure: `the status is ${status}` };
  }

  #end(end: ProbeEnd): ProbeEnd {
    this.#state = OVER;
    return end;
  }

  #send(send: SendSegment, flags: number, data?: Uint8Array): void {
    const segment = { seq: this.#next, ack: this.#expected, flags, window: WINDOW };
    send(this, data === undefined ? segment : { ...segment, data });
  }

  #reset(send: SendSegment, seq: number): void {
    if (this.#resets === 0) return;
    this.#resets--;
    send(this, { seq, ack: 0, flags: RST, window: 0 });
  }
}
