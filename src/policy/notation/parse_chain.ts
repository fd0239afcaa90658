/**
 * Tokens → the steps of a chain and what ends it, as far as its line goes. The grammar is at the
 * head of `parse.ts`: `chain`, `item`, `method` and `share`.
 */
import type { Slices } from "../../core/slices.ts";
import {
  type Branch,
  type CustomSelector,
  DST_ADDRS,
  type PickMethod,
  type Tree,
} from "../language/ast.ts";
import { type Cursor, describe } from "./lex.ts";
import { oneOf, quote } from "../../core/text.ts";
import type { Position } from "./policy_error.ts";
import { definedLater, hintFor, MAX_GUESSES, ownOf, readNumber, type Scope } from "./scope.ts";
import {
  CHAIN_WORDS,
  DECISION_WORDS,
  METHOD_WORDS,
  OTHER_WORDS,
  PICK_WORDS,
  PREDICATE_WORDS,
} from "../language/words.ts";

type MakeNode = (then: Tree) => Tree;

/** A chain as far as its line goes. */
export interface Chain {
  readonly steps: readonly { readonly make: MakeNode; readonly position: Position }[];
  /** What ends it, if anything does. */
  readonly end: Tree | null;
  /** The word of what ends it. */
  readonly endWord: string;
  /** Makes the balancer or custom selector whose branches are the lines below. */
  readonly open: OpenChoice | null;
}

/** A balancer or custom selector whose branches are still to come. */
export interface OpenChoice {
  readonly position: Position;
  readonly word: string;
  readonly weighted: boolean;
  readonly make: (branches: readonly Branch[]) => Tree;
}

/** `within`: the balancer whose branch this is; a branch must end, and not in a balancer. */
export function* readChain(
  scope: Scope,
  cursor: Cursor,
  depth: number,
  within: string | null,
): Slices<Chain> {
  const steps: { make: MakeNode; position: Position }[] = [];
  for (;;) {
    yield;
    const { token, position } = cursor;
    scope.enter(cursor.line, depth + steps.length);
    const make = readStep(scope, cursor);
    if (make === null) {
      const end = readEnd(scope, cursor, depth + steps.length);
      if (end !== null) {
        return { steps, end: scope.mark(end, position), endWord: token.text, open: null };
      }
      const open = readChoice(scope, cursor);
      if (within !== null) {
        cursor.fail(
          "a branch of steps and a decision",
          `write the branches of "${within}" as lines below, each beginning with "|"`,
          token,
        );
      }
      if (cursor.atEnd) return { steps, end: null, endWord: open.word, open };
      const shares = yield* readShares(scope, cursor, open, depth + steps.length);
      return { steps, end: scope.mark(shares, position), endWord: open.word, open: null };
    }
    steps.push({ make, position });
    if (!cursor.take(",")) {
      if (within !== null) cursor.fail(`"," and a decision: a branch within a line must end`);
      return { steps, end: null, endWord: "", open: null };
    }
  }
}

/** The tree of a chain whose end, or what is below it, is `end`. */
export function fold(scope: Scope, chain: Chain, end: Tree): Tree {
  return chain.steps.reduceRight(
    (then, { make, position }) => scope.mark(make(then), position),
    end,
  );
}

/** Throws for what comes after a chain. */
export function refuseRest(cursor: Cursor, chain: Chain): never {
  const { text } = cursor.token;
  if (chain.open !== null) cursor.fail(`":" and branches, or the end of the line`);
  if (chain.end === null) cursor.fail(`"," or the end of the line`, hintFor(cursor.token, [","]));
  if (text === "|") cursor.fail("the end of the line", `branches come after "in turn:"`);
  if (text !== ",") {
    cursor.fail(
      `the end of the line, as ${quote(chain.endWord)} ends the chain`,
      /^['`‘’“”]/.test(text) ? "labels are written in double quotes" : null,
    );
  }
  const comma = cursor.next();
  return cursor.fail(
    `the end of the line, as ${quote(chain.endWord)} ends the chain`,
    null,
    cursor.atEnd ? comma : cursor.token,
  );
}

/** A step or a limit; null: the next item is something else. */
function readStep(scope: Scope, cursor: Cursor): MakeNode | null {
  if (cursor.take("track")) return (then) => ({ node: "track", then });
  if (cursor.take("translate-b-to-a")) return (then) => ({ node: "translate-b-to-a", then });
  if (cursor.take("translate-a-to-b")) return readTranslator(scope, cursor);
  if (cursor.take("set-ttl")) {
    const ttl = readNumber(scope, cursor, "a TTL", 1, 255);
    const raise = cursor.take("raise");
    if (!raise && cursor.token.kind === "word") {
      cursor.fail(`"raise" or ","`, hintFor(cursor.token, ["raise"]));
    }
    return (then) => ({ node: "set-ttl", ttl, raise, then });
  }
  if (cursor.take("limit")) return readLimit(scope, cursor);
  return null;
}

function readTranslator(scope: Scope, cursor: Cursor): MakeNode {
  const pool = cursor.take("to") ? readPool(scope, cursor) : DST_ADDRS;
  const port = cursor.take("port") ? readNumber(scope, cursor, "a port", 1, 65_535) : 0;
  const backend = cursor.token.kind === "word" ? readMethod(cursor, PICK_WORDS) : "at random";
  return (then) => ({ node: "translate-a-to-b", pool, port, backend, then });
}

/** `$name` of a pool. */
function readPool(scope: Scope, cursor: Cursor): string {
  const token = cursor.word(`"$" and the name of a pool`);
  const name = token.text.slice(1);
  const isPool = token.text.startsWith("$") && (name === DST_ADDRS || scope.pools.has(name));
  if (isPool) return name;
  const names = [DST_ADDRS, ...scope.pools.keys()].slice(0, MAX_GUESSES).map((one) => `$${one}`);
  const isList = token.text.startsWith("$") && scope.lists.has(name);
  scope.report(cursor.line, token.start, token.end, {
    found: describe(token),
    expected: "a pool that is defined above",
    hint: isList
      ? `a list of addresses is no pool: "pool ${token.text} = …" defines one`
      : definedLater(scope, token) ?? hintFor(token, names),
  });
  return DST_ADDRS;
}

function readLimit(scope: Scope, cursor: Cursor): MakeNode {
  const rate = cursor.word(`a rate, as in "100/second"`);
  const match = /^(\d{1,10})\/second$/.exec(rate.text);
  const perSecond = Number(match?.[1] ?? NaN);
  if (!(perSecond >= 1 && perSecond <= 1_000_000_000)) {
    scope.report(cursor.line, rate.start, rate.end, {
      found: describe(rate),
      expected: `a rate of 1 to 1000000000 a second, as in "100/second"`,
    });
  }
  if (!cursor.take("burst")) cursor.fail(`"burst"`, hintFor(cursor.token, ["burst"]));
  const burst = readNumber(scope, cursor, "a burst", 1, 1_000_000_000);
  const per = cursor.at("per") ? readPer(cursor, "source") : false;
  return (then) => ({ node: "limit", perSecond, burst, per: per ? "source" : "rule", then });
}

/** `per` and what it says. */
function readPer(cursor: Cursor, what: string): true {
  cursor.next();
  if (!cursor.take(what)) cursor.fail(quote(what), hintFor(cursor.token, [what]));
  return true;
}

/** A decision or a `use`; null: the next item is something else. */
function readEnd(scope: Scope, cursor: Cursor, depth: number): Tree | null {
  const token = cursor.token;
  const decision = token.kind === "word" ? DECISION_WORDS.get(token.text) : undefined;
  if (decision !== undefined) {
    cursor.next();
    if (cursor.token.kind === "open-string") cursor.fail(`a label in quotes: "…"`);
    const label = cursor.token.kind === "string" ? readString(scope, cursor) : null;
    return { node: "decide", decision, label };
  }
  if (!cursor.take("use")) return null;
  const name = cursor.word("the name of a subtree");
  const subtree = scope.subtrees.get(name.text);
  if (subtree === undefined) {
    scope.report(cursor.line, name.start, name.end, {
      found: describe(name),
      expected: "a subtree that is defined above",
      hint: definedLater(scope, name) ??
        hintFor(name, [...scope.subtrees.keys()].slice(0, MAX_GUESSES)),
    });
  } else scope.enter(cursor.line, depth + subtree.depth);
  return { node: "use", name: name.text };
}

/** Reads the next token, which is a string; what it must not hold is reported. */
export function readString(scope: Scope, cursor: Cursor): string {
  const { text, start } = cursor.next();
  const wrong = /\\(?!["\\/bfnrt]|u[0-9a-fA-F]{4})|[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u
    .exec(text.replace(/\\\\/g, "__"));
  if (wrong === null) return JSON.parse(text) as string;
  const at = start + wrong.index;
  const escape = wrong[0] === "\\";
  const end = at + (escape ? 2 : wrong[0].length);
  scope.report(
    cursor.line,
    at,
    end,
    escape
      ? {
        found: quote(text.slice(wrong.index, wrong.index + 2)),
        expected: String.raw`an escape: \" \\ \/ \b \f \n \r \t, or \u and four hex digits`,
      }
      : {
        found: "an invisible character",
        expected: "an escape",
        hint: `did you mean "${JSON.stringify(wrong[0]).slice(1, -1)}"?`,
      },
  );
  return text;
}

// Choices: balancers and custom selectors

/** One of `methods`, the longest that is there. */
function readMethod<Method extends PickMethod>(
  cursor: Cursor,
  methods: readonly Method[],
): Method {
  let left = methods.map((method) => ({ method, words: method.split(" ") }));
  for (let read = 0;; read++) {
    const { token } = cursor;
    const next = token.kind === "word"
      ? left.filter(({ words }) => words[read] === token.text)
      : [];
    if (next.length > 0) {
      left = next;
      cursor.next();
      continue;
    }
    if (read === 0) break;
    const whole = left.find(({ words }) => words.length === read);
    if (whole !== undefined) return whole.method;
    const words = [...new Set(left.map(({ words }) => words[read]!))];
    const expected = oneOf(words);
    const hint = left.length === 1 ? quote(left[0]!.method) : null;
    cursor.fail(expected, hintFor(token, words) ?? hint);
  }
  return cursor.fail(
    `",", ${oneOf(methods)}, or the end of the line`,
    hintFor(cursor.token, methods),
  );
}

function readChoice(scope: Scope, cursor: Cursor): OpenChoice {
  const token = cursor.token;
  const position = cursor.position;
  if (cursor.take("custom")) return readCustom(scope, cursor, position);
  if (!cursor.at("in") && !cursor.at("at") && !cursor.at("by")) {
    const hint = PREDICATE_WORDS.includes(token.text) && !OTHER_WORDS.has(token.text)
      ? `predicates come before "->"`
      : hintFor(token, CHAIN_WORDS);
    cursor.fail("a step or a decision", hint);
  }
  const by = readMethod(cursor, METHOD_WORDS);
  const per = cursor.at("per") && readPer(cursor, "connection") ? "connection" : "pdu";
  return {
    position,
    word: by,
    weighted: true,
    make: (branches) => ({ node: "balance", by, per, branches: Object.freeze(branches) }),
  };
}

function readCustom(scope: Scope, cursor: Cursor, position: Position): OpenChoice {
  const name = cursor.word("the name of a registered selector");
  const index = ownOf<CustomSelector>(scope.customs.selectors, name.text);
  if (index === undefined) {
    scope.report(cursor.line, name.start, name.end, {
      found: describe(name),
      expected: "the name of a registered selector",
      hint: hintFor(name, Object.keys(scope.customs.selectors ?? {})),
    });
  }
  return {
    position,
    word: `custom ${name.text}`,
    weighted: false,
    make: (branches) => ({
      node: "select",
      name: name.text,
      index: index ?? (() => -1),
      branches: Object.freeze(branches.map((branch) => branch.then)),
    }),
  };
}

/** `: CHAIN | CHAIN`. */
function* readShares(
  scope: Scope,
  cursor: Cursor,
  open: OpenChoice,
  depth: number,
): Slices<Tree> {
  if (!cursor.take(":")) {
    const per = open.weighted ? `"per connection", ` : "";
    cursor.fail(`${per}":" and branches, or the end of the line and branches below`);
  }
  const branches: Branch[] = [];
  do {
    const position = cursor.position;
    const weight = readWeight(scope, cursor, open.weighted);
    const chain = yield* readChain(scope, cursor, depth + 1, open.word);
    if (!cursor.atEnd && !cursor.at("|")) refuseRest(cursor, chain);
    branches.push(scope.mark({ weight, then: fold(scope, chain, chain.end!) }, position));
  } while (cursor.take("|"));
  return open.make(branches);
}

/** `3x`, or nothing for 1. */
export function readWeight(scope: Scope, cursor: Cursor, weighted: boolean): number {
  const token = cursor.token;
  const digits = token.kind === "word" ? /^(\d+)(x?)$/.exec(token.text) : null;
  if (digits === null) return 1;
  cursor.next();
  if (digits[2] === "" && !cursor.take("x")) cursor.fail(`"x" after a weight, as in "3x drop"`);
  const weight = Number(digits[1]);
  const wrong = (expected: string) =>
    scope.report(cursor.line, token.start, token.end, { found: describe(token), expected });
  if (!weighted) wrong("no weight: a custom selector chooses for itself");
  else if (!(weight >= 1 && weight <= 65_535)) wrong("a weight of 1 to 65535");
  return weight;
}
