import assert from "node:assert/strict";
import type { Predicate } from "../../../src/policy/language/ast.ts";
import {
  ICMP_TYPE_WORDS,
  icmpKindIn,
  ICMPV6_TYPE_WORDS,
  icmpv6CodeWords,
  icmpv6TypeWord,
  namesakeOf,
} from "../../../src/policy/language/icmp_words.ts";

type Test = Parameters<typeof icmpKindIn>[0];

function icmp(type: number, code: number | null = null): Test {
  return { test: "icmp", type, code };
}

Deno.test("ICMP words are those of IANA's names, of either family", () => {
  assert.equal(ICMP_TYPE_WORDS.get("echo-request"), 8);
  assert.equal(ICMPV6_TYPE_WORDS.get("echo-request"), 128);
  assert.equal(ICMP_TYPE_WORDS.has("packet-too-big"), false);
  assert.equal(ICMPV6_TYPE_WORDS.get("packet-too-big"), 2);
  assert.equal(ICMPV6_TYPE_WORDS.get("neighbor-solicitation"), 135);
  assert.equal(icmpv6TypeWord(136), "neighbor-advertisement");
  assert.equal(icmpv6TypeWord(250), null);
  assert.equal(icmpv6CodeWords(1)[3], "address-unreachable");
  assert.deepEqual(icmpv6CodeWords(128), []);
});

Deno.test("namesakes: what both families have under one name", () => {
  const both = [...ICMP_TYPE_WORDS].filter(([, type]) => namesakeOf(type) !== null);
  assert.deepEqual(
    both.map(([word, type]) => [word, type, namesakeOf(type)]),
    [
      ["echo-reply", 0, 129],
      ["destination-unreachable", 3, 1],
      ["redirect", 5, 137],
      ["echo-request", 8, 128],
      ["router-advertisement", 9, 134],
      ["router-solicitation", 10, 133],
      ["time-exceeded", 11, 3],
      ["parameter-problem", 12, 4],
      ["experimental-mobility", 41, 150],
      ["extended-echo-request", 42, 160],
      ["extended-echo-reply", 43, 161],
    ],
  );
});

Deno.test("icmpKindIn: names mean the packet's own family, ICMPv6's numbers that one alone", () => {
  const cases: [Test, ipv4: unknown, ipv6: unknown][] = [
    [icmp(8), { type: 8, code: null }, { type: 128, code: null }],
    [icmp(8, 0), { type: 8, code: 0 }, { type: 128, code: 0 }], // codes without names
    [icmp(3, 3), { type: 3, code: 3 }, { type: 1, code: 4 }], // port-unreachable
    [icmp(3, 13), { type: 3, code: 13 }, { type: 1, code: 1 }], // … administratively prohibited
    [icmp(3, 4), { type: 3, code: 4 }, null], // fragmentation-needed
    [icmp(3, 200), { type: 3, code: 200 }, { type: 1, code: 200 }],
    [icmp(43, 1), { type: 43, code: 1 }, null], // of a name in IPv6 alone
    [icmp(13), { type: 13, code: null }, null], // timestamp-request
    [icmp(250), { type: 250, code: null }, null],
    [{ test: "icmpv6", type: 2, code: 0 }, null, { type: 2, code: 0 }],
  ];
  for (const [test, ipv4, ipv6] of cases) {
    const about = JSON.stringify(test satisfies Predicate);
    assert.deepEqual([icmpKindIn(test, 4), icmpKindIn(test, 6)], [ipv4, ipv6], about);
  }
});
