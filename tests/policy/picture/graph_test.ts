import assert from "node:assert/strict";
import type { Policy, Predicate, Tree } from "../../../src/policy/language/ast.ts";
import * as b from "../../../src/policy/language/build.ts";
import { demo } from "../../../src/policy/language/built_in.ts";
import { type Graph, graphOf } from "../../../src/policy/picture/graph.ts";
import expected from "../../golden/render/demo.graph.txt" with { type: "text" };

/** Nodes and edges as lines. */
function linesOf({ nodes, edges }: Graph): string {
  const lines = nodes.map(({ id, kind, label, note }) =>
    `${id} ${kind} "${label}"${note === null ? "" : ` "${note}"`}`
  );
  for (const { from, to, label } of edges) {
    lines.push(`${from} -> ${to}${label === null ? "" : ` "${label}"`}`);
  }
  return `${lines.join("\n")}\n`;
}

Deno.test("graphOf gives the built-in policy's nodes and edges", () => {
  assert.equal(linesOf(graphOf(demo)), expected);
});

/**
 * Every arrow of the seed's picture, read off it: from, label, to, note of that. The seed has both
 * "Translator" and "Translate"; here it is one word.
 */
const SEED: readonly (readonly [string, string | null, string, string | null])[] = [
  ["PDU", null, "Selector", null],
  ["Selector", "Side A to B", "Selector", null],
  ["Selector", "ICMPv4", "Filter", "Only allow ICMPv4 Echo request"],
  ["Filter", null, "Load balancer", "PDU based load balancing round robin"],
  ["Load balancer", null, "End", "Decision : Drop"],
  ["Load balancer", null, "End", "Decision : Echo reply"],
  ["Selector", "TCP", "Selector", null],
  ["Selector", "Port = 80", "End", "Decision : Drop"],
  ["Selector", "Else", "Translator A to B", "Pick one of dst-addrs randomly"],
  ["Translator A to B", null, "End", "Decision : Forward"],
  ["Selector", "Else", "Translator B to A", null],
  ["Translator B to A", null, "End", "Decision : Forward"],
];

Deno.test("graphOf has the seed's picture, arrow by arrow, but for the scanner it leaves out", () => {
  const { nodes, edges } = graphOf(demo);
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const from = (id: string): string => {
    const { kind, label } = byId.get(id)!;
    return kind === "scanner" ? from(edges.find(({ to }) => to === id)!.from) : label;
  };
  const found = edges
    .filter(({ to }) => byId.get(to)!.kind !== "scanner")
    .map((e) => [from(e.from), e.label, byId.get(e.to)!.label, byId.get(e.to)!.note] as const);
  assert.deepEqual(found, SEED);
});

/** What stands at an arm's edge, below arms that hold. */
const captions: readonly (readonly [when: Predicate, inside: Predicate | null, caption: string])[] =
  [
    [b.not(b.ipSrc.oneOf(b.dstAddrs)), null, "Side A to B"],
    [b.ipSrc.oneOf(b.dstAddrs), null, "Side B to A"],
    [b.fromSide("a"), null, "from side a"],
    [b.ipDst.oneOf(b.dstAddrs), null, "ip.dst in $dst-addrs"],
    [b.isIcmp, null, "ICMPv4"],
    [b.isUdp, null, "UDP"],
    [b.protocol(47), null, "protocol = 47"],
    [b.isEchoRequest, null, "ICMPv4 Echo request"],
    [b.icmpType(3, 3), b.isIcmp, "ICMPv4 Destination unreachable, Port unreachable"],
    [b.icmpType(3, 200), b.isIcmp, "ICMPv4 Destination unreachable, code 200"],
    [b.icmpType(44), null, "icmp.type = 44"],
    [b.tcpDport.eq(80), b.isTcp, "Port = 80"],
    [b.tcpDport.eq(80), b.and(b.isTcp, b.isNew), "Port = 80"],
    [b.tcpDport.eq(80), b.tcpSport.eq(1), "Port = 80"],
    [b.tcpDport.eq(80), b.tcpFlags(2, 0), "Port = 80"],
    [b.tcpDport.eq(80), null, "TCP port = 80"],
    [b.tcpDport.eq(80), b.not(b.isTcp), "TCP port = 80"],
    [b.tcpDport.eq(80), b.or(b.isTcp, b.isUdp), "TCP port = 80"],
    [b.udpDport.range(8000, 8080), b.isUdp, "Port in 8000-8080"],
    [b.udpSport.oneOf([53, [60, 70]]), null, "UDP source port in {53, 60-70}"],
    [b.tcpSport.eq(0), b.isTcp, "Source port = 0"],
    [b.not(b.isTcp), null, "not tcp"],
  ];
for (const [when, inside, caption] of captions) {
  Deno.test(`graphOf writes ${caption}${inside === null ? "" : ` below ${inside.test}`}`, () => {
    const arms = b.firstMatch([[when, b.drop], [b.otherwise, b.drop]]);
    const { edges } = graphOf(b.policy("drop", inside === null ? arms : b.filter(inside, arms)));
    assert.deepEqual(edges.slice(-2).map(({ label }) => label), [caption, "Else"]);
  });
}

/** What a node is and what stands beside it. */
const looks: readonly (readonly [Tree, kind: string, label: string, note: string | null])[] = [
  [b.filter(b.otherwise, b.drop), "filter", "Filter", "Allow any PDU"],
  [
    b.byHash([b.drop], { per: "connection" }),
    "balancer",
    "Load balancer",
    "Connection based load balancing hash",
  ],
  [b.atRandom([b.drop]), "balancer", "Load balancer", "PDU based load balancing random"],
  [
    b.limit({ perSecond: 5, burst: 9, per: "source" }, b.drop),
    "selector",
    "Rate limit",
    "At most 5/second, burst 9, per source",
  ],
  [
    b.limit({ perSecond: 5, burst: 9 }, b.drop),
    "selector",
    "Rate limit",
    "At most 5/second, burst 9",
  ],
  [b.customSelector("mine", () => 0, [b.drop]), "selector", "Selector", "custom mine"],
  [b.track(b.drop), "scanner", "Scanner", "Track connection"],
  [
    b.translateAToB(b.drop, "by hash"),
    "translator",
    "Translator A to B",
    "Pick one of dst-addrs by hash",
  ],
  [
    b.translateAToB(b.drop, "in turn"),
    "translator",
    "Translator A to B",
    "Pick one of dst-addrs in turn",
  ],
  [b.translateBToA(b.drop), "translator", "Translator B to A", null],
  [b.setTtl(9, b.drop), "modifier", "Modifier", "Set TTL to at most 9"],
  [b.setTtl(9, b.drop, { raise: true }), "modifier", "Modifier", "Set TTL to 9"],
  [b.decide("reject", 'no "way"'), "end", "End", 'Decision : Reject "no \\"way\\""'],
];
for (const [tree, kind, label, note] of looks) {
  Deno.test(`graphOf draws ${tree.node} as ${label}, ${note}`, () => {
    const node = graphOf(b.policy("drop", tree)).nodes[1]!;
    assert.deepEqual([node.kind, node.label, node.note], [kind, label, note]);
  });
}

Deno.test("graphOf numbers the branches of a custom selector, and writes weights where they differ", () => {
  const labels = (tree: Tree) => graphOf(b.policy("drop", tree)).edges.slice(1).map((e) => e.label);
  assert.deepEqual(labels(b.customSelector("mine", () => 0, [b.drop, b.echo])), ["0", "1"]);
  assert.deepEqual(labels(b.atRandom([b.drop, [3, b.echo]])), ["1x", "3x"]);
  assert.deepEqual(labels(b.atRandom([[3, b.drop], b.echo])), ["3x", "1x"]);
  assert.deepEqual(labels(b.atRandom([b.drop, b.echo])), [null, null]);
});

Deno.test("graphOf draws a named subtree wherever it is used, in frames, what is known above it too", () => {
  const web = b.firstMatch([[b.tcpDport.eq(80), b.drop], [b.otherwise, b.forward]]);
  const outer = b.track(b.use("web"));
  const { nodes, edges, frames } = graphOf(b.policy(
    "drop",
    b.firstMatch([[b.isTcp, b.use("web")], [b.isUdp, b.drop], [b.otherwise, b.use("outer")]]),
    { subtrees: { web, outer } },
  ));
  assert.deepEqual(frames, [
    { id: "f0", name: "web", frame: null },
    { id: "f1", name: "outer", frame: null },
    { id: "f2", name: "web", frame: "f1" },
  ]);
  assert.deepEqual(
    nodes.map(({ frame }) => frame),
    [null, null, "f0", "f0", "f0", null, "f1", "f2", "f2", "f2"],
  );
  assert.deepEqual(edges.map(({ label }) => label).filter((label) => label?.includes("80")), [
    "Port = 80",
    "TCP port = 80",
  ]);
});

Deno.test("graphOf numbers nodes depth first, as the plan, an end for what a limit refuses apart", () => {
  const limited = b.limit({ perSecond: 5, burst: 9 }, b.echo);
  const { nodes, edges } = graphOf(
    b.policy("reject", b.firstMatch([[b.isIcmp, limited], [b.otherwise, b.drop]])),
  );
  assert.deepEqual(nodes.map(({ id }) => id), ["pdu", "n0", "n1", "n2", "n1d", "n3"]);
  assert.equal(nodes.find(({ id }) => id === "n1d")!.note, "Default decision : Reject");
  assert.deepEqual(edges.filter(({ from }) => from === "n1"), [
    { from: "n1", to: "n2", label: "Within limit" },
    { from: "n1", to: "n1d", label: "Above limit" },
  ]);
});

const impossible: readonly (readonly [name: string, policy: Policy, message: RegExp])[] = [
  ["unknown subtree", b.policy("drop", b.use("web")), /^Cannot use "web": not defined$/],
  ["inherited name", b.policy("drop", b.use("constructor")), /^Cannot use "constructor"/],
  [
    "subtree within itself",
    b.policy("drop", b.use("a"), { subtrees: { a: b.use("b"), b: b.track(b.use("a")) } }),
    /^Cannot draw policy: nested more than \d+ levels deep$/,
  ],
];
for (const [name, policy, message] of impossible) {
  Deno.test(`graphOf refuses: ${name}`, () => {
    assert.throws(() => graphOf(policy), { name: "RangeError", message });
  });
}
