/**
 * What a TCP segment means for the connection it belongs to: states (`tcp_state.ts`) and windows
 * (`tcp_window.ts`) together. A PDU here is a TCP segment whose `flow` names the connection.
 */
import { Reason } from "../core/reason.ts";
import type { Pdu } from "../wire/pdu.ts";
import { ACK, FIN, RST, SYN } from "../wire/tcp.ts";
import { type FlowTable, SIDE_A, SIDE_B } from "./table.ts";
import * as tcpState from "./tcp_state.ts";
import {
  acceptStraySyn,
  advanceWindow,
  answersStraySyn,
  inWindow,
  isNews,
  isOwnSyn,
  isSilent,
  noteStraySyn,
  openWindow,
  startsBeyond,
} from "./tcp_window.ts";

/** The segment passes on and leaves the connection as it was, its idle time included. */
export const UNTOUCHED = -2;

export class TcpTracker {
  readonly #table: FlowTable;

  constructor(table: FlowTable) {
    this.#table = table;
  }

  /** Why the segment does not fit its connection; 0 if it fits. Changes nothing. */
  fault(pdu: Pdu): number {
    const entry = pdu.flow >>> 1;
    const side = pdu.flow & 1;
    if (this.#isPlain(pdu)) {
      return inWindow(this.#table, entry, side, pdu, false) ? 0 : Reason["out-of-window"];
    }
    if (this.#beginsAnew(pdu)) return 0;
    const state = this.#table.state(entry);
    const next = this.#nextState(pdu);
    if (next === tcpState.INVALID) return Reason.invalid;
    if (tcpState.isFirstSyn(pdu.tcpFlags)) {
      // An old one, late: a backend that has forgotten the connection would take it for a new one's.
      const isLate = state >= tcpState.ESTABLISHED && side === SIDE_A &&
        isOwnSyn(this.#table, entry, pdu);
      return isLate ? Reason.invalid : 0; // any other's endpoint is the judge (RFC 5961 §4)
    }
    const proves = next >= tcpState.ESTABLISHED && state < tcpState.ESTABLISHED;
    return inWindow(this.#table, entry, side, pdu, proves) ? 0 : Reason["out-of-window"];
  }

  /**
   * True for a SYN behind a connection that is over: it begins the next one. An old SYN that comes late
   * must not (RFC 9293 §3.6.1).
   */
  beginsNext(pdu: Pdu): boolean {
    const entry = pdu.flow >>> 1;
    return tcpState.isOver(this.#table.state(entry)) &&
      startsBeyond(this.#table, entry, SIDE_A, pdu);
  }

  /**
   * Moves the connection's windows on by a segment that fits it. Returns the state from now on, GONE, or
   * UNTOUCHED.
   */
  advance(view: DataView, pdu: Pdu): number {
    const table = this.#table;
    const entry = pdu.flow >>> 1;
    const side = pdu.flow & 1;
    if (this.#isPlain(pdu)) {
      advanceWindow(table, entry, side, pdu);
      return tcpState.ESTABLISHED;
    }
    if (this.#beginsAnew(pdu)) {
      acceptStraySyn(table, entry);
      openWindow(view, table, entry, side, pdu);
      return tcpState.SYN_RECEIVED;
    }
    const state = table.state(entry);
    const next = this.#nextState(pdu);
    if (next === tcpState.GONE) return next;
    const isFirst = tcpState.isFirstSyn(pdu.tcpFlags);
    const isSyn = (pdu.tcpFlags & SYN) !== 0;
    if (isSyn && (isSilent(table, entry, side) || (isFirst && state === tcpState.SYN_SENT))) {
      openWindow(view, table, entry, side, pdu);
    } else if (isFirst) {
      if (side === SIDE_A && !isOwnSyn(table, entry, pdu)) noteStraySyn(view, table, entry, pdu);
      return UNTOUCHED; // its endpoint is the judge
    } else if (state !== tcpState.SYN_SENT) {
      advanceWindow(table, entry, side, pdu); // in SYN_SENT, B may only remember another connection
    }
    const isReset = (pdu.tcpFlags & RST) !== 0;
    return isReset && next === state ? UNTOUCHED : next;
  }

  /** True for what most segments are: data or an ACK of an established connection, which stays that. */
  #isPlain(pdu: Pdu): boolean {
    return (pdu.tcpFlags & (SYN | FIN | RST | ACK)) === ACK &&
      this.#table.state(pdu.flow >>> 1) === tcpState.ESTABLISHED;
  }

  /** True for a SYN ACK by which side B shows that it has forgotten the connection. */
  #beginsAnew(pdu: Pdu): boolean {
    const entry = pdu.flow >>> 1;
    return (pdu.flow & 1) === SIDE_B && answersStraySyn(this.#table, entry, pdu) &&
      !inWindow(this.#table, entry, SIDE_B, pdu, false);
  }

  /** The state after the segment: as the table of states says, but only news revive after an RST. */
  #nextState(pdu: Pdu): number {
    const entry = pdu.flow >>> 1;
    const side = pdu.flow & 1;
    const state = this.#table.state(entry);
    const next = tcpState.nextState(state, side, pdu.tcpFlags);
    const revives = tcpState.isReset(state) && next > 0 && !tcpState.isReset(next);
    return revives && !isNews(this.#table, entry, side, pdu) ? state : next;
  }
}
