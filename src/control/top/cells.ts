/**
 * How many cells of a terminal a text takes: two for a wide character (Unicode UAX #11), none for a
 * mark that is put on the one before. Nothing else may reach a terminal: see `core/text.ts`.
 */
import { printable } from "../../core/text.ts";

const PLAIN = /^[ -~]*$/;
const WIDE =
  /[\p{Emoji_Presentation}\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]/u;
const MARK = /\p{M}/u;

export function cellsOf(text: string): number {
  if (PLAIN.test(text)) return text.length;
  let cells = 0;
  for (const char of text) cells += cellsOfChar(char);
  return cells;
}

function cellsOfChar(char: string): number {
  return MARK.test(char) ? 0 : WIDE.test(char) ? 2 : 1;
}

/** The text as a terminal may show it, in at most so many cells; `…` ends what is cut. */
export function clip(text: string, cells: number): string {
  const shown = printable(text);
  if (cellsOf(shown) <= cells) return shown;
  if (cells < 1) return "";
  let clipped = "";
  let used = 1; // of the sign
  for (const char of shown) {
    used += cellsOfChar(char);
    if (used > cells) break;
    clipped += char;
  }
  return `${clipped}…`;
}

/** As `clip`, but cut in the middle: names that begin alike are told apart by their ends. */
export function clipMiddle(text: string, cells: number): string {
  const shown = printable(text);
  if (cellsOf(shown) <= cells) return shown;
  let end = "";
  let used = 0;
  for (const char of [...shown].reverse()) {
    used += cellsOfChar(char);
    if (2 * used >= cells) break;
    end = char + end;
  }
  return clip(shown, cells - cellsOf(end)) + end;
}

/** Exactly so many cells: clipped, or filled with spaces; `isRight`: in front of the text. */
export function fit(text: string, cells: number, isRight = false): string {
  const clipped = clip(text, cells);
  const space = " ".repeat(Math.max(0, cells - cellsOf(clipped)));
  return isRight ? space + clipped : clipped + space;
}
