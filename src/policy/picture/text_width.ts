/**
 * The most room that a line of text takes in a common sans-serif font. A picture's reader has
 * another font than its maker, so boxes are as wide as the widest of these fonts (DejaVu Sans,
 * Verdana) needs.
 */

/** Widths by character, in the font's size. Any that is not ASCII may be as wide as a symbol. */
const NARROW = 0.46;
const NORMAL = 0.64;
const CAPITAL = 0.84;
const WIDE = 1.08;
const OTHER = 1.3;

const NARROW_CHARS = new Set(" !\"'(),-./:;I[\\]fijlrt|");
const WIDE_CHARS = new Set("%@MWmw");

/** In the unit of `fontSize`. */
export function widestOf(text: string, fontSize: number): number {
  let width = 0;
  for (const char of text) width += widthOf(char);
  return width * fontSize;
}

function widthOf(char: string): number {
  if (char > "~") return OTHER;
  if (NARROW_CHARS.has(char)) return NARROW;
  if (WIDE_CHARS.has(char)) return WIDE;
  return /[a-z0-9$*?_`]/.test(char) ? NORMAL : CAPITAL;
}
