/**
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
 *
 * A *sum* is a folded one's complement sum, 0 … 0xffff, not yet complemented; a *checksum* is its
 * complement, the value in a header. A *delta* is the sum of ~old and new words, not folded: adding
 * it to a sum replaces the old words by the new ones (RFC 1624 eqn 3), so one delta serves every
 * header that covers the changed fields. Deltas of up to 2,000 words can be added up.
 */
import type { Address } from "./address.ts";

/** Sum of a header or segment whose checksum is correct. */
export const CORRECT = 0xffff;

/** Folds a sum of 16-bit words (below 2³²) into 16 bits. */
export function fold(sum: number): number {
  sum = (sum >>> 16) + (sum & 0xffff);
  return (sum >>> 16) + (sum & 0xffff);
}

/** The two halves of a 32-bit word of a header, added. */
export function halves(word: number): number {
  return (word >>> 16) + (word & 0xffff);
}

/** Sum of `lengthBytes` bytes at `offset`, added to `initial` (a sum of a few dozen words). */
export function sumBytes(
  view: DataView,
  offset: number,
  lengthBytes: number,
  initial: number,
): number {
  let sum = initial;
  let at = offset;
  const end = offset + lengthBytes;
  // 64 KiB stay below 2³²; the integer may turn negative, and `fold` takes it as unsigned.
  for (const end16 = end - 15; at < end16; at += 16) {
    const first = halves(view.getInt32(at)) + halves(view.getInt32(at + 4));
    const second = halves(view.getInt32(at + 8)) + halves(view.getInt32(at + 12));
    sum = (sum + first + second) | 0;
  }
  for (const end4 = end - 3; at < end4; at += 4) sum = (sum + halves(view.getInt32(at))) | 0;
  if (at + 1 < end) {
    sum = (sum + view.getUint16(at)) | 0;
    at += 2;
  }
  if (at < end) sum = (sum + (view.getUint8(at) << 8)) | 0;
  return fold(sum);
}

/** Sum of the TCP and UDP pseudo-header (RFC 9293 §3.1). */
export function pseudoHeaderSum(
  src: Address,
  dst: Address,
  protocol: number,
  lengthBytes: number,
): number {
  return fold(halves(src) + halves(dst) + protocol + lengthBytes);
}

/**
 * Sum of the pseudo-header over IPv6 (RFC 8200 §8.1); the source address is at `addresses`, and the
 * destination follows it.
 */
export function pseudoHeaderSum6(
  view: DataView,
  addresses: number,
  protocol: number,
  lengthBytes: number,
): number {
  return sumBytes(view, addresses, 32, protocol + halves(lengthBytes));
}

/** The checksum that goes with a sum. */
export function complement(sum: number): number {
  return ~sum & 0xffff;
}

/** Delta for a 16-bit word. */
export function delta16(old: number, now: number): number {
  return (~old & 0xffff) + now;
}

/** Delta for a 32-bit word. */
export function delta32(old: number, now: number): number {
  return halves(~old) + halves(now);
}

/** Delta for the IPv6 address at `offset` of a packet, which becomes the one at `at`. */
export function deltaAddress6(
  view: DataView,
  offset: number,
  words: Int32Array,
  at: number,
): number {
  return delta32(view.getInt32(offset), words[at]!) +
    delta32(view.getInt32(offset + 4), words[at + 1]!) +
    delta32(view.getInt32(offset + 8), words[at + 2]!) +
    delta32(view.getInt32(offset + 12), words[at + 3]!);
}

/** The checksum after a change: ~(~HC + delta). */
export function updated(checksum: number, delta: number): number {
  return ~fold((~checksum & 0xffff) + delta) & 0xffff;
}
