/**
 * Policy text → the same text, evenly spaced. It keeps every word, comment and line break; of
 * several empty lines it keeps one. What is spaced so already does not change, and what `print`
 * writes is.
 *
 * It looks at lines, indentation and tokens only, so that it can format an included file by itself.
 */
import { ErrorList, TooManyErrors } from "../notation/error_list.ts";
import { describe, type Token, tokenAt } from "../notation/lex.ts";
import { indentOf, type Line, readLines, type Report } from "../notation/lines.ts";
import type { PolicyError } from "../notation/policy_error.ts";
import { INDENT, MAX_ALIGNED } from "./print.ts";
import { hintFor } from "../notation/scope.ts";

export type Formatted =
  | { readonly text: string; readonly errors: readonly [] }
  | { readonly text: null; readonly errors: readonly PolicyError[] };

/** The text as it should be spaced, or what has no place in any policy. Never throws. */
export function format(text: string, file: string): Formatted {
  const errors = new ErrorList();
  try {
    const lines = readLines(text, file, errors.report);
    const placed = place(lines, 0, errors.report);
    if (errors.empty) {
      return { text: write(text.replace(/^\ufeff/, "").split("\n"), placed), errors: [] };
    }
  } catch (error) {
    if (!(error instanceof TooManyErrors)) throw error;
  }
  return { text: null, errors: errors.sorted() };
}

/** One line of the file: its tokens, evenly spaced, and its comment; an empty line has neither. */
interface Row {
  text: string;
  comment: string;
  /** Length of what is before the first arrow. */
  head: number | null;
}

interface PlacedLine {
  readonly line: Line;
  /** How many lines it is indented below. */
  readonly level: number;
  /** The lines of the file that it takes. */
  readonly rows: readonly Row[];
  /** Columns before its arrow. */
  align: number;
}

/** A block's lines and those below them, in the order of the text. */
function place(block: readonly Line[], level: number, report: Report): PlacedLine[] {
  const lines = block.map((line): PlacedLine => (
    { line, level, rows: rowsOf(line, report), align: 0 }
  ));
  for (let i = 0; i < lines.length;) {
    const run = alignedRun(lines, i);
    const align = run.reduce((widest, { rows }) => Math.max(widest, rows[0]!.head!), 0);
    for (const line of run) line.align = align;
    i += Math.max(1, run.length);
  }
  return lines.flatMap((placed) => [placed, ...place(placed.line.block, level + 1, report)]);
}

/** Lines from the `i`th on whose arrows are below one another: nothing is between these lines. */
function alignedRun(lines: readonly PlacedLine[], i: number): PlacedLine[] {
  const run: PlacedLine[] = [];
  for (let at = i; at < lines.length; at++) {
    const { line, rows } = lines[at]!;
    const head = rows.length === 1 ? rows[0]!.head : null;
    const previous = run.at(-1)?.line;
    if (head === null || head === 0 || head > MAX_ALIGNED) break;
    if (previous !== undefined && previous.number + 1 !== line.number) break;
    run.push(lines[at]!);
    if (line.block.length > 0) break;
  }
  return run;
}

function rowsOf(line: Line, report: Report): Row[] {
  const rows: Row[] = [{ text: "", comment: "", head: null }];
  let previous: Token | null = null;
  for (let at = 0;;) {
    const token = tokenAt(line.text, at);
    const between = line.text.slice(at, token.kind === "end" ? line.text.length : token.start);
    const [here, ...further] = between.split("\n");
    rows.at(-1)!.comment = here!.trim();
    for (const comment of further) {
      rows.push({ text: "", comment: comment.trim(), head: null });
      previous = null;
    }
    if (token.kind === "end") return rows;
    if (token.kind === "odd" || token.kind === "open-string") {
      report(line, token.start, token.end, {
        found: describe(token),
        expected: token.kind === "odd" ? "a word of the policy language" : `a label in quotes: "…"`,
        hint: hintFor(token, []),
      });
    }
    const row = rows.at(-1)!;
    if (token.text === "->" && rows.length === 1) row.head ??= row.text.length;
    row.text += (previous !== null && isSpaced(previous, token) ? " " : "") + token.text;
    previous = token;
    at = token.end;
  }
}

/** Whether there is a space between two tokens of a line. */
function isSpaced(left: Token, right: Token): boolean {
  if (right.kind === "sign" && ",:)}".includes(right.text)) return false;
  if (left.kind === "sign" && "({".includes(left.text)) return false;
  if (right.kind !== "word") return true;
  return left.text !== "!" && !(right.text === "x" && /^\d+$/.test(left.text)); // `!ack`, `3x`
}

function write(source: readonly string[], lines: readonly PlacedLine[]): string {
  const out: string[] = [];
  const add = (level: number, text: string) => {
    if (text !== "") out.push(INDENT.repeat(level) + text);
    else if (out.length > 0 && out.at(-1) !== "") out.push("");
  };
  /** Columns by which each level of the line above is indented in the source. */
  const widths: number[] = [];
  /** What is between two lines: empty lines and comments. */
  const addBetween = (from: number, to: number, next: number) => {
    for (const raw of source.slice(from, to)) {
      const { width } = indentOf(raw);
      let level = Math.max(next, widths.length - 1);
      while (level > next && widths[level]! > width) level--;
      add(level, raw.trim());
    }
  };
  let at = 0;
  for (const { line, level, rows, align } of lines) {
    addBetween(at, line.number - 1, level);
    widths.length = level;
    widths.push(indentOf(line.text).width);
    for (const [i, { text, comment, head }] of rows.entries()) {
      const outer = i === 0 || text.startsWith("}");
      const aligned = head === null
        ? text
        : `${text.slice(0, head).padEnd(align)}${text.slice(head)}`;
      add(
        outer ? level : level + 1,
        text === "" || comment === "" ? aligned + comment : `${aligned}  ${comment}`,
      );
    }
    at = line.number - 1 + rows.length;
  }
  addBetween(at, source.length, 0);
  if (out.at(-1) === "") out.pop();
  return out.map((line) => `${line}\n`).join("");
}
