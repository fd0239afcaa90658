import assert from "node:assert/strict";
import { DROP, ECHO_REPLY, FORWARD, type Policy, type Predicate } from "../../src/tree/ast.ts";
import * as build from "../../src/tree/build.ts";
import { compile, newPositions } from "../../src/tree/compile.ts";
import { holds, walker } from "../../src/tree/walk.ts";
import { Pdu, STEP_A_TO_B, STEP_TRACK } from "../../src/wire/pdu.ts";
import { bindingsOf, REFUSED_BY_TRACK } from "./bindings.ts";

const { always, aToB, drop, dstAddrs, echo, filter, firstMatch, forward, policy } = build;
const { isEchoRequest, isTcp, isUdp, not, roundRobin, tcpDport, track } = build;

function pdu(fields: Partial<Pdu> = {}): Pdu {
  return Object.assign(new Pdu(), fields);
}

Deno.test("holds answers each question about a PDU", () => {
  const bindings = bindingsOf([5, -6], new Int32Array());
  const tcp80 = { protocol: 6, srcPort: 40_000, dstPort: 80, src: 5, dst: 9, icmpType: 8 };
  const echoRequest = { protocol: 1, icmpType: 8, srcPort: 80, dstPort: 80 };
  const cases: [Predicate, Partial<Pdu>, boolean][] = [
    [always, {}, true],
    [not(always), {}, false],
    [not(not(always)), {}, true],
    [isTcp, tcp80, true],
    [isUdp, tcp80, false],
    [build.src.oneOf(dstAddrs), tcp80, true],
    [build.dst.oneOf(dstAddrs), tcp80, false],
    [build.src.oneOf(dstAddrs), { src: -6 }, true],
    [build.src.oneOf(dstAddrs), { src: 6 }, false],
    [tcpDport.eq(80), tcp80, true],
    [tcpDport.eq(81), tcp80, false],
    [build.tcpSport.eq(40_000), tcp80, true],
    [build.udpDport.eq(80), tcp80, false],
    [tcpDport.eq(80), echoRequest, false],
    [isEchoRequest, echoRequest, true],
    [isEchoRequest, { protocol: 1, icmpType: 0 }, false],
    [isEchoRequest, tcp80, false],
  ];
  for (const [predicate, fields, expected] of cases) {
    assert.equal(holds(predicate, pdu(fields), bindings), expected, JSON.stringify(predicate));
  }
});

for (const [name, make] of [["walker", walker], ["compile", compile]] as const) {
  const evaluator = (p: Policy) => make(p, bindingsOf([], newPositions(p)));

  Deno.test(`${name} takes the first arm that holds, else the default decision`, () => {
    const tree = firstMatch([[isTcp, forward], [tcpDport.eq(80), drop], [isUdp, drop]]);
    const evaluate = evaluator(policy("echo-reply", tree));
    assert.equal(evaluate(pdu({ protocol: 6, dstPort: 80 })), FORWARD);
    assert.equal(evaluate(pdu({ protocol: 17 })), DROP);
    assert.equal(evaluate(pdu({ protocol: 1 })), ECHO_REPLY);
  });

  Deno.test(`${name} gives the default decision below an arm too, not the next arm`, () => {
    const tree = firstMatch([[isTcp, filter(tcpDport.eq(80), echo)], [always, forward]]);
    const evaluate = evaluator(policy("drop", tree));
    assert.equal(evaluate(pdu({ protocol: 6, dstPort: 81 })), DROP);
    assert.equal(evaluate(pdu({ protocol: 6, dstPort: 80 })), ECHO_REPLY);
    assert.equal(evaluate(pdu({ protocol: 17 })), FORWARD);
  });

  Deno.test(`${name} starts a round robin at its first branch and comes round`, () => {
    const evaluate = evaluator(policy("drop", roundRobin([drop, echo, forward])));
    const turns = Array.from({ length: 7 }, () => evaluate(pdu()));
    assert.deepEqual(turns, [DROP, ECHO_REPLY, FORWARD, DROP, ECHO_REPLY, FORWARD, DROP]);
  });

  Deno.test(`${name} turns a round robin only for PDUs that reach it, each on its own`, () => {
    const turns = roundRobin([drop, echo]);
    const evaluate = evaluator(policy("forward", firstMatch([[isTcp, turns], [isUdp, turns]])));
    const [tcp, udp, other] = [6, 17, 1].map((protocol) => pdu({ protocol }));
    const order = [tcp!, other!, udp!, tcp!, other!, udp!, tcp!];
    assert.deepEqual(order.map(evaluate), [
      ...[DROP, FORWARD, DROP],
      ...[ECHO_REPLY, FORWARD, ECHO_REPLY],
      DROP,
    ]);
  });

  Deno.test(`${name} of a round robin with one branch always takes it`, () => {
    const evaluate = evaluator(policy("drop", roundRobin([echo])));
    assert.deepEqual([evaluate(pdu()), evaluate(pdu())], [ECHO_REPLY, ECHO_REPLY]);
  });

  Deno.test(`${name} turns a round robin below a round robin at half the pace`, () => {
    const evaluate = evaluator(policy("drop", roundRobin([drop, roundRobin([echo, forward])])));
    const turns = Array.from({ length: 6 }, () => evaluate(pdu()));
    assert.deepEqual(turns, [DROP, ECHO_REPLY, DROP, FORWARD, DROP, ECHO_REPLY]);
  });

  Deno.test(`${name} does the steps on its way, and stops at one that refuses`, () => {
    const evaluate = evaluator(policy("drop", track(aToB(forward))));
    const cases: [number, number, number][] = [
      [0, FORWARD, STEP_TRACK | STEP_A_TO_B],
      [REFUSED_BY_TRACK, -7, 0],
      [REFUSED_BY_TRACK + 1, -8, STEP_TRACK],
    ];
    for (const [state, result, steps] of cases) {
      const refused = pdu({ state });
      assert.equal(evaluate(refused), result);
      assert.equal(refused.steps, steps);
    }
  });
}
