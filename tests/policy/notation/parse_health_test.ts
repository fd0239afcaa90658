import assert from "node:assert/strict";
import { parse } from "../../../src/policy/notation/parse.ts";
import { print } from "../../../src/policy/printing/print.ts";
import { type Health, healthOf } from "../../../src/policy/language/health.ts";
import { parseHealth, printHealth } from "../../../src/policy/notation/parse_health.ts";

const GOOD: [string, Health][] = [
  ["off", healthOf({ kind: "off" })],
  ["neighbor", healthOf({ kind: "neighbor" })],
  ["icmp", healthOf({ kind: "icmp" })],
  ["tcp 8080", healthOf({ kind: "tcp", port: 8080 })],
  [
    "http 80 /healthz 200",
    healthOf({ kind: "http", port: 80, path: "/healthz", status: 200 }),
  ],
  [
    'http 80 "/a?b=c&d" 204, on-down keep',
    healthOf({ kind: "http", port: 80, path: "/a?b=c&d", status: 204 }, { onDown: "keep" }),
  ],
  ["udp 53 0a0b", healthOf({ kind: "udp", port: 53, payload: "0a0b" })],
  [
    "tcp 22, interval 10s, fastinter 250ms, timeout 3s, slow-start 60s, fall 2, rise 5, all-down any",
    healthOf({ kind: "tcp", port: 22 }, {
      intervalMs: 10_000,
      fastinterMs: 250,
      timeoutMs: 3000,
      slowStartMs: 60_000,
      fall: 2,
      rise: 5,
      allDown: "any",
    }),
  ],
  ["icmp, on-down reset", healthOf({ kind: "icmp" }, { onDown: "reset" })],
];
for (const [text, health] of GOOD) {
  Deno.test(`parseHealth reads "${text}", and printHealth gives it back`, () => {
    assert.deepEqual(parseHealth(text), health);
    assert.equal(printHealth(health), text);
  });
}

Deno.test("parseHealth takes clauses in any order, printHealth leaves out what is the default", () => {
  const health = parseHealth("tcp 80, rise 2 , timeout 1000ms, fall 4,interval 2s,on-down reset");
  assert.equal(printHealth(health), "tcp 80, fall 4");
});

Deno.test("healthOf: `reset` is the default of tcp and http, `keep` that of the others", () => {
  const found = GOOD.map(([text]) => text.split(" ")[0]!.replace(",", ""))
    .map((word) => [
      word,
      healthOf(
        parseHealth(
          { tcp: "tcp 1", http: "http 1 / 200", udp: "udp 1 00" }[word] ?? word,
        ).check,
      ).onDown,
    ]);
  assert.deepEqual(Object.fromEntries(found), {
    off: "keep",
    neighbor: "keep",
    icmp: "keep",
    udp: "keep",
    tcp: "reset",
    http: "reset",
  });
});

const BAD: [string, RegExp][] = [
  ["", /expected "off", "neighbor", "icmp", "tcp", "http" or "udp", found the end of the line/],
  ["ping", /expected "off", .*, found "ping"/],
  ["htp 80 / 200", /did you mean "http"\?/],
  ["tcp", /expected a port, 1 to 65535, found the end of the line/],
  ["tcp 0", /expected a port, 1 to 65535, found "0"/],
  ["tcp 65536", /found "65536"/],
  ["http 80", /expected a path/],
  ["http 80 healthz 200", /expected a path .* found "healthz"/],
  ['http 80 "/a b" 200', /expected a path/],
  ['http 80 "/a\\r\\nX: y" 200', /expected a path/],
  [`http 80 /${"a".repeat(400)} 200`, /expected a path of at most 400/],
  ["http 80 /", /expected a status, 100 to 599/],
  ["http 80 / 99", /expected a status, 100 to 599, found "99"/],
  ["udp 53", /expected 1 to 512 bytes in hex/],
  ["udp 53 0", /expected 1 to 512 bytes in hex/],
  ["udp 53 xy", /found "xy"/],
  [`udp 53 ${"00".repeat(513)}`, /expected 1 to 512 bytes/],
  ["tcp 80 fall 3", /expected "," or the end of the line, found "fall"/],
  ["tcp 80, fal 3", /did you mean "fall"\?/],
  ["tcp 80, fall 0", /expected a number, 1 to 100, found "0"/],
  ["tcp 80, fall 3, fall 3", /expected "fall" once/],
  ["tcp 80, interval 2", /expected a time, 100ms to 3600s, as in 500ms or 2s, found "2"/],
  ["tcp 80, interval 50ms", /found "50ms"/],
  ["tcp 80, on-down drop", /expected "reset" or "keep", found "drop"/],
  ["tcp 80,", /expected "interval", .*, found the end of the line/],
  ["tcp 80 # comment", /expected one line without comment/],
];
for (const [text, error] of BAD) {
  Deno.test(`parseHealth refuses ${JSON.stringify(text).slice(0, 60)}`, () => {
    assert.throws(() => parseHealth(text), { name: "SyntaxError", message: error });
  });
}

const TREE = "-> translate-a-to-b to $web, forward\n";

Deno.test("parse reads the check of a pool, with braces and without, and print gives it back", () => {
  const check = 'check http 80 "/a?b" 200, fall 2, on-down keep';
  for (
    const text of [
      `pool $web = 10.0.0.1 weight 2, 10.0.0.2 backup ${check}`,
      `pool $web = {\n10.0.0.1 weight 2,\n10.0.0.2 backup,\n} ${check}`,
    ]
  ) {
    const { policy, errors } = parse(`default drop\n${text}\n${TREE}`, { file: "x" });
    assert.deepEqual(errors, []);
    const { members, health } = policy!.pools.web!;
    assert.equal(members.length, 2);
    assert.deepEqual(
      health,
      healthOf({ kind: "http", port: 80, path: "/a?b", status: 200 }, { fall: 2, onDown: "keep" }),
    );
    const printed = print(policy!);
    assert.match(printed, /^pool \$web = 10\.0\.0\.1 weight 2, 10\.0\.0\.2 backup check http 80/m);
    assert.deepEqual(parse(printed, { file: "x" }).policy, policy);
  }
});

const WRONG_POOLS: [string, RegExp][] = [
  ["10.0.0.1 check", /"off", "neighbor", .*/],
  ["10.0.0.1 chek tcp 80", /did you mean "check"\?/],
  ["{10.0.0.1} chek tcp 80", /did you mean "check"\?/],
  ["10.0.0.1 check tcp 80, 10.0.0.2", /"interval", "fastinter"/],
  ["10.0.0.1 check tcp 80 fall 2", /"," or the end of the line/],
];
for (const [pool, message] of WRONG_POOLS) {
  Deno.test(`parse refuses the pool "${pool}"`, () => {
    const { errors } = parse(`default drop\npool $web = ${pool}\n${TREE}`, { file: "x" });
    assert.equal(errors.length, 1);
    const { expected, hint } = errors[0]!;
    assert.match(`${expected} ${hint ?? ""}`, message);
  });
}

Deno.test("healthOf throws for what the text could not say", () => {
  const wrong: (() => Health)[] = [
    () => healthOf({ kind: "tcp", port: 0 }),
    () => healthOf({ kind: "http", port: 80, path: "/a b", status: 200 }),
    () => healthOf({ kind: "http", port: 80, path: "/", status: 99 }),
    () => healthOf({ kind: "udp", port: 53, payload: "0" }),
    () => healthOf({ kind: "icmp" }, { fall: 0 }),
    () => healthOf({ kind: "icmp" }, { intervalMs: 10 }),
  ];
  for (const make of wrong) assert.throws(make, { name: "RangeError" });
});
