import assert from "node:assert/strict";
import {
  DROP,
  ECHO_REPLY,
  FORWARD,
  type Policy,
  type Predicate,
  REJECT,
} from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { compile } from "../../../src/policy/engine/compile.ts";
import { makePlan } from "../../../src/policy/engine/plan.ts";
import { holds, type Visitor, walker } from "../../../src/policy/engine/walk.ts";
import { parseAddress } from "../../../src/wire/address.ts";
import {
  FROM_B,
  type Pdu,
  STATE_ESTABLISHED,
  STATE_INVALID,
  STATE_NEW,
  STEP_A_TO_B,
  STEP_B_TO_A,
  STEP_TRACK,
} from "../../../src/wire/pdu.ts";
import { environmentOf, pduOf, REFUSALS, REFUSED_AT, visits } from "./environment.ts";

const {
  otherwise,
  translateAToB,
  translateBToA,
  drop,
  dstAddrs,
  echo,
  filter,
  firstMatch,
  forward,
  policy,
} = build;
const { isEchoRequest, isTcp, isUdp, not, inTurn, setTtl, tcpDport, track } = build;

Deno.test("holds answers each question about a PDU", () => {
  const environment = environmentOf({ dstAddrs: [5, -6] });
  const lists = { web: ["10.0.0.0/8", "$dst-addrs"], high: ["255.255.255.255", "128.0.0.0/1"] };
  const tcp80 = { protocol: 6, srcPort: 40_000, dstPort: 80, src: 5, dst: 9, icmpType: 8 };
  const echoRequest = { protocol: 1, icmpType: 8, srcPort: 80, dstPort: 80, tcpFlags: 2 };
  const unreachable = { protocol: 1, icmpType: 3, icmpCode: 1 };
  const ten = parseAddress("10.1.2.3");
  const isLong = build.customPredicate("long", (packet) => packet.length > 100);
  const cases: [Predicate, Partial<Pdu>, boolean][] = [
    [otherwise, {}, true],
    [not(otherwise), {}, false],
    [not(not(otherwise)), {}, true],
    [build.and(isTcp, otherwise, tcpDport.eq(80)), tcp80, true],
    [build.and(isTcp, tcpDport.eq(81)), tcp80, false],
    [build.or(isUdp, tcpDport.eq(80)), tcp80, true],
    [build.or(isUdp, tcpDport.eq(81)), tcp80, false],
    [isTcp, tcp80, true],
    [isUdp, tcp80, false],
    [build.protocol(0), {}, true],
    [build.protocol(255), { protocol: 255 }, true],
    [build.ipSrc.oneOf(dstAddrs), tcp80, true],
    [build.ipDst.oneOf(dstAddrs), tcp80, false],
    [build.ipSrc.oneOf(dstAddrs), { src: -6 }, true],
    [build.ipSrc.oneOf(dstAddrs), { src: 6 }, false],
    [build.ipSrc.eq("10.1.2.3"), { src: ten }, true],
    [build.ipSrc.eq("10.1.2.3"), { src: ten + 1 }, false],
    [build.ipDst.in("10.1.2.2/31"), { dst: ten }, true],
    [build.ipDst.in("10.1.2.0/31"), { dst: ten }, false],
    [build.ipDst.in("0.0.0.0/0"), { dst: -1 }, true],
    [build.ipSrc.oneOf("$web"), { src: ten }, true],
    [build.ipSrc.oneOf("$web"), { src: 5 }, true],
    [build.ipSrc.oneOf("$web"), { src: parseAddress("11.0.0.0") }, false],
    [build.ipSrc.oneOf("$high"), { src: -1 }, true],
    [build.ipSrc.oneOf("$high"), { src: -0x8000_0000 }, true],
    [build.ipSrc.oneOf("$high"), { src: 0x7fff_ffff }, false],
    [tcpDport.eq(80), tcp80, true],
    [tcpDport.eq(81), tcp80, false],
    [tcpDport.range(70, 80), tcp80, true],
    [tcpDport.range(81, 90), tcp80, false],
    [tcpDport.oneOf([22, [79, 81]]), tcp80, true],
    [build.tcpSport.eq(40_000), tcp80, true],
    [build.udpDport.eq(80), tcp80, false],
    [tcpDport.eq(80), echoRequest, false],
    [build.udpSport.eq(7), { protocol: 17, srcPort: 7 }, true],
    [build.tcpFlags(0x02, 0x10), { protocol: 6, tcpFlags: 0x02 }, true],
    [build.tcpFlags(0x02, 0x10), { protocol: 6, tcpFlags: 0xc2 }, true],
    [build.tcpFlags(0x02, 0x10), { protocol: 6, tcpFlags: 0x12 }, false],
    [build.tcpFlags(0x12, 0), { protocol: 6, tcpFlags: 0x02 }, false],
    [build.tcpFlags(0, 0x02), { protocol: 6, tcpFlags: 0x10 }, true],
    [build.tcpFlags(0x02, 0), echoRequest, false],
    [isEchoRequest, echoRequest, true],
    [isEchoRequest, { protocol: 1, icmpType: 0 }, false],
    [isEchoRequest, tcp80, false],
    [build.icmpType(3), unreachable, true],
    [build.icmpType(3, 1), unreachable, true],
    [build.icmpType(3, 0), unreachable, false],
    [build.icmpType(3, 0), { ...unreachable, icmpCode: 0 }, true],
    [build.icmpType(4, 1), unreachable, false],
    [build.ipLength.range(20, 28), { totalLength: 28 }, true],
    [build.ipLength.range(20, 28), { totalLength: 29 }, false],
    [build.ipTtl.oneOf([1, 64]), { ttl: 64 }, true],
    [build.ipTtl.oneOf([1, 64]), { ttl: 2 }, false],
    [build.isFragment, { fragment: 1 }, true],
    [build.isFragment, {}, false],
    [build.isNew, { state: STATE_NEW }, true],
    [build.isEstablished, { state: STATE_ESTABLISHED }, true],
    [build.isInvalid, { state: STATE_INVALID }, true],
    [build.isEstablished, { state: STATE_NEW }, false],
    [build.isInvalid, { state: STATE_ESTABLISHED }, false],
    [build.isInvalid, { state: STATE_INVALID, flow: 6 }, true],
    [build.isStray, { state: STATE_INVALID }, true],
    [build.isStray, { state: STATE_INVALID, flow: 0 }, false],
    [build.isStray, { state: STATE_INVALID, flow: 7 }, false],
    [build.isStray, { state: STATE_NEW }, false],
    [build.isStray, { state: STATE_ESTABLISHED }, false],
    [build.fromSide("a"), {}, true],
    [build.fromSide("a"), { side: FROM_B }, false],
    [build.fromSide("b"), { side: FROM_B }, true],
    [build.fromSide("b"), {}, false],
    [isLong, { totalLength: 101 }, true],
    [isLong, { totalLength: 100 }, false],
  ];
  for (const [predicate, fields, expected] of cases) {
    const plan = makePlan(policy("drop", filter(predicate, forward), { lists }), environment);
    const what = `${JSON.stringify(predicate)} of ${JSON.stringify(fields)}`;
    assert.equal(holds(predicate, pduOf(fields), plan), expected, what);
    const decision = expected ? FORWARD : DROP;
    assert.equal(walker(plan)(pduOf(fields)), decision, what);
    assert.equal(compile(plan)(pduOf(fields)), decision, what);
  }
});

for (const [name, make] of [["walker", walker], ["compile", compile]] as const) {
  const evaluator = (p: Policy) => make(makePlan(p, environmentOf()));

  Deno.test(`${name} gives every decision its number`, () => {
    const decisions = [["drop", DROP], ["forward", FORWARD], ["echo-reply", ECHO_REPLY]] as const;
    for (const [decision, number] of [...decisions, ["reject", REJECT] as const]) {
      assert.equal(evaluator(policy("drop", build.decide(decision, "x")))(pduOf()), number);
      assert.equal(evaluator(policy(decision, filter(not(otherwise), drop)))(pduOf()), number);
    }
  });

  Deno.test(`${name} takes the first arm that holds, else the default decision`, () => {
    const tree = firstMatch([[isTcp, forward], [tcpDport.eq(80), drop], [isUdp, drop]]);
    const evaluate = evaluator(policy("echo-reply", tree));
    assert.equal(evaluate(pduOf({ protocol: 6, dstPort: 80 })), FORWARD);
    assert.equal(evaluate(pduOf({ protocol: 17 })), DROP);
    assert.equal(evaluate(pduOf({ protocol: 1 })), ECHO_REPLY);
  });

  Deno.test(`${name} gives the default decision below an arm too, not the next arm`, () => {
    const tree = firstMatch([[isTcp, filter(tcpDport.eq(80), echo)], [otherwise, forward]]);
    const evaluate = evaluator(policy("drop", tree));
    assert.equal(evaluate(pduOf({ protocol: 6, dstPort: 81 })), DROP);
    assert.equal(evaluate(pduOf({ protocol: 6, dstPort: 80 })), ECHO_REPLY);
    assert.equal(evaluate(pduOf({ protocol: 17 })), FORWARD);
  });

  Deno.test(`${name} turns a round robin only for PDUs that reach it, each place on its own`, () => {
    const turns = inTurn([drop, echo]);
    const evaluate = evaluator(policy("forward", firstMatch([[isTcp, turns], [isUdp, turns]])));
    const [tcp, udp, other] = [6, 17, 1].map((protocol) => pduOf({ protocol }));
    const order = [tcp!, other!, udp!, tcp!, other!, udp!, tcp!];
    assert.deepEqual(order.map(evaluate), [
      ...[DROP, FORWARD, DROP],
      ...[ECHO_REPLY, FORWARD, ECHO_REPLY],
      DROP,
    ]);
  });

  Deno.test(`${name} turns a round robin below a round robin at half the pace`, () => {
    const evaluate = evaluator(policy("drop", inTurn([drop, inTurn([echo, forward])])));
    const turns = Array.from({ length: 6 }, () => evaluate(pduOf()));
    assert.deepEqual(turns, [DROP, ECHO_REPLY, DROP, FORWARD, DROP, ECHO_REPLY]);
  });

  Deno.test(`${name} takes the default decision where a limit or a user's selector chooses none`, () => {
    const chosen = [0, 1, 2, -1];
    const tree = build.customSelector("next", () => chosen.shift()!, [
      build.limit({ perSecond: 1, burst: 1 }, echo),
      drop,
    ]);
    const plan = makePlan(policy("forward", tree), environmentOf());
    const evaluate = make(plan);
    const found = Array.from({ length: 4 }, () => {
      const pdu = pduOf();
      return [evaluate(pdu), pdu.exit];
    });
    assert.deepEqual(found, [[ECHO_REPLY, 2], [DROP, 3], [FORWARD, 0], [FORWARD, 0]]);
    chosen.push(0);
    const limited = pduOf();
    assert.deepEqual([evaluate(limited), limited.exit], [FORWARD, 1]);
    assert.deepEqual([...plan.exits], [2, 1, 1, 1]);
  });

  Deno.test(`${name} does the steps on its way, and stops at one that refuses`, () => {
    const environment = environmentOf();
    const tree = track(
      setTtl(9, translateAToB(translateBToA(forward), "by hash"), { raise: true }),
    );
    const plan = makePlan(policy("drop", tree), environment);
    const evaluate = make(plan);
    const all = ["track", "setTtl 9 raise", "translateAToB by hash", "translateBToA"];
    const cases: [number, number, number, number][] = [
      // refused step, result, steps, node
      [0, FORWARD, STEP_TRACK | STEP_A_TO_B | STEP_B_TO_A, 4],
      [1, REFUSALS.track, 0, 0],
      [2, REFUSALS.setTtl, STEP_TRACK, 1],
      [3, REFUSALS.translateAToB, STEP_TRACK, 2],
      [4, REFUSALS.translateBToA, STEP_TRACK | STEP_A_TO_B, 3],
    ];
    for (const [refused, result, steps, exit] of cases) {
      environment.asked.length = 0;
      const pdu = pduOf({ seq: refused * REFUSED_AT });
      assert.equal(evaluate(pdu), result);
      assert.deepEqual([pdu.steps, pdu.exit], [steps, exit]);
      assert.equal(pdu.newTtl, refused === 1 || refused === 2 ? 0 : 9);
      assert.deepEqual(environment.asked, refused === 0 ? all : all.slice(0, refused));
    }
    assert.deepEqual([...plan.exits], [1, 1, 1, 1, 1]);
  });

  Deno.test(`${name} counts each PDU once, at the node where it ended`, () => {
    const tree = firstMatch([
      [isTcp, filter(tcpDport.eq(80), forward)], // 1, 2
      [isUdp, inTurn([drop, echo])], // 3: 4, 5
    ]);
    const plan = makePlan(policy("drop", tree), environmentOf());
    const evaluate = make(plan);
    const ends = (fields: Partial<Pdu>): number => {
      const pdu = pduOf(fields);
      evaluate(pdu);
      return pdu.exit;
    };
    assert.equal(ends({ protocol: 6, dstPort: 80 }), 2);
    assert.equal(ends({ protocol: 6, dstPort: 81 }), 1);
    assert.equal(ends({ protocol: 1 }), 0);
    assert.deepEqual([17, 17, 17].map((protocol) => ends({ protocol })), [4, 5, 4]);
    assert.deepEqual([...plan.exits], [1, 1, 1, 0, 2, 1]);
    assert.deepEqual([...visits(plan)], [6, 2, 1, 3, 2, 1]);
  });

  Deno.test(`${name} takes what a user's predicate throws for false, and tells it once`, () => {
    const environment = environmentOf();
    const throws = build.customPredicate("throws", () => {
      throw new Error("of the user");
    });
    const odd = build.customPredicate("odd", (pdu) => (Number(pdu.src) & 1) as unknown as boolean);
    const tree = firstMatch([[throws, drop], [odd, forward], [not(throws), echo]]);
    const evaluate = make(makePlan(policy("drop", tree), environment));
    assert.equal(evaluate(pduOf({ src: 1 })), ECHO_REPLY, "1 is not true");
    assert.equal(evaluate(pduOf({ src: 2 })), ECHO_REPLY);
    assert.deepEqual(environment.failed, ["throws"]);
  });
}

Deno.test("walker tells a visitor all that it does, in order", () => {
  const tree = firstMatch([[isTcp, drop], [
    otherwise,
    track(inTurn([translateAToB(forward), echo])),
  ]]);
  const told: string[] = [];
  const visitor: Visitor = {
    enter: ({ number, tree: { node } }) => told.push(`enter ${number} ${node}`),
    asked: ({ number }, index, predicate, value) =>
      told.push(`asked ${number}.${index} ${predicate.test} ${value}`),
    chose: ({ number }, index) => told.push(`chose ${number}.${index}`),
    stepped: ({ number }, reason) => told.push(`stepped ${number} ${reason}`),
  };
  const plan = makePlan(policy("drop", tree), environmentOf());
  const evaluate = walker(plan, visitor);
  evaluate(pduOf({ seq: 2 * REFUSED_AT }));
  assert.deepEqual(told.splice(0), [
    "enter 0 first-match",
    "asked 0.0 protocol false",
    "asked 0.1 always true",
    "chose 0.1",
    "enter 2 track",
    "stepped 2 0",
    "enter 3 balance",
    "chose 3.0",
    "enter 4 translate-a-to-b",
    `stepped 4 ${REFUSALS.translateAToB}`,
  ]);
  const quiet = walker(makePlan(policy("drop", filter(isTcp, drop)), environmentOf()), visitor);
  quiet(pduOf());
  assert.deepEqual(told, ["enter 0 filter", "asked 0.0 protocol false", "chose 0.-1"]);
});
