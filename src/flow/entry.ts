/**
 * What stands where in an entry of the flow table: 16 words, one cache line.
 *
 *     | A tuple: source, destination, ports | B tuple | META | LAST_SEEN | DATA: 8 words |
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

/** Protocol in bits 0–7 (0 in a free entry), state in bits 8–15, ONE_TUPLE. */
export const META = 6;
export const STATE_SHIFT = 8;
/** There is no B tuple. */
export const ONE_TUPLE: number = 1 << 16;
/** All of META. */
export const WHOLE_META = 0x1ffff;

/** When the connection was used, in milliseconds modulo 2³². */
export const LAST_SEEN = 7;
/** What a connection's protocol keeps, for `tcp_window.ts`. */
export const DATA = 8;

/** Where an entry's words begin. */
export function baseOf(entry: number): number {
  return entry << ENTRY_SHIFT;
}
