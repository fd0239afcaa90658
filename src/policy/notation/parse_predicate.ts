/**
 * Tokens → predicate, and the terms that predicates and list definitions are made of.
 *
 *     or      = and { "or" and }
 *     and     = unary { "and" unary }
 *     unary   = { "not" } ( "(" or ")" | test )
 *     test    = "otherwise" | "icmp" | "tcp" | "udp" | "protocol" "=" NUMBER
 *             | ( "ip.src" | "ip.dst" ) ( "=" ADDRESS | "in" ( TERM | "{" TERM { "," TERM } "}" ) )
 *             | NUMBER-FIELD ( "=" NUMBER | "in" ( RANGE | "{" RANGE { "," RANGE } "}" ) )
 *             | "tcp.flags" { [ "!" ] FLAG }
 *             | ( ICMP-TYPE | "icmp.type" "=" ( NUMBER | ICMP-TYPE ) ) [ "code" ( NUMBER | NAME ) ]
 *             | "fragment" | "new" | "established" | "invalid" | "stray"
 *             | "from" "side" ( "a" | "b" ) | "custom" NAME
 *
 * What is wrong but leaves no doubt how to go on is reported and read past; the rest is thrown as
 * LineError.
 */
import { MAX_TEXT_DEPTH } from "../language/limits.ts";
import { formatAddress, maskOf, parseInterface } from "../../wire/address.ts";
import type { AddressTerm, Interval, Predicate } from "../language/ast.ts";
import { type Cursor, describe, type Token } from "./lex.ts";
import { quote } from "../../core/text.ts";
import type { Position } from "./policy_error.ts";
import { commaHint, comparisonHint, flagsHint, foreignHint } from "./hints.ts";
import { definedLater, hintFor, ownOf, readNumber, type Scope } from "./scope.ts";
import {
  ADDRESS_WORDS,
  CHAIN_WORDS,
  FLAG_WORDS,
  FROM_SIDE,
  ICMP_TYPE_WORDS,
  icmpCodeWords,
  NUMBER_WORDS,
  type NumberSyntax,
  PREDICATE_WORDS,
  PROTOCOL_WORDS,
  STATE_WORDS,
} from "../language/words.ts";

export function readPredicate(scope: Scope, cursor: Cursor): Predicate {
  return readOr(scope, cursor, 0);
}

function readOr(scope: Scope, cursor: Cursor, depth: number): Predicate {
  const position = cursor.position;
  const of = [readAnd(scope, cursor, depth)];
  while (cursor.take("or")) of.push(readAnd(scope, cursor, depth));
  return of.length === 1 ? of[0]! : scope.mark({ test: "any", of: Object.freeze(of) }, position);
}

function readAnd(scope: Scope, cursor: Cursor, depth: number): Predicate {
  const position = cursor.position;
  const of = [readUnary(scope, cursor, depth)];
  while (cursor.take("and")) of.push(readUnary(scope, cursor, depth));
  return of.length === 1 ? of[0]! : scope.mark({ test: "all", of: Object.freeze(of) }, position);
}

function readUnary(scope: Scope, cursor: Cursor, depth: number): Predicate {
  const nots: Position[] = [];
  while (cursor.at("not")) {
    nots.push(cursor.position);
    cursor.next();
  }
  const inner = depth + nots.length + 1;
  let predicate: Predicate;
  if (cursor.at("(")) {
    if (inner > MAX_TEXT_DEPTH) {
      cursor.fail(`at most ${MAX_TEXT_DEPTH} levels of "not" and parentheses`);
    }
    cursor.next();
    predicate = readOr(scope, cursor, inner);
    if (!cursor.take(")")) cursor.fail(`"and", "or" or ")"`, hintFor(cursor.token, ["and", "or"]));
  } else {
    if (inner > MAX_TEXT_DEPTH + 1) {
      cursor.fail(`at most ${MAX_TEXT_DEPTH} levels of "not" and parentheses`);
    }
    predicate = readTest(scope, cursor);
  }
  return nots.reduceRight<Predicate>(
    (of, position) => scope.mark({ test: "not", of }, position),
    predicate,
  );
}

function readTest(scope: Scope, cursor: Cursor): Predicate {
  const position = cursor.position;
  const token = cursor.token;
  if (token.kind !== "word") {
    cursor.fail("a predicate", token.text === "!" ? `did you mean "not"?` : hintFor(token, []));
  }
  const word = token.text;
  cursor.next();
  const mark = (predicate: Predicate) => scope.mark(predicate, position);

  if (word === "otherwise") return mark({ test: "always" });
  if (word === "fragment") return mark({ test: "fragment" });
  for (const state of STATE_WORDS) if (word === state) return mark({ test: "state", state });
  const number = PROTOCOL_WORDS.get(word);
  if (number !== undefined) return mark({ test: "protocol", number });
  if (word === FROM_SIDE[0]) return mark(readSide(cursor));
  const addressField = ADDRESS_WORDS.get(word);
  if (addressField !== undefined) {
    return mark({ test: "address", field: addressField, in: readAddresses(scope, cursor) });
  }
  const numberField = NUMBER_WORDS.get(word);
  if (numberField !== undefined) {
    return mark(numberField.test(readRanges(scope, cursor, numberField)));
  }
  const icmpType = ICMP_TYPE_WORDS.get(word);
  if (icmpType !== undefined) return mark(withCode(scope, cursor, icmpType));
  switch (word) {
    case "protocol":
      expectSign(cursor, "=");
      return mark({
        test: "protocol",
        number: readNumber(scope, cursor, "a protocol number", 0, 255),
      });
    case "tcp.flags":
      return mark(readFlags(scope, cursor));
    case "icmp.type": {
      expectSign(cursor, "=");
      const named = ICMP_TYPE_WORDS.get(cursor.token.text);
      if (named !== undefined) cursor.next();
      return mark(
        withCode(scope, cursor, named ?? readNumber(scope, cursor, "an ICMP type", 0, 255)),
      );
    }
    case "custom":
      return mark(readCustom(scope, cursor));
  }
  return cursor.fail("a predicate", wrongPredicate(token), token);
}

function readSide(cursor: Cursor): Predicate {
  if (!cursor.take(FROM_SIDE[1])) cursor.fail(quote(FROM_SIDE[1]));
  const side = cursor.token.text;
  if (side !== "a" && side !== "b") cursor.fail(`"a" or "b"`);
  cursor.next();
  return { test: "side", side };
}

function wrongPredicate(token: Token): string | null {
  if (CHAIN_WORDS.includes(token.text)) return `steps and decisions come after "->"`;
  return foreignHint(token) ?? hintFor(token, PREDICATE_WORDS);
}

function readCustom(scope: Scope, cursor: Cursor): Predicate {
  const name = cursor.word("the name of a registered predicate");
  const holds = ownOf(scope.customs.predicates, name.text);
  if (holds === undefined) {
    scope.report(cursor.line, name.start, name.end, {
      found: describe(name),
      expected: "the name of a registered predicate",
      hint: hintFor(name, Object.keys(scope.customs.predicates ?? {})),
    });
  }
  return { test: "custom", name: name.text, holds: holds ?? (() => false) };
}

// Addresses

function readAddresses(scope: Scope, cursor: Cursor): readonly AddressTerm[] {
  if (cursor.take("=")) {
    const token = cursor.token;
    const term = readAddressTerm(scope, cursor);
    if ("list" in term || term.prefixLength < 32) {
      scope.report(cursor.line, token.start, token.end, {
        found: describe(token),
        expected: `one address after "="`,
        hint: `did you mean "in ${token.text}"?`,
      });
    }
    refuseComma(cursor, token);
    return Object.freeze([term]);
  }
  if (!cursor.take("in")) cursor.fail(`"=" or "in"`, operatorHint(cursor));
  return Object.freeze(readAddressSet(scope, cursor));
}

/** One address or network, or several in braces. */
export function readAddressSet(scope: Scope, cursor: Cursor): AddressTerm[] {
  return readSet(cursor, () => readAddressTerm(scope, cursor));
}

/** `10.0.0.1`, `10.0.0.0/8` or `$list`. */
export function readAddressTerm(scope: Scope, cursor: Cursor): AddressTerm {
  const position = cursor.position;
  const token = cursor.word("an address, as in 10.0.0.1, 10.0.0.0/8 or $list");
  const wrong = (expected: string, hint: string | null = null) =>
    scope.report(cursor.line, token.start, token.end, { found: describe(token), expected, hint });
  if (token.text.startsWith("$")) {
    const list = token.text.slice(1);
    if (!scope.hasList(list)) {
      wrong(
        "a list that is defined above",
        definedLater(scope, token) ?? hintFor(token, scope.listNames),
      );
    }
    return scope.mark({ list }, position);
  }
  let network = 0;
  let prefixLength = 32;
  try {
    ({ address: network, prefixLength } = parseInterface(token.text, 32));
  } catch (error) {
    const reason = (error as Error).message.split(" as IPv4 address: ")[1];
    wrong(
      "an address, as in 10.0.0.1, 10.0.0.0/8 or $list",
      scope.hasList(token.text)
        ? `did you mean "$${token.text}"?`
        : /^[\d./]+$/.test(token.text) && reason !== undefined && !reason.startsWith("expected")
        ? reason
        : null,
    );
  }
  const masked = network & maskOf(prefixLength);
  if (masked !== network) {
    wrong(
      "a network: host bits must be zero",
      `did you mean "${formatAddress(masked)}/${prefixLength}"?`,
    );
  }
  return scope.mark({ network: masked, prefixLength }, position);
}

// Numbers

function readRanges(scope: Scope, cursor: Cursor, field: NumberSyntax): readonly Interval[] {
  if (cursor.take("=")) {
    const token = cursor.token;
    const range = readRange(scope, cursor, field);
    if (token.text.includes("-")) {
      scope.report(cursor.line, token.start, token.end, {
        found: describe(token),
        expected: `one number after "="`,
        hint: `did you mean "in ${token.text}"?`,
      });
    }
    refuseComma(cursor, token);
    return Object.freeze([range]);
  }
  if (!cursor.take("in")) cursor.fail(`"=" or "in"`, operatorHint(cursor, field.max));
  return Object.freeze(readSet(cursor, () => readRange(scope, cursor, field)));
}

/** `80` or `8000-8080`. */
function readRange(scope: Scope, cursor: Cursor, { what, max }: NumberSyntax): Interval {
  const position = cursor.position;
  const expected = `a ${what}, 0 to ${max}, or a range as in 20-30`;
  const token = cursor.word(expected);
  const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(token.text);
  const first = Number(match?.[1] ?? NaN);
  const last = Number(match?.[2] ?? first);
  if (!(first <= max && last <= max)) {
    scope.report(cursor.line, token.start, token.end, { found: describe(token), expected });
  } else if (first > last) {
    scope.report(cursor.line, token.start, token.end, {
      found: describe(token),
      expected: "the lower end of a range first",
      hint: `did you mean "${last}-${first}"?`,
    });
  }
  return scope.mark({ first, last }, position);
}

/** One term, or several in braces. */
function readSet<Term>(cursor: Cursor, readTerm: () => Term): Term[] {
  if (!cursor.take("{")) {
    const first = cursor.token;
    const term = readTerm();
    refuseComma(cursor, first);
    return [term];
  }
  const terms = [readTerm()];
  // A comma may follow the last one, too.
  while (cursor.take(",") && !cursor.at("}")) terms.push(readTerm());
  if (!cursor.take("}")) cursor.fail(`"," or "}"`);
  return terms;
}

/** A list without braces. */
function refuseComma(cursor: Cursor, first: Token): void {
  const comma = cursor.token;
  if (cursor.at(",")) cursor.fail(`braces around a list`, commaHint(cursor, first), comma);
}

// TCP flags and ICMP

function readFlags(scope: Scope, cursor: Cursor): Predicate {
  let expected = `a flag (${FLAG_WORDS.join(", ")}) or "!" and a flag`;
  let set = 0;
  let clear = 0;
  do {
    const clears = cursor.take("!");
    const token = cursor.token;
    const bit = FLAG_WORDS.indexOf(token.text);
    if (bit < 0) cursor.fail(expected, hintFor(token, FLAG_WORDS));
    cursor.next();
    if (((set | clear) & 1 << bit) !== 0) {
      scope.report(cursor.line, token.start, token.end, {
        found: `${describe(token)} a second time`,
        expected: "each flag once",
      });
    } else if (clears) clear |= 1 << bit;
    else set |= 1 << bit;
    expected = `another flag, "and", "or" or "->"`;
    const comma = cursor.token;
    if (cursor.at(",")) cursor.fail(expected, flagsHint(cursor, token), comma);
  } while (cursor.at("!") || isFlag(cursor.token));
  return { test: "tcp-flags", set, clear };
}

/** Also a misspelt one, which is then reported as such. */
function isFlag({ kind, text }: Token): boolean {
  return kind === "word" && text !== "and" && text !== "or";
}

function withCode(scope: Scope, cursor: Cursor, type: number): Predicate {
  if (!cursor.take("code")) return { test: "icmp", type, code: null };
  const words = icmpCodeWords(type);
  const token = cursor.token;
  const named = words.indexOf(token.text);
  if (named >= 0) cursor.next();
  else if (!/^\d/.test(token.text)) {
    const names = words.length === 0 ? "" : ", or its name";
    cursor.fail(`an ICMP code, 0 to 255${names}`, hintFor(token, words));
  }
  const code = named >= 0 ? named : readNumber(scope, cursor, "an ICMP code", 0, 255);
  return { test: "icmp", type, code };
}

// Hints

function expectSign(cursor: Cursor, sign: string): void {
  if (!cursor.take(sign)) cursor.fail(quote(sign), hintFor(cursor.token, []));
}

function operatorHint(cursor: Cursor, max = NaN): string | null {
  if (cursor.token.text === "!=" || cursor.at("!")) return `write "not" before the test`;
  if (/^[<>]=?$/.test(cursor.token.text)) {
    const hint = comparisonHint(cursor.token.text, cursor.following, max);
    return hint ?? `write a range, as in "in 0-1023"`;
  }
  return hintFor(cursor.token, ["in", "="]);
}
