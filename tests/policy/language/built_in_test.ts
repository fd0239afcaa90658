import assert from "node:assert/strict";
import { DROP, ECHO_REPLY, FORWARD } from "../../../src/policy/language/ast.ts";
import { compile } from "../../../src/policy/engine/compile.ts";
import { demo } from "../../../src/policy/language/built_in.ts";
import { makePlan } from "../../../src/policy/engine/plan.ts";
import { walker } from "../../../src/policy/engine/walk.ts";
import { parseAddress } from "../../../src/wire/address.ts";
import { Pdu } from "../../../src/wire/pdu.ts";
import { STEP_A_TO_B, STEP_B_TO_A, STEP_TRACK } from "../../../src/wire/pdu.ts";
import { environmentOf } from "../engine/environment.ts";

const CLIENT = parseAddress("192.168.0.254");
const BACKENDS = ["192.168.0.1", "192.168.0.2"].map(parseAddress);

function end(decision: string): unknown {
  return { node: "decide", decision, label: null };
}

Deno.test("demo is the policy of the demo, node for node", () => {
  assert.deepEqual(demo, {
    default: "drop",
    pools: {},
    lists: {},
    subtrees: {},
    next: {
      node: "first-match",
      arms: [
        {
          when: { test: "not", of: { test: "address", field: "src", in: [{ list: "dst-addrs" }] } },
          then: {
            node: "first-match",
            arms: [
              {
                when: { test: "protocol", number: 1 },
                then: {
                  node: "filter",
                  when: { test: "icmp", type: 8, code: null },
                  then: {
                    node: "balance",
                    by: "in turn",
                    per: "pdu",
                    branches: [
                      { weight: 1, then: end("drop") },
                      { weight: 1, then: { node: "track", then: end("echo-reply") } },
                    ],
                  },
                },
              },
              {
                when: { test: "protocol", number: 6 },
                then: {
                  node: "first-match",
                  arms: [
                    {
                      when: {
                        test: "port",
                        protocol: 6,
                        field: "dstPort",
                        in: [{ first: 80, last: 80 }],
                      },
                      then: end("drop"),
                    },
                    {
                      when: { test: "always" },
                      then: {
                        node: "translate-a-to-b",
                        pool: "dst-addrs",
                        port: 0,
                        backend: "at random",
                        then: end("forward"),
                      },
                    },
                  ],
                },
              },
            ],
          },
        },
        {
          when: { test: "always" },
          then: { node: "translate-b-to-a", then: end("forward") },
        },
      ],
    },
  });
});

for (const [name, make] of [["walker", walker], ["compile", compile]] as const) {
  const fields = (changes: Partial<Pdu>) => Object.assign(new Pdu(), { src: CLIENT, ...changes });
  const ping = () => fields({ protocol: 1, icmpType: 8 });

  Deno.test(`${name} of demo answers 9 of 18 pings, those with an even number`, () => {
    const evaluate = make(makePlan(demo, environmentOf({ dstAddrs: BACKENDS })));
    const answered: number[] = [];
    for (let seq = 1; seq <= 18; seq++) if (evaluate(ping()) === ECHO_REPLY) answered.push(seq);
    assert.deepEqual(answered, [2, 4, 6, 8, 10, 12, 14, 16, 18]);
  });

  Deno.test(`${name} of demo has one turn for all clients`, () => {
    const evaluate = make(makePlan(demo, environmentOf({ dstAddrs: BACKENDS })));
    const other = fields({ protocol: 1, icmpType: 8, src: CLIENT - 1 });
    assert.deepEqual([ping(), other, ping(), other].map(evaluate), [
      DROP,
      ECHO_REPLY,
      DROP,
      ECHO_REPLY,
    ]);
  });

  Deno.test(`${name} of demo decides all else as the demo does`, () => {
    const cases: [string, Partial<Pdu>, number, number][] = [
      ["an echo reply", { protocol: 1, icmpType: 0 }, DROP, 0],
      ["an ICMP error", { protocol: 1, icmpType: 3 }, DROP, 0],
      ["TCP to port 80", { protocol: 6, dstPort: 80 }, DROP, 0],
      ["TCP to port 81", { protocol: 6, dstPort: 81 }, FORWARD, STEP_A_TO_B],
      ["TCP from port 80", { protocol: 6, srcPort: 80, dstPort: 22 }, FORWARD, STEP_A_TO_B],
      ["UDP to port 80", { protocol: 17, dstPort: 80 }, DROP, 0],
      ["another protocol", { protocol: 47 }, DROP, 0],
      ["TCP from a backend", { protocol: 6, src: BACKENDS[1]! }, FORWARD, STEP_B_TO_A],
      [
        "TCP from a backend to port 80",
        { protocol: 6, src: BACKENDS[0]!, dstPort: 80 },
        FORWARD,
        STEP_B_TO_A,
      ],
      ["a backend's ping", { protocol: 1, icmpType: 8, src: BACKENDS[0]! }, FORWARD, STEP_B_TO_A],
      ["UDP from a backend", { protocol: 17, src: BACKENDS[0]! }, FORWARD, STEP_B_TO_A],
    ];
    const evaluate = make(makePlan(demo, environmentOf({ dstAddrs: BACKENDS })));
    for (const [what, changes, decision, steps] of cases) {
      const pdu = fields(changes);
      assert.equal(evaluate(pdu), decision, what);
      assert.equal(pdu.steps, steps, what);
    }
  });

  Deno.test(`${name} of demo tracks a ping that it answers`, () => {
    const evaluate = make(makePlan(demo, environmentOf({ dstAddrs: BACKENDS })));
    const [first, second] = [ping(), ping()];
    evaluate(first);
    evaluate(second);
    assert.deepEqual([first.steps, second.steps], [0, STEP_TRACK]);
  });
}
