/**
 * TCP connection states as seen by a middlebox: a transition table over (state, side, kind of
 * segment).
 *
 *     SYN_SENT ─SYN ACK▶ SYN_RECEIVED ─ACK▶ ESTABLISHED ─FIN▶ FIN_A / FIN_B ─FIN▶ CLOSED
 *         ├────SYN from B▶ SYN_BOTH ─SYN ACK▶ …            any ─RST▶ RESET_A / RESET_B
 *         └─any of these three ─RST▶ ABORTED
 *
 * See RFC 9293 §3.3.2 for the endpoints' states, RFC 5382 §4 for what a translator must support,
 * RFC 7857 §2 for RST. `tcp_window.ts` checks sequence numbers; `tcp_tracker.ts` combines both.
 */
import { ACK, FIN, RST, SYN } from "../wire/tcp.ts";

export const SYN_SENT = 1;
/** Both sides have sent a SYN: a simultaneous open. */
export const SYN_BOTH = 2;
export const SYN_RECEIVED = 3;
export const ESTABLISHED = 4;
/** Side A has sent a FIN: half-closed. */
export const FIN_A = 5;
export const FIN_B = 6;
export const CLOSED = 7;
/** Side A has sent an RST. */
export const RESET_A = 8;
export const RESET_B = 9;
/** Reset by either side before it was established. */
export const ABORTED = 10;

/** The segment fits no connection in this state. */
export const INVALID = 0;

// Kinds of segments, the columns.
const KIND_SYN = 0;
const KIND_SYN_ACK = 1;
const KIND_ACK = 2;
const KIND_FIN = 3;
const KIND_RST = 4;
const KINDS = 5;

const _ = INVALID;
const X = ABORTED;

/** Next states: a row of kinds from side A and a row from side B for each state. */
const TRANSITIONS: readonly (readonly [readonly number[], readonly number[]])[] = [
  // SYN        SYN ACK       ACK          FIN      RST           from A, then from B
  [[_, _, _, _, _], [_, _, _, _, _]],
  // SYN_SENT: an ACK from B belongs to an earlier connection; the client will reset that.
  [[SYN_SENT, _, _, _, X], [SYN_BOTH, SYN_RECEIVED, SYN_SENT, _, X]],
  // SYN_BOTH: only an acknowledgment of B's SYN proves A.
  [[SYN_BOTH, ESTABLISHED, ESTABLISHED, _, X], [SYN_BOTH, SYN_RECEIVED, SYN_BOTH, _, X]],
  // SYN_RECEIVED: likewise; B's segments may answer a forged SYN.
  [
    [SYN_RECEIVED, ESTABLISHED, ESTABLISHED, FIN_A, X],
    [SYN_RECEIVED, SYN_RECEIVED, SYN_RECEIVED, SYN_RECEIVED, X],
  ],
  // ESTABLISHED: a SYN passes, for the endpoint to challenge (RFC 5961 §4.2), and changes nothing.
  [
    [ESTABLISHED, ESTABLISHED, ESTABLISHED, FIN_A, RESET_A],
    [ESTABLISHED, ESTABLISHED, ESTABLISHED, FIN_B, RESET_B],
  ],
  // FIN_A
  [[FIN_A, FIN_A, FIN_A, FIN_A, RESET_A], [FIN_A, FIN_A, FIN_A, CLOSED, RESET_B]],
  // FIN_B
  [[FIN_B, FIN_B, FIN_B, CLOSED, RESET_A], [FIN_B, FIN_B, FIN_B, FIN_B, RESET_B]],
  // CLOSED: a SYN from A may open the next connection instead, see `TcpTracker.beginsNext`.
  [[CLOSED, CLOSED, CLOSED, CLOSED, RESET_A], [CLOSED, CLOSED, CLOSED, CLOSED, RESET_B]],
  // RESET_A: a side that sends new data after "its" RST did not send that RST (RFC 7857 §2.1).
  [
    [RESET_A, RESET_A, ESTABLISHED, FIN_A, RESET_A],
    [_, RESET_A, RESET_A, RESET_A, RESET_A],
  ],
  // RESET_B
  [
    [RESET_B, RESET_B, RESET_B, RESET_B, RESET_B],
    [_, RESET_B, ESTABLISHED, FIN_B, RESET_B],
  ],
  // ABORTED: segments in flight, and the RSTs in answer to them.
  [[X, X, X, X, X], [_, X, X, X, X]],
];

const NEXT = Int8Array.from(TRANSITIONS.flat(2));

/** The state after a segment with `flags` from `side`, or INVALID. */
export function nextState(state: number, side: number, flags: number): number {
  return NEXT[(2 * state + side) * KINDS + kindOf(flags)]!;
}

function kindOf(flags: number): number {
  if ((flags & RST) !== 0) return KIND_RST;
  if ((flags & SYN) !== 0) return (flags & ACK) !== 0 ? KIND_SYN_ACK : KIND_SYN;
  return (flags & FIN) !== 0 ? KIND_FIN : KIND_ACK;
}

export function isReset(state: number): boolean {
  return state === RESET_A || state === RESET_B;
}

/** True until the handshake is complete. */
export function isHandshake(state: number): boolean {
  return state === SYN_SENT || state === SYN_BOTH || state === SYN_RECEIVED;
}

/** True if both sides have shown that they are there, whatever came then. */
export function hasBeenOpen(state: number): boolean {
  return state >= ESTABLISHED && state <= RESET_B;
}

/** True while either side may still send data. */
export function isOpen(state: number): boolean {
  return state >= SYN_SENT && state <= FIN_B;
}

/** True where a new SYN from side A may begin the tuple's next connection. */
export function isOver(state: number): boolean {
  return state === CLOSED || state === ABORTED || isReset(state);
}

/** True for a segment that opens a connection: SYN without ACK. */
export function isFirstSyn(flags: number): boolean {
  return (flags & (SYN | ACK)) === SYN;
}
