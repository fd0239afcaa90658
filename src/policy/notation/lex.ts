/** A line → tokens, one at a time. Nothing here knows what the words mean. */
import { quote } from "../../core/text.ts";
import { type Line, placeOf } from "./lines.ts";
import type { Position } from "./policy_error.ts";

export interface Token {
  /** `odd`: nothing that the language has. `open-string`: without its closing quote. */
  readonly kind: "word" | "string" | "open-string" | "sign" | "odd" | "end";
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** What is wrong at a place of a line. */
export interface Complaint {
  readonly found: string;
  readonly expected: string;
  readonly hint?: string | null;
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
    const { file, number, breaks } = this.line;
    const { start } = this.#token;
    if (breaks.length > 0) {
      const { line, column } = placeOf(this.line, start);
      return { file, line, column };
    }
    return { file, line: number, column: start + 1 };
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

/** The next token; a text of several lines has none that goes over a line's end. */
export function tokenAt(text: string, from: number): Token {
  const start = skipBlank(text, from);
  const first = text[start];
  if (first === undefined || first === "#") {
    // Messages point at the end of the last word.
    return { kind: "end", text: "", start: from, end: from };
  }
  const token = (kind: Token["kind"], end: number): Token => (
    { kind, text: text.slice(start, end), start, end }
  );
  if (first === '"') return stringAt(text, start);
  const address6End = endOfAddress6(text, start);
  if (address6End > start) return token("word", address6End);
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

/** Also skips comments, all but one that nothing follows. */
function skipBlank(text: string, from: number): number {
  let at = from;
  for (;; at++) {
    const char = text[at];
    if (char === "#") {
      const newline = text.indexOf("\n", at);
      if (newline < 0) return at;
      at = newline;
    } else if (char !== " " && char !== "\t" && char !== "\n") {
      if (char !== "\r" || text[at + 1] !== "\n") return at;
    }
  }
}

/** A letter, a digit, or one of `. / $ _ -`; the `-` of an arrow is none. */
function isWordChar(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  if (code >= 0x61 && code <= 0x7a || code >= 0x41 && code <= 0x5a) return true;
  if (code >= 0x2e && code <= 0x39) return true; // . / 0 … 9
  if (code === 0x2d) return text.charCodeAt(at + 1) !== 0x3e;
  return code === 0x24 || code === 0x5f;
}

/** Two colons that nothing but hex digits is before or between; or a little in square brackets. */
const ADDRESS6 = /[\da-fA-F]*:[\da-fA-F]*:[\w.:%/]*|\[[^\]\s,{}]{0,64}\][\w.:%/]*/y;

/** End of the IPv6 address or network, right or not, that begins here; else `start`. */
function endOfAddress6(text: string, start: number): number {
  const code = text.charCodeAt(start);
  // 0 … 9, `:`, A … F, `[`, a … f; most words begin with another character.
  const mayBegin = code >= 0x30 && code <= 0x3a || code >= 0x41 && code <= 0x46 ||
    code === 0x5b || code >= 0x61 && code <= 0x66;
  if (!mayBegin) return start;
  ADDRESS6.lastIndex = start;
  return ADDRESS6.test(text) ? ADDRESS6.lastIndex : start;
}

function stringAt(text: string, start: number): Token {
  let end = start + 1;
  while (end < text.length && text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
  const kind = end < text.length ? "string" : "open-string";
  end = Math.min(end + 1, text.length);
  return { kind, text: text.slice(start, end), start, end };
}
