/**
 * How members are checked, as text; the same words in a policy and on the command line.
 *
 *     health = CHECK { "," CLAUSE }
 *     CHECK  = "off" | "neighbor" | "icmp" | "tcp" PORT | "http" PORT PATH STATUS | "udp" PORT HEX
 *     CLAUSE = ( "interval" | "fastinter" | "timeout" | "slow-start" ) TIME | ( "fall" | "rise" ) N
 *            | "on-down" ( "reset" | "keep" ) | "all-down" ( "reject" | "any" )
 *     TIME   = N "ms" | N "s"
 */
import {
  type Check,
  type Health,
  healthOf,
  isPath,
  isPayload,
  MAX_IN_A_ROW,
  MAX_PATH,
  MAX_PAYLOAD_BYTES,
  TIME_LIMITS,
} from "../language/health.ts";
import { Cursor, LineError, type Token } from "./lex.ts";
import { oneOf, quote } from "../../core/text.ts";
import { hintFor } from "./scope.ts";

const TIMES = {
  interval: "intervalMs",
  fastinter: "fastinterMs",
  timeout: "timeoutMs",
  "slow-start": "slowStartMs",
} as const;
const COUNTS = ["fall", "rise"] as const;
const CHOICES = {
  "on-down": { key: "onDown", words: ["reset", "keep"] },
  "all-down": { key: "allDown", words: ["reject", "any"] },
} as const;

const CHECK_WORDS = ["off", "neighbor", "icmp", "tcp", "http", "udp"];
const CLAUSE_WORDS = [...Object.keys(TIMES), ...COUNTS, ...Object.keys(CHOICES)];

/** Reads the rest of the cursor's line; throws a LineError for what is wrong. */
export function readHealth(cursor: Cursor): Health {
  const check = readCheck(cursor);
  const changes: { -readonly [Key in keyof Health]?: Health[Key] } = {};
  const given = new Set<string>();
  while (cursor.take(",")) {
    const word = cursor.token;
    const name = word.text;
    if (word.kind !== "word" || !CLAUSE_WORDS.includes(name)) {
      cursor.fail(oneOf(CLAUSE_WORDS), hintFor(word, CLAUSE_WORDS));
    }
    if (given.has(name)) cursor.fail(`${quote(name)} once`);
    given.add(name);
    cursor.next();
    if (isKey(TIMES, name)) {
      const key = TIMES[name];
      const { least, most } = TIME_LIMITS[key];
      changes[key] = readTime(cursor, least, most);
    } else if (isKey(CHOICES, name)) {
      const { words } = CHOICES[name];
      const token = cursor.token;
      const word = (words as readonly string[]).find((word) => cursor.take(word));
      if (word === undefined) cursor.fail(oneOf(words), hintFor(token, words));
      Object.assign(changes, { [CHOICES[name].key]: word });
    } else changes[name as "fall" | "rise"] = readInteger(cursor, "a number", 1, MAX_IN_A_ROW);
  }
  if (!cursor.atEnd) cursor.fail(`"," or the end of the line`);
  return healthOf(check, changes);
}

/** Throws a SyntaxError. */
export function parseHealth(text: string): Health {
  const line = { file: "", number: 1, start: 0, text, breaks: [], block: [], doubtful: false };
  try {
    if (/[\n\r#]/.test(text)) throw new SyntaxError("expected one line without comment");
    return readHealth(new Cursor(line));
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new SyntaxError(`Cannot parse ${quote(text)} as check: ${error.message}`);
    }
    if (!(error instanceof LineError)) throw error;
    const { found, expected, hint } = error.complaint;
    const guess = hint ? ` (${hint})` : "";
    throw new SyntaxError(
      `Cannot parse ${quote(text)} as check: expected ${expected}, found ${found}${guess}`,
    );
  }
}

/** Only what is not the default of the check. */
export function printHealth(health: Health): string {
  const usual = healthOf(health.check);
  const clauses = [
    ...Object.entries(TIMES).map(([name, key]) =>
      health[key] === usual[key] ? "" : `, ${name} ${printTime(health[key])}`
    ),
    ...COUNTS.map((name) => health[name] === usual[name] ? "" : `, ${name} ${health[name]}`),
    ...Object.entries(CHOICES).map(([name, { key }]) =>
      health[key] === usual[key] ? "" : `, ${name} ${health[key]}`
    ),
  ];
  return printCheck(health.check) + clauses.join("");
}

export function printCheck(check: Check): string {
  switch (check.kind) {
    case "tcp":
      return `tcp ${check.port}`;
    case "http": {
      const path = /^[A-Za-z0-9./$_-]*$/.test(check.path) && !check.path.includes("->")
        ? check.path
        : JSON.stringify(check.path);
      return `http ${check.port} ${path} ${check.status}`;
    }
    case "udp":
      return `udp ${check.port} ${check.payload}`;
    default:
      return check.kind;
  }
}

function printTime(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

function readCheck(cursor: Cursor): Check {
  const token = cursor.word(oneOf(CHECK_WORDS));
  switch (token.text) {
    case "off":
    case "neighbor":
    case "icmp":
      return { kind: token.text };
    case "tcp":
      return { kind: "tcp", port: readPort(cursor) };
    case "http":
      return {
        kind: "http",
        port: readPort(cursor),
        path: readPath(cursor),
        status: readInteger(cursor, "a status", 100, 599),
      };
    case "udp":
      return { kind: "udp", port: readPort(cursor), payload: readHex(cursor) };
    default:
      return cursor.fail(oneOf(CHECK_WORDS), hintFor(token, CHECK_WORDS), token);
  }
}

function readPort(cursor: Cursor): number {
  return readInteger(cursor, "a port", 1, 65_535);
}

function readInteger(cursor: Cursor, what: string, least: number, most: number): number {
  const { text } = cursor.token;
  const value = /^\d{1,12}$/.test(text) ? Number(text) : NaN;
  if (!(value >= least && value <= most)) cursor.fail(`${what}, ${least} to ${most}`);
  cursor.next();
  return value;
}

function readTime(cursor: Cursor, least: number, most: number): number {
  const match = /^(\d{1,9})(ms|s)$/.exec(cursor.token.text);
  const ms = match === null ? NaN : Number(match[1]) * (match[2] === "s" ? 1000 : 1);
  if (!(ms >= least && ms <= most)) {
    cursor.fail(`a time, ${printTime(least)} to ${printTime(most)}, as in 500ms or 2s`);
  }
  cursor.next();
  return ms;
}

function readPath(cursor: Cursor): string {
  const token = cursor.token;
  const path = token.kind === "string" ? textOf(token) : token.text;
  if (!isPath(path)) {
    cursor.fail(
      `a path of at most ${MAX_PATH} characters that begins with "/", with others than letters, ` +
        'digits and "./$_-" in double quotes',
    );
  }
  cursor.next();
  return path;
}

function textOf({ text }: Token): string {
  try {
    return JSON.parse(text);
  } catch {
    return "";
  }
}

function readHex(cursor: Cursor): string {
  const text = cursor.token.text.toLowerCase();
  if (!isPayload(text)) {
    cursor.fail(`1 to ${MAX_PAYLOAD_BYTES} bytes in hex digits, two a byte`);
  }
  cursor.next();
  return text;
}

function isKey<T extends object>(table: T, name: string): name is Extract<keyof T, string> {
  return Object.hasOwn(table, name);
}
