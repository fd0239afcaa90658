/**
 * Lines → the trees in the block that they make. The grammar is at the head of `parse.ts`: `block`,
 * `arm`, `below` and `branch`.
 */
import type { Arm, Branch, Tree } from "../language/ast.ts";
import { Cursor, describe } from "./lex.ts";
import type { Line } from "./lines.ts";
import { fold, type OpenChoice, readChain, readWeight, refuseRest } from "./parse_chain.ts";
import { readPredicate } from "./parse_predicate.ts";
import { quote } from "../../core/text.ts";
import { CHAIN_WORDS } from "../language/words.ts";
import { hintFor, type Scope, UNREADABLE } from "./scope.ts";

/** The tree in the block below a line, which must be there. */
export function readBelow(scope: Scope, line: Line, depth: number, expected: string): Tree {
  if (line.block.length > 0) return readBlock(scope, line.block, depth);
  if (!line.doubtful) {
    const end = endOf(line);
    scope.report(line, end, end, { found: "the end of the line", expected });
  }
  return UNREADABLE;
}

/** Reports a block where there can be none. */
export function refuseBlock(scope: Scope, line: Line, above: string): void {
  const first = line.block[0];
  if (first === undefined || first.doubtful || line.doubtful) return;
  scope.report(first, first.start, endOf(first), {
    found: "a block",
    expected: `none below ${above}`,
    hint: "is it indented too far?",
  });
}

export function readBlock(scope: Scope, lines: readonly Line[], depth: number): Tree {
  const first = lines[0]!;
  const [cursor, second] = [new Cursor(first), lines[1]];
  if (cursor.at("->")) {
    if (second !== undefined) {
      const arrow = new Cursor(second).at("->");
      scope.report(second, second.start, endOf(second), {
        found: "a second line",
        expected: `a block of one line, as that line begins with "->"`,
        hint: arrow ? null : `did you mean "otherwise ->"?`,
      });
      for (const line of lines.slice(1)) {
        if (!new Cursor(line).at("->")) readArm(scope, line, depth);
      }
    }
    cursor.next();
    return readChainLine(scope, cursor, depth);
  }
  const { position } = cursor;
  const arms = lines.map((line) => readArm(scope, line, depth));
  scope.enter(first, depth);
  return lines.length === 1
    ? scope.mark({ node: "filter", ...arms[0]! }, position)
    : scope.mark({ node: "first-match", arms: Object.freeze(arms) }, position);
}

function readArm(scope: Scope, line: Line, depth: number): Arm {
  const cursor = new Cursor(line);
  const position = cursor.position;
  let readable = true;
  const when = scope.attempt(line, () => {
    readable = false;
    refuseNonArm(cursor);
    const when = readPredicate(scope, cursor);
    if (!cursor.atEnd && !cursor.at("->")) {
      const hint = CHAIN_WORDS.includes(cursor.token.text)
        ? `did you mean "-> ${cursor.token.text}"?`
        : hintFor(cursor.token, ["and", "or", "->"]);
      cursor.fail(`"->", "and", "or" or the end of the line`, hint);
    }
    readable = true;
    return when;
  }, scope.mark({ test: "always" }, position));
  if (!readable) {
    line.doubtful = true;
    cursor.skipTo("->");
  }
  const then = cursor.take("->")
    ? readChainLine(scope, cursor, depth + 1)
    : readBelow(scope, line, depth + 1, `"->", "and", "or" or an indented block below`);
  return scope.mark({ when, then }, position);
}

/** What can begin a line elsewhere gets a better message than "expected a predicate". */
function refuseNonArm(cursor: Cursor): void {
  const { text } = cursor.token;
  if (cursor.at("->")) cursor.fail("a predicate", `did you mean "otherwise ->"?`);
  if (cursor.at("|")) cursor.fail(`a predicate: the line above does not end in a balancer`);
  if (text === "define") cursor.fail("a predicate", "definitions are on the top level");
  if (text === "include") cursor.fail("a predicate", "includes are on the top level");
  if (text === "default") cursor.fail("a predicate", `"default" can only be the first line`);
}

/** A chain that goes to the end of its line, and the block below. */
function readChainLine(scope: Scope, cursor: Cursor, depth: number): Tree {
  const { line } = cursor;
  const chain = scope.attempt(line, () => {
    const chain = readChain(scope, cursor, depth, null);
    if (!cursor.atEnd) refuseRest(cursor, chain);
    return chain;
  }, null);
  if (chain === null) {
    line.doubtful = true;
    readForErrors(scope, line, depth);
    return UNREADABLE;
  }
  const below = depth + chain.steps.length;
  let tree: Tree;
  if (chain.end !== null) {
    refuseBlock(scope, line, `${quote(chain.endWord)}, which ends its chain`);
    readForErrors(scope, line, below);
    tree = chain.end;
  } else if (chain.open !== null) {
    tree = readBranches(scope, line, chain.open, below);
  } else {
    tree = readBelow(
      scope,
      line,
      below,
      `"," and a decision or a further step, or an indented block below`,
    );
  }
  return fold(scope, chain, tree);
}

/**
 * Reads the block of a line only for what is wrong in it; its first line tells of what kind it is.
 */
function readForErrors(scope: Scope, line: Line, depth: number): void {
  if (line.block.length === 0) return;
  if (!new Cursor(line.block[0]!).at("|")) readBlock(scope, line.block, depth);
  else {
    for (const branch of line.block) {
      if (new Cursor(branch).at("|")) readBranch(scope, branch, true, depth);
    }
  }
}

/** The lines of a block, each a branch. */
function readBranches(scope: Scope, line: Line, open: OpenChoice, depth: number): Tree {
  if (line.block.length === 0 && !line.doubtful) {
    const end = endOf(line);
    scope.report(line, end, end, {
      found: "the end of the line",
      expected: `":" and branches, or an indented block of lines that begin with "|"`,
    });
  }
  const branches: Branch[] = [];
  let told = false;
  for (const branch of line.block) {
    const cursor = new Cursor(branch);
    if (cursor.at("|")) branches.push(readBranch(scope, branch, open.weighted, depth));
    else if (!told) {
      told = true;
      const { start, end } = cursor.token;
      scope.report(branch, start, end, {
        found: describe(cursor.token),
        expected: `"|": the lines below "${open.word}" are its branches`,
      });
    }
  }
  return scope.mark(open.make(branches), open.position);
}

function readBranch(scope: Scope, line: Line, weighted: boolean, depth: number): Branch {
  const cursor = new Cursor(line);
  const position = cursor.position;
  cursor.next();
  const weight = scope.attempt(line, () => readWeight(scope, cursor, weighted), 1);
  const then = cursor.atEnd
    ? readBelow(scope, line, depth + 1, "a chain, or an indented block below")
    : readChainLine(scope, cursor, depth + 1);
  return scope.mark({ weight, then }, position);
}

/** Offset of the end of the last token. */
function endOf(line: Line): number {
  const cursor = new Cursor(line);
  while (!cursor.atEnd) cursor.next();
  return cursor.token.end;
}
