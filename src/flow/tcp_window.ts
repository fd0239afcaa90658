/**
 * Checks whether a TCP segment is in its connection's window, as seen by a middlebox (G. van Rooij,
 * "Real Stateful TCP Packet Filtering in IP Filter", 2001; RFC 9293 §3.4; RFC 5961 for forged
 * segments). For each side S with peer R the connection's entry keeps
 *
 *     END      one past the last sequence number that S has sent
 *     MAX_END  one past the last one that R has allowed: R's highest acknowledgment plus window
 *     MAX_WIN  the largest window that S has announced; 0: nothing heard from S yet; negative: the
 *              largest that an earlier run of the proxy has heard of, and nothing since
 *     ACK      the highest acknowledgment of S; R's initial sequence number while there is none
 *
 * A segment seq … end with acknowledgment ack from S is in the window when
 *
 *     seq ≤ S.MAX_END                  not beyond what R allowed
 *     end ≥ S.END - R.MAX_WIN          not older than anything R may still be missing
 *     R.END - S.MAX_WIN… ≤ ack ≤ R.END acknowledges what R has sent, and not long ago
 *
 * What passed while nobody kept count is not known. So until both sides of a connection that an
 * earlier run has left were heard, each of these limits is wider by `slackOf`.
 *
 * Sequence numbers are signed 32-bit integers here and are compared by difference.
 *
 * Long because all that judges and notes a segment's numbers works on these words.
 */
import type { Pdu } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import { baseOf, DATA } from "./entry.ts";
import type { FlowTable } from "./table.ts";
import {
  CHALLENGE_SHIFT,
  CHALLENGE_WITHOUT_SCALE,
  OFFER,
  OFFER_BITS,
  offerOf,
  SCALE_OFFERED,
  scaleOf,
  setOffer,
} from "./tcp_offers.ts";

// Words of an entry's data; those of side s start at s * WORDS_PER_SIDE.
export const END = 0;
export const MAX_END = 1;
export const MAX_WIN = 2;
export const ACK = 3;
export const WORDS_PER_SIDE = 4;

// Words of the entry's EXTRA.
/** Initial sequence number of side A. */
const ISN = 0;
/** Sequence number of a challenge SYN: one that side A sent on an open connection. */
const CHALLENGE = 1;
/** The same word while there is no such SYN: the last timestamp of side A, if CLOSED; 0: none. */
const TIMESTAMP = 1;

/** Acknowledgments this old are accepted even from a side with a small window. */
export const OLD_ACK_BYTES = 66_000;

/** Most by which limits are wider than known. */
const MOST_SLACK_BYTES = 1 << 24;

/** The largest window there is: 16 bits, shifted (RFC 7323 §2.3). */
export const MOST_WINDOW: number = 0xffff << tcp.MAX_WINDOW_SCALE;

/** Most data in a SYN: the length of a challenge SYN's data is not stored. */
const MOST_SYN_BYTES = 8960;

// Results of `fit`.
/** Not in the window. */
export const OUT = 0;
export const IN = 1;
/**
 * Older than anything its receiver may still be missing: the receiver will acknowledge it again.
 */
export const OLD = 2;

/** True if `side` has not sent anything yet. */
export function isSilent(table: FlowTable, entry: number, side: number): boolean {
  return table.data(entry, side * WORDS_PER_SIDE + MAX_WIN) === 0;
}

/** Notes the first SYN or SYN ACK of `side`: its sequence number, window and what it offers. */
export function openWindow(
  view: DataView,
  table: FlowTable,
  entry: number,
  side: number,
  pdu: Pdu,
): void {
  const own = side * WORDS_PER_SIDE;
  const peer = (1 - side) * WORDS_PER_SIDE;
  const end = endOf(pdu);
  const answers = (pdu.tcpFlags & tcp.ACK) !== 0;
  const peerWindow = table.data(entry, peer + MAX_WIN);
  table.setData(entry, own + END, end);
  table.setData(entry, own + MAX_WIN, Math.max(1, pdu.window));
  table.setData(entry, peer + ACK, pdu.seq);
  if (answers && peerWindow !== 0) {
    table.setData(entry, own + MAX_END, end + peerWindow);
    table.setData(entry, peer + MAX_END, pdu.ack + Math.max(1, pdu.window));
    table.setData(entry, own + ACK, pdu.ack);
  } else {
    table.setData(entry, own + MAX_END, end); // the peer has not sent a window yet
  }
  if (side === 0) table.setExtra(entry, ISN, pdu.seq);
  setOffer(table, entry, side * OFFER_BITS, offerOf(view, pdu));
}

/** True if `number` is side A's first sequence number after its SYN. */
export function isFirstOfA(table: FlowTable, entry: number, number: number): boolean {
  return number === ((table.extra(entry, ISN) + 1) | 0);
}

/** True if this SYN of side A is the one that opened the connection, retransmitted or delayed. */
export function isOwnSyn(table: FlowTable, entry: number, pdu: Pdu): boolean {
  return pdu.seq === table.extra(entry, ISN);
}

/** Initial sequence number of side A. */
export function isnOfA(table: FlowTable, entry: number): number {
  return table.extra(entry, ISN);
}

/** True if the segment acknowledges exactly side A's SYN and the data in it, or the SYN alone. */
export function answersExactly(table: FlowTable, entry: number, pdu: Pdu): boolean {
  return (pdu.tcpFlags & tcp.ACK) !== 0 &&
    (pdu.ack === table.data(entry, END) || isFirstOfA(table, entry, pdu.ack));
}

/** True if the segment acknowledges side A's SYN, and nothing beyond what A has sent. */
export function answersSyn(table: FlowTable, entry: number, pdu: Pdu): boolean {
  return (pdu.tcpFlags & tcp.ACK) !== 0 && ((pdu.ack - table.extra(entry, ISN)) | 0) > 0 &&
    ((pdu.ack - table.data(entry, END)) | 0) <= 0;
}

/**
 * Notes a challenge SYN: one that side A sends on an open connection. The backend decides: it sends
 * a challenge ACK (RFC 5961 §4.2), or, if it has forgotten the connection, a SYN ACK or RST.
 */
export function noteChallenge(view: DataView, table: FlowTable, entry: number, pdu: Pdu): void {
  table.setExtra(entry, CHALLENGE, pdu.seq);
  setOffer(table, entry, CHALLENGE_SHIFT, offerOf(view, pdu) || CHALLENGE_WITHOUT_SCALE);
}

/**
 * True for side B's SYN ACK or RST in answer to a challenge SYN and the data in it (RFC 7413): B
 * has forgotten the connection.
 */
export function answersChallenge(table: FlowTable, entry: number, pdu: Pdu): boolean {
  if ((pdu.tcpFlags & tcp.ACK) === 0 || !isChallenged(table, entry)) return false;
  const acked = (pdu.ack - table.extra(entry, CHALLENGE)) | 0;
  return acked > 0 && acked <= 1 + MOST_SYN_BYTES;
}

/** Restarts the connection with the challenge SYN, which has been answered with ACK `end`. */
export function acceptChallenge(table: FlowTable, entry: number, end: number): void {
  const isn = table.extra(entry, CHALLENGE);
  table.setExtra(entry, ISN, isn);
  table.setData(entry, END, end);
  table.setData(entry, MAX_END, end);
  table.setData(entry, MAX_WIN, 0xffff);
  table.setData(entry, WORDS_PER_SIDE + MAX_WIN, 0);
  const offer = (table.offers(entry) >>> CHALLENGE_SHIFT) & OFFER;
  setOffer(table, entry, CHALLENGE_SHIFT, 0);
  setOffer(table, entry, 0, (offer & SCALE_OFFERED) === 0 ? 0 : offer);
}

/** True if such a SYN has come since the connection began. */
export function isChallenged(table: FlowTable, entry: number): boolean {
  return table.offers(entry) >>> CHALLENGE_SHIFT !== 0;
}

/** Stores the timestamp of a segment of side A on a connection that is over. */
export function noteTimestamp(view: DataView, table: FlowTable, entry: number, pdu: Pdu): void {
  if (!isChallenged(table, entry)) table.setExtra(entry, TIMESTAMP, timestampOf(view, pdu));
}

/**
 * True if the SYN of side A is newer than everything that A has sent on the connection, which is
 * over: by its sequence number (RFC 9293 §3.6.1) or its timestamp (RFC 6191 §2).
 */
export function isLaterSyn(
  view: DataView,
  table: FlowTable,
  entry: number,
  pdu: Pdu,
  isClosed: boolean,
): boolean {
  if (((pdu.seq - table.data(entry, END)) | 0) >= 0) return true;
  if (!isClosed || isChallenged(table, entry)) return false;
  const last = table.extra(entry, TIMESTAMP);
  const timestamp = last === 0 ? 0 : timestampOf(view, pdu);
  return timestamp !== 0 && ((timestamp - last) | 0) > 0;
}

/** True if each side has acknowledged everything that the other has sent. */
export function isAcknowledged(table: FlowTable, entry: number): boolean {
  return table.data(entry, ACK) === table.data(entry, WORDS_PER_SIDE + END) &&
    table.data(entry, WORDS_PER_SIDE + ACK) === table.data(entry, END);
}

/** True if the segment has sequence numbers that `side` had not sent before. */
export function isNews(table: FlowTable, entry: number, side: number, pdu: Pdu): boolean {
  return ((endOf(pdu) - table.data(entry, side * WORDS_PER_SIDE + END)) | 0) > 0;
}

/**
 * The connection, open or over, was taken from an earlier run: neither side has been heard since.
 */
export function resumeWindow(table: FlowTable, entry: number): void {
  for (const at of [MAX_WIN, WORDS_PER_SIDE + MAX_WIN]) {
    table.setData(entry, at, -Math.abs(table.data(entry, at)));
  }
}

/** How far off what is known may be: one window, if a side has not been heard since a restart. */
function slackOf(ownWindow: number, peerWindow: number): number {
  if (ownWindow >= 0 && peerWindow >= 0) return 0;
  const window = Math.max(OLD_ACK_BYTES, Math.abs(ownWindow), Math.abs(peerWindow));
  return Math.min(MOST_SLACK_BYTES, window);
}

/** OUT, IN or OLD, once both sides have spoken; for an RST see `isRstInWindow`. Changes nothing. */
export function fit(table: FlowTable, entry: number, side: number, pdu: Pdu): number {
  const own = side * WORDS_PER_SIDE;
  const peer = (1 - side) * WORDS_PER_SIDE;
  const ownWindow = table.data(entry, own + MAX_WIN);
  const peerWindow = table.data(entry, peer + MAX_WIN);
  const slack = slackOf(ownWindow, peerWindow);
  if (((pdu.seq - table.data(entry, own + MAX_END)) | 0) > slack) return OUT;
  if ((pdu.tcpFlags & tcp.ACK) !== 0) {
    const behind = (table.data(entry, peer + END) - pdu.ack) | 0;
    const most = Math.max(OLD_ACK_BYTES, Math.abs(ownWindow)) + slack;
    if (behind < -slack || behind > most) return OUT;
  }
  const ahead = (endOf(pdu) - table.data(entry, own + END)) | 0;
  return ((ahead + (Math.abs(peerWindow) + slack)) | 0) < 0 ? OLD : IN;
}

/**
 * True if the segment acknowledges something that the other side has sent, its SYN included: a
 * forger can't guess that, so it completes the handshake (RFC 9293 §3.10.7.4). The segment is in
 * the window.
 */
export function proves(table: FlowTable, entry: number, side: number, pdu: Pdu): boolean {
  return (pdu.tcpFlags & tcp.ACK) !== 0 &&
    ((pdu.ack - table.data(entry, side * WORDS_PER_SIDE + ACK)) | 0) > 0;
}

/**
 * True if this is another initial sequence number of side B than the one known, which A has not
 * acknowledged.
 */
export function isOtherIsn(table: FlowTable, entry: number, pdu: Pdu): boolean {
  return pdu.seq !== table.data(entry, ACK);
}

/**
 * True if an RST of `side` may be in its receiver's window, for the receiver to challenge (RFC 5961
 * §3.2).
 */
export function isRstInWindow(table: FlowTable, entry: number, side: number, pdu: Pdu): boolean {
  const peerWindow = table.data(entry, (1 - side) * WORDS_PER_SIDE + MAX_WIN);
  const slack = slackOf(table.data(entry, side * WORDS_PER_SIDE + MAX_WIN), peerWindow);
  const beyond = (pdu.seq - table.data(entry, side * WORDS_PER_SIDE + MAX_END)) | 0;
  return beyond <= slack && ((beyond + (Math.abs(peerWindow) + slack)) | 0) >= 0;
}

/**
 * True if an RST of `side` has the exact number that its receiver accepts (RFC 5961 §3.2): one past
 * all that the side has sent, or the peer's last acknowledgment, if the peer is missing some.
 */
export function isRstExact(table: FlowTable, entry: number, side: number, pdu: Pdu): boolean {
  return pdu.seq === table.data(entry, side * WORDS_PER_SIDE + END) ||
    pdu.seq === table.data(entry, (1 - side) * WORDS_PER_SIDE + ACK);
}

/**
 * The lowest number at which `side` may take an RST: what it has acknowledged of the other side,
 * whose SYN counts as received. It may have received more since; where that ends, `endOfSent` of
 * the other side says.
 */
export function lowestExpected(
  table: FlowTable,
  entry: number,
  side: number,
  isHandshake: boolean,
): number {
  const acknowledged = table.data(entry, side * WORDS_PER_SIDE + ACK);
  const isIsn = side === 0 ? isHandshake : acknowledged === table.extra(entry, ISN);
  return (acknowledged + (isIsn ? 1 : 0)) | 0;
}

/** One past the last number that `side` has sent. */
export function endOfSent(table: FlowTable, entry: number, side: number): number {
  return table.data(entry, side * WORDS_PER_SIDE + END);
}

/**
 * True if `seq` may belong to a segment of `side` in flight, or to a challenge SYN: an ICMP error
 * about any other is old or forged (RFC 5927 §4.1).
 */
export function isUnderWay(table: FlowTable, entry: number, side: number, seq: number): boolean {
  const ahead = (seq - table.data(entry, side * WORDS_PER_SIDE + END)) | 0;
  const acknowledged = (seq - table.data(entry, (1 - side) * WORDS_PER_SIDE + ACK)) | 0;
  return (ahead <= 0 && acknowledged >= 0) ||
    (side === 0 && isChallenged(table, entry) && seq === table.extra(entry, CHALLENGE));
}

/**
 * True if the side has sent later segments than this one, which is no RST: their numbers are no
 * lower, nor is what they acknowledge.
 */
export function isLate(table: FlowTable, entry: number, side: number, pdu: Pdu): boolean {
  const own = side * WORDS_PER_SIDE;
  return (pdu.tcpFlags & tcp.ACK) !== 0 && !isNews(table, entry, side, pdu) &&
    ((pdu.ack - table.data(entry, own + ACK)) | 0) <= 0;
}

/** True if the segment ends where all that its side has sent does. */
export function isEnd(table: FlowTable, entry: number, side: number, pdu: Pdu): boolean {
  return endOf(pdu) === table.data(entry, side * WORDS_PER_SIDE + END);
}

/**
 * Updates the window with a segment that is in it, or late, and not an RST, which announces no
 * window. `isShared`: others may do the same at the same time, with `raiseAll`.
 */
export function advanceWindow(
  table: FlowTable,
  entry: number,
  side: number,
  pdu: Pdu,
  isShared: boolean,
): void {
  const own = side * WORDS_PER_SIDE;
  const peer = (1 - side) * WORDS_PER_SIDE;
  const end = endOf(pdu);
  const isSyn = (pdu.tcpFlags & tcp.SYN) !== 0; // a SYN's window is not scaled
  const scale = isSyn ? 0 : scaleOf(table.offers(entry), side);
  const window = Math.max(1, pdu.window << scale);
  if (isShared) {
    const data = baseOf(entry) + DATA;
    raiseAll(table.words, data + own, data + peer, end, pdu.ack, window);
    return;
  }
  if (((end - table.data(entry, own + END)) | 0) > 0) table.setData(entry, own + END, end);
  const known = table.data(entry, own + MAX_WIN);
  if (window > known) table.setData(entry, own + MAX_WIN, Math.max(window, -known));
  if ((pdu.tcpFlags & tcp.ACK) === 0) return;
  // More than was seen: what the other side sent passed during a restart.
  if (((pdu.ack - table.data(entry, peer + END)) | 0) > 0) {
    table.setData(entry, peer + END, pdu.ack);
  }
  if (((pdu.ack - table.data(entry, own + ACK)) | 0) > 0) table.setData(entry, own + ACK, pdu.ack);
  const allowed = (pdu.ack + window) | 0;
  if (((allowed - table.data(entry, peer + MAX_END)) | 0) > 0) {
    table.setData(entry, peer + MAX_END, allowed);
  }
}

/**
 * Notes what a segment has brought whose sender's words begin at `own`, of a connection that the
 * kernel's program may be at work on at the same time.
 */
export function raiseAll(
  words: Int32Array<ArrayBuffer>,
  own: number,
  peer: number,
  end: number,
  ack: number,
  window: number,
): void {
  raise(words, own + END, end);
  raise(words, own + MAX_WIN, window);
  raise(words, own + ACK, ack);
  raise(words, peer + MAX_END, (ack + window) | 0);
}

/** Raises a word modulo 2³² that the kernel's program may raise at the same time. */
function raise(words: Int32Array<ArrayBuffer>, at: number, value: number): void {
  for (let old = Atomics.load(words, at); ((value - old) | 0) > 0;) {
    const found = Atomics.compareExchange(words, at, old, value);
    if (found === old) return;
    old = found;
  }
}

/** One past the last sequence number of the segment. */
function endOf(pdu: Pdu): number {
  return (pdu.seq + tcp.segmentLength(pdu)) | 0;
}

/** The timestamp of the segment's sender (RFC 7323 §3.2); 0: none. */
function timestampOf(view: DataView, pdu: Pdu): number {
  const at = tcp.findOption(view, pdu.l4, pdu.payload, tcp.OPTION_TIMESTAMPS, 10);
  return at < 0 ? 0 : view.getInt32(at + 2);
}
