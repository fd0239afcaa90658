/** What a family settles, and what a policy then says of packets of either. */
import assert from "node:assert/strict";
import { finish } from "../../../src/core/slices.ts";
import { textAt } from "../../../src/core/texts.ts";
import { compile, compileInSlices } from "../../../src/policy/engine/compile.ts";
import { familyOf, inFamily, NEVER, protocolIn } from "../../../src/policy/engine/family.ts";
import { makePlan } from "../../../src/policy/engine/plan.ts";
import { walker } from "../../../src/policy/engine/walk.ts";
import {
  type Family,
  type Policy,
  type Predicate,
  REJECT,
} from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { demo } from "../../../src/policy/language/built_in.ts";
import { parse } from "../../../src/policy/notation/parse.ts";
import { printPredicate } from "../../../src/policy/printing/print.ts";
import { parseHostAddress, wordsOf } from "../../../src/wire/host_address.ts";
import { OVER_IPV6, type Pdu } from "../../../src/wire/pdu.ts";
import { environmentOf, pduOf } from "./environment.ts";

const { isIpv4, isIpv6, isTcp, not, and, or, ipSrc, otherwise } = build;

function text(predicate: Predicate): string {
  return predicate === NEVER ? "never" : printPredicate(predicate);
}

/** A PDU of IPv6. */
function pdu6(fields: Partial<Pdu> & { from?: string; to?: string } = {}): Pdu {
  const { from = "2001:db8::fe", to = "2001:db8::64", ...others } = fields;
  const pdu = pduOf({ protocol: 6 | OVER_IPV6, src: 1, dst: 2, ...others });
  pdu.addresses.set(wordsOf(parseHostAddress(from) as bigint), 0);
  pdu.addresses.set(wordsOf(parseHostAddress(to) as bigint), 4);
  return pdu;
}

Deno.test("familyOf and protocolIn: IPv6 has numbers of its own, and ICMP is ICMPv6 there", () => {
  assert.deepEqual([pduOf({ protocol: 132 }), pdu6()].map(familyOf), [4, 6]);
  assert.deepEqual([1, 6, 58].map((n) => protocolIn(4, n)), [1, 6, 58]);
  assert.deepEqual([1, 6, 58].map((n) => protocolIn(6, n) & ~OVER_IPV6), [58, 6, 58]);
});

Deno.test("inFamily leaves out what the family settles", () => {
  const cases: [Predicate, ipv4: string, ipv6: string][] = [
    [isIpv4, "otherwise", "never"],
    [isIpv6, "never", "otherwise"],
    [not(isIpv6), "otherwise", "never"],
    [and(isIpv6, isTcp), "never", "tcp"],
    [and(isIpv4, isIpv4), "otherwise", "never"],
    [or(isIpv6, isTcp), "tcp", "otherwise"],
    [or(isIpv6, not(isIpv4)), "never", "otherwise"],
    [not(and(isIpv4, isTcp)), "not tcp", "otherwise"],
    [ipSrc.eq("10.0.0.1"), "ip.src = 10.0.0.1", "never"],
    [ipSrc.in("2001:db8::/32"), "never", "ip.src in 2001:db8::/32"],
    [build.icmpType(13), "timestamp-request", "never"],
    [build.icmpv6Type(2), "never", "packet-too-big"],
  ];
  for (const [predicate, ipv4, ipv6] of cases) {
    const found = [4, 6].map((family) => text(inFamily(predicate, family as Family)));
    assert.deepEqual(found, [ipv4, ipv6], printPredicate(predicate));
  }
});

Deno.test("inFamily gives the predicate itself where the family settles nothing", () => {
  const mixed = ipSrc.oneOf(["10.0.0.1", "2001:db8::1"]);
  const same = [otherwise, isTcp, mixed, and(isTcp, mixed), not(or(isTcp, build.isEchoRequest))];
  for (const family of [4, 6] as const) {
    for (const predicate of same) assert.equal(inFamily(predicate, family), predicate);
  }
});

Deno.test("compile asks no packet for its family", () => {
  const policy = build.policy(
    "drop",
    build.firstMatch([
      [and(isIpv6, build.tcpDport.eq(25)), build.reject],
      [isIpv4, build.forward],
      [otherwise, build.drop],
    ]),
  );
  const plan = makePlan(policy, environmentOf({ isIpv6On: true }));
  const [ipv4, ipv6] = [4, 6].map((family) => {
    const { texts } = finish(compileInSlices(plan, family as Family)).code;
    return textAt(texts, 0);
  });
  assert.ok(!ipv4!.includes("protocol") && !ipv4!.includes("return 3"), ipv4);
  assert.ok(ipv6!.includes(`p.protocol === ${6 | OVER_IPV6} && (p.dstPort === 25)`), ipv6);
  assert.ok(!ipv6!.includes("return 1"), ipv6);
});

/** What becomes of PDUs by both ways of running a policy. */
function outcomes(policy: Policy, pdus: readonly Pdu[]): number[] {
  return pdus.map((pdu) => {
    const [one, other] = [1, 2].map(() => makePlan(policy, environmentOf({ isIpv6On: true })));
    const found = compile(one!, familyOf(pdu))(pdu);
    assert.equal(walker(other!)(pdu), found);
    assert.deepEqual(one!.exits, other!.exits);
    return found;
  });
}

Deno.test("a policy sees whole addresses of IPv6, and none of IPv4 there", () => {
  const { policy } = parse(
    `default drop
define $office = 10.0.0.0/8, 2001:db8:0:1::/64
ip.src = 2001:db8::1                                             -> reject
ip.src in $office                                                -> reject
ip.dst in {2001:db8::a, 2001:db8::b, 2001:db8::c, 2001:db8::d, ::} -> reject
ip.src in 0.0.0.0/0                                              -> drop
`,
    { file: "test" },
  );
  const pdus = [
    pdu6({ from: "2001:db8::1" }),
    pdu6({ from: "2001:db8::1:1" }),
    pdu6({ from: "2001:db8:0:1:ffff:ffff:ffff:ffff" }),
    pdu6({ from: "2001:db8:0:2::" }),
    pdu6({ to: "2001:db8::d" }),
    pdu6({ to: "2001:db8::e" }),
    pdu6({ src: 0x0a00_0001 }), // a digest
    pduOf({ src: 0x0a00_0001, protocol: 6 }),
  ];
  const rejected = outcomes(policy!, pdus).map((outcome) => outcome === REJECT);
  assert.deepEqual(rejected, [true, false, true, false, true, false, false, true]);
});

Deno.test("$dst-addrs and pools have members of either family", () => {
  const policy = build.policy(
    "drop",
    build.filter(ipSrc.oneOf(["$dst-addrs", "$web"]), build.reject),
    { pools: { web: ["10.0.0.1", "2001:db8::5"] } },
  );
  const dstAddrs = ["10.0.0.2", "2001:db8::6"].map(parseHostAddress);
  const plan = makePlan(policy, environmentOf({ dstAddrs, isIpv6On: true }));
  const run = compile(plan, 6);
  const found = ["2001:db8::5", "2001:db8::6", "2001:db8::7"].map((from) => run(pdu6({ from })));
  assert.deepEqual(found, [REJECT, REJECT, 0]);
});

Deno.test("hundreds of arms that ask for addresses of either family are looked up", () => {
  const arms = Array.from({ length: 400 }, (_, i) =>
    [
      ipSrc.eq(i % 2 === 0 ? `10.0.${i >> 8}.${i & 255}` : `2001:db8::${i.toString(16)}`),
      build.decide("reject", `rule ${i}`),
    ] as const);
  const plan = makePlan(
    build.policy("drop", build.firstMatch(arms)),
    environmentOf({ isIpv6On: true }),
  );
  for (const family of [4, 6] as const) {
    const { code } = finish(compileInSlices(plan, family));
    const length = Array.from({ length: code.texts.ends.length }, (_, i) => textAt(code.texts, i))
      .reduce((sum, { length }) => sum + length, 0);
    assert.ok(length < 1000, `${length} characters`);
  }
  const run = compile(plan, 6);
  const pdu = pdu6({ from: "2001:db8::11" });
  assert.equal(run(pdu), REJECT);
  assert.equal(pdu.exit, 0x11 + 1);
  assert.equal(run(pdu6({ from: "2001:db8::12" })), 0);
});

Deno.test("tens of thousands of arms of the other family are passed over once", () => {
  const arms = Array.from(
    { length: 30_000 },
    (_, i) => [ipSrc.eq(`10.0.${i >> 8}.${i & 255}`), build.drop] as const,
  );
  const environment = environmentOf({ isIpv6On: true });
  const plan = makePlan(build.policy("drop", build.firstMatch(arms)), environment);
  let steps = 0;
  for (const work = compileInSlices(plan, 6); work.next().done !== true;) steps++;
  assert.ok(steps < 1000, `${steps}`); // one for some hundred arms
});

Deno.test("the built-in policy answers every other ping over either family, by one counter", () => {
  const plan = makePlan(demo, environmentOf({ isIpv6On: true }));
  const [run, run6] = [compile(plan), compile(plan, 6)];
  const ping = () => pduOf({ protocol: 1, icmpType: 8 });
  const ping6 = () => pdu6({ protocol: 58 | OVER_IPV6, icmpType: 128 });
  const answers = [run6(ping6()), run6(ping6()), run(ping()), run6(ping6()), run(ping())];
  assert.deepEqual(answers, [0, 2, 0, 2, 0]);
  assert.equal(run6(pdu6({ protocol: 58 | OVER_IPV6, icmpType: 8 })), 0);
  assert.equal(run6(pdu6({ dstPort: 80 })), 0);
  assert.equal(run6(pdu6({ dstPort: 2000 })), 1);
});
