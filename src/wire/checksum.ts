/**
 * The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
 *
 * A *sum* is a folded one's complement sum, 0 … 0xffff, not yet complemented; a *checksum* is what
 * stands in a header, its complement. A *delta* is the sum of ~old and new words: adding it to a sum
 * replaces the old words by the new ones (RFC 1624 eqn 3), so one delta serves every header that
 * covers the changed fields.
 */

/** Folds a sum of 16-bit words (below 2³²) into 16 bits. */
export function fold(sum: number): number {
  sum = (sum >>> 16) + (sum & 0xffff);
  return (sum >>> 16) + (sum & 0xffff);
}

/** Sum of `lengthBytes` bytes at `offset`, added to `initial` (a folded sum). */
export function sumBytes(
  view: DataView,
  offset: number,
  lengthBytes: number,
  initial: number,
): number {
  let sum = initial;
  let at = offset;
  const end = offset + lengthBytes;
  // Two accumulations of at most 2 · 0xffff a word keep 64 KiB below 2³².
  for (const end16 = end - 15; at < end16; at += 16) {
    const a = view.getInt32(at);
    const b = view.getInt32(at + 4);
    const c = view.getInt32(at + 8);
    const d = view.getInt32(at + 12);
    sum += (a >>> 16) + (a & 0xffff) + (b >>> 16) + (b & 0xffff) +
      (c >>> 16) + (c & 0xffff) + (d >>> 16) + (d & 0xffff);
  }
  for (; at + 1 < end; at += 2) sum += view.getUint16(at);
  if (at < end) sum += view.getUint8(at) << 8;
  return fold(sum);
}

/** Sum of the TCP and UDP pseudo-header (RFC 9293 §3.1). */
export function pseudoHeaderSum(
  src: number,
  dst: number,
  protocol: number,
  lengthBytes: number,
): number {
  return fold(
    (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff) + protocol + lengthBytes,
  );
}

/** The checksum that goes with a sum. */
export function complement(sum: number): number {
  return ~sum & 0xffff;
}

/** Delta for a 16-bit word. */
export function delta16(old: number, now: number): number {
  return fold((~old & 0xffff) + now);
}

/** Delta for a 32-bit word. */
export function delta32(old: number, now: number): number {
  return fold((~old >>> 16) + (~old & 0xffff) + (now >>> 16) + (now & 0xffff));
}

/** Adds two sums or deltas. */
export function add(a: number, b: number): number {
  return fold(a + b);
}

/** The checksum after a change: ~(~HC + delta). */
export function updated(checksum: number, delta: number): number {
  return ~fold((~checksum & 0xffff) + delta) & 0xffff;
}
