/**
 * The idle timeout and the eviction class of each connection state.
 *
 * The defaults are the least that RFC 5382 REQ-5 (TCP established 2 h 4 min, half-open and closing
 * 4 min), RFC 7857 §2.1 (4 min after an RST), RFC 4787 REQ-5 (UDP 5 min) and RFC 5508 REQ-2
 * (queries 60 s) recommend, except for UDP and queries that nobody has answered: one datagram from
 * anybody creates such an entry, so these expire after 30 s, as in Linux' nf_conntrack. A
 * connection may be evicted earlier; see `victim.ts`.
 */
import { FINISHED, HALF_OPEN, LIVE, ONE_SIDED, RESET, UNANSWERED } from "./eviction.ts";
import * as tcp from "./tcp_state.ts";

// States of UDP and query connections: whether the other side has answered.
export const UDP_NEW = 11;
/** Answered once; there may be no more. */
export const UDP_ANSWERED = 12;
export const QUERY_NEW = 13;
export const QUERY_ANSWERED = 14;
/** Side A has sent more after the first answer. */
export const UDP_ONGOING = 15;
/** A query that the proxy answers itself. */
export const ONE_SIDED_QUERY = 16;

const STATES = 17;

/** Idle timeouts in seconds. */
export interface Timeouts {
  readonly halfOpen: number;
  readonly established: number;
  /** One side has sent a FIN; the other may go on as on an open connection. */
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

/** Idle timeouts in milliseconds, by state. */
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

/** Eviction class by state. */
export const CLASS_OF_STATE: Readonly<Uint8Array> = (() => {
  const kinds = new Uint8Array(STATES).fill(LIVE);
  kinds[ONE_SIDED_QUERY] = ONE_SIDED;
  for (const state of [UDP_NEW, QUERY_NEW]) kinds[state] = UNANSWERED;
  for (const state of [tcp.SYN_SENT, tcp.SYN_BOTH, tcp.SYN_RECEIVED]) kinds[state] = HALF_OPEN;
  for (const state of [tcp.RESET_A, tcp.RESET_B, tcp.ABORTED]) kinds[state] = RESET;
  for (const state of [tcp.CLOSED, UDP_ANSWERED, QUERY_ANSWERED]) kinds[state] = FINISHED;
  return kinds;
})();
