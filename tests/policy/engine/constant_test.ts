import assert from "node:assert/strict";
import { finish } from "../../../src/core/slices.ts";
import { type Constancy, constancyOf, MAX_DOUBTS } from "../../../src/policy/engine/constant.ts";
import { Doubts } from "../../../src/policy/engine/doubts.ts";
import { makePlan, type Plan } from "../../../src/policy/engine/plan.ts";
import { isPlain, makePlain, unknownIn } from "../../../src/policy/engine/unknown.ts";
import { walker } from "../../../src/policy/engine/walk.ts";
import { DROP, ECHO_REPLY, FORWARD, REJECT } from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import { demo, demoTwoSided } from "../../../src/policy/language/built_in.ts";
import { parse } from "../../../src/policy/notation/parse.ts";
import { printPredicate, printStep } from "../../../src/policy/printing/print.ts";
import { parseAddress } from "../../../src/wire/address.ts";
import {
  FROM_A,
  FROM_B,
  type Pdu,
  STATE_ESTABLISHED,
  STATE_NEW,
  STEP_A_TO_B,
} from "../../../src/wire/pdu.ts";
import { ACK, ECE, FIN, PSH, RST, SYN, URG } from "../../../src/wire/tcp.ts";
import { environmentOf, pduOf, REFUSED_AT, type TestEnvironment } from "./environment.ts";

const CLIENT = parseAddress("192.168.0.254");
const PROXY = parseAddress("192.168.0.100");
const BACKEND = parseAddress("192.168.0.1");
const CUSTOMS = {
  predicates: { odd: () => true },
  selectors: { pick: () => 0 },
};

function planOf(text: string, environment: TestEnvironment = environmentWithBackend()): Plan {
  const { policy, errors } = parse(text, { file: "test", customs: CUSTOMS });
  assert.ok(policy !== null, JSON.stringify(errors));
  return makePlan(policy, environment);
}

function environmentWithBackend(): TestEnvironment {
  return environmentOf({ dstAddrs: [BACKEND] });
}

/** A packet of a connection to port 443, from its client or from its backend. */
function packet(end: "client" | "backend", fields: Partial<Pdu> = {}): Pdu {
  const pdu = end === "client"
    ? pduOf({ src: CLIENT, dst: PROXY, srcPort: 40_000, dstPort: 443, flow: 6, side: FROM_A })
    : pduOf({ src: BACKEND, dst: PROXY, srcPort: 443, dstPort: 50_000, flow: 7, side: FROM_B });
  pdu.protocol = 6;
  Object.assign(pdu, fields);
  makePlain(pdu);
  return pdu;
}

/** What keeps a connection, in words; null: nothing does. */
function told(constancy: Constancy): string | null {
  if ("exit" in constancy) return null;
  const { node, asked, outcome } = constancy;
  if (node === null) return "leaving";
  if (asked !== null) return `? ${printPredicate(unknownIn(asked)!)}`;
  return outcome === null ? `? ${printStep(node.tree)}` : `${printStep(node.tree)}: ${outcome}`;
}

const REST = "translate-a-to-b, forward";
const CASES: [text: string, keeper: string | null, fields?: Partial<Pdu>][] = [
  [`-> ${REST}`, null],
  [`-> track, ${REST}`, null],
  // Fields of the connection
  [`tcp.dport = 443 -> ${REST}`, null],
  [`tcp.dport = 444 -> drop\notherwise -> ${REST}`, null],
  [`tcp.dport = 443 -> drop\notherwise -> ${REST}`, `drop: ${DROP}`],
  [`udp.dport = 443 -> ${REST}\notherwise -> reject`, null, { protocol: 17 }],
  [`udp.dport = 443 -> ${REST}\notherwise -> reject`, `reject: ${REJECT}`],
  [`ip.src in 192.168.0.0/24 and not ip.src in $dst-addrs -> ${REST}`, null],
  [`from side a -> ${REST}`, null],
  [`from side b -> ${REST}`, `from side b: ${DROP}`],
  [`established -> ${REST}`, null],
  [`new -> drop\ninvalid -> drop\nstray -> drop\nfragment -> drop\notherwise -> ${REST}`, null],
  [`icmp -> echo\notherwise -> ${REST}`, null],
  ["-> track, echo", `echo: ${ECHO_REPLY}`],
  ["-> track, forward", `forward: ${FORWARD}`],
  // Flags
  ...["syn", "rst", "fin", "syn !ack", "!ack", "syn psh", "ece !ack"]
    .map((flags): [string, null] => [`tcp.flags ${flags} -> drop\notherwise -> ${REST}`, null]),
  [`tcp.flags ack !syn -> ${REST}`, null],
  [`tcp.flags psh -> ${REST}\notherwise -> drop`, "? tcp.flags psh"],
  [`tcp.flags psh -> drop\notherwise -> ${REST}`, null, { protocol: 17 }],
  [`tcp.flags ack psh -> drop\notherwise -> ${REST}`, "? tcp.flags psh ack"],
  [`not tcp.flags urg -> ${REST}`, "? tcp.flags urg"],
  // Length and TTL
  [`ip.length in 1401-65535 -> drop\notherwise -> ${REST}`, "? ip.length in 1401-65535"],
  [`ip.length in 28-65535 -> ${REST}`, null],
  [`ip.length in 0-27 -> drop\notherwise -> ${REST}`, null],
  [`ip.length in 0-28 -> drop\notherwise -> ${REST}`, "? ip.length in 0-28"],
  [`ip.ttl in 0-1 -> reject\notherwise -> ${REST}`, null],
  [`ip.ttl in 0-2 -> reject\notherwise -> ${REST}`, "? ip.ttl in 0-2"],
  [`ip.ttl in 2-255 -> ${REST}`, null],
  // Three values
  [`tcp.dport = 80 and ip.ttl = 64 -> drop\notherwise -> ${REST}`, null],
  [`tcp.dport = 443 and ip.ttl = 64 -> drop\notherwise -> ${REST}`, "? ip.ttl = 64"],
  [`tcp.dport = 443 or ip.ttl = 64 -> ${REST}`, null],
  [`not (tcp.dport = 443 or ip.ttl = 64) -> drop\notherwise -> ${REST}`, null],
  [`not (tcp.dport = 80 and ip.ttl = 64) -> ${REST}`, null],
  [`ip.ttl = 64 or not ip.ttl = 64 -> ${REST}`, "? ip.ttl = 64"],
  [`tcp.dport = 443 -> ${REST}\nip.ttl = 64 -> drop`, null],
  [`tcp.dport = 443\n  ip.ttl = 64 -> drop\n  otherwise -> ${REST}`, "? ip.ttl = 64"],
  [`tcp.dport = 80\n  ip.ttl = 64 -> drop\notherwise -> ${REST}`, null],
  // What depends on the user, on time or on order
  [`custom odd -> ${REST}`, "? custom odd"],
  [`tcp.dport = 80 and custom odd -> drop\notherwise -> ${REST}`, null],
  [`-> custom pick: ${REST} | drop`, "? custom pick"],
  [`-> limit 10/second burst 10, ${REST}`, "? limit 10/second burst 10"],
  [`-> limit 10/second burst 10 per source, ${REST}`, "? limit 10/second burst 10 per source"],
  [`-> in turn: ${REST} | drop`, "? in turn"],
  [`-> at random: ${REST} | drop`, "? at random"],
  [`-> by hash: ${REST} | ${REST}`, null],
  [`-> in turn per connection: ${REST} | ${REST}`, "? in turn per connection"],
  [`-> set-ttl 64, ${REST}`, null],
  [`-> set-ttl 64 raise, ${REST}`, null],
  [`ip.ttl = 65 -> set-ttl 64, ${REST}`, "? ip.ttl = 65"],
];

for (const [text, keeper, fields] of CASES) {
  const words = keeper === null ? "is constant" : `is kept by "${keeper}"`;
  const name = `constancyOf: ${text.replaceAll(/\n */g, " / ")}${fields ? " (udp)" : ""} ${words}`;
  Deno.test(name, () => {
    const plan = planOf(`default drop\n${text}\n`);
    const pdu = packet("client", fields);
    assert.equal(told(constancyOf(plan, pdu)), keeper);
    assert.ok(plan.exits.every((count) => count === 0));
    // The same of a packet that has gone through; then balancers have chosen.
    const outcome = walker(plan)(pdu);
    if (outcome !== FORWARD || (pdu.steps & STEP_A_TO_B) === 0 || / per conn/.test(text)) return;
    assert.equal(finish(Doubts.of(plan)).isConstant(pdu), keeper === null);
  });
}

Deno.test("constancyOf: a step that refuses the packets says for which reason", () => {
  const plan = planOf("default drop\n-> translate-a-to-b, forward\n");
  assert.equal(
    told(constancyOf(plan, packet("client", { seq: REFUSED_AT }))),
    "translate-a-to-b: -8",
  );
});

Deno.test("constancyOf: the built-in policies forward TCP both ways alike", () => {
  for (const policy of [demo, demoTwoSided]) {
    const plan = makePlan(policy, environmentWithBackend());
    for (const end of ["client", "backend"] as const) {
      const constancy = constancyOf(plan, packet(end));
      assert.ok("exit" in constancy);
      assert.equal(plan.nodes[constancy.exit]!.tree.node, "decide");
      const pdu = packet(end, { tcpFlags: ACK | PSH });
      assert.equal(walker(plan)(pdu), FORWARD);
      assert.equal(pdu.exit, constancy.exit);
      assert.ok(finish(Doubts.of(plan)).isConstant(pdu));
    }
    assert.equal(told(constancyOf(plan, packet("client", { dstPort: 80 }))), `drop: ${DROP}`);
  }
});

Deno.test("constancyOf: a balancer per connection is constant once it has chosen", () => {
  const environment = environmentWithBackend();
  const text = "at random per connection: translate-a-to-b, forward | translate-a-to-b, forward";
  const plan = planOf(`default drop\n-> ${text}\n`, environment);
  const { affinity } = environment;
  const syn = { ...packet("client"), state: STATE_NEW, flow: -1 };
  assert.equal(walker(plan)(syn), FORWARD);
  assert.equal(told(constancyOf(plan, packet("client"))), "? at random per connection");
  affinity.opened(3);
  affinity.settle(3);
  assert.deepEqual(constancyOf(plan, packet("client")), { exit: syn.exit });
  assert.deepEqual(constancyOf(plan, packet("client", { flow: 4 })), {
    node: plan.root,
    asked: null,
    outcome: null,
  });
  affinity.opened(3); // the entry is another connection's
  assert.equal(told(constancyOf(plan, packet("client"))), "? at random per connection");
});

Deno.test("constancyOf: a client with the address of a member that is leaving keeps its connection", () => {
  const leaving = { web: new Set([CLIENT, BACKEND]) };
  const environment = environmentOf({ dstAddrs: [], leaving });
  const text = "default forward\npool $web = 192.168.0.7\n" +
    "ip.src in $web and ip.src = 192.168.0.1 -> translate-b-to-a, forward\n" +
    "otherwise -> translate-a-to-b, forward\n";
  const plan = planOf(text, environment);
  const doubts = finish(Doubts.of(plan));
  for (
    const [pdu, keeper] of [
      [packet("client"), "leaving"],
      [packet("client", { src: PROXY + 1 }), null],
      [packet("backend"), null], // the list has its address as long as it has connections
      [packet("backend", { dst: CLIENT }), "leaving"], // the source is preserved
    ] as const
  ) {
    assert.equal(told(constancyOf(plan, pdu)), keeper);
    assert.equal(walker(plan)(pdu), FORWARD);
    assert.equal(doubts.isConstant(pdu), keeper === null);
  }
});

Deno.test("Doubts: a node has those of the arms before its own, the walk says the same", () => {
  const { and, firstMatch, forward, ipLength, policy, tcpDport, translateAToB } = build;
  const arms = Array.from({ length: 10_000 }, (_, i) => {
    const port = tcpDport.eq(i + 1);
    const when = i % 2 === 0 ? port : and(port, ipLength.range(1401, 65_535));
    return [when, forward] as const;
  });
  const next = translateAToB(firstMatch(arms));
  const plan = makePlan(policy("forward", next), environmentWithBackend());
  const doubts = finish(Doubts.of(plan));
  const walk = walker(plan);
  const isConstant = (dstPort: number, totalLength: number): boolean => {
    const pdu = Object.assign(packet("client", { dstPort }), { totalLength });
    assert.equal(walk(pdu), FORWARD);
    const found = doubts.isConstant(pdu);
    assert.equal(found, told(constancyOf(plan, packet("client", { dstPort }))) === null);
    return found;
  };
  const last = 2 * MAX_DOUBTS + 1;
  assert.ok(isConstant(1, 40) && isConstant(1, 1500) && isConstant(last, 40));
  assert.ok(!isConstant(2, 1500) && !isConstant(2, 40)); // a shorter one ends by default
  assert.ok(!isConstant(last + 1, 40) && !isConstant(last + 2, 40)); // too many to be asked
  assert.ok(!isConstant(10_001, 40));
});

Deno.test("makePlain makes what the walker takes for an established connection's whole packet", () => {
  const pdu = pduOf({ state: STATE_NEW, fragment: 1, steps: 7, newTtl: 3, tcpFlags: 2, ttl: 1 });
  makePlain(pdu);
  assert.deepEqual(
    [pdu.state, pdu.fragment, pdu.steps, pdu.newTtl, pdu.tcpFlags, pdu.ttl, pdu.totalLength],
    [STATE_ESTABLISHED, 0, 0, 0, ACK, 255, 65_535],
  );
});

Deno.test("isPlain is true of established connections' whole segments and datagrams only", () => {
  const plain: Partial<Pdu> = { protocol: 6, state: STATE_ESTABLISHED, tcpFlags: ACK | PSH };
  const udp = { protocol: 17, tcpFlags: 0 };
  for (const fields of [{}, { tcpFlags: ACK | URG | ECE }, udp]) {
    assert.ok(isPlain(pduOf({ ...plain, ...fields })), JSON.stringify(fields));
  }
  const others: Partial<Pdu>[] = [
    ...[PSH, SYN, SYN | ACK, FIN | ACK, RST | ACK].map((tcpFlags) => ({ tcpFlags })),
    { state: STATE_NEW },
    { ...udp, state: STATE_NEW },
    { fragment: 1 },
    { ...udp, fragment: 1 },
    { protocol: 1 },
  ];
  for (const fields of others) {
    assert.ok(!isPlain(pduOf({ ...plain, ...fields })), JSON.stringify(fields));
  }
});
