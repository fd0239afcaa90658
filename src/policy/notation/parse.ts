/**
 * Policy text → AST. The indentation is the tree:
 *
 *     # comment                                     default drop|forward|echo-reply|reject, first
 *     default drop
 *     define $web = 10.0.0.1, 10.1.0.0/16           a list of addresses; earlier lists may be used
 *     define ping                                   a subtree, for `use ping`
 *       echo-request -> in turn: drop | 3x track, echo
 *     not ip.src in $dst-addrs                      a block: arms, the first that holds is taken
 *       icmp -> use ping
 *       tcp
 *         tcp.dport = 80 -> drop "naive http"       PREDICATE -> CHAIN
 *         otherwise      -> limit 100/second burst 20 per source, translate-a-to-b, forward
 *     otherwise -> translate-b-to-a                 a chain without end goes on in the block below
 *       ip.ttl in 1-5 -> drop
 *       otherwise -> in turn                        branches as lines, for branches that are more
 *         | 2x set-ttl 64, forward                  than a chain
 *         |
 *           fragment  -> drop
 *           otherwise -> forward
 *
 *     file   = "default" DECISION { definition } block          definitions: anywhere on the top level
 *     block  = arm { arm } | "->" chain [ below ]                one line, where there is no choice
 *     arm    = predicate ( "->" chain [ below ] | below )        predicate: see parse_predicate.ts
 *     below  = the indented block: of arms; of branches, if the chain ended in a balancer
 *     chain  = item { "," item }                                 nothing stands behind an end
 *     item   = "track" | "translate-a-to-b" [ method ] | "translate-b-to-a"
 *            | "set-ttl" N [ "raise" ] | "limit" N "/second" "burst" N [ "per" "source" ]
 *            | ( "drop" | "forward" | "echo" | "reject" ) [ LABEL ] | "use" NAME           ends
 *            | ( method [ "per" "connection" ] | "custom" NAME ) [ ":" share { "|" share } ]
 *     method = "in" "turn" | "at" "random" | "by" "hash"
 *     share  = [ N "x" ] chain without balancers
 *     branch = "|" [ N "x" ] [ chain ] [ below ]                 a line
 *
 * A block of one arm is a filter, of several a first match. A LABEL is a JSON string. All errors are
 * found in one go: a line that can't be read is reported once, and reading goes on with the next.
 */
import { MAX_TEXT_DEPTH } from "../language/limits.ts";
import {
  type AddressTerm,
  type Decision,
  DECISION_NUMBERS,
  DST_ADDRS,
  type Policy,
} from "../language/ast.ts";
import {
  Cursor,
  describe,
  ErrorList,
  type Line,
  readLines,
  type Token,
  TooManyErrors,
} from "./lex.ts";
import { hintFor, readAddressTerm } from "./parse_predicate.ts";
import { readBelow, readBlock, refuseBlock } from "./parse_tree.ts";
import { oneOf, quote } from "../../core/text.ts";
import { formatError, type PolicyError, type Position } from "./policy_error.ts";
import { type Customs, Scope, UNREADABLE } from "./scope.ts";
import { DECISION_WORDS, NAME, OTHER_WORDS, PREDICATE_WORDS } from "../language/words.ts";

export { type Customs, formatError, type PolicyError, type Position };

export interface ParseOptions {
  /** What errors call the text. */
  readonly file: string;
  readonly customs?: Customs;
}

export type Parsed =
  | {
    readonly policy: Policy;
    readonly errors: readonly [];
    /**
     * Where each tree, arm, branch, predicate, address term and range stands. The policy itself stands
     * at its `default`; a list's array and a subtree's root at their `define`.
     */
    readonly positions: ReadonlyMap<object, Position>;
  }
  | { readonly policy: null; readonly errors: readonly PolicyError[] };

/** Longest text that is read: 4 Mi characters. */
export const MAX_POLICY_LENGTH = 4 * 1024 * 1024;

/** Most addresses and networks in a list, those of its lists included. */
const MAX_LIST_TERMS = 1_000_000;

/** Reads a policy, or says everything that is wrong with it. Never throws, whatever the text. */
export function parse(text: string, options: ParseOptions): Parsed {
  const errors = new ErrorList(options.file);
  const scope = new Scope(options.customs ?? {}, errors.report);
  try {
    const policy = readText(scope, text);
    if (errors.empty) return { policy, errors: [], positions: scope.positions };
  } catch (error) {
    if (!(error instanceof TooManyErrors)) throw error;
  }
  return { policy: null, errors: errors.sorted() };
}

function readText(scope: Scope, text: string): Policy {
  const nowhere: Line = { number: 1, start: 0, text: "", block: [], doubtful: false };
  if (text.length > MAX_POLICY_LENGTH) {
    scope.report(nowhere, 0, 0, {
      found: `a text of ${text.length} characters`,
      expected: `at most ${MAX_POLICY_LENGTH}`,
    });
  } else {
    const lines = readLines(text, scope.report);
    if (lines.length > 0) return readFile(scope, lines);
    scope.report(nowhere, 0, 0, {
      found: "an empty file",
      expected: `"default" and a decision, and a tree below`,
    });
  }
  return { default: "drop", lists: {}, subtrees: {}, next: UNREADABLE };
}

function readFile(scope: Scope, lines: readonly Line[]): Policy {
  for (const line of lines) {
    const name = /^define[ \t]+(\$?[a-z0-9-]+)/.exec(line.text.slice(line.start))?.[1];
    if (name !== undefined && !scope.definedIn.has(name)) scope.definedIn.set(name, line.number);
  }
  const first = lines[0]!;
  const hasDefault = startsWith(first, "default", lines.length > 1);
  const decision = hasDefault ? readDefault(scope, first) : "drop";
  if (!hasDefault) {
    const { start, end } = new Cursor(first).token;
    scope.report(first, start, end, {
      found: describe(new Cursor(first).token),
      expected: `"default" and a decision in the first line, as in "default drop"`,
    });
  }
  const tree: Line[] = [];
  for (const line of hasDefault ? lines.slice(1) : lines) {
    if (startsWith(line, "define", /\s\$?[a-z0-9-]+(\s*=|\s*$)/.test(line.text))) {
      readDefinition(scope, line);
    } else tree.push(line);
  }
  if (tree.length === 0) {
    const last = lines.at(-1)!;
    scope.report(last, last.text.length, last.text.length, {
      found: "the end of the file",
      expected: `a tree: lines with "PREDICATE -> CHAIN", or one with "-> CHAIN"`,
    });
  }
  scope.deepest = 0;
  const next = tree.length === 0 ? UNREADABLE : readBlock(scope, tree, 0);
  const policy: Policy = {
    default: decision,
    lists: recordOf(scope.lists, (list) => list.terms),
    subtrees: recordOf(scope.subtrees, (subtree) => subtree.tree),
    next,
  };
  return scope.mark(policy, { line: first.number, column: first.start + 1 });
}

/** True also for a misspelt word, if the line can hardly be anything else. */
function startsWith(line: Line, word: string, likely: boolean): boolean {
  const { kind, text } = new Cursor(line).token;
  if (text === word) return true;
  return likely && kind === "word" && !PREDICATE_WORDS.includes(text) &&
    hintFor({ kind, text, start: 0, end: 0 }, [...PREDICATE_WORDS, word]) ===
      `did you mean "${word}"?`;
}

function readKeyword(scope: Scope, cursor: Cursor, word: string): void {
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

function readDefault(scope: Scope, line: Line): Decision {
  const cursor = new Cursor(line);
  readKeyword(scope, cursor, "default");
  const decisions = Object.keys(DECISION_NUMBERS);
  const decision = scope.attempt(line, () => {
    const { text } = cursor.token;
    if (!decisions.includes(text)) {
      const other = DECISION_WORDS.get(OTHER_WORDS.get(text) ?? text);
      cursor.fail(
        oneOf(decisions),
        other === undefined ? hintFor(cursor.token, decisions) : `did you mean "${other}"?`,
      );
    }
    cursor.next();
    if (!cursor.atEnd) cursor.fail("the end of the line");
    return text as Decision;
  }, "drop");
  refuseBlock(scope, line, `"default"`);
  return decision;
}

// Definitions

function readDefinition(scope: Scope, line: Line): void {
  const cursor = new Cursor(line);
  readKeyword(scope, cursor, "define");
  const token = cursor.token;
  if (token.text.startsWith("$")) readListDefinition(scope, line, cursor);
  else readSubtreeDefinition(scope, line, cursor);
}

function readListDefinition(scope: Scope, line: Line, cursor: Cursor): void {
  const position = cursor.position;
  const name = cursor.next();
  const word = name.text.slice(1);
  const fresh = checkName(scope, line, name, word, scope.lists);
  const terms = scope.attempt(line, () => {
    if (!cursor.take("=")) cursor.fail(`"="`, hintFor(cursor.token, []));
    const terms: AddressTerm[] = [];
    do terms.push(readAddressTerm(scope, cursor)); while (cursor.take(","));
    if (!cursor.atEnd) cursor.fail(`"," or the end of the line`);
    return terms;
  }, []);
  let size = 0;
  let depth = 1;
  for (const term of terms) {
    const inner = "list" in term ? scope.lists.get(term.list) : undefined;
    size += inner?.size ?? 1;
    depth = Math.max(depth, 1 + (inner?.depth ?? 0));
  }
  if (size > MAX_LIST_TERMS || depth > MAX_TEXT_DEPTH) {
    scope.report(line, name.start, name.end, {
      found: size > MAX_LIST_TERMS
        ? `a list of ${size} addresses`
        : `a list of lists ${depth} deep`,
      expected: `at most ${size > MAX_LIST_TERMS ? MAX_LIST_TERMS : MAX_TEXT_DEPTH}`,
    });
    size = depth = 1; // reported once
  }
  if (fresh) {
    scope.lists.set(word, { terms: scope.mark(terms, position), size, depth });
  }
  refuseBlock(scope, line, "a list");
}

function readSubtreeDefinition(scope: Scope, line: Line, cursor: Cursor): void {
  const position = cursor.position;
  const name = scope.attempt(line, () => {
    const name = cursor.word(`a name for a subtree, or "$" and a name for a list of addresses`);
    if (!cursor.atEnd) {
      cursor.fail(
        "the end of the line, and the subtree as a block below",
        cursor.at("=") ? `a list is named with "$": did you mean "$${name.text}"?` : null,
      );
    }
    return name;
  }, null);
  if (name === null) line.doubtful = true;
  scope.deepest = 0;
  const tree = readBelow(scope, line, 0, "the subtree as an indented block below");
  const depth = scope.deepest;
  if (name === null) {
    // `define web -> drop`: the name is known all the same.
    const meant = /^\S+[ \t]+([a-z][a-z0-9-]*)/.exec(line.text.slice(line.start))?.[1];
    if (meant !== undefined && !scope.subtrees.has(meant)) {
      scope.subtrees.set(meant, { tree, depth });
    }
  } else if (checkName(scope, line, name, name.text, scope.subtrees)) {
    if (tree !== UNREADABLE) scope.positions.set(tree, position);
    scope.subtrees.set(name.text, { tree, depth });
  }
}

/** False if the name is taken already. */
function checkName(
  scope: Scope,
  line: Line,
  token: Token,
  name: string,
  taken: ReadonlyMap<string, unknown>,
): boolean {
  const wrong = (expected: string, hint: string | null = null) =>
    scope.report(line, token.start, token.end, { found: describe(token), expected, hint });
  if (!NAME.test(name)) {
    const lower = name.toLowerCase().replaceAll("_", "-");
    wrong(
      `a name of 1 to 63 lower-case letters, digits and "-", a letter first`,
      NAME.test(lower) ? `did you mean "${token.text.startsWith("$") ? "$" : ""}${lower}"?` : null,
    );
  } else if (taken === scope.lists && name === DST_ADDRS) {
    wrong("another name", `"$${DST_ADDRS}" is what the option --${DST_ADDRS} says`);
  } else if (taken.has(name)) {
    wrong("a new name", `the first of this name is in line ${scope.definedIn.get(token.text)}`);
    return false;
  }
  return true;
}

function recordOf<From, To>(
  map: ReadonlyMap<string, From>,
  value: (from: From) => To,
): Readonly<Record<string, To>> {
  return Object.freeze(Object.fromEntries([...map].map(([name, from]) => [name, value(from)])));
}
