/**
 * Whether a TCP segment lies in its connection's window, seen from the middle (G. van Rooij, "Real
 * Stateful TCP Packet Filtering in IP Filter", 2001; RFC 9293 §3.4; RFC 5961 for what a forged segment
 * may not do). For each side S with peer R the connection's entry keeps
 *
 *     END      one past the last sequence number that S has sent
 *     MAX_END  one past the last one that R has allowed: R's highest acknowledgment plus window
 *     MAX_WIN  the largest window that S has announced; 0: nothing heard from S yet
 *
 * A segment seq … end with acknowledgment ack from S is in the window when
 *
 *     seq ≤ S.MAX_END                  not beyond what R allowed
 *     end ≥ S.END - R.MAX_WIN          not older than anything R may still miss
 *     R.END - S.MAX_WIN… ≤ ack ≤ R.END acknowledges what R has sent, and not long ago
 *
 * Sequence numbers are signed 32-bit integers here and are compared by difference.
 */
import type { Pdu } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import type { FlowTable } from "./table.ts";

// Words of an entry's data; those of side s start at s * SIDE_WORDS.
export const END = 0;
export const MAX_END = 1;
export const MAX_WIN = 2;
export const SIDE_WORDS = 3;
export const OPTIONS = 6;
/** Sequence number of a SYN that side A has sent although the connection was under way. */
const STRAY_SYN = 7;

// In OPTIONS, 8 bits a side: the window scale, whether it was offered, whether SACK is permitted.
const SCALE = 0x0f;
const SCALE_OFFERED = 0x10;
const SACK_PERMITTED = 0x20;
const OPTION_BITS = 0xff;
const STRAY_OPTION_BITS = 0x3f;
/** In OPTIONS: STRAY_SYN is one; its own options stand in the 8 bits above. */
const STRAY = 1 << 16;
const STRAY_SHIFT = 17;
/** In OPTIONS: a fingerprint of side A's initial sequence number, by which its SYN is known again. */
const ISN_SHIFT = 23;
const ISN_BITS = 0x1ff << ISN_SHIFT;

/** Acknowledgments this old are accepted even from a side with a small window. */
export const OLD_ACK_BYTES = 66_000;

/** True if nothing was heard from `side` yet. */
export function isSilent(table: FlowTable, entry: number, side: number): boolean {
  return table.data(entry, side * SIDE_WORDS + MAX_WIN) === 0;
}

/** Notes the first SYN or SYN ACK of `side`: its sequence number, window and options. */
export function openWindow(
  view: DataView,
  table: FlowTable,
  entry: number,
  side: number,
  pdu: Pdu,
): void {
  const own = side * SIDE_WORDS;
  const peer = (1 - side) * SIDE_WORDS;
  const end = endOf(pdu);
  table.setData(entry, own + END, end);
  table.setData(entry, own + MAX_WIN, Math.max(1, pdu.window));
  if (table.data(entry, peer + MAX_WIN) === 0) {
    table.setData(entry, own + MAX_END, end);
  } else if ((pdu.tcpFlags & tcp.ACK) === 0) {
    // The other SYN of a simultaneous open: neither has allowed anything yet.
    table.setData(entry, own + MAX_END, end);
  } else {
    table.setData(entry, own + MAX_END, end + table.data(entry, peer + MAX_WIN));
    table.setData(entry, peer + MAX_END, pdu.ack + Math.max(1, pdu.window));
  }
  const shift = 8 * side;
  const isn = side === 0 ? fingerprint(pdu.seq) : table.data(entry, OPTIONS) & ISN_BITS;
  const others = table.data(entry, OPTIONS) & ~(ISN_BITS | (OPTION_BITS << shift));
  table.setData(entry, OPTIONS, others | isn | (readOptions(view, pdu) << shift));
}

function fingerprint(isn: number): number {
  return Math.imul(isn, 0x9e3779b1) & ISN_BITS;
}

/** True if this SYN of side A is the one that began the connection, come late or again. */
export function isOwnSyn(table: FlowTable, entry: number, pdu: Pdu): boolean {
  return (table.data(entry, OPTIONS) & ISN_BITS) === fingerprint(pdu.seq) &&
    !startsBeyond(table, entry, 0, pdu);
}

/**
 * Notes a SYN that side A sends although the connection is under way. Its backend is the judge: it
 * challenges it (RFC 5961 §4.2), or, if it has forgotten the connection, answers with a SYN ACK.
 */
export function noteStraySyn(view: DataView, table: FlowTable, entry: number, pdu: Pdu): void {
  const kept = table.data(entry, OPTIONS) & (ISN_BITS | (STRAY - 1));
  table.setData(entry, STRAY_SYN, pdu.seq);
  table.setData(entry, OPTIONS, kept | STRAY | (readOptions(view, pdu) << STRAY_SHIFT));
}

/** True for the SYN ACK that answers a stray SYN: side B knows nothing of the connection as it was. */
export function answersStraySyn(table: FlowTable, entry: number, pdu: Pdu): boolean {
  return (pdu.tcpFlags & (tcp.SYN | tcp.ACK)) === (tcp.SYN | tcp.ACK) &&
    (table.data(entry, OPTIONS) & STRAY) !== 0 &&
    pdu.ack === ((table.data(entry, STRAY_SYN) + 1) | 0);
}

/** The stray SYN has been answered: the connection begins anew with it. */
export function acceptStraySyn(table: FlowTable, entry: number): void {
  const isn = table.data(entry, STRAY_SYN);
  const end = (isn + 1) | 0;
  table.setData(entry, END, end);
  table.setData(entry, MAX_END, end);
  table.setData(entry, MAX_WIN, 0xffff);
  table.setData(entry, SIDE_WORDS + MAX_WIN, 0);
  const options = (table.data(entry, OPTIONS) >>> STRAY_SHIFT) & STRAY_OPTION_BITS;
  table.setData(entry, OPTIONS, options | fingerprint(isn));
}

/** True if the segment begins where everything that `side` has sent ends, or behind. */
export function startsBeyond(table: FlowTable, entry: number, side: number, pdu: Pdu): boolean {
  return ((pdu.seq - table.data(entry, side * SIDE_WORDS + END)) | 0) >= 0;
}

/** True if the segment brings sequence numbers that `side` had not sent before. */
export function isNews(table: FlowTable, entry: number, side: number, pdu: Pdu): boolean {
  return ((endOf(pdu) - table.data(entry, side * SIDE_WORDS + END)) | 0) > 0;
}

/**
 * True if the segment fits the connection; changes nothing. `proves`: it would complete the handshake,
 * and so must acknowledge exactly what the other side has sent: a forger can't guess that.
 */
export function inWindow(
  table: FlowTable,
  entry: number,
  side: number,
  pdu: Pdu,
  proves: boolean,
): boolean {
  const own = side * SIDE_WORDS;
  const peer = (1 - side) * SIDE_WORDS;
  const peerWindow = table.data(entry, peer + MAX_WIN);
  const ownWindow = table.data(entry, own + MAX_WIN);
  const hasAck = (pdu.tcpFlags & tcp.ACK) !== 0;
  const isReset = (pdu.tcpFlags & tcp.RST) !== 0;
  if (ownWindow === 0) {
    // The first segment of this side must answer the other's SYN, if it claims to answer anything.
    if (!hasAck) return !isReset;
    const unanswered = (table.data(entry, peer + END) - pdu.ack) | 0;
    return isChallenge(pdu) || (unanswered >= 0 && unanswered <= 0xffff);
  }
  if (peerWindow === 0) return true; // nobody to be out of step with
  const maxEnd = table.data(entry, own + MAX_END);
  const beyond = (pdu.seq - maxEnd) | 0;
  if (beyond > 0) return false;
  if (isReset) return ((beyond + peerWindow) | 0) >= 0;
  const ahead = (endOf(pdu) - table.data(entry, own + END)) | 0;
  if (((ahead + peerWindow) | 0) < 0) return false;
  if (!hasAck) return true;
  const behind = (table.data(entry, peer + END) - pdu.ack) | 0;
  return behind >= 0 && behind <= (proves ? 0 : Math.max(OLD_ACK_BYTES, ownWindow));
}

/** A bare ACK before any SYN of its side: the answer of a host that remembers another connection. */
function isChallenge(pdu: Pdu): boolean {
  return (pdu.tcpFlags & (tcp.SYN | tcp.RST | tcp.FIN)) === 0;
}

/** Moves the window on by a segment that is in it. */
export function advanceWindow(table: FlowTable, entry: number, side: number, pdu: Pdu): void {
  const own = side * SIDE_WORDS;
  const peer = (1 - side) * SIDE_WORDS;
  const end = endOf(pdu);
  if (((end - table.data(entry, own + END)) | 0) > 0) table.setData(entry, own + END, end);
  if ((pdu.tcpFlags & tcp.RST) !== 0) return; // an RST announces nothing
  const isSyn = (pdu.tcpFlags & tcp.SYN) !== 0; // a SYN's window is not scaled
  const scale = isSyn ? 0 : scaleOf(table.data(entry, OPTIONS), side);
  const window = Math.max(1, pdu.window << scale);
  if (window > table.data(entry, own + MAX_WIN)) table.setData(entry, own + MAX_WIN, window);
  if ((pdu.tcpFlags & tcp.ACK) === 0) return;
  const allowed = (pdu.ack + window) | 0;
  if (((allowed - table.data(entry, peer + MAX_END)) | 0) > 0) {
    table.setData(entry, peer + MAX_END, allowed);
  }
}

/** One past the last sequence number of the segment: SYN and FIN count one each. */
function endOf(pdu: Pdu): number {
  const syn = (pdu.tcpFlags & tcp.SYN) !== 0 ? 1 : 0;
  const fin = (pdu.tcpFlags & tcp.FIN) !== 0 ? 1 : 0;
  return (pdu.seq + (pdu.end - pdu.payload + syn + fin)) | 0;
}

/** The shift of windows that `side` announces: in use only if both have offered one (RFC 7323 §2.2). */
export function scaleOf(options: number, side: number): number {
  const offered = SCALE_OFFERED | (SCALE_OFFERED << 8);
  return (options & offered) === offered ? (options >>> (8 * side)) & SCALE : 0;
}

function readOptions(view: DataView, pdu: Pdu): number {
  let found = 0;
  for (let at = pdu.l4 + tcp.TCP_MIN_BYTES; at < pdu.payload;) {
    const kind = view.getUint8(at);
    if (kind === tcp.OPTION_END) break;
    if (kind === tcp.OPTION_NOP) {
      at++;
      continue;
    }
    const lengthBytes = at + 1 < pdu.payload ? view.getUint8(at + 1) : 0;
    if (lengthBytes < 2 || at + lengthBytes > pdu.payload) break;
    if (kind === tcp.OPTION_WINDOW_SCALE && lengthBytes === 3) {
      found |= SCALE_OFFERED | Math.min(tcp.MAX_WINDOW_SCALE, view.getUint8(at + 2));
    }
    if (kind === tcp.OPTION_SACK_PERMITTED && lengthBytes === 2) found |= SACK_PERMITTED;
    at += lengthBytes;
  }
  return found;
}
