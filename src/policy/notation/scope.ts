/**
 * What the readers of a policy text share: what is defined so far, where each node is written,
 * where errors go, and how numbers are read and words guessed.
 */
import type { Slices } from "../../core/slices.ts";
import { MAX_TEXT_DEPTH } from "../language/limits.ts";
import {
  type AddressTerm,
  type CustomPredicate,
  type CustomSelector,
  DST_ADDRS,
  type PoolDefinition,
  type Tree,
} from "../language/ast.ts";
import { type Cursor, describe, LineError, type Token } from "./lex.ts";
import type { Include } from "./include.ts";
import type { Line, Report } from "./lines.ts";
import { closest, quote } from "../../core/text.ts";
import type { Position } from "./policy_error.ts";
import { Positions } from "./positions.ts";
import { NAME, OTHER_WORDS } from "../language/words.ts";

/** A user's functions that a policy text may name: what `custom NAME` means in it. */
export interface Customs {
  /** By the name that the text writes in front of `->`. */
  readonly predicates?: Readonly<Record<string, CustomPredicate>>;
  /** By the name that the text writes in front of `:` and branches. */
  readonly selectors?: Readonly<Record<string, CustomSelector>>;
}

/** A list that is defined; what is wrong with it is already reported. */
export interface List {
  readonly terms: readonly AddressTerm[];
  /** With those of the lists in it. */
  readonly size: number;
  /** Lists on the longest way through the lists in it. */
  readonly depth: number;
}

/** A subtree that is defined, likewise. */
export interface Subtree {
  readonly tree: Tree;
  /** Nodes on the longest path, those of the subtrees in it included. */
  readonly depth: number;
}

/** The tree where none could be read. */
export const UNREADABLE: Tree = Object.freeze({ node: "decide", decision: "drop", label: null });

export class Scope {
  readonly customs: Customs;
  readonly include: Include | null;
  /** The files that are being read, each included by the one before. */
  readonly reading: string[];
  /** Every file that is read, and its text. */
  readonly sources: Map<string, string>;
  /** Where each node is written. */
  readonly positions: Positions = new Positions();
  /** Lists that are defined above, by name without `$`. */
  readonly lists: Map<string, List> = new Map();
  /** Pools that are defined above, likewise; a name is that of a pool or of a list. */
  readonly pools: Map<string, PoolDefinition> = new Map();
  /** Subtrees that are defined above. */
  readonly subtrees: Map<string, Subtree> = new Map();
  /** Every definition of the files that are read, lists and pools with their `$`. */
  readonly definedIn: Map<string, Position> = new Map();
  /** Nodes on the longest path of the tree or definition that is being read. */
  deepest = 0;

  constructor(
    { file, customs = {}, include = null }: {
      readonly file: string;
      readonly customs?: Customs;
      readonly include?: Include | null;
    },
    text: string,
    readonly report: Report,
  ) {
    this.customs = customs;
    this.include = include;
    this.reading = [file];
    this.sources = new Map([[file, text]]);
  }

  /** Where a name is defined, for a message about the file that is being read; null: nowhere. */
  lineOfDefinition(name: string): string | null {
    const at = this.definedIn.get(name);
    if (at === undefined) return null;
    return at.file === this.reading.at(-1) ? `line ${at.line}` : `line ${at.line} of "${at.file}"`;
  }

  /** True for a name that stands for addresses: of a list or pool above, or `$dst-addrs`. */
  hasList(name: string): boolean {
    return name === DST_ADDRS || this.lists.has(name) || this.pools.has(name);
  }

  /** Names for a hint, with their `$`. */
  get listNames(): readonly string[] {
    const names = [DST_ADDRS, ...this.pools.keys(), ...this.lists.keys()];
    return names.slice(0, MAX_GUESSES).map((name) => `$${name}`);
  }

  /** Freezes a node and remembers where it is written. */
  mark<Node extends object>(node: Node, position: Position): Node {
    this.positions.add(node, position);
    return Object.freeze(node);
  }

  /** Reads of a line what `read` does; if that can't be read, reports it and gives `otherwise`. */
  attempt<Result>(line: Line, read: () => Result, otherwise: Result): Result {
    try {
      return read();
    } catch (error) {
      this.#complain(line, error);
      return otherwise;
    }
  }

  *attemptInSlices<Result>(
    line: Line,
    read: () => Slices<Result>,
    otherwise: Result,
  ): Slices<Result> {
    try {
      return yield* read();
    } catch (error) {
      this.#complain(line, error);
      return otherwise;
    }
  }

  #complain(line: Line, error: unknown): void {
    if (!(error instanceof LineError)) throw error;
    this.report(line, error.token.start, error.token.end, error.complaint);
  }

  /** Counts a node with `depth` nodes above it; too deep a tree is reported once. */
  enter(line: Line, depth: number): void {
    if (depth >= MAX_TEXT_DEPTH && this.deepest <= MAX_TEXT_DEPTH) {
      this.report(line, line.start, line.text.length, {
        found: `a path of more than ${MAX_TEXT_DEPTH} nodes`,
        expected: "a flatter tree",
      });
    }
    this.deepest = Math.max(this.deepest, depth + 1);
  }
}

/** An own property: text that names `constructor` must find nothing. */
export function ownOf<Value>(
  record: Readonly<Record<string, Value>> | undefined,
  name: string,
): Value | undefined {
  return record !== undefined && Object.hasOwn(record, name) ? record[name] : undefined;
}

/** Most names that are compared with a misspelt one. */
export const MAX_GUESSES = 1000;

/** For a name that is defined, but not above. */
export function definedLater(scope: Scope, name: Token): string | null {
  const line = scope.lineOfDefinition(name.text);
  return line === null ? null : `its definition begins in ${line}`;
}

/** A whole number; one that is out of bounds is reported. */
export function readNumber(
  scope: Scope,
  cursor: Cursor,
  what: string,
  min: number,
  max: number,
): number {
  const expected = `${what}, ${min} to ${max}`;
  const token = cursor.word(expected);
  const number = /^\d{1,12}$/.test(token.text) ? Number(token.text) : NaN;
  if (number >= min && number <= max) return number;
  scope.report(cursor.line, token.start, token.end, { found: describe(token), expected });
  return min;
}

/** The word or sign that was meant, if that can be guessed. */
export function hintFor(token: Token, words: readonly string[]): string | null {
  if (token.kind === "string" || token.kind === "open-string") return null;
  const other = OTHER_WORDS.get(token.text.toLowerCase());
  const guess = closest(token.text, words) ??
    (other !== undefined && (words.length === 0 || words.includes(other) ||
        words.includes(other.split(" ")[0]!))
      ? other
      : null);
  return guess === null ? null : `did you mean "${guess}"?`;
}

export function readKeyword(scope: Scope, cursor: Cursor, word: string): void {
  if (cursor.at(word)) cursor.next();
  else {
    const { start, end } = cursor.token;
    scope.report(cursor.line, start, end, {
      found: describe(cursor.next()),
      expected: quote(word),
      hint: `did you mean "${word}"?`,
    });
  }
}

/** False if the name is taken already. */
export function checkName(
  scope: Scope,
  line: Line,
  token: Token,
  name: string,
  isTaken: boolean,
): boolean {
  const wrong = (expected: string, hint: string | null = null) =>
    scope.report(line, token.start, token.end, { found: describe(token), expected, hint });
  if (!NAME.test(name)) {
    const lower = name.toLowerCase().replaceAll("_", "-");
    wrong(
      `a name of 1 to 63 lower-case letters, digits and "-", a letter first`,
      NAME.test(lower) ? `did you mean "${token.text.startsWith("$") ? "$" : ""}${lower}"?` : null,
    );
  } else if (token.text === `$${DST_ADDRS}`) {
    wrong("another name", `"$${DST_ADDRS}" is the list that --${DST_ADDRS} gives`);
  } else if (isTaken) {
    wrong("a new name", `the first of this name is in ${scope.lineOfDefinition(token.text)}`);
    return false;
  }
  return true;
}
