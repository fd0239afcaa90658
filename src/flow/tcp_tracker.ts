/**
 * Tracks TCP connections: states (`tcp_state.ts`) and windows (`tcp_window.ts`) together. A PDU
 * here is a TCP segment whose `flow` is the connection's reference.
 *
 * `fault` judges a segment, once, and changes nothing; `advance` applies the verdict. See RFC 9293
 * §3.10.7 for the endpoints' handling: a segment that they would challenge passes, and does not
 * change the connection.
 *
 * While the kernel carries a connection, segments that come to the proxy may be *late*: the kernel
 * has forwarded later ones meanwhile, by any number of windows. Such a segment passes, too, and its
 * FIN counts.
 */
import { Reason } from "../core/reason.ts";
import type { Pdu } from "../wire/pdu.ts";
import { ACK, FIN, RST, SYN } from "../wire/tcp.ts";
import { type FlowTable, SIDE_A, SIDE_B } from "./table.ts";
import * as tcpState from "./tcp_state.ts";
import * as tcpWindow from "./tcp_window.ts";

/** The segment passes and does not change the connection, nor its idle time. */
export const UNTOUCHED = -1;
/** The segment is outside its connection's window. */
const OUT_OF_WINDOW = -2;
/** A SYN ACK that shows that side B has forgotten the connection: a new one begins. */
const BEGINS_ANEW = -3;

/** 2 MSL as in Linux: older segments of a connection that is over have left the network. */
const TIME_WAIT_MS = 60_000;

/** Who may forward segments of connections meanwhile. */
export interface SegmentCarrier {
  /** Whether it has, since the connection began. */
  hasCarried(entry: number): boolean;
  /** From now on it leaves the connection's packets to us. */
  demote(entry: number): void;
}

export class TcpTracker {
  readonly #table: FlowTable;
  readonly #carrier: SegmentCarrier | null;

  constructor(table: FlowTable, carrier: SegmentCarrier | null = null) {
    this.#table = table;
    this.#carrier = carrier;
  }

  /**
   * True for a SYN of side A that opens the next connection after one that is over. A delayed old
   * SYN must not (RFC 9293 §3.6.1). Where neither sequence number nor timestamp decides, the
   * backend does.
   */
  beginsNext(view: DataView, pdu: Pdu, nowMs: number): boolean {
    const table = this.#table;
    const entry = pdu.flow >>> 1;
    const state = table.state(entry);
    if (!tcpState.isOver(state)) return false;
    if (table.idleMs(entry, nowMs) >= TIME_WAIT_MS) return true;
    // One side may still wait for the last ACK, and retransmit what was lost.
    if (state === tcpState.CLOSED && !tcpWindow.isAcknowledged(table, entry)) return false;
    // Retransmitted because the client has not received the RST.
    if (state === tcpState.ABORTED && tcpWindow.isOwnSyn(table, entry, pdu)) return true;
    return tcpWindow.isLaterSyn(view, table, entry, pdu, state === tcpState.CLOSED);
  }

  /** The reason why the segment does not fit its connection; 0 if it fits: see `pdu.verdict`. */
  fault(pdu: Pdu): number {
    const next = pdu.verdict = this.#judge(pdu);
    if (next === tcpState.INVALID) return Reason.invalid;
    return next === OUT_OF_WINDOW ? Reason["out-of-window"] : 0;
  }

  /**
   * Updates the connection's windows with a segment that fits, or has opened it. Returns the new
   * state, or UNTOUCHED.
   */
  advance(view: DataView, pdu: Pdu): number {
    const table = this.#table;
    const entry = pdu.flow >>> 1;
    const side = pdu.flow & 1;
    const next = pdu.opened !== 0 ? this.#judge(pdu) : pdu.verdict;
    if ((pdu.tcpFlags & SYN) !== 0) this.#carrier?.demote(entry); // not only raises words
    if (next === BEGINS_ANEW) {
      tcpWindow.acceptChallenge(table, entry, pdu.ack);
      tcpWindow.openWindow(view, table, entry, side, pdu);
      return tcpState.SYN_RECEIVED;
    }
    if (next === UNTOUCHED) {
      const isOther = side === SIDE_A && tcpState.isFirstSyn(pdu.tcpFlags) &&
        !tcpWindow.isOwnSyn(table, entry, pdu);
      if (isOther) tcpWindow.noteChallenge(view, table, entry, pdu);
      return next;
    }
    if (this.#opensWindow(pdu)) tcpWindow.openWindow(view, table, entry, side, pdu);
    else if ((pdu.tcpFlags & RST) === 0) {
      const isShared = this.#carrier?.hasCarried(entry) ?? false;
      tcpWindow.advanceWindow(table, entry, side, pdu, isShared);
    }
    if (next === tcpState.CLOSED && side === SIDE_A) {
      tcpWindow.noteTimestamp(view, table, entry, pdu);
    }
    return next;
  }

  /** True for the SYN or SYN ACK that, as far as is known, is its side's first. */
  #opensWindow(pdu: Pdu): boolean {
    const table = this.#table;
    const entry = pdu.flow >>> 1;
    const side = pdu.flow & 1;
    if ((pdu.tcpFlags & SYN) === 0) return false;
    if (tcpWindow.isSilent(table, entry, side)) return true;
    const state = table.state(entry);
    return side === SIDE_A
      ? state === tcpState.SYN_SENT
      : tcpState.isHandshake(state) && tcpWindow.isOtherIsn(table, entry, pdu);
  }

  /** The state after the segment, INVALID, or one of the constants above. */
  #judge(pdu: Pdu): number {
    const table = this.#table;
    const entry = pdu.flow >>> 1;
    const side = pdu.flow & 1;
    const state = table.state(entry);
    const isReset = (pdu.tcpFlags & RST) !== 0;
    const next = tcpState.nextState(state, side, pdu.tcpFlags);
    if (next === tcpState.INVALID) return next;
    if (
      side === SIDE_B && (pdu.tcpFlags & (SYN | RST)) !== 0 &&
      tcpWindow.answersChallenge(table, entry, pdu)
    ) return isReset ? next : BEGINS_ANEW;
    if (tcpState.isHandshake(state)) {
      return side === SIDE_A ? this.#judgeOpening(pdu, next) : this.#judgeAnswer(pdu, next);
    }
    // As in SYN_SENT: the backend may still have another connection, and is reset by the client.
    const mayTell = tcpState.isOver(state) && tcpWindow.isChallenged(table, entry);
    if (state === tcpState.ABORTED) {
      // One side may not have received the RST, and the other answers.
      const fits = side === SIDE_A || mayTell || tcpWindow.answersSyn(table, entry, pdu);
      return fits ? UNTOUCHED : OUT_OF_WINDOW;
    }
    if (tcpState.isFirstSyn(pdu.tcpFlags)) {
      // A backend that has forgotten the connection would take its delayed SYN for a new one.
      const isLate = side === SIDE_A && tcpWindow.isOwnSyn(table, entry, pdu);
      return isLate ? tcpState.INVALID : UNTOUCHED; // otherwise the endpoint decides (RFC 5961 §4)
    }
    if (isReset) {
      const verdict = this.#judgeReset(pdu, next === state ? UNTOUCHED : next);
      return verdict === OUT_OF_WINDOW && side === SIDE_A && mayTell ? UNTOUCHED : verdict;
    }
    const fit = tcpWindow.fit(table, entry, side, pdu);
    if (fit === tcpWindow.OLD) return UNTOUCHED;
    if (fit === tcpWindow.OUT) {
      const isCarried = this.#carrier?.hasCarried(entry) ?? false;
      if (!isCarried || !tcpWindow.isLate(table, entry, side, pdu)) {
        return side === SIDE_B && mayTell ? UNTOUCHED : OUT_OF_WINDOW;
      }
      const isLast = (pdu.tcpFlags & FIN) !== 0 && tcpWindow.isEnd(table, entry, side, pdu);
      if (!isLast) return UNTOUCHED;
    }
    // After an RST only new data revives the connection.
    const revives = tcpState.isReset(state) && !tcpState.isReset(next);
    return revives && !tcpWindow.isNews(table, entry, side, pdu) ? state : next;
  }

  /** A segment of side A before A is proven. */
  #judgeOpening(pdu: Pdu, next: number): number {
    const table = this.#table;
    const entry = pdu.flow >>> 1;
    const isAlone = table.state(entry) === tcpState.SYN_SENT;
    if (tcpState.isFirstSyn(pdu.tcpFlags)) {
      // One with another number may be forged: the backend's answer decides which of them counts.
      const isFirst = tcpWindow.isSilent(table, entry, SIDE_A) ||
        tcpWindow.isOwnSyn(table, entry, pdu);
      return isAlone && isFirst ? next : UNTOUCHED;
    }
    if ((pdu.tcpFlags & RST) !== 0) {
      if (tcpWindow.isFirstOfA(table, entry, pdu.seq)) return next;
      // Without a SYN ACK it may answer a backend that still has an earlier connection.
      const passes = table.state(entry) !== tcpState.SYN_RECEIVED ||
        tcpWindow.isRstInWindow(table, entry, SIDE_A, pdu);
      return passes ? UNTOUCHED : OUT_OF_WINDOW;
    }
    const fits = tcpWindow.fit(table, entry, SIDE_A, pdu) === tcpWindow.IN &&
      tcpWindow.proves(table, entry, SIDE_A, pdu);
    return fits ? next : OUT_OF_WINDOW;
  }

  /** A segment of side B before side A is proven. */
  #judgeAnswer(pdu: Pdu, next: number): number {
    const table = this.#table;
    const entry = pdu.flow >>> 1;
    const isSilent = tcpWindow.isSilent(table, entry, SIDE_B);
    const answers = tcpWindow.answersSyn(table, entry, pdu);
    if ((pdu.tcpFlags & RST) !== 0) {
      if (answers) return next;
      return isSilent ? OUT_OF_WINDOW : this.#judgeReset(pdu, next);
    }
    if ((pdu.tcpFlags & SYN) !== 0) {
      if ((pdu.tcpFlags & ACK) !== 0) return answers ? next : OUT_OF_WINDOW;
      return isSilent ? next : UNTOUCHED;
    }
    if (isSilent) return UNTOUCHED; // B still has an earlier connection
    const fit = tcpWindow.fit(table, entry, SIDE_B, pdu);
    if (fit === tcpWindow.IN) return next;
    // Likewise after a SYN from B, which anybody may have forged.
    const passes = fit === tcpWindow.OLD || table.state(entry) === tcpState.SYN_BOTH;
    return passes ? UNTOUCHED : OUT_OF_WINDOW;
  }

  /**
   * An RST: `next` if it is exact; if in the window, left to the receiver to challenge (RFC 5961
   * §3.2).
   */
  #judgeReset(pdu: Pdu, next: number): number {
    const table = this.#table;
    const entry = pdu.flow >>> 1;
    const side = pdu.flow & 1;
    if (!tcpWindow.isRstInWindow(table, entry, side, pdu)) return OUT_OF_WINDOW;
    return tcpWindow.isRstExact(table, entry, side, pdu) ? next : UNTOUCHED;
  }
}
