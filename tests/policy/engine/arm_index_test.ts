import assert from "node:assert/strict";
import { finish } from "../../../src/core/slices.ts";
import { below, SeededRandom } from "../../../src/core/random.ts";
import { findArm, findArm6, indexable, writeArms } from "../../../src/policy/engine/arm_index.ts";
import type { Family, Predicate } from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { NOWHERE } from "../../../src/policy/engine/interval_map.ts";
import { NumberWriter } from "../../../src/policy/engine/number_writer.ts";
import { makePlan, type Plan } from "../../../src/policy/engine/plan.ts";
import { holds } from "../../../src/policy/engine/walk.ts";
import { formatAddress, maskOf } from "../../../src/wire/address.ts";
import {
  addressOfWords,
  formatHostSubnet,
  hostSubnetOf,
  wordsOf,
} from "../../../src/wire/host_address.ts";
import { OVER_IPV6, type Pdu } from "../../../src/wire/pdu.ts";
import { environmentOf, pduOf } from "./environment.ts";

const DST_ADDRS = [7, -3];

/** A plan for its lists alone. */
function planOf(lists: Record<string, string[]> = {}): Plan {
  const environment = environmentOf({ dstAddrs: DST_ADDRS, isIpv6On: true });
  return makePlan(build.policy("drop", build.drop, { lists }), environment);
}

/** The naive twin: one predicate after the other. */
function scan(predicates: readonly Predicate[], pdu: Pdu, plan: Plan): number {
  const found = predicates.findIndex((predicate) => holds(predicate, pdu, plan));
  return found < 0 ? NOWHERE : found;
}

function indexOf(
  predicates: readonly Predicate[],
  plan: Plan,
  family: Family = 4,
): { find: (pdu: Pdu) => number } {
  const writer = new NumberWriter();
  const at = finish(writeArms(writer, predicates, plan, family));
  const find = family === 6 ? findArm6 : findArm;
  return { find: (pdu) => find(writer.numbers, at, pdu) };
}

Deno.test("indexable is a test of one address or port, and nothing else", () => {
  const yes = [
    build.ipSrc.eq("1.2.3.4"),
    build.ipDst.in("1.0.0.0/8"),
    build.ipSrc.oneOf("$dst-addrs"),
  ];
  const ports = [build.tcpDport, build.tcpSport, build.udpDport, build.udpSport];
  for (const one of [...yes, ...ports.map((port) => port.eq(1))]) assert.ok(indexable(one));
  const no = [
    ...[build.otherwise, build.isTcp, build.isEchoRequest, build.isNew, build.isFragment],
    ...[build.not(yes[0]!), build.and(yes[0]!, yes[1]!), build.or(yes[0]!, yes[1]!)],
    ...[build.ipTtl.eq(1), build.ipLength.eq(1), build.fromSide("a"), build.tcpFlags(2, 0)],
    build.customPredicate("x", () => true),
  ];
  for (const one of no) assert.ok(!indexable(one), one.test);
});

Deno.test("findArm finds the first arm that holds, whatever field it asks for", () => {
  const plan = planOf({ web: ["10.0.0.0/8", "$dst-addrs"] });
  const predicates = [
    build.tcpDport.eq(80), // 0
    build.ipSrc.in("10.0.0.0/8"), // 1
    build.udpDport.oneOf([53, [60, 70]]), // 2
    build.ipDst.eq("10.0.0.1"), // 3
    build.tcpSport.range(1000, 2000), // 4
    build.ipSrc.oneOf("$dst-addrs"), // 5
    build.ipDst.oneOf("$web"), // 6
    build.tcpDport.range(0, 65_535), // 7
    build.ipSrc.in("0.0.0.0/0"), // 8
  ];
  const index = indexOf(predicates, plan);
  const [ten, other] = [0x0a00_0001, 0x0b00_0001];
  const cases: [string, Partial<Pdu>, number][] = [
    ["a port before an address", { protocol: 6, dstPort: 80, src: ten }, 0],
    ["an address before a range", { protocol: 6, dstPort: 81, srcPort: 1500, src: ten }, 1],
    ["a UDP port", { protocol: 17, dstPort: 65, src: other }, 2],
    ["the same number as TCP port", { protocol: 6, dstPort: 65, src: other }, 7],
    ["another protocol's stale ports", { protocol: 1, dstPort: 80, src: other }, 8],
    ["the destination", { protocol: 1, src: other, dst: ten }, 3],
    ["a source port", { protocol: 6, srcPort: 2000, src: other }, 4],
    ["a backend", { protocol: 1, src: -3 }, 5],
    ["a list in a list", { protocol: 1, src: other, dst: -3 }, 6],
  ];
  for (const [what, fields, expected] of cases) {
    const pdu = pduOf(fields);
    assert.equal(index.find(pdu), expected, what);
    assert.equal(scan(predicates, pdu, plan), expected, what);
  }
  assert.equal(
    indexOf(predicates.slice(0, 7), plan).find(pduOf({ src: 1 })),
    NOWHERE,
  );
  assert.equal(indexOf([], plan).find(pduOf()), NOWHERE);
});

Deno.test("findArm takes a list without addresses for one that never holds", () => {
  const plan = makePlan(build.policy("drop", build.drop), environmentOf());
  const index = indexOf([build.ipSrc.oneOf("$dst-addrs"), build.ipDst.eq("0.0.0.0")], plan);
  assert.equal(index.find(pduOf()), 1);
});

Deno.test("findArm agrees with a scan, for arms that overlap in every way", () => {
  let found = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const random = new SeededRandom(seed);
    const pick = <Item>(items: readonly Item[]): Item => items[below(random, items.length)]!;
    const plan = planOf({ web: ["0.0.0.0/29", "128.0.0.4"] });
    const address = () => (pick([0, -0x8000_0000, 0x7fff_fff0, -16]) + below(random, 16)) | 0;
    const network = () => {
      const length = pick([32, 32, 31, 30, 28, 1, 0]);
      return `${formatAddress(address() & maskOf(length))}/${length}`;
    };
    const ports = (): (number | [number, number])[] =>
      Array.from({ length: 1 + below(random, 3) }, () => {
        const first = below(random, 60);
        return pick([first, first, [first, first + below(random, 30)] as [number, number]]);
      });
    const fields = [build.tcpDport, build.tcpSport, build.udpDport, build.udpSport];
    const predicates = Array.from({ length: below(random, 120) }, () => {
      if (below(random, 2) === 0) return pick(fields).oneOf(ports());
      const terms = Array.from({ length: 1 + below(random, 3) }, network);
      return pick([build.ipSrc, build.ipDst]).oneOf(below(random, 20) > 0 ? terms : "$web");
    });
    const index = indexOf(predicates, plan);
    for (let i = 0; i < 300; i++) {
      const pdu = pduOf({
        protocol: pick([1, 6, 6, 17, 17, 47]),
        src: address(),
        dst: address(),
        srcPort: below(random, 95),
        dstPort: below(random, 95),
      });
      const expected = scan(predicates, pdu, plan);
      if (expected !== NOWHERE) found++;
      assert.equal(index.find(pdu), expected, `seed ${seed}, PDU ${i}`);
    }
  }
  assert.ok(found > 10_000, `${found}`);
});

Deno.test("findArm6 agrees with a scan, for arms of both families that overlap in every way", () => {
  let found = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const random = new SeededRandom(seed);
    const pick = <Item>(items: readonly Item[]): Item => items[below(random, items.length)]!;
    const plan = planOf({ web: ["0.0.0.0/29", "2001:db8::/124"] });
    const address = () =>
      addressOfWords(Int32Array.of(
        pick([0x2001_0db8, 0, -1]),
        pick([0, -1]),
        pick([0, -0x8000_0000]),
        pick([0, -16]) + below(random, 16),
      ));
    const network = () => formatHostSubnet(hostSubnetOf(address(), pick([128, 128, 127, 96, 1])));
    const fields = [build.tcpDport, build.tcpSport, build.udpDport, build.udpSport];
    const predicates = Array.from({ length: below(random, 120) }, () => {
      if (below(random, 3) === 0) return pick(fields).eq(below(random, 60));
      const terms = Array.from(
        { length: 1 + below(random, 3) },
        () => pick([network, () => "10.0.0.1"])(),
      );
      return pick([build.ipSrc, build.ipDst]).oneOf(below(random, 20) > 0 ? terms : "$web");
    });
    const index = indexOf(predicates, plan, 6);
    for (let i = 0; i < 300; i++) {
      const [srcPort, dstPort] = [below(random, 95), below(random, 95)];
      const pdu = pduOf({ protocol: OVER_IPV6 | pick([6, 6, 17, 58]), srcPort, dstPort, src: 1 });
      pdu.addresses.set([...wordsOf(address()), ...wordsOf(address())]);
      const expected = scan(predicates, pdu, plan);
      if (expected !== NOWHERE) found++;
      assert.equal(index.find(pdu), expected, `seed ${seed}, PDU ${i}`);
    }
  }
  assert.ok(found > 5000, `${found}`);
});
