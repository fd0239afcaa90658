/**
 * Watches for packets for which a predicate holds, for the control socket. It looks at a bounded
 * number a second, keeps a bounded number until they are taken, counts what it has missed, and
 * stops by itself when nobody takes anything any more. While nothing is traced it is no observer,
 * and costs nothing.
 */
import type { Appliance } from "../datapath/appliance.ts";
import type { Ask, Some } from "../datapath/interest.ts";
import type { Observer, Outcome } from "../datapath/observer.ts";
import { type Packet, packetIn } from "../device/capture/packet.ts";
import { parsePredicate } from "../policy/notation/parse_one_predicate.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { isIpv6, type Pdu } from "../wire/pdu.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import { ICMPV6_ECHO_REPLY } from "../wire/icmpv6.ts";
import { Refusal } from "./request.ts";

/** PDUs that are looked at in a second: others go the short way. */
const LOOKS_PER_SECOND = 5000;
const SECOND_MS = 1000;

/** Packets that wait to be taken. */
const ROOM = 256;

/** After so long without a take the trace ends. */
const ABANDONED_MS = 5000;

/** What has been seen since the last take. */
export interface Traced {
  readonly packets: readonly TracedPacket[];
  /** PDUs that were not looked at, or found no room. */
  readonly missed: number;
}

export interface TracedPacket
  extends Pick<Outcome, "decision" | "reason" | "label" | "isRelated" | "backend"> {
  readonly packet: Packet;
  /** As in `Pdu`. */
  readonly state: number;
}

export class Tracer implements Observer {
  readonly #appliance: Appliance;
  readonly #customs: Customs;
  #holds: Ask | null = null;
  /** Of the last trace. */
  #number = 0;
  #packets: TracedPacket[] = [];
  #missed = 0;
  #looksLeft = 0;
  #secondMs = 0;
  #takenMs = 0;

  constructor(appliance: Appliance, customs: Customs) {
    this.#appliance = appliance;
    this.#customs = customs;
  }

  /**
   * Begins, and gives the trace a number. Throws a Refusal if a trace is under way, and a
   * SyntaxError for a wrong predicate.
   */
  start(text: string): number {
    const appliance = this.#appliance;
    if (this.#holds !== null) throw new Refusal(409, "Another trace is under way: one at a time");
    this.#holds = appliance.predicate(
      parsePredicate(text, appliance.policy, this.#customs),
    );
    appliance.watch(this);
    this.#takenMs = appliance.nowMs;
    return ++this.#number;
  }

  /** Throws a Refusal if that trace has ended. */
  take(number: number): Traced {
    if (this.#holds === null || number !== this.#number) {
      throw new Refusal(410, "The trace has ended");
    }
    const traced = { packets: this.#packets, missed: this.#missed };
    this.#packets = [];
    this.#missed = 0;
    this.#takenMs = this.#appliance.nowMs;
    return traced;
  }

  /** Ends that trace, if it has not ended by itself: another one may be under way. */
  end(number: number): void {
    if (this.#holds !== null && number === this.#number) this.#stop();
  }

  #stop(): void {
    this.#holds = null;
    this.#appliance.unwatch(this);
    this.#packets = [];
    this.#missed = 0;
  }

  plain(nowMs: number): Some {
    return this.#isBusy(nowMs) ? "none" : "all";
  }

  kept(): Some {
    return "all";
  }

  get seesDrops(): boolean {
    return false;
  }

  #isBusy(nowMs: number): boolean {
    if (nowMs - this.#secondMs >= SECOND_MS) {
      this.#secondMs = nowMs;
      this.#looksLeft = LOOKS_PER_SECOND;
    }
    return this.#looksLeft <= 0;
  }

  wants(nowMs: number): boolean {
    return !this.#isBusy(nowMs) && this.#looksLeft-- > 0;
  }

  received(): void {}

  takes(pdu: Pdu): boolean {
    return this.#holds!(pdu);
  }

  decided({ pdu, decision, reason, label, isRelated, backend }: Outcome): void {
    if (this.#packets.length >= ROOM) {
      this.#missed++;
      return;
    }
    const { state } = pdu;
    this.#packets.push({
      packet: packetIn(pdu, isReply(pdu) ? pdu.dstPort : pdu.srcPort),
      state,
      decision,
      reason,
      label,
      isRelated,
      backend,
    });
  }

  skipped(_decision: number, _nowMs: number, count = 1): void {
    this.#missed += count;
  }

  /** What never became a PDU is in the drops alone. */
  refused(): void {}

  tick(nowMs: number): void {
    if (nowMs - this.#takenMs >= ABANDONED_MS) this.#stop();
  }
}

/** True for an answer to a query, whose identifier is the destination's. */
function isReply({ protocol, icmpType }: Readonly<Pdu>): boolean {
  return isIpv6(protocol) ? icmpType === ICMPV6_ECHO_REPLY : icmpv4.isReply(icmpType);
}
