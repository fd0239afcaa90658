/**
 * What a connection's life looks like from the middle, and how long each stage may stay idle.
 *
 *     SYN_SENT ─SYN+ACK from B▶ SYN_RECEIVED ─ACK from A▶ ESTABLISHED ─FIN▶ FIN_A / FIN_B ─FIN▶ CLOSED
 *                                        any ─RST▶ RESET
 *
 * Timers: RFC 5382 REQ-5 (established idle at least 2 h 4 min, half-open and closing at least 4 min),
 * RFC 7857 §2.1 (4 min after an RST), RFC 4787 REQ-5 (UDP 5 min), RFC 5508 REQ-2 (queries 60 s).
 */
import { ACK, FIN, RST, SYN } from "../wire/tcp.ts";
import { SIDE_A, SIDE_B } from "./table.ts";

export const SYN_SENT = 1;
export const SYN_RECEIVED = 2;
export const ESTABLISHED = 3;
export const FIN_A = 4;
export const FIN_B = 5;
export const CLOSED = 6;
export const RESET = 7;
export const UDP_FLOW = 8;
export const ICMP_QUERY = 9;

const MINUTE_MS = 60_000;

/** Longest idle time by state, in milliseconds. */
export function defaultTimeouts(): Int32Array {
  const timeouts = new Int32Array(10);
  timeouts.fill(4 * MINUTE_MS);
  timeouts[ESTABLISHED] = 124 * MINUTE_MS;
  timeouts[UDP_FLOW] = 5 * MINUTE_MS;
  timeouts[ICMP_QUERY] = MINUTE_MS;
  return timeouts;
}

/** The state after a segment with `flags` from `side`. */
export function nextState(state: number, side: number, flags: number): number {
  if ((flags & RST) !== 0) return RESET;
  switch (state) {
    case SYN_SENT:
      return side === SIDE_B && (flags & (SYN | ACK)) === (SYN | ACK) ? SYN_RECEIVED : state;
    case SYN_RECEIVED:
      if (side === SIDE_B || (flags & (SYN | ACK)) !== ACK) return state;
      return (flags & FIN) !== 0 ? FIN_A : ESTABLISHED;
    case ESTABLISHED:
      if ((flags & FIN) === 0) return state;
      return side === SIDE_A ? FIN_A : FIN_B;
    case FIN_A:
      return side === SIDE_B && (flags & FIN) !== 0 ? CLOSED : state;
    case FIN_B:
      return side === SIDE_A && (flags & FIN) !== 0 ? CLOSED : state;
    default:
      return state;
  }
}

/** True where a new SYN may begin the tuple's next connection. */
export function isOver(state: number): boolean {
  return state === CLOSED || state === RESET;
}
