/**
 * How long each state of a connection may stay idle, and what may be evicted when there is no room.
 *
 * The defaults are the least that RFC 5382 REQ-5 (TCP established 2 h 4 min, half-open and closing 4
 * min), RFC 7857 §2.1 (4 min after an RST), RFC 4787 REQ-5 (UDP 5 min) and RFC 5508 REQ-2 (queries 60 s)
 * recommend, but for UDP and queries that nobody answers: a datagram from anybody makes one of those, so
 * they are forgotten after 30 s, as by Linux' nf_conntrack. All hold while there is room; see `room.ts`
 * for what goes first when there is none.
 */
import { CLOSED, HALF_OPEN, LIVE, ONE_SIDED, RESET, UNANSWERED } from "./eviction.ts";
import * as tcp from "./tcp_state.ts";

// States of connections without states of their own: whether the other side has answered.
export const UDP_NEW = 11;
/** One question, answered: that may be all. */
export const UDP_ANSWERED = 12;
export const QUERY_NEW = 13;
export const QUERY_ANSWERED = 14;
/** Side A has gone on after the first answer. */
export const UDP_ONGOING = 15;
/** A query that ends at the proxy. */
export const ONE_SIDED_QUERY = 16;

const STATES = 17;

/** Longest idle times, in seconds. */
export interface Timeouts {
  readonly halfOpen: number;
  readonly established: number;
  /** One side has sent a FIN: what the other sends may take as long as on an open connection. */
  readonly halfClosed: number;
  /** Closed by both sides. */
  readonly closing: number;
  readonly reset: number;
  readonly udp: number;
  /** UDP and queries that nobody has answered. */
  readonly unanswered: number;
  readonly icmp: number;
}

export const DEFAULT_TIMEOUTS: Timeouts = Object.freeze({
  halfOpen: 240,
  established: 7440,
  halfClosed: 7440,
  closing: 240,
  reset: 240,
  udp: 300,
  unanswered: 30,
  icmp: 60,
});

/** Longest idle times in milliseconds, by state. */
export function timeoutsMs(timeouts: Timeouts): Int32Array<ArrayBuffer> {
  const byState = new Int32Array(STATES);
  const set = (seconds: number, ...states: number[]) => {
    for (const state of states) byState[state] = seconds * 1000;
  };
  set(timeouts.halfOpen, tcp.SYN_SENT, tcp.SYN_BOTH, tcp.SYN_RECEIVED);
  set(timeouts.established, tcp.ESTABLISHED);
  set(timeouts.halfClosed, tcp.FIN_A, tcp.FIN_B);
  set(timeouts.closing, tcp.CLOSED);
  set(timeouts.reset, tcp.RESET_A, tcp.RESET_B, tcp.ABORTED);
  set(timeouts.udp, UDP_ANSWERED, UDP_ONGOING);
  set(timeouts.unanswered, UDP_NEW, QUERY_NEW);
  set(timeouts.icmp, QUERY_ANSWERED, ONE_SIDED_QUERY);
  return byState;
}

/** Class in a `Population`, by state. */
export const KIND_OF_STATE: Readonly<Uint8Array> = (() => {
  const kinds = new Uint8Array(STATES).fill(LIVE);
  kinds[ONE_SIDED_QUERY] = ONE_SIDED;
  for (const state of [UDP_NEW, QUERY_NEW]) kinds[state] = UNANSWERED;
  for (const state of [tcp.SYN_SENT, tcp.SYN_BOTH, tcp.SYN_RECEIVED]) kinds[state] = HALF_OPEN;
  for (const state of [tcp.RESET_A, tcp.RESET_B, tcp.ABORTED]) kinds[state] = RESET;
  for (const state of [tcp.CLOSED, UDP_ANSWERED, QUERY_ANSWERED]) kinds[state] = CLOSED;
  return kinds;
})();
