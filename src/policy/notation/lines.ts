/** Policy text → lines with the lines below them, by indentation. */
import { finish, type Slices } from "../../core/slices.ts";
import { MAX_TEXT_DEPTH } from "../language/limits.ts";
import { type Complaint, tokenAt } from "./lex.ts";
import type { Position } from "./policy_error.ts";

/** What may hold a tree: one line that holds something, or several that a list in braces spans. */
export interface Line {
  readonly file: string;
  /** From 1; of its first line, if it is several. */
  readonly number: number;
  /** Offset of its first character that is not a space. */
  readonly start: number;
  /** From the beginning of its first line to the end of its last one. */
  readonly text: string;
  /** Where in `text` each further line of the file begins. */
  readonly breaks: readonly number[];
  /** The lines indented below it. */
  block: Line[];
  /**
   * Its position or its block is already reported as wrong; don't report a missing block as well.
   */
  doubtful: boolean;
}

/** Shared by all lines that have none, nearly all there are. */
const NO_LINES = Object.freeze<Line[]>([]) as Line[];
const NO_BREAKS: readonly number[] = [];

/** Where in the file an offset of a line's text is, and the text of that line of the file. */
export function placeOf(line: Line, offset: number): Position & { readonly source: string } {
  const { file, text, breaks } = line;
  let [low, high] = [0, breaks.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (breaks[middle]! <= offset) low = middle + 1;
    else high = middle;
  }
  const start = low === 0 ? 0 : breaks[low - 1]!;
  const source = low === breaks.length
    ? text.slice(start)
    : text.slice(start, breaks[low]! - 1).replace(/\r$/, "");
  return { file, line: line.number + low, column: offset - start + 1, source };
}

export type Report = (line: Line, start: number, end: number, complaint: Complaint) => void;

/**
 * Splits a text at LF or CRLF, without empty lines and comments. A byte order mark is left out.
 * Within braces a line break is a space: only the line in which the brace opens has an indentation.
 */
export function readLines(text: string, file: string, report: Report): Line[] {
  return finish(readLinesInSlices(text, file, report));
}

export function* readLinesInSlices(text: string, file: string, report: Report): Slices<Line[]> {
  const top: Line[] = [];
  /** The blocks that the current line is in, outermost first. */
  const levels: { width: number; readonly lines: Line[] }[] = [];
  let firstTab: Line | null = null;
  let tabLines = 0;
  let skipWider = Infinity;
  let number = 0;
  for (let at = text.charCodeAt(0) === 0xfeff ? 1 : 0; at <= text.length;) {
    yield;
    const newline = text.indexOf("\n", at);
    const end = newline < 0 ? text.length : newline;
    const raw = withoutReturn(text, at, end);
    const begin = at;
    at = end + 1;
    number++;
    const { start, width, tabs } = indentOf(raw);
    if (start === raw.length || raw[start] === "#") continue;
    let line: Line = {
      file,
      number,
      start,
      text: raw,
      breaks: NO_BREAKS,
      block: NO_LINES,
      doubtful: false,
    };
    const open = raw.includes("{") ? yield* readOn(text, raw, end) : null;
    if (open !== null) {
      const breaks = open.starts.map((start) => start - begin);
      line = { ...line, text: text.slice(begin, open.end), breaks };
      at = open.next;
      number += breaks.length;
    }
    if (tabs) {
      firstTab ??= line;
      tabLines++;
    }

    if (width > skipWider) continue;
    skipWider = Infinity;
    const outer = levels.at(-1);
    if (outer === undefined) {
      if (width > 0 && !tabs) {
        report(line, 0, start, {
          found: count(width, "space"),
          expected: "no indentation: the top level begins in column 1",
        });
      }
      levels.push({ width, lines: top });
    } else if (width > outer.width) {
      const parent = outer.lines.at(-1)!;
      if (levels.length === MAX_TEXT_DEPTH) {
        report(line, 0, start, {
          found: `more than ${MAX_TEXT_DEPTH} levels of indentation`,
          expected: "fewer",
          hint: `"define" can name a part of the tree`,
        });
        parent.doubtful = true;
        skipWider = outer.width;
        continue;
      }
      if (parent.block === NO_LINES) parent.block = [];
      levels.push({ width, lines: parent.block });
    } else if (levels.length === 1) {
      levels[0]!.width = width; // only a top level that was wrongly indented gets here with less
    } else {
      let inner = outer;
      while (levels.length > 1 && levels.at(-1)!.width > width) inner = levels.pop()!;
      if (levels.at(-1)!.width !== width) {
        // Between two levels: a neighbour of the inner one, so that the rest keeps its meaning.
        if (levels.at(-1)!.width < width) levels.push(inner);
        line.doubtful = true;
        if (firstTab === null) {
          report(line, 0, start, {
            found: count(width, "space"),
            expected: `the indentation of a line above: ${expectedWidths(levels)}`,
          });
        }
      }
    }
    levels.at(-1)!.lines.push(line);
  }
  if (firstTab !== null) {
    const tab = firstTab.text.indexOf("\t");
    report(firstTab, tab, tab + 1, {
      found: "a tab",
      expected: "spaces as indentation",
      hint: tabLines > 1 ? `${tabLines} lines are indented with tabs` : null,
    });
  }
  return top;
}

function withoutReturn(text: string, start: number, end: number): string {
  return text.slice(start, text[end - 1] === "\r" && end > start ? end - 1 : end);
}

/**
 * The lines that follow one in which a brace is open, as far as they can be its list; null: none.
 */
function* readOn(
  text: string,
  first: string,
  end: number,
): Slices<{ readonly starts: number[]; readonly end: number; readonly next: number } | null> {
  const starts: number[] = [];
  /** Of the lines that hold something. */
  let [taken, takenEnd] = [0, end];
  let open = yield* opensList(first, false);
  for (let at = end + 1; open === true && at < text.length;) {
    const newline = text.indexOf("\n", at);
    const stop = newline < 0 ? text.length : newline;
    const raw = withoutReturn(text, at, stop);
    starts.push(at);
    if (!/^[ \t]*(#|$)/.test(raw)) {
      open = /^[ \t]*(define|pool|default|include)\b/.test(raw)
        ? null
        : yield* opensList(raw, true);
      if (open !== null) [taken, takenEnd] = [starts.length, at + raw.length];
    }
    at = stop + 1;
  }
  if (taken === 0) return null;
  const newline = text.indexOf("\n", takenEnd);
  starts.length = taken;
  return { starts, end: takenEnd, next: newline < 0 ? text.length + 1 : newline + 1 };
}

/**
 * True if a list in braces is open at the end of a line, in which one was open or not at the
 * beginning. In a list there are words and commas only; null: what was open at the beginning is no
 * list.
 */
function* opensList(raw: string, open: boolean): Slices<boolean | null> {
  let inherited = open;
  for (let token = tokenAt(raw, 0); token.kind !== "end"; token = tokenAt(raw, token.end)) {
    yield;
    if (!open) open = token.kind === "sign" && token.text === "{";
    else if (token.kind !== "word" && token.text !== ",") {
      if (inherited && token.text !== "}") return null;
      inherited = open = false;
    }
  }
  return open;
}

/** Offset and column of the first character; a tab goes on to the next multiple of 8. */
export function indentOf(raw: string): { start: number; width: number; tabs: boolean } {
  let start = 0;
  let width = 0;
  let tabs = false;
  for (; start < raw.length; start++) {
    if (raw[start] === "\t") {
      width = (width | 7) + 1;
      tabs = true;
    } else if (raw[start] === " ") width++;
    else break;
  }
  return { start, width, tabs };
}

function expectedWidths(open: readonly { readonly width: number }[]): string {
  const [outer, inner] = open.slice(-2);
  if (inner === undefined) return count(outer!.width, "space");
  return `${outer!.width} or ${count(inner.width, "space")}`;
}

export function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
