/**
 * The definition of a pool:
 *
 *     pool   = "pool" $NAME "=" ( member { "," member } | "{" member { "," member } [ "," ] "}" )
 *              [ "check" health ]                               `parse_health.ts`
 *     member = ADDRESS { option }                                   each option at most once
 *     option = "port" N | "weight" N | "backup" | "maxconn" N | "state" "drain"
 */
import type { Slices } from "../../core/slices.ts";
import {
  formatEndpoint,
  formatHostAddress,
  type HostAddress,
  parseHostAddress,
} from "../../wire/host_address.ts";
import type { PoolDefinition, PoolMember } from "../language/ast.ts";
import { MAX_MAXCONN, MAX_MEMBER_WEIGHT, MAX_POOL_MEMBERS, MAX_POOLS } from "../language/limits.ts";
import { MEMBER_WORDS } from "../language/words.ts";
import { Cursor, describe } from "./lex.ts";
import type { Line } from "./lines.ts";
import { readHealth } from "./parse_health.ts";
import { refuseBlock } from "./parse_tree.ts";
import { oneOf } from "../../core/text.ts";
import { checkName, hintFor, readKeyword, readNumber, type Scope } from "./scope.ts";

export function* readPoolDefinition(scope: Scope, line: Line): Slices<void> {
  const cursor = new Cursor(line);
  readKeyword(scope, cursor, "pool");
  const { position, token } = cursor;
  const pool = yield* scope.attemptInSlices(line, function* () {
    const name = cursor.word(`"$" and a name for the pool`);
    if (!name.text.startsWith("$")) {
      cursor.fail(`"$" and a name for the pool`, `did you mean "$${name.text}"?`, name);
    }
    if (!cursor.take("=")) cursor.fail(`"="`, hintFor(cursor.token, []));
    return yield* readPool(scope, cursor);
  }, null);
  refuseBlock(scope, line, "a pool");
  const name = token.text.slice(1);
  if (!token.text.startsWith("$") || !checkName(scope, line, token, name, scope.hasList(name))) {
    return;
  }
  const made: PoolDefinition = pool ?? { members: Object.freeze([]) };
  scope.pools.set(name, scope.mark(made, position));
  const total = [...scope.pools.values()].reduce((sum, { members }) => sum + members.length, 0);
  const [found, most] = scope.pools.size > MAX_POOLS
    ? [`${scope.pools.size} pools`, MAX_POOLS]
    : [`${total} members of pools`, MAX_POOL_MEMBERS];
  if (scope.pools.size > MAX_POOLS || total > MAX_POOL_MEMBERS) {
    scope.report(line, token.start, token.end, { found, expected: `at most ${most}` });
    scope.pools.clear(); // reported once
  }
}

function* readPool(scope: Scope, cursor: Cursor): Slices<PoolDefinition> {
  const members = Object.freeze(yield* readMembers(scope, cursor));
  if (cursor.take("check")) return { members, health: readHealth(cursor) };
  if (!cursor.atEnd) {
    cursor.fail(`"check" or the end of the line`, hintFor(cursor.token, ["check"]));
  }
  return { members };
}

function* readMembers(scope: Scope, cursor: Cursor): Slices<PoolMember[]> {
  const braces = cursor.take("{");
  const members: PoolMember[] = [];
  const known = new Set<string>();
  do {
    yield;
    const { start, end } = cursor.token;
    const member = readMember(scope, cursor);
    const key = formatEndpoint(member.address, member.port);
    if (known.has(key)) {
      const port = member.port === 0 ? "" : ` port ${member.port}`;
      scope.report(cursor.line, start, end, {
        found: `"${formatHostAddress(member.address)}${port}" a second time`,
        expected: "each member once",
      });
    }
    known.add(key);
    members.push(member);
    // A comma may follow the last one, too.
  } while (cursor.take(",") && !(braces && cursor.at("}")));
  const expected = braces ? `"}"` : "the end of the line";
  if (braces ? !cursor.take("}") : !cursor.atEnd && !cursor.at("check")) {
    const words = braces ? MEMBER_WORDS : [...MEMBER_WORDS, "check"];
    cursor.fail(`",", ${oneOf(words)}, or ${expected}`, hintFor(cursor.token, words));
  }
  return members;
}

function readMember(scope: Scope, cursor: Cursor): PoolMember {
  const { position } = cursor;
  const address = readAddress(scope, cursor);
  const given = new Map<string, number>();
  while (cursor.token.kind === "word" && MEMBER_WORDS.includes(cursor.token.text)) {
    const { text, start, end } = cursor.next();
    if (given.has(text)) {
      scope.report(cursor.line, start, end, {
        found: `"${text}" a second time`,
        expected: "each option once",
      });
    }
    given.set(text, readOption(scope, cursor, text));
  }
  return scope.mark({
    address,
    port: given.get("port") ?? 0,
    weight: given.get("weight") ?? 1,
    isBackup: given.has("backup"),
    maxconn: given.get("maxconn") ?? 0,
    state: given.has("state") ? "drain" : null,
  }, position);
}

function readOption(scope: Scope, cursor: Cursor, word: string): number {
  switch (word) {
    case "port":
      return readNumber(scope, cursor, "a port", 1, 65_535);
    case "weight":
      return readNumber(scope, cursor, "a weight", 0, MAX_MEMBER_WEIGHT);
    case "maxconn":
      return readNumber(scope, cursor, "a number of connections", 1, MAX_MAXCONN);
    case "state":
      if (!cursor.take("drain")) cursor.fail(`"drain"`, hintFor(cursor.token, ["drain"]));
      return 1;
    default:
      return 1;
  }
}

function readAddress(scope: Scope, cursor: Cursor): HostAddress {
  const expected = "the address of a backend, as in 10.0.0.1";
  const token = cursor.word(expected);
  try {
    return parseHostAddress(token.text);
  } catch (error) {
    const hint = /^\[.*\]:\d+$/.test(token.text)
      ? `did you mean "${token.text.replace("]:", "] port ")}"?`
      : token.text.startsWith("$")
      ? "a pool names its members one by one"
      : token.text.includes("/")
      ? 'a pool has hosts, a list may have networks: "define $name = …"'
      : token.text.includes(":")
      ? (error as Error).message.split(" as IPv6 address: ")[1] ?? null
      : null;
    scope.report(cursor.line, token.start, token.end, { found: describe(token), expected, hint });
    return 0;
  }
}
