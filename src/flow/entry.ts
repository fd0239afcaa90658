/**
 * What stands where in an entry of the flow table: 16 words, one cache line.
 *
 *     | A tuple: source, destination, ports | B tuple | META | LAST_SEEN | DATA: 8 words |
 *
 * TCP keeps in DATA four words a side (`tcp_window.ts`: END, MAX_END, MAX_WIN, ACK), and its SYNs' window
 * scales in META. What only segments that are not plain need is kept in an array of its own, EXTRA: the
 * first sequence number of side A, when the connection was opened, and one word that serves two purposes:
 *
 *     any state            the SYN that side A has sent although the connection was under way
 *     CLOSED, no such SYN  the last timestamp of side A (RFC 6191)
 *
 * UDP and queries use the time only.
 */

/** Words of an entry, as a power of 2. */
const ENTRY_SHIFT = 4;
export const ENTRY_WORDS: number = 1 << ENTRY_SHIFT;

/** The tuple of direction d starts at word d * TUPLE_WORDS. */
export const TUPLE_WORDS = 3;
export const SRC = 0;
export const DST = 1;
/** Source port in the upper, destination port in the lower half. */
export const PORTS = 2;

/** Protocol in bits 0–7 (0 in a free entry), state in bits 8–15, ONE_TUPLE, what SYNs offered. */
export const META = 6;
export const STATE_SHIFT = 8;
/** There is no B tuple. */
export const ONE_TUPLE: number = 1 << 16;
/** All of META but what SYNs offered. */
export const TYPE_MASK = 0x1ffff;
/** What SYNs offered (`tcp_window.ts`): 15 bits from here on. */
export const OFFERS_SHIFT = 17;

/** When the connection was used, in milliseconds modulo 2³². */
export const LAST_SEEN = 7;
/** What a connection's protocol keeps, for `tcp_window.ts`. */
export const DATA = 8;

/** Words of an entry that are kept apart from it. */
export const EXTRA_WORDS = 3;
/** Of these, when the connection was opened, in milliseconds modulo 2³²; 0 and 1 are `tcp_window.ts`'s. */
export const OPENED = 2;

/** Where an entry's words begin. */
export function baseOf(entry: number): number {
  return entry << ENTRY_SHIFT;
}
