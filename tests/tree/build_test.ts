import assert from "node:assert/strict";
import * as build from "../../src/tree/build.ts";
import { demo } from "../../src/tree/demo.ts";

const { always, aToB, bToA, drop, dstAddrs, echo, filter, firstMatch, forward } = build;
const { isEchoRequest, isIcmp, isTcp, isUdp, not, policy, roundRobin, track } = build;

Deno.test("firstMatch with one arm is a filter", () => {
  assert.deepEqual(firstMatch([[isTcp, drop]]), filter(isTcp, drop));
  assert.deepEqual(filter(isTcp, drop), { node: "filter", when: isTcp, then: drop });
});

Deno.test("build functions make the nodes that they are named after", () => {
  const cases: [string, unknown, unknown][] = [
    ["policy", policy("forward", drop), { default: "forward", next: drop }],
    ["firstMatch", firstMatch([[isTcp, echo], [always, drop]]), {
      node: "first-match",
      arms: [{ when: isTcp, then: echo }, { when: always, then: drop }],
    }],
    ["roundRobin", roundRobin([drop]), { node: "round-robin", branches: [drop] }],
    ["track", track(echo), { node: "track", then: echo }],
    ["aToB", aToB(forward), { node: "translate-a-to-b", then: forward }],
    ["bToA", bToA(forward), { node: "translate-b-to-a", then: forward }],
    ["drop", drop, { node: "decide", decision: "drop" }],
    ["forward", forward, { node: "decide", decision: "forward" }],
    ["echo", echo, { node: "decide", decision: "echo-reply" }],
  ];
  for (const [name, built, expected] of cases) assert.deepEqual(built, expected, name);
});

Deno.test("build functions make the predicates that they are named after", () => {
  const cases: [string, unknown, unknown][] = [
    ["always", always, { test: "always" }],
    ["not", not(isTcp), { test: "not", of: { test: "protocol", number: 6 } }],
    ["isIcmp", isIcmp, { test: "protocol", number: 1 }],
    ["isTcp", isTcp, { test: "protocol", number: 6 }],
    ["isUdp", isUdp, { test: "protocol", number: 17 }],
    ["isEchoRequest", isEchoRequest, { test: "icmp-type", equals: 8 }],
    ["src", build.src.oneOf(dstAddrs), { test: "address", field: "src", list: "$dst-addrs" }],
    ["dst", build.dst.oneOf(dstAddrs), { test: "address", field: "dst", list: "$dst-addrs" }],
    ["tcpSport", build.tcpSport.eq(0), port(6, "srcPort", 0)],
    ["tcpDport", build.tcpDport.eq(80), port(6, "dstPort", 80)],
    ["udpSport", build.udpSport.eq(53), port(17, "srcPort", 53)],
    ["udpDport", build.udpDport.eq(65_535), port(17, "dstPort", 65_535)],
  ];
  for (const [name, built, expected] of cases) assert.deepEqual(built, expected, name);
});

Deno.test("build functions freeze all that they make", () => {
  const tree = firstMatch([[not(build.tcpDport.eq(80)), roundRobin([track(echo), drop])], [
    always,
    aToB(forward),
  ]]);
  assertFrozen(policy("drop", tree));
  assertFrozen(demo);
});

Deno.test("build functions keep no tie to the arrays they are given", () => {
  const branches = [drop, echo];
  const tree = roundRobin(branches);
  branches.pop();
  assert.deepEqual(tree, roundRobin([drop, echo]));
});

Deno.test("firstMatch and roundRobin refuse to be empty", () => {
  assert.throws(() => firstMatch([]), {
    name: "RangeError",
    message: "Cannot build firstMatch: expected at least one arm",
  });
  assert.throws(() => roundRobin([]), {
    name: "RangeError",
    message: "Cannot build roundRobin: expected at least one branch",
  });
});

Deno.test("eq refuses what is no port", () => {
  for (const bad of [-1, 65_536, 80.5, NaN, Infinity, "80;x" as unknown as number]) {
    for (const field of [build.tcpSport, build.tcpDport, build.udpSport, build.udpDport]) {
      assert.throws(() => field.eq(bad), {
        name: "RangeError",
        message: `Cannot compare a port with "${bad}": expected 0 to 65535`,
      });
    }
  }
});

function port(protocol: number, field: string, equals: number): unknown {
  return { test: "port", protocol, field, equals };
}

function assertFrozen(value: unknown): void {
  if (typeof value !== "object" || value === null) return;
  assert.ok(Object.isFrozen(value), JSON.stringify(value));
  Object.values(value).forEach(assertFrozen);
}
