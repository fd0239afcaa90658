import assert from "node:assert/strict";
import type { PickMethod, Policy, Tree } from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { compile } from "../../../src/policy/engine/compile.ts";
import { footprintOf, formatBytes } from "../../../src/policy/engine/footprint.ts";
import { adopt } from "../../../src/policy/engine/adopt.ts";
import { makePlan, MAX_BYTES } from "../../../src/policy/engine/plan.ts";
import { MAX_NODES } from "../../../src/policy/language/limits.ts";
import { walker } from "../../../src/policy/engine/walk.ts";
import { arrayBytes } from "../../support/array_bytes.ts";
import { environmentOf, pduOf } from "./environment.ts";

const { otherwise, drop, echo, firstMatch, forward, limit, policy, inTurn, use } = build;

const MIB = 2 ** 20;

const perSource = limit({ perSecond: 5, burst: 5, per: "source" }, forward);
const perConnection = inTurn([drop, echo], { per: "connection" });

/** `leaf` 2 ** levels times: which one counts, the bits of the TTL say. */
function doubled(leaf: Tree, levels: number): Policy {
  const subtrees: Record<string, Tree> = { x0: leaf };
  for (let i = 1; i <= levels; i++) {
    const before = use(`x${i - 1}`);
    subtrees[`x${i}`] = firstMatch([[build.ipTtl.eq(i & 255), before], [otherwise, before]]);
  }
  return policy("drop", use(`x${levels}`), { subtrees });
}

for (const [name, make] of [["walker", walker], ["compile", compile]] as const) {
  Deno.test(`limits per source hold one table, thousands of them, run by ${name}`, () => {
    const environment = environmentOf({ maxLimitSources: 262_144 });
    const bytes = arrayBytes(() => {
      let plan = makePlan(doubled(perSource, 11), environment);
      assert.equal(plan.nodes.filter(({ tree }) => tree.node === "limit").length, 2048);
      for (let reload = 0; reload < 3; reload++) {
        const next = makePlan(doubled(perSource, 11), environment);
        adopt(next, plan);
        plan = next;
        const evaluate = make(plan);
        const pdu = pduOf();
        for (let i = 0; i < 100_000; i++) {
          pdu.src = i;
          pdu.ttl = i % 12;
          evaluate(pdu);
        }
      }
    });
    assert.ok(bytes >= 4 * MIB && bytes < 5 * MIB, `${bytes} bytes`);
  });

  Deno.test(`limits per source are as large as is said, and none without a limit, by ${name}`, () => {
    const bytesOf = (tree: Tree) => {
      const environment = environmentOf({ maxLimitSources: 4096 });
      return arrayBytes(() => make(makePlan(policy("drop", tree), environment))(pduOf()));
    };
    const without = bytesOf(limit({ perSecond: 1, burst: 1 }, drop));
    assert.ok(without < 4096, `${without} bytes of counters and of what is compiled`);
    const held = bytesOf(perSource) - without;
    assert.ok(
      held >= 4096 * 16 && held <= environmentOf({ maxLimitSources: 4096 }).sourceLimits.maxBytes,
    );
  });
}

Deno.test("footprintOf is what a plan takes or more, and not many times as much", () => {
  const of = (tree: Tree, levels: number, maxConnections = 1000) =>
    footprintOf(doubled(tree, levels), environmentOf({ maxConnections }));
  assert.equal(of(drop, 0).nodes, 1);
  assert.equal(of(drop, 10).nodes, 2 ** 11 - 1);
  assert.equal(of(perConnection, 10).perConnectionBytes, 1024 * 1000 * 2);
  const many = inTurn(Array.from({ length: 256 }, () => drop), { per: "connection" });
  assert.equal(of(many, 1).perConnectionBytes, 2 * 1000 * 4);
  const environment = environmentOf({ maxConnections: 5000 });
  for (const tree of [perConnection, many, perSource]) {
    const { bytes, nodes } = footprintOf(doubled(tree, 8), environment);
    const held = arrayBytes(() => makePlan(doubled(tree, 8), environment));
    assert.ok(held <= bytes && bytes <= held + 640 * nodes + 64 * 8 * 256, `${held} of ${bytes}`);
  }
});

Deno.test("footprintOf does not go where a policy does not end", () => {
  const itself = policy("drop", use("a"), { subtrees: { a: inTurn([use("a"), use("b")]) } });
  assert.equal(footprintOf(itself, environmentOf()).nodes, 1);
  assert.equal(footprintOf(doubled(drop, 2000), environmentOf()).nodes, Infinity);
});

/** Lists each of which has the one before it twice. */
function doubledLists(levels: number, end: Tree = drop, more = 0): Policy {
  const lists: Record<string, string[]> = { l0: ["10.0.0.1"] };
  for (let i = 1; i <= levels; i++) lists[`l${i}`] = [`$l${i - 1}`, `$l${i - 1}`];
  for (let i = 0; i < more; i++) lists[`m${i}`] = [`$l${levels}`];
  return policy("drop", end, { lists });
}

Deno.test("makePlan refuses before it makes anything what would take too much", () => {
  const wide = build.filter(build.ipSrc.oneOf(Array.from({ length: 8 }, () => "$l19")), drop);
  const asked = inTurn(Array.from({ length: 13 }, () => wide));
  const cases: [string, Policy, number, RegExp][] = [
    ["nodes", doubled(drop, 40), 8, new RegExp(`more than ${MAX_NODES} nodes$`)],
    ["nodes without end", doubled(perSource, 2000), 8, new RegExp(`more than ${MAX_NODES} nodes$`)],
    ["networks of a list", doubledLists(30), 8, /^Cannot use list "\$l20": more than/],
    ["networks of all lists", doubledLists(19, drop, 100), 8, /it would hold up to 3\.\d GiB, /],
    ["networks of predicates", doubledLists(19, asked), 8, /it would hold up to 3\.\d GiB, /],
    [
      "balancers per connection",
      doubled(perConnection, 11),
      1_000_000,
      /^Cannot run policy: it would hold up to 3\.9 GiB, of which balancers per connection 3\.9 GiB at --max-conn=1000000: expected at most 3 GiB$/,
    ],
  ];
  for (const [what, refused, maxConnections, message] of cases) {
    const environment = environmentOf({ maxConnections });
    const bytes = arrayBytes(() => {
      assert.throws(() => makePlan(refused, environment), { name: "RangeError", message }, what);
    });
    assert.equal(bytes, 0, what);
  }
  assert.equal(MAX_BYTES, 3 * 2 ** 30);
});

Deno.test("formatBytes rounds up", () => {
  const cases: [number, string][] = [
    [0, "0 KiB"],
    [1, "0.1 KiB"],
    [1024, "1 KiB"],
    [1025, "1.1 KiB"],
    [5 * MIB, "5 MiB"],
    [2.5 * 2 ** 30, "2.5 GiB"],
    [2 ** 45, "32768 GiB"],
    [Infinity, "Infinity GiB"],
  ];
  for (const [bytes, text] of cases) assert.equal(formatBytes(bytes), text);
});

Deno.test("footprintOf counts the members of pools, and a table for each that is hashed consistently", () => {
  const members = Array.from({ length: 1000 }, (_, i) => `10.0.${i >> 8}.${i & 255}`);
  const bytes = (by: PickMethod, to: string) =>
    footprintOf(
      build.policy("drop", build.translateAToB(build.forward, { to, by }), {
        pools: { a: members },
      }),
      environmentOf(),
    ).bytes;
  const without = footprintOf(build.policy("drop", build.forward), environmentOf()).bytes;
  assert.ok(bytes("at random", "a") - without > 500_000);
  assert.ok(bytes("by maglev", "a") - bytes("at random", "a") >= 2 * 2 * 65_537);
  assert.equal(bytes("by source", "dst-addrs"), bytes("by maglev", "a"));
});
