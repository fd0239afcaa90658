/**
 * The definitions of a policy text, its top level but for the tree, and the files that it includes.
 *
 * An included file has definitions and includes only. They mean what they would mean in the place
 * of the `include`; a file that is already read is not read a second time.
 */
import type { Slices } from "../../core/slices.ts";
import { MAX_TEXT_DEPTH } from "../language/limits.ts";
import { PREDICATE_WORDS } from "../language/words.ts";
import { MAX_INCLUDE_DEPTH, MAX_INCLUDED_FILES, MAX_POLICY_LENGTH, pathOf } from "./include.ts";
import { Cursor, describe } from "./lex.ts";
import { type Line, readLinesInSlices } from "./lines.ts";
import { readString } from "./parse_chain.ts";
import { readAddressSet, readAddressTerm } from "./parse_predicate.ts";
import { readPoolDefinition } from "./parse_pool.ts";
import { readBelow, refuseBlock } from "./parse_tree.ts";
import { quote } from "../../core/text.ts";
import { checkName, hintFor, readKeyword, type Scope, UNREADABLE } from "./scope.ts";

/** Most addresses and networks in a list, those of its lists included. */
const MAX_LIST_TERMS = 1_000_000;

/** What comes after `define`, `pool` and `include`, whatever the word in their place. */
const DEFINITION = /^\s*\S+\s+\$?[a-z0-9-]+(\s*=|\s*$)/;
const POOL = /^\s*\S+\s+\$[a-z0-9-]+\s*=/;
const INCLUDE = /^\s*\S+\s+"/;

/** Reads the definitions and includes of a file's top level; gives the other lines. */
export function* readDefinitions(scope: Scope, lines: readonly Line[]): Slices<Line[]> {
  for (const line of lines) {
    yield;
    const name = /^(?:define|pool)[ \t]+(\$?[a-z0-9-]+)/.exec(line.text.slice(line.start))?.[1];
    if (name !== undefined && !scope.definedIn.has(name)) {
      scope.definedIn.set(name, new Cursor(line).position);
    }
  }
  const others: Line[] = [];
  for (const line of lines) {
    yield;
    if (startsWith(line, "define", () => DEFINITION.test(line.text))) {
      yield* readDefinition(scope, line);
    } else if (startsWith(line, "pool", () => POOL.test(line.text))) {
      yield* readPoolDefinition(scope, line);
    } else if (startsWith(line, "include", () => INCLUDE.test(line.text))) {
      yield* readInclude(scope, line);
    } else others.push(line);
  }
  return others;
}

/** True also for a misspelt word, if the line can hardly be anything else. */
export function startsWith(line: Line, word: string, likely: () => boolean): boolean {
  const { kind, text } = new Cursor(line).token;
  if (text === word) return true;
  return kind === "word" && !PREDICATE_WORDS.includes(text) && likely() &&
    hintFor({ kind, text, start: 0, end: 0 }, [...PREDICATE_WORDS, word]) ===
      `did you mean "${word}"?`;
}

function* readDefinition(scope: Scope, line: Line): Slices<void> {
  const cursor = new Cursor(line);
  readKeyword(scope, cursor, "define");
  const token = cursor.token;
  if (token.text.startsWith("$")) yield* readListDefinition(scope, line, cursor);
  else yield* readSubtreeDefinition(scope, line, cursor);
}

function* readListDefinition(scope: Scope, line: Line, cursor: Cursor): Slices<void> {
  const position = cursor.position;
  const name = cursor.next();
  const word = name.text.slice(1);
  const fresh = checkName(scope, line, name, word, scope.hasList(word));
  const terms = yield* scope.attemptInSlices(line, function* () {
    if (!cursor.take("=")) cursor.fail(`"="`, hintFor(cursor.token, []));
    const braces = cursor.at("{");
    const terms = braces ? yield* readAddressSet(scope, cursor) : [readAddressTerm(scope, cursor)];
    while (!braces && cursor.take(",")) {
      yield;
      terms.push(readAddressTerm(scope, cursor));
    }
    if (!cursor.atEnd) cursor.fail(braces ? "the end of the line" : `"," or the end of the line`);
    return terms;
  }, []);
  let size = 0;
  let depth = 1;
  for (const term of terms) {
    yield;
    const inner = "list" in term ? scope.lists.get(term.list) : undefined;
    const pool = "list" in term ? scope.pools.get(term.list) : undefined;
    size += inner?.size ?? pool?.members.length ?? 1;
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

function* readSubtreeDefinition(scope: Scope, line: Line, cursor: Cursor): Slices<void> {
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
  const tree = yield* readBelow(scope, line, 0, "the subtree as an indented block below");
  const depth = scope.deepest;
  if (name === null) {
    // `define web -> drop`: don't report each use of the name as well.
    const meant = /^\S+[ \t]+([a-z][a-z0-9-]*)/.exec(line.text.slice(line.start))?.[1];
    if (meant !== undefined && !scope.subtrees.has(meant)) {
      scope.subtrees.set(meant, { tree, depth });
    }
  } else if (checkName(scope, line, name, name.text, scope.subtrees.has(name.text))) {
    if (tree !== UNREADABLE) scope.positions.add(tree, position);
    scope.subtrees.set(name.text, { tree, depth });
  }
}

// Includes

function* readInclude(scope: Scope, line: Line): Slices<void> {
  const cursor = new Cursor(line);
  readKeyword(scope, cursor, "include");
  const { kind, start, end } = cursor.token;
  const name = scope.attempt(line, () => {
    if (kind !== "string") cursor.fail(`the name of a file in double quotes`);
    const name = readString(scope, cursor);
    if (!cursor.atEnd) cursor.fail("the end of the line");
    return name;
  }, null);
  refuseBlock(scope, line, "an include");
  if (name === null) return;
  const wrong = (expected: string, hint: string | null = null) =>
    scope.report(line, start, end, { found: `the file ${quote(name)}`, expected, hint });
  if (scope.include === null) {
    return wrong("no include", "only a policy that is itself read from a file can include others");
  }
  if (name === "") return wrong("the name of a file");
  if (scope.reading.length > MAX_INCLUDE_DEPTH) {
    return wrong(`at most ${MAX_INCLUDE_DEPTH} files that include one another`);
  }
  const included = scope.include(pathOf(line.file, name));
  if ("problem" in included) return wrong("a file that can be read", included.problem);
  const { file, text } = included;
  if (scope.reading.includes(file)) {
    const cycle = [...scope.reading.slice(scope.reading.indexOf(file)), file];
    return wrong("no cycle of includes", cycle.map(quote).join(" includes "));
  }
  if (scope.sources.has(file)) return;
  if (scope.sources.size > MAX_INCLUDED_FILES) {
    return wrong(`at most ${MAX_INCLUDED_FILES} included files`);
  }
  const length = [...scope.sources.values()].reduce((sum, { length }) => sum + length, text.length);
  if (length > MAX_POLICY_LENGTH) {
    return wrong(`at most ${MAX_POLICY_LENGTH} characters in all files together`);
  }
  scope.sources.set(file, text);
  scope.reading.push(file);
  const [other] = yield* readDefinitions(scope, yield* readLinesInSlices(text, file, scope.report));
  if (other !== undefined) {
    const { token } = new Cursor(other);
    scope.report(other, token.start, token.end, {
      found: describe(token),
      expected: `"define", "pool" or "include"`,
      hint: "an included file has no default and no tree",
    });
  }
  scope.reading.pop();
}
