/**
 * Policy text → lines with the lines below them, by indentation; a line → tokens, one at a time.
 * Nothing here knows what the words mean.
 */
import { MAX_TEXT_DEPTH } from "../language/limits.ts";
import { quote } from "../../core/text.ts";
import type { PolicyError, Position } from "./policy_error.ts";

/** One line that holds something. */
export interface Line {
  /** From 1. */
  readonly number: number;
  /** Offset of its first character that is not a space. */
  readonly start: number;
  readonly text: string;
  /** The lines indented below it. */
  readonly block: Line[];
  /** Its place or its block is already reported as wrong: a missing block is no news. */
  doubtful: boolean;
}

/** What is wrong at a place of a line. */
export interface Complaint {
  readonly found: string;
  readonly expected: string;
  readonly hint?: string | null;
}

export type Report = (line: Line, start: number, end: number, complaint: Complaint) => void;

/** Splits a text at LF or CRLF, without empty lines and comments. A byte order mark is left out. */
export function readLines(text: string, report: Report): Line[] {
  const top: Line[] = [];
  /** The blocks that the current line is in, outermost first. */
  const open: { width: number; readonly lines: Line[] }[] = [];
  let firstTab: Line | null = null;
  let tabLines = 0;
  let skipWider = Infinity;
  let number = 0;
  for (let at = text.charCodeAt(0) === 0xfeff ? 1 : 0; at <= text.length;) {
    const newline = text.indexOf("\n", at);
    const end = newline < 0 ? text.length : newline;
    const raw = text.slice(at, text.charCodeAt(end - 1) === 0x0d && end > at ? end - 1 : end);
    at = end + 1;
    number++;
    const { start, width, tabs } = indentOf(raw);
    if (start === raw.length || raw[start] === "#") continue;
    const line: Line = { number, start, text: raw, block: [], doubtful: false };
    if (tabs) {
      firstTab ??= line;
      tabLines++;
    }

    if (width > skipWider) continue;
    skipWider = Infinity;
    const outer = open.at(-1);
    if (outer === undefined) {
      if (width > 0 && !tabs) {
        report(line, 0, start, {
          found: count(width, "space"),
          expected: "no indentation: the top level begins in column 1",
        });
      }
      open.push({ width, lines: top });
    } else if (width > outer.width) {
      const parent = outer.lines.at(-1)!;
      if (open.length === MAX_TEXT_DEPTH) {
        report(line, 0, start, {
          found: `more than ${MAX_TEXT_DEPTH} levels of indentation`,
          expected: "fewer",
          hint: `"define" can name a part of the tree`,
        });
        parent.doubtful = true;
        skipWider = outer.width;
        continue;
      }
      open.push({ width, lines: parent.block });
    } else if (open.length === 1) {
      open[0]!.width = width; // only a top level that was wrongly indented gets here with less
    } else {
      let inner = outer;
      while (open.length > 1 && open.at(-1)!.width > width) inner = open.pop()!;
      if (open.at(-1)!.width !== width) {
        // Between two levels: a neighbour of the inner one, so that the rest keeps its meaning.
        if (open.at(-1)!.width < width) open.push(inner);
        line.doubtful = true;
        if (firstTab === null) {
          report(line, 0, start, {
            found: count(width, "space"),
            expected: `the indentation of a line above: ${expectedWidths(open)}`,
          });
        }
      }
    }
    open.at(-1)!.lines.push(line);
  }
  if (firstTab !== null) {
    const tab = firstTab.text.indexOf("\t");
    report(firstTab, tab, tab + 1, {
      found: "a tab",
      expected: "spaces as indentation",
      hint: tabLines > 1 ? `so in ${count(tabLines, "line")}` : null,
    });
  }
  return top;
}

/** Offset and column of the first character; a tab goes on to the next multiple of 8. */
function indentOf(raw: string): { start: number; width: number; tabs: boolean } {
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

export interface Token {
  /** `odd`: nothing that the language has. `open-string`: without its closing quote. */
  readonly kind: "word" | "string" | "open-string" | "sign" | "odd" | "end";
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** Thrown where a line can't be read further; caught where it can be taken up again. */
export class LineError extends Error {
  constructor(readonly token: Token, readonly complaint: Complaint) {
    super(complaint.expected);
  }
}

/** Reads one line token by token. */
export class Cursor {
  readonly line: Line;
  #token: Token;

  constructor(line: Line) {
    this.line = line;
    this.#token = tokenAt(line.text, line.start);
  }

  get token(): Token {
    return this.#token;
  }

  /** The token after the next one. */
  get following(): Token {
    return tokenAt(this.line.text, this.#token.end);
  }

  get atEnd(): boolean {
    return this.#token.kind === "end";
  }

  get position(): Position {
    return { line: this.line.number, column: this.#token.start + 1 };
  }

  next(): Token {
    const token = this.#token;
    this.#token = tokenAt(this.line.text, token.end);
    return token;
  }

  /** True if the next token is this word or sign. */
  at(text: string): boolean {
    return this.#token.text === text &&
      (this.#token.kind === "word" || this.#token.kind === "sign");
  }

  /** Reads this word or sign if it is next. */
  take(text: string): boolean {
    if (!this.at(text)) return false;
    this.next();
    return true;
  }

  /** Reads the next token, which must be a word. */
  word(expected: string): Token {
    if (this.#token.kind !== "word") this.fail(expected);
    return this.next();
  }

  fail(expected: string, hint: string | null = null, token: Token = this.#token): never {
    throw new LineError(token, { found: describe(token), expected, hint });
  }

  /** Goes on to the next such sign, or to the end of the line. */
  skipTo(sign: string): void {
    while (!this.atEnd && !this.at(sign)) this.next();
  }
}

/** What a message calls a token. */
export function describe(token: Token): string {
  if (token.kind === "end") return "the end of the line";
  if (token.kind === "string") return "a label";
  if (token.kind === "open-string") return "a label without closing quote";
  return quote(token.text);
}

const SIGNS = "->,|:(){}=!";
const ODD_SIGNS: readonly string[] = ["&&", "||", "==", "!=", "=>", "<=", ">="];

function tokenAt(text: string, from: number): Token {
  let start = from;
  while (text[start] === " " || text[start] === "\t") start++;
  const first = text[start];
  if (first === undefined || first === "#") {
    // Messages point just behind the last word.
    return { kind: "end", text: "", start: from, end: from };
  }
  const token = (kind: Token["kind"], end: number): Token => (
    { kind, text: text.slice(start, end), start, end }
  );
  if (first === '"') return stringAt(text, start);
  if (isWordChar(text, start)) {
    let end = start + 1;
    while (isWordChar(text, end)) end++;
    return token("word", end);
  }
  const two = text.slice(start, start + 2);
  if (two === "->") return token("sign", start + 2);
  if (ODD_SIGNS.includes(two)) return token("odd", start + 2);
  if (SIGNS.includes(first)) return token("sign", start + 1);
  let end = start + 1;
  while (end < text.length && !isWordChar(text, end) && !` \t#"${SIGNS}`.includes(text[end]!)) {
    end++;
  }
  return token("odd", end);
}

/** A letter, a digit, or one of `. / $ _ -`; the `-` of an arrow is none. */
function isWordChar(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  if (code >= 0x61 && code <= 0x7a || code >= 0x41 && code <= 0x5a) return true;
  if (code >= 0x2e && code <= 0x39) return true; // . / 0 … 9
  if (code === 0x2d) return text.charCodeAt(at + 1) !== 0x3e;
  return code === 0x24 || code === 0x5f;
}

function stringAt(text: string, start: number): Token {
  let end = start + 1;
  while (end < text.length && text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
  const kind = end < text.length ? "string" : "open-string";
  end = Math.min(end + 1, text.length);
  return { kind, text: text.slice(start, end), start, end };
}

/** Thrown when there are so many errors that reading on helps nobody. */
export class TooManyErrors extends Error {}

const MAX_ERRORS = 100;

/** Collects errors up to a bound, and throws TooManyErrors at it. */
export class ErrorList {
  readonly #file: string;
  readonly #errors: PolicyError[] = [];

  constructor(file: string) {
    this.#file = file;
  }

  get empty(): boolean {
    return this.#errors.length === 0;
  }

  readonly report: Report = (line, start, end, { found, expected, hint = null }) => {
    this.#errors.push({
      file: this.#file,
      line: line.number,
      column: start + 1,
      length: Math.max(1, end - start),
      source: line.text,
      found,
      expected,
      hint,
    });
    if (this.#errors.length === MAX_ERRORS) throw new TooManyErrors();
  };

  /** In the order of the text. */
  sorted(): PolicyError[] {
    const errors = this.#errors.toSorted((a, b) => a.line - b.line || a.column - b.column);
    if (errors.length < MAX_ERRORS) return errors;
    const last = errors.pop()!;
    const stop = `this is error ${MAX_ERRORS}, and the last that is shown`;
    return [...errors, { ...last, hint: last.hint === null ? stop : `${last.hint}; ${stop}` }];
  }
}
