/**
 * What is wrong with a policy text, and where: one error as data, and as the lines that a person
 * reads.
 *
 *     web.policy:5:23: Found "drpo", expected a step or a decision; did you mean "drop"?
 *       5 |     tcp.dport = 80 -> drpo
 *         |                       ^^^^
 */

import { printable } from "../../core/text.ts";

/** Line and column count from 1; a column is a UTF-16 unit, as in most editors. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

export interface PolicyError extends Position {
  /** Columns it is about, at least 1. */
  readonly length: number;
  /** The whole line of the file. */
  readonly source: string;
  readonly found: string;
  readonly expected: string;
  /** More help, e.g. `did you mean "drop"?`. */
  readonly hint: string | null;
}

/** Lines without a newline at the end. Whatever the file holds, the text can't drive a terminal. */
export function formatError(error: PolicyError): string {
  const hint = error.hint === null ? "" : `; ${error.hint}`;
  return formatAt(error, `Found ${error.found}, expected ${error.expected}${hint}`);
}

/** As `formatError`, but with nothing of what the file says. */
export function formatErrorUnquoted({ file, line, column, expected, hint }: PolicyError): string {
  return printable(`${file}:${line}:${column}: Expected ${expected}${hint ? `; ${hint}` : ""}`);
}

/** A message about a place in a policy text, with its line and a caret below. */
export function formatAt(
  at: Position & { readonly length: number; readonly source: string },
  message: string,
): string {
  const head = `${at.file}:${at.line}:${at.column}: ${message}`;
  const gutter = `  ${at.line} |`;
  const blank = `${" ".repeat(gutter.length - 1)}|`;
  const { text, caret } = excerpt(at.source, at.column - 1, at.length);
  return `${printable(head)}\n${gutter}${text === "" ? "" : ` ${text}`}\n${blank} ${caret}`;
}

/** Most columns of a line that are shown. */
const WINDOW = 100;
const BEFORE_CARET = 60;

/** Part of a line in printable characters, and the line of carets below it. */
function excerpt(source: string, start: number, length: number): { text: string; caret: string } {
  const from = source.length <= WINDOW ? 0 : Math.max(0, start - BEFORE_CARET);
  const to = Math.min(source.length, from + WINDOW);
  const end = Math.max(start, Math.min(start + length, to));
  const before = (from > 0 ? "…" : "") + printable(source.slice(from, start));
  const marked = printable(source.slice(start, end));
  const after = printable(source.slice(end, to)) + (to < source.length ? "…" : "");
  return {
    text: (before + marked + after).trimEnd(),
    caret: " ".repeat(columnsOf(before)) + "^".repeat(Math.max(1, columnsOf(marked))),
  };
}

/** Columns that a printable text takes on a terminal: East Asian wide characters take two. */
function columnsOf(text: string): number {
  let columns = 0;
  for (const char of text) columns += /\p{M}/u.test(char) ? 0 : WIDE.test(char) ? 2 : 1;
  return columns;
}

const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1f64f}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;
