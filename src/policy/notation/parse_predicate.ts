/**
 * Tokens → predicate, and the terms that predicates and list definitions are made of.
 *
 *     or      = and { "or" and }
 *     and     = unary { "and" unary }
 *     unary   = { "not" } ( "(" or ")" | test )
 *     test    = "otherwise" | "ipv4" | "ipv6" | "icmp" | "tcp" | "udp" | "protocol" "=" NUMBER
 *             | ( "ip.src" | "ip.dst" ) ( "=" ADDRESS | "in" ( TERM | "{" TERM { "," TERM } "}" ) )
 *             | NUMBER-FIELD ( "=" NUMBER | "in" ( RANGE | "{" RANGE { "," RANGE } "}" ) )
 *             | "tcp.flags" { [ "!" ] FLAG }
 *             | ( ICMP-TYPE | ( "icmp.type" | "icmpv6.type" ) "=" ( NUMBER | ICMP-TYPE ) )
 *               [ "code" ( NUMBER | NAME ) ]
 *             | "fragment" | "new" | "established" | "invalid" | "stray"
 *             | "from" "side" ( "a" | "b" ) | "custom" NAME
 *
 * What is wrong but leaves no doubt how to go on is reported and read past; the rest is thrown as
 * LineError.
 *
 * Long because all tests that a predicate can be made of are read here.
 */
import type { Slices } from "../../core/slices.ts";
import { MAX_TEXT_DEPTH } from "../language/limits.ts";
import {
  bitsOf,
  formatHostSubnet,
  type HostSubnet,
  hostSubnetOf,
  parseHostInterface,
} from "../../wire/host_address.ts";
import type { AddressTerm, Interval, Predicate } from "../language/ast.ts";
import { type Cursor, describe, type Token } from "./lex.ts";
import { quote } from "../../core/text.ts";
import type { Position } from "./policy_error.ts";
import { commaHint, comparisonHint, flagsHint, foreignHint } from "./hints.ts";
import { definedLater, hintFor, ownOf, readNumber, type Scope } from "./scope.ts";
import {
  ICMP_TYPE_WORDS,
  icmpCodeWords,
  ICMPV6_TYPE_WORDS,
  icmpv6CodeWords,
  namesakeOf,
} from "../language/icmp_words.ts";
import {
  ADDRESS_WORDS,
  CHAIN_WORDS,
  FAMILY_WORDS,
  FLAG_WORDS,
  FROM_SIDE,
  NUMBER_WORDS,
  type NumberSyntax,
  PREDICATE_WORDS,
  PROTOCOL_WORDS,
  STATE_WORDS,
} from "../language/words.ts";

export function* readPredicate(scope: Scope, cursor: Cursor): Slices<Predicate> {
  return yield* readOr(scope, cursor, 0);
}

function* readOr(scope: Scope, cursor: Cursor, depth: number): Slices<Predicate> {
  const position = cursor.position;
  const of = [yield* readAnd(scope, cursor, depth)];
  while (cursor.take("or")) {
    yield;
    of.push(yield* readAnd(scope, cursor, depth));
  }
  return of.length === 1 ? of[0]! : scope.mark({ test: "any", of: Object.freeze(of) }, position);
}

function* readAnd(scope: Scope, cursor: Cursor, depth: number): Slices<Predicate> {
  const position = cursor.position;
  const of = [yield* readUnary(scope, cursor, depth)];
  while (cursor.take("and")) {
    yield;
    of.push(yield* readUnary(scope, cursor, depth));
  }
  return of.length === 1 ? of[0]! : scope.mark({ test: "all", of: Object.freeze(of) }, position);
}

function* readUnary(scope: Scope, cursor: Cursor, depth: number): Slices<Predicate> {
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
    predicate = yield* readOr(scope, cursor, inner);
    if (!cursor.take(")")) cursor.fail(`"and", "or" or ")"`, hintFor(cursor.token, ["and", "or"]));
  } else {
    if (inner > MAX_TEXT_DEPTH + 1) {
      cursor.fail(`at most ${MAX_TEXT_DEPTH} levels of "not" and parentheses`);
    }
    predicate = yield* readTest(scope, cursor);
  }
  return nots.reduceRight<Predicate>(
    (of, position) => scope.mark({ test: "not", of }, position),
    predicate,
  );
}

function* readTest(scope: Scope, cursor: Cursor): Slices<Predicate> {
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
  const family = FAMILY_WORDS.get(word);
  if (family !== undefined) return mark({ test: "family", family });
  const number = PROTOCOL_WORDS.get(word);
  if (number !== undefined) return mark({ test: "protocol", number });
  if (word === FROM_SIDE[0]) return mark(readSide(cursor));
  const addressField = ADDRESS_WORDS.get(word);
  if (addressField !== undefined) {
    return mark({ test: "address", field: addressField, in: yield* readAddresses(scope, cursor) });
  }
  const numberField = NUMBER_WORDS.get(word);
  if (numberField !== undefined) {
    return mark(numberField.test(yield* readRanges(scope, cursor, numberField)));
  }
  const icmp = readCodeAfter(scope, cursor, word);
  if (icmp !== null) return mark(icmp);
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
      const named = cursor.token.text;
      if (ICMP_TYPE_WORDS.has(named) || ICMPV6_TYPE_WORDS.has(named)) {
        cursor.next();
        return mark(readCodeAfter(scope, cursor, named)!);
      }
      const type = readNumber(scope, cursor, "an ICMP type", 0, 255);
      return mark(withCode(scope, cursor, type, namesakeOf(type)));
    }
    case "icmpv6.type": {
      expectSign(cursor, "=");
      const named = ICMPV6_TYPE_WORDS.get(cursor.token.text);
      if (named !== undefined) cursor.next();
      const type = named ?? readNumber(scope, cursor, "an ICMPv6 type", 0, 255);
      return mark(withCode(scope, cursor, null, type));
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

function* readAddresses(scope: Scope, cursor: Cursor): Slices<readonly AddressTerm[]> {
  if (cursor.take("=")) {
    const token = cursor.token;
    const term = readAddressTerm(scope, cursor);
    if ("list" in term || term.prefixLength < bitsOf(term.network)) {
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
  return Object.freeze(yield* readAddressSet(scope, cursor));
}

/** One address or network, or several in braces. */
export function* readAddressSet(scope: Scope, cursor: Cursor): Slices<AddressTerm[]> {
  return yield* readSet(cursor, () => readAddressTerm(scope, cursor));
}

/** `10.0.0.1`, `10.0.0.0/8`, `2001:db8::1`, `[2001:db8::]/32` or `$list`. */
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
  let subnet: HostSubnet = { network: 0, prefixLength: 32 };
  try {
    const { address, prefixLength } = parseHostInterface(token.text);
    subnet = hostSubnetOf(address, prefixLength);
    if (subnet.network !== address) {
      wrong(
        "a network: host bits must be zero",
        `did you mean "${formatHostSubnet(subnet)}"?`,
      );
    }
  } catch (error) {
    const reason = (error as Error).message.split(/ as IPv[46] address: /)[1];
    wrong(
      "an address, as in 10.0.0.1, 10.0.0.0/8 or $list",
      scope.hasList(token.text)
        ? `did you mean "$${token.text}"?`
        : /^[\d./]+$|:/.test(token.text) && reason !== undefined && !reason.startsWith("expected")
        ? reason
        : null,
    );
  }
  return scope.mark(subnet, position);
}

// Numbers

function* readRanges(
  scope: Scope,
  cursor: Cursor,
  field: NumberSyntax,
): Slices<readonly Interval[]> {
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
  return Object.freeze(yield* readSet(cursor, () => readRange(scope, cursor, field)));
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
function* readSet<Term>(cursor: Cursor, readTerm: () => Term): Slices<Term[]> {
  if (!cursor.take("{")) {
    const first = cursor.token;
    const term = readTerm();
    refuseComma(cursor, first);
    return [term];
  }
  const terms = [readTerm()];
  // A comma may follow the last one, too.
  while (cursor.take(",") && !cursor.at("}")) {
    yield;
    terms.push(readTerm());
  }
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

/** Reads the code after an ICMP type's name; null: the word is none. */
function readCodeAfter(scope: Scope, cursor: Cursor, word: string): Predicate | null {
  const type = ICMP_TYPE_WORDS.get(word) ?? null;
  const type6 = ICMPV6_TYPE_WORDS.get(word) ?? null;
  return type === null && type6 === null ? null : withCode(scope, cursor, type, type6);
}

/** `type` is that of IPv4, `type6` that of ICMPv6; a code that only the latter has is meant so. */
function withCode(
  scope: Scope,
  cursor: Cursor,
  type: number | null,
  type6: number | null,
): Predicate {
  const kind = (isOfIpv4: boolean, code: number | null): Predicate =>
    type !== null && isOfIpv4
      ? { test: "icmp", type, code }
      : { test: "icmpv6", type: type6!, code };
  if (!cursor.take("code")) return kind(true, null);
  const words = type === null ? [] : icmpCodeWords(type);
  const words6 = type6 === null ? [] : icmpv6CodeWords(type6);
  const token = cursor.token;
  const isOfIpv4 = words.includes(token.text);
  if (isOfIpv4 || words6.includes(token.text)) {
    cursor.next();
    return kind(isOfIpv4, (isOfIpv4 ? words : words6).indexOf(token.text));
  }
  if (!/^\d/.test(token.text)) {
    const named = [...words, ...words6];
    const names = named.length === 0 ? "" : ", or its name";
    cursor.fail(`an ICMP code, 0 to 255${names}`, hintFor(token, named));
  }
  return kind(true, readNumber(scope, cursor, "an ICMP code", 0, 255));
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
