import assert from "node:assert/strict";
import { MAX_DEPTH, MAX_NODES } from "../../../src/policy/language/limits.ts";
import type { Policy, Tree } from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { intervalsOf } from "../../../src/policy/engine/address_ranges.ts";
import { makePlan } from "../../../src/policy/engine/plan.ts";
import { parseAddress } from "../../../src/wire/address.ts";
import { environmentOf } from "./environment.ts";

const { drop, echo, filter, firstMatch, isTcp, isUdp, policy, inTurn, track } = build;

function planOf(next: Tree, definitions: build.Definitions = {}) {
  return makePlan(policy("drop", next, definitions), environmentOf());
}

Deno.test("makePlan numbers nodes depth first in writing order, a subtree used twice as two", () => {
  const shared = track(echo);
  const tree = firstMatch([[isTcp, inTurn([drop, shared])], [isUdp, shared]]);
  const { nodes, root, exits, choosers } = planOf(tree);
  assert.equal(root, nodes[0]);
  assert.deepEqual(
    nodes.map(({ number, tree: { node }, size }) => [number, node, size]),
    [
      [0, "first-match", 7],
      [1, "balance", 4],
      [2, "decide", 1],
      [3, "track", 2],
      [4, "decide", 1],
      [5, "track", 2],
      [6, "decide", 1],
    ],
  );
  assert.deepEqual(root.children.map(({ number }) => number), [1, 5]);
  assert.deepEqual([exits.length, choosers.length], [7, 7]);
  assert.deepEqual(choosers.map((chooser) => chooser !== undefined).indexOf(true), 1);
  assert.equal(choosers.filter((chooser) => chooser !== undefined).length, 1);
});

Deno.test("makePlan puts what a use names in its place, as often as it is used", () => {
  const definitions = {
    subtrees: { inner: inTurn([drop, echo]), outer: track(build.use("inner")) },
  };
  const plan = planOf(inTurn([build.use("outer"), build.use("outer")]), definitions);
  const written = planOf(inTurn([
    track(inTurn([drop, echo])),
    track(inTurn([drop, echo])),
  ]));
  assert.deepEqual(plan.nodes.map(({ tree: { node }, size }) => [node, size]), [
    ...written.nodes.map(({ tree: { node }, size }) => [node, size]),
  ]);
  const [first, second] = [plan.choosers[2], plan.choosers[6]];
  assert.ok(first !== undefined && second !== undefined && first !== second);
});

Deno.test("makePlan resolves lists: networks, lists before them, the backends", () => {
  const environment = environmentOf({ dstAddrs: [-1, 5] });
  const lists = {
    web: ["10.0.0.0/8", "10.0.0.1"],
    all: ["$web", "$dst-addrs", "0.0.0.0/0"],
    one: "$dst-addrs",
  };
  const { lists: resolved } = makePlan(policy("drop", drop, { lists }), environment);
  const web = [
    { first: 0x0a00_0000, last: 0x0aff_ffff },
    { first: 0x0a00_0001, last: 0x0a00_0001 },
  ];
  const backends = [{ first: 0xffff_ffff, last: 0xffff_ffff }, { first: 5, last: 5 }];
  assert.deepEqual([...resolved], [
    ["dst-addrs", backends],
    ["web", web],
    ["all", [...web, ...backends, { first: 0, last: 0xffff_ffff }]],
    ["one", backends],
  ]);
  const high = { network: parseAddress("192.168.0.0"), prefixLength: 16 };
  assert.deepEqual(intervalsOf([high, { list: "web" }], resolved), [
    { first: 0xc0a8_0000, last: 0xc0a8_ffff },
    ...web,
  ]);
});

/** `end` below `depth` steps. */
function chain(depth: number, end: Tree = drop): Tree {
  let tree = end;
  for (let i = 0; i < depth; i++) tree = track(tree);
  return tree;
}

/** Subtrees each of which uses the one before it twice: 2 ** levels decisions. */
function doubled(levels: number): Policy {
  const subtrees: Record<string, Tree> = { "d-0": drop };
  for (let i = 1; i <= levels; i++) {
    const before = build.use(`d-${i - 1}`);
    subtrees[`d-${i}`] = inTurn([before, before]);
  }
  return policy("drop", build.use(`d-${levels}`), { subtrees });
}

Deno.test("makePlan goes as deep as MAX_DEPTH and as wide as is written, no deeper", () => {
  assert.equal(planOf(chain(MAX_DEPTH)).nodes.length, MAX_DEPTH + 1);
  const arms = Array.from({ length: 5000 }, () => [isTcp, drop] as const);
  assert.equal(planOf(firstMatch(arms)).nodes.length, 5001);
  assert.equal(makePlan(doubled(10), environmentOf()).nodes.length, 2 ** 11 - 1);
});

Deno.test("makePlan refuses a policy that can't run", () => {
  const use = (name: string): Tree => ({ node: "use", name });
  const list = (name: string) =>
    filter({ test: "address", field: "src", in: [{ list: name }] }, drop);
  const web = (terms: string[]) => ({ lists: { web: terms } });
  const deep = `Cannot run policy: nested more than ${MAX_DEPTH} levels deep`;
  const of = (next: Tree, definitions: build.Definitions = {}) => policy("drop", next, definitions);
  const cases: [string, Policy, string][] = [
    ["an unknown subtree", of(use("web")), 'Cannot use "web": not defined'],
    ["a name of every object", of(use("constructor")), 'Cannot use "constructor": not defined'],
    ["__proto__", of(use("__proto__")), 'Cannot use "__proto__": not defined'],
    [
      "an unknown subtree in one that is used",
      of(use("a"), { subtrees: { a: track(use("b")) } }),
      'Cannot use "b": not defined',
    ],
    ["a subtree that is itself", of(use("a"), { subtrees: { a: use("a") } }), deep],
    [
      "subtrees that use each other",
      of(use("a"), { subtrees: { a: inTurn([use("b"), use("b")]), b: track(use("a")) } }),
      deep,
    ],
    ["deep nesting", of(chain(MAX_DEPTH + 1)), deep],
    [
      "nesting that is deep by uses",
      of(use("a"), { subtrees: { a: chain(300, use("b")), b: chain(300) } }),
      deep,
    ],
    ["too many nodes", doubled(20), `Cannot run policy: more than ${MAX_NODES} nodes`],
    ["a list that uses itself", of(drop, web(["$web"])), 'Cannot use list "$web": not defined'],
    [
      "a list before its definition",
      of(drop, { lists: { a: "$b", b: "10.0.0.1" } }),
      'Cannot use list "$b": not defined',
    ],
    [
      "the backends defined again",
      of(drop, { lists: { "dst-addrs": "10.0.0.1" } }),
      'Cannot define list "$dst-addrs": it exists already',
    ],
  ];
  for (const [what, refused, message] of cases) {
    assert.throws(() => makePlan(refused, environmentOf()), { name: "RangeError", message }, what);
  }
  // An unknown list in a predicate is found where it is looked up.
  assert.throws(() => intervalsOf([{ list: "web" }], planOf(list("web")).lists), {
    name: "RangeError",
    message: 'Cannot use list "$web": not defined',
  });
});
