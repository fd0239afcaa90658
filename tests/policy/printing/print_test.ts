import assert from "node:assert/strict";
import { SeededRandom } from "../../../src/core/random.ts";
import {
  childrenOf,
  type Policy,
  type Predicate,
  type Tree,
} from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { demo } from "../../../src/policy/language/built_in.ts";
import { formatError, parse } from "../../../src/policy/notation/parse.ts";
import { print, printPredicate, printStep } from "../../../src/policy/printing/print.ts";
import { PREDICATES, randomPolicy, SELECTORS } from "../../support/random_policy.ts";

const CUSTOMS = { predicates: PREDICATES, selectors: SELECTORS };

Deno.test("print gives the demo as the design shows it", () => {
  assert.equal(
    print(demo),
    `default drop
not ip.src in $dst-addrs
  icmp
    echo-request -> in turn: drop | track, echo
  tcp
    tcp.dport = 80 -> drop
    otherwise      -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`,
  );
});

Deno.test("print, then parse, is the identity on 6,000 random policies of every kind", () => {
  const seed = 20_240_101;
  const random = new SeededRandom(seed);
  const kinds = new Map<string, number>();
  const saw = (kind: string) => kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  for (let i = 0; i < 6000; i++) {
    const policy = randomPolicy(random, { maxNodes: 120, hasIpv6: i % 2 === 1 });
    visit(policy, saw);
    const text = print(policy);
    const about = () => `policy ${i} of seed ${seed}:\n${text}`;
    const parsed = parse(text, { file: "random", customs: CUSTOMS });
    assert.deepEqual(parsed.errors, [], about());
    assert.deepEqual(parsed.policy, policy, about());
    assert.equal(print(parsed.policy!), text, about());
    assert.ok(!/[^\n\P{C}]/u.test(text), about()); // no invisible characters
  }
  const expected = [
    "first-match filter balance limit select track translate-a-to-b translate-b-to-a set-ttl",
    "decide use label always not all any family protocol address port tcp-flags icmp icmpv6 number",
    "fragment state side custom list pool subtree",
  ].join(" ").split(" ");
  assert.deepEqual(expected.filter((kind) => (kinds.get(kind) ?? 0) < 100), []);
});

Deno.test("print, then parse, keeps what is as deep as a policy may be", () => {
  let tree: Tree = build.drop;
  for (let i = 1; i < 200; i++) tree = i % 2 === 0 ? build.track(tree) : build.inTurn([tree]);
  let when: Predicate = build.isNew;
  for (let i = 0; i < 199; i++) {
    when = i % 2 === 0 ? build.not(when) : build.and(build.isTcp, when);
  }
  for (const next of [tree, build.filter(when, build.drop)]) {
    const policy = build.policy("drop", next);
    const parsed = parse(print(policy), { file: "deep" });
    assert.deepEqual(parsed.errors.map(formatError), []);
    assert.deepEqual(parsed.policy, policy);
  }
});

function visit(policy: Policy, saw: (kind: string) => void): void {
  const visitPredicate = (predicate: Predicate): void => {
    saw(predicate.test);
    if (predicate.test === "not") visitPredicate(predicate.of);
    if (predicate.test === "all" || predicate.test === "any") predicate.of.forEach(visitPredicate);
  };
  const visitTree = (tree: Tree): void => {
    saw(tree.node);
    if (tree.node === "decide" && tree.label !== null) saw("label");
    if (tree.node === "filter") visitPredicate(tree.when);
    if (tree.node === "first-match") tree.arms.forEach((arm) => visitPredicate(arm.when));
    childrenOf(tree).forEach(visitTree);
  };
  Object.keys(policy.pools).forEach(() => saw("pool"));
  Object.keys(policy.lists).forEach(() => saw("list"));
  Object.values(policy.subtrees).forEach((tree) => (saw("subtree"), visitTree(tree)));
  visitTree(policy.next);
}

const { isIcmp, isNew, isTcp, isUdp } = build;

const predicates: readonly [Predicate, string][] = [
  [build.otherwise, "otherwise"],
  [build.not(isTcp), "not tcp"],
  [build.not(build.not(isTcp)), "not not tcp"],
  [build.and(isTcp, isNew), "tcp and new"],
  [build.or(isTcp, isNew), "tcp or new"],
  [build.or(build.and(isTcp, isNew), isUdp), "tcp and new or udp"],
  [build.and(build.or(isTcp, isUdp), isNew), "(tcp or udp) and new"],
  [build.and(build.and(isTcp, isNew), isUdp), "(tcp and new) and udp"],
  [build.or(isUdp, build.or(isTcp, isNew)), "udp or (tcp or new)"],
  [build.not(build.or(isTcp, isIcmp)), "not (tcp or icmp)"],
  [build.and(build.not(isTcp), build.not(isIcmp)), "not tcp and not icmp"],
  [build.protocol(47), "protocol = 47"],
  [build.ipSrc.eq("10.0.0.1"), "ip.src = 10.0.0.1"],
  [build.ipDst.in("0.0.0.0/0"), "ip.dst in 0.0.0.0/0"],
  [build.ipSrc.oneOf(build.dstAddrs), "ip.src in $dst-addrs"],
  [
    build.ipSrc.oneOf(["255.255.255.255", "10.0.0.0/8", "$web"]),
    "ip.src in {255.255.255.255, 10.0.0.0/8, $web}",
  ],
  [build.tcpDport.eq(80), "tcp.dport = 80"],
  [build.udpSport.range(8000, 8080), "udp.sport in 8000-8080"],
  [build.tcpSport.oneOf([80, 443, [8000, 8080]]), "tcp.sport in {80, 443, 8000-8080}"],
  [build.ipLength.range(0, 65_535), "ip.length in 0-65535"],
  [build.ipTtl.eq(1), "ip.ttl = 1"],
  [build.tcpFlags(0x02, 0x10), "tcp.flags syn !ack"],
  [build.tcpFlags(0, 0xff), "tcp.flags !fin !syn !rst !psh !ack !urg !ece !cwr"],
  [build.isEchoRequest, "echo-request"],
  [build.icmpType(3, 3), "destination-unreachable code port-unreachable"],
  [build.icmpType(3, 200), "destination-unreachable code 200"],
  [build.icmpType(33), "ipv6-where-are-you"],
  [build.icmpType(44), "icmp.type = 44"],
  [build.icmpType(44, 1), "icmp.type = 44 code 1"],
  [build.isFragment, "fragment"],
  [build.isInvalid, "invalid"],
  [build.isStray, "stray"],
  [build.fromSide("b"), "from side b"],
  [build.customPredicate("odd", () => true), "custom odd"],
];

for (const [predicate, text] of predicates) {
  Deno.test(`printPredicate writes ${text}`, () => assert.equal(printPredicate(predicate), text));
}

const { drop, echo, forward, track } = build;

const chains: readonly [Tree, step: string, chain: string][] = [
  [drop, "drop", "drop"],
  [build.decide("echo-reply", "pong"), 'echo "pong"', 'echo "pong"'],
  [build.decide("drop", '"\n\u009b'), String.raw`drop "\"\n\u009b"`, String.raw`drop "\"\n\u009b"`],
  [build.use("reply"), "use reply", "use reply"],
  [track(build.setTtl(9, forward)), "track", "track, set-ttl 9, forward"],
  [build.setTtl(9, drop, { raise: true }), "set-ttl 9 raise", "set-ttl 9 raise, drop"],
  [build.translateAToB(forward), "translate-a-to-b", "translate-a-to-b, forward"],
  [
    build.translateAToB(forward, { to: "web", port: 8443, by: "by least connections" }),
    "translate-a-to-b to $web port 8443 by least connections",
    "translate-a-to-b to $web port 8443 by least connections, forward",
  ],
  [
    build.translateAToB(forward, "by hash"),
    "translate-a-to-b by hash",
    "translate-a-to-b by hash, forward",
  ],
  [build.translateBToA(build.filter(isTcp, drop)), "translate-b-to-a", "translate-b-to-a"],
  [
    build.limit({ perSecond: 10, burst: 5, per: "source" }, drop),
    "limit 10/second burst 5 per source",
    "limit 10/second burst 5 per source, drop",
  ],
  [build.inTurn([drop, track(echo)]), "in turn", "in turn: drop | track, echo"],
  [
    build.atRandom([[3, drop], forward], { per: "connection" }),
    "at random per connection",
    "at random per connection: 3x drop | forward",
  ],
  [build.byHash([build.filter(isTcp, drop)]), "by hash", "by hash"],
  [build.customSelector("odd", () => 0, [drop, echo]), "custom odd", "custom odd: drop | echo"],
  [build.filter(isTcp, drop), "tcp", ""],
  [build.firstMatch([[isTcp, drop], [isUdp, drop]]), "first match", ""],
];

for (const [tree, step, chain] of chains) {
  Deno.test(`printStep and print write ${chain || step}`, () => {
    assert.equal(printStep(tree), step);
    const [, line] = print({ default: "drop", pools: {}, lists: {}, subtrees: {}, next: tree })
      .split("\n");
    assert.equal(line!.startsWith("-> ") ? line!.slice(3) : "", chain);
  });
}

Deno.test("print refuses a port test that the notation has no word for", () => {
  const when: Predicate = { test: "port", protocol: 132, field: "dstPort", in: [] };
  assert.throws(() => printPredicate(when), {
    name: "RangeError",
    message: "Cannot print a port test of protocol 132: expected 6 or 17",
  });
});
