/**
 * Layout of an entry of the flow table: 16 words, one cache line.
 *
 *     | A tuple: source, destination, ports | B tuple | META | LAST_SEEN | DATA: 8 words |
 *
 * TCP keeps four words a side in DATA (`tcp_window.ts`: END, MAX_END, MAX_WIN, ACK), and the window
 * scales of its SYNs in META. Words that header prediction does not need are in a separate array,
 * EXTRA: the initial sequence number of side A, when the connection was opened, and one word with
 * two uses:
 *
 *   any state            sequence number of a challenge SYN, which A sent on an open connection
 *   CLOSED, no such SYN  the last timestamp of side A (RFC 6191)
 *
 * UDP and queries use the time only.
 */

import { OVER_IPV6 } from "../wire/pdu.ts";

/** The bits of a reference, `entry << 1 | direction`; as a mask for what `OFFSET_BITS` is for. */
export const REFERENCE_BITS = 21;
export const REFERENCE_MASK: number = (1 << REFERENCE_BITS) - 1;

/** Words of an entry, as a power of 2. */
const ENTRY_SHIFT = 4;
export const ENTRY_WORDS: number = 1 << ENTRY_SHIFT;

/** Directions: which of an entry's tuples a packet matched. */
export const SIDE_A = 0;
export const SIDE_B = 1;

/** The tuple of direction d starts at word d * TUPLE_WORDS. */
export const TUPLE_WORDS = 3;
export const SRC = 0;
export const DST = 1;
/** Source port in the upper, destination port in the lower half. */
export const PORTS = 2;

/**
 * Protocol in bits 0–7 (0 in a free entry), state in bits 8–13, CROSSED, `OVER_IPV6`, ONE_TUPLE,
 * what SYNs offered.
 */
export const META = 6;
/** The protocol of side A and its family, as in `Pdu.protocol`. */
export const PROTOCOL_MASK: number = OVER_IPV6 | 0xff;
export const STATE_SHIFT = 8;
export const STATE_MASK = 0x3f;
/** Side B is of the other family, and has its protocol (`acrossOf`). */
export const CROSSED: number = 1 << 14;
/** The entry has no B tuple. */
export const ONE_TUPLE: number = 1 << 16;
/** All of META except what SYNs offered. */
export const TYPE_MASK = 0x1ffff;
/** First of the 15 bits for what SYNs offered (`tcp_window.ts`). */
export const OFFERS_SHIFT = 17;

/** When the connection was last used, in milliseconds modulo 2³². */
export const LAST_SEEN = 7;
/** First of the 8 words that belong to the connection's protocol (`tcp_window.ts`). */
export const DATA = 8;

/** Words an entry has in EXTRA. */
export const EXTRA_WORDS = 3;
/** Of these, when the connection was opened, in ms modulo 2³²; 0 and 1 are `tcp_window.ts`'s. */
export const OPENED = 2;

/** An entry with all that is kept elsewhere, as words: these, EXTRA, and its member's number. */
export const MEMBER: number = ENTRY_WORDS + EXTRA_WORDS;
export const SAVED_WORDS: number = MEMBER + 1;

/** Index of an entry's first word. */
export function baseOf(entry: number): number {
  return entry << ENTRY_SHIFT;
}
