/**
 * Policy text → AST: `parse`. The indentation is the tree. README.md of the folder above has the
 * whole language, with examples; this is its grammar, that of predicates is at the head of
 * `parse_predicate.ts`:
 *
 *     file     = "default" DECISION { definition | include } block       in any order
 *     included = { definition | include }
 *     include  = "include" STRING
 *     definition = "define" $NAME "=" ( TERM { "," TERM } | SET ) | "define" NAME below | pool
 *     pool     = as at the head of `parse_pool.ts`
 *     block    = arm { arm } | "->" chain [ below ]              one line, where there is no choice
 *     arm      = predicate ( "->" chain [ below ] | below )
 *     below    = the indented block: of arms; of branches, if the chain ended in a balancer
 *     chain    = item { "," item }                               nothing comes after an end
 *     item     = "track" | "translate-b-to-a"
 *              | "translate-a-to-b" [ "to" $NAME ] [ "port" N ] [ method | pick ]
 *              | "set-ttl" N [ "raise" ] | "limit" N "/second" "burst" N [ "per" "source" ]
 *              | ( "drop" | "forward" | "echo" | "reject" ) [ STRING ] | "use" NAME         ends
 *              | ( method [ "per" "connection" ] | "custom" NAME ) [ ":" share { "|" share } ]
 *     method   = "in" "turn" | "at" "random" | "by" "hash"
 *     pick     = "by" "hash" "of" ( "addresses" | "source" | "destination" )
 *              | "by" "least" "connections" | "by" "source" | "by" "maglev"
 *     share    = [ N "x" ] chain without balancers
 *     branch   = "|" [ N "x" ] [ chain ] [ below ]               a line
 *
 * A block of one arm is a filter, of several a first match. A STRING is a JSON string. All errors
 * are found in one go: a line that can't be read is reported once, and reading goes on with the
 * next.
 */
import { type Decision, DECISION_NUMBERS, type Policy } from "../language/ast.ts";
import { DECISION_WORDS, OTHER_WORDS } from "../language/words.ts";
import { ErrorList, TooManyErrors } from "./error_list.ts";
import { type Include, MAX_POLICY_LENGTH } from "./include.ts";
import { Cursor, describe } from "./lex.ts";
import { type Line, readLines } from "./lines.ts";
import { readDefinitions, startsWith } from "./parse_definition.ts";
import { readBlock, refuseBlock } from "./parse_tree.ts";
import { oneOf } from "../../core/text.ts";
import { formatError, type PolicyError, type Position } from "./policy_error.ts";
import { type Customs, hintFor, readKeyword, Scope, UNREADABLE } from "./scope.ts";

export { type Customs, formatError, MAX_POLICY_LENGTH, type PolicyError, type Position };

export interface ParseOptions {
  /** What errors call the text. */
  readonly file: string;
  readonly customs?: Customs;
  /** Gives the files that `include` names; without it the text can include none. */
  readonly include?: Include;
}

export type Parsed =
  | {
    readonly policy: Policy;
    readonly errors: readonly [];
    /**
     * Where each tree, arm, branch, predicate, address term and range is written. The policy itself
     * is at its `default`; a pool, a list's array and a subtree's root are at their definition.
     */
    readonly positions: ReadonlyMap<object, Position>;
    /** Each file and its text: this one, and those that it includes. */
    readonly sources: ReadonlyMap<string, string>;
  }
  | { readonly policy: null; readonly errors: readonly PolicyError[] };

/** Reads a policy, or says everything that is wrong with it. Never throws, whatever the text. */
export function parse(text: string, options: ParseOptions): Parsed {
  const errors = new ErrorList();
  const scope = new Scope(options, text, errors.report);
  try {
    const policy = readText(scope, text, options.file);
    const { positions, sources } = scope;
    if (errors.empty) return { policy, errors: [], positions, sources };
  } catch (error) {
    if (!(error instanceof TooManyErrors)) throw error;
  }
  return { policy: null, errors: errors.sorted() };
}

function readText(scope: Scope, text: string, file: string): Policy {
  const nowhere: Line = {
    file,
    number: 1,
    start: 0,
    text: "",
    breaks: [],
    block: [],
    doubtful: false,
  };
  if (text.length > MAX_POLICY_LENGTH) {
    scope.report(nowhere, 0, 0, {
      found: `a text of ${text.length} characters`,
      expected: `at most ${MAX_POLICY_LENGTH}`,
    });
  } else {
    const lines = readLines(text, file, scope.report);
    if (lines.length > 0) return readFile(scope, lines);
    scope.report(nowhere, 0, 0, {
      found: "an empty file",
      expected: `"default" and a decision, and a tree below`,
    });
  }
  return { default: "drop", pools: {}, lists: {}, subtrees: {}, next: UNREADABLE };
}

function readFile(scope: Scope, lines: readonly Line[]): Policy {
  const first = lines[0]!;
  const { position, token } = new Cursor(first);
  const hasDefault = startsWith(first, "default", lines.length > 1);
  const decision = hasDefault ? readDefault(scope, first) : "drop";
  if (!hasDefault) {
    scope.report(first, token.start, token.end, {
      found: describe(token),
      expected: `"default" and a decision in the first line, as in "default drop"`,
    });
  }
  const tree = readDefinitions(scope, hasDefault ? lines.slice(1) : lines);
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
    pools: recordOf(scope.pools, (pool) => pool),
    lists: recordOf(scope.lists, (list) => list.terms),
    subtrees: recordOf(scope.subtrees, (subtree) => subtree.tree),
    next,
  };
  return scope.mark(policy, position);
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

function recordOf<From, To>(
  map: ReadonlyMap<string, From>,
  value: (from: From) => To,
): Readonly<Record<string, To>> {
  return Object.freeze(Object.fromEntries([...map].map(([name, from]) => [name, value(from)])));
}
