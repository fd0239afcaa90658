/** Pools and their members over a restart: who goes on with what, and who is not believed. */
import assert from "node:assert/strict";
import { changeMember, memberNamed } from "../../src/control/members.ts";
import { MEMBER, META, PORTS, SAVED_WORDS, TUPLE_WORDS } from "../../src/flow/entry.ts";
import { checksumOf, type Resumption } from "../../src/datapath/saved_state.ts";
import { finish } from "../../src/core/slices.ts";
import type { Member } from "../../src/flow/backends/member.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { buildTcp, readTcp } from "../support/frames.ts";
import { from, packetsOf, World, type WorldOptions } from "../support/world.ts";

const BOOT = "2c8b1f0e-0000-4000-8000-000000000001";
const SAVED_MS = 1_700_000_000_000;

const POOL = "192.168.0.1 port 8080, 192.168.0.2 weight 2";

function policyOf(pools: string, port = 8443): Policy {
  const text = `default drop
${pools}
tcp.sport = 8080 -> translate-b-to-a, forward
tcp.sport = 8443 -> translate-b-to-a, forward
not ip.src in $dst-addrs
  tcp.dport = 443 -> translate-a-to-b to $web port ${port} in turn, forward
  otherwise -> translate-a-to-b in turn, forward
otherwise -> translate-b-to-a, forward
`;
  const { policy, errors } = parse(text, { file: "test" });
  assert.ok(policy !== null, JSON.stringify(errors));
  return policy;
}

const POLICY = policyOf(`pool $web = ${POOL}`);

function worldWith(policy = POLICY, options: WorldOptions = {}): World {
  const world = World.settled({ policy, backends: ["192.168.0.3"], ...options });
  for (const address of ["192.168.0.1", "192.168.0.2"]) world.answer(address);
  return world;
}

/** Opens a connection to the service; address and port of its backend. */
function open(world: World, srcPort: number, dstPort = 443): string {
  const [syn] = packetsOf(world.send(buildTcp({ srcPort, dstPort, flags: "S", seq: 999 })))
    .map(readTcp);
  assert.ok(syn !== undefined, JSON.stringify(world.drops()));
  const answer = { ...from(syn.dst), srcPort: syn.dstPort, dstPort: syn.srcPort };
  world.send(buildTcp({ ...answer, flags: "SA", seq: 4999, ack: 1000 }));
  world.send(buildTcp({ srcPort, dstPort, flags: "A", seq: 1000, ack: 5000 }));
  return `${syn.dst}:${syn.dstPort}`;
}

/** Where a segment of the connection goes. */
function goesTo(world: World, srcPort: number, dstPort = 443): string {
  const payload = new Uint8Array(9);
  const data = buildTcp({ srcPort, dstPort, flags: "A", seq: 1000, ack: 5000, payload });
  const [packet] = packetsOf(world.send(data)).map(readTcp);
  return packet === undefined ? "nowhere" : `${packet.dst}:${packet.dstPort}`;
}

function resume(
  bytes: Uint8Array<ArrayBuffer>,
  policy = POLICY,
  options: WorldOptions = {},
  agoMs = 500,
): { world: World; became: Resumption } {
  const world = new World({ seed: 99, policy, backends: ["192.168.0.3"], ...options });
  const { appliance } = world;
  const saved = appliance.readState(bytes.slice(), BOOT, SAVED_MS + agoMs, 60_000);
  return { world, became: appliance.resumeState(saved) };
}

function save(world: World): Uint8Array<ArrayBuffer> {
  return world.appliance.saveState(BOOT, SAVED_MS);
}

function members({ appliance }: World): Member[] {
  return appliance.backends.pools.flatMap(({ members }) => members);
}

function named(world: World, name: string): Member {
  return memberNamed(name, members(world));
}

Deno.test("saved members, a connection goes on to its member by pool, address and port, whatever their order", () => {
  const before = worldWith();
  const was = [40_000, 40_001, 40_002].map((port) => open(before, port));
  assert.deepEqual([...new Set(was)].sort(), ["192.168.0.1:8080", "192.168.0.2:8443"]);
  was.push(open(before, 40_003, 2000));
  const policy = policyOf(
    "pool $more = 192.168.0.2, 192.168.0.1\npool $web = 192.168.0.2, 192.168.0.1 port 8080",
  );
  const { world, became } = resume(save(before), policy);
  assert.deepEqual([became.resumed, became.invalid], [4, 0]);
  const is = [40_000, 40_001, 40_002].map((port) => goesTo(world, port));
  is.push(goesTo(world, 40_003, 2000));
  assert.deepEqual(is, was);
  assert.deepEqual(world.drops(), {});
  for (const name of ["web/192.168.0.1:8080", "web/192.168.0.2", "dst-addrs/192.168.0.3"]) {
    const { active, load, opened } = named(before, name);
    const after = named(world, name);
    assert.deepEqual([after.active, after.load, after.opened], [active, load, opened], name);
  }
  assert.equal(named(world, "more/192.168.0.2").active, 0);
});

Deno.test("saved members, those of IPv6 keep their state, whatever the digest of the next run", () => {
  const policy = policyOf("pool $web = 2001:db8::1 port 8080, 2001:db8::2 weight 2");
  const options = { ipv6: true, backends: ["192.168.0.3", "2001:db8::3"] };
  const before = World.settled({ policy, ...options });
  changeMember(before.appliance, named(before, "web/[2001:db8::1]:8080"), { to: "drain" });
  changeMember(before.appliance, named(before, "web/2001:DB8::2"), { to: "weight", weight: 7 });
  changeMember(before.appliance, named(before, "[2001:db8::3]"), { to: "maintenance" });
  const { world } = resume(save(before), policy, options);
  assert.equal(named(world, "web/[2001:db8::1]:8080").status, "draining");
  assert.equal(named(world, "web/2001:db8::2").weight, 7);
  assert.equal(named(world, "dst-addrs/2001:db8::3").status, "maintenance");
});

Deno.test("saved members, connections count until they are forgotten, those that are over not as load", () => {
  const before = worldWith(policyOf("pool $web = 192.168.0.1 port 8080"));
  open(before, 40_000);
  open(before, 40_001);
  before.send(buildTcp({ srcPort: 40_001, dstPort: 443, flags: "R", seq: 1000 }));
  const { world } = resume(save(before), policyOf("pool $web = 192.168.0.1 port 8080"));
  const member = named(world, "web/192.168.0.1:8080");
  assert.deepEqual([member.active, member.load, member.opened], [2, 1, 2]);
  const { connections } = world.appliance;
  for (const entry of [...connections]) connections.remove(entry);
  assert.deepEqual([member.active, member.load], [0, 0]);
});

Deno.test("saved members, one that was full is full", () => {
  const policy = policyOf("pool $web = 192.168.0.1 port 8080 maxconn 1, 192.168.0.2 maxconn 1");
  const before = worldWith(policy);
  const first = open(before, 40_000);
  const { world } = resume(save(before), policy);
  assert.notEqual(open(world, 40_001), first);
  world.send(buildTcp({ srcPort: 40_002, dstPort: 443, flags: "S", seq: 999 }));
  assert.deepEqual(world.drops(), { "backends-full": 1 });
});

Deno.test("saved members, connections of one that is configured no more are left out and counted", () => {
  const before = worldWith();
  for (let i = 0; i < 6; i++) open(before, 40_000 + i);
  const gone = named(before, "web/192.168.0.2").active;
  assert.ok(gone > 0 && gone < 6);
  for (const pool of ["192.168.0.1 port 8080", "192.168.0.1 port 8080, 192.168.0.2 port 9"]) {
    const { became } = resume(save(before), policyOf(`pool $web = ${pool}`));
    assert.deepEqual([became.resumed, became.invalid], [6 - gone, gone], pool);
  }
});

Deno.test("saved members, a connection to a port that the policy sends nobody to is left out", () => {
  const before = worldWith(policyOf("pool $web = 192.168.0.2"));
  open(before, 40_000);
  const { became } = resume(save(before), policyOf("pool $web = 192.168.0.2", 9443));
  assert.deepEqual([became.resumed, became.invalid], [0, 1]);
});

const FORGED: [string, (record: Int32Array) => void][] = [
  ["of a member that the file does not have", (record) => void (record[MEMBER] = 9)],
  ["of a negative member", (record) => void (record[MEMBER] = -1)],
  ["of another member than its address says", (record) => {
    record[MEMBER] = record[MEMBER] === 1 ? 2 : 1; // $dst-addrs has 0, $web 1 and 2
  }],
  ["to a port that its member does not serve", (record) => {
    record[TUPLE_WORDS + PORTS] = (22 << 16) | (record[TUPLE_WORDS + PORTS]! & 0xffff);
  }],
];
for (const [name, change] of FORGED) {
  Deno.test(`saved members, a connection ${name} is left out and counted`, () => {
    const before = worldWith();
    open(before, 40_000);
    open(before, 40_001);
    const bytes = save(before);
    const words = new Int32Array(bytes.buffer);
    const records = (32 + words[4]!) / 4;
    const record = words.subarray(records, records + SAVED_WORDS);
    assert.equal(record[META]! & 0xff, 6);
    change(record);
    words[3] = checksumOf(words);
    const { became } = resume(bytes);
    assert.deepEqual([became.resumed, became.invalid], [1, 1]);
  });
}

Deno.test("saved members, one that has not answered a SYN has its time again, then another is tried", () => {
  const before = worldWith(policyOf("pool $web = 192.168.0.1, 192.168.0.2"));
  const syn = buildTcp({ srcPort: 40_000, dstPort: 443, flags: "S", seq: 999 });
  const first = readTcp(packetsOf(before.send(syn))[0]!).dst;
  const { world } = resume(save(before), policyOf("pool $web = 192.168.0.1, 192.168.0.2"));
  const again = () => packetsOf(world.send(syn)).map((packet) => readTcp(packet).dst);
  assert.deepEqual(again(), [first]);
  world.advance(2900);
  assert.deepEqual(again(), [first]);
  for (const address of ["192.168.0.1", "192.168.0.2"]) world.answer(address);
  world.advance(200);
  const [other] = again();
  assert.ok(other !== undefined && other !== first, other);
});

Deno.test("saved members, what was changed while the proxy ran goes on", () => {
  const before = worldWith(policyOf(`pool $web = ${POOL}, 192.168.0.4 state drain`));
  const change = (name: string, to: "drain" | "maintenance" | "ready") =>
    changeMember(before.appliance, named(before, name), { to });
  change("web/192.168.0.1:8080", "maintenance");
  change("dst-addrs/192.168.0.3", "drain");
  change("web/192.168.0.4", "ready");
  changeMember(before.appliance, named(before, "web/192.168.0.2"), { to: "weight", weight: 7 });
  const { world } = resume(save(before), policyOf(`pool $web = ${POOL}, 192.168.0.4 state drain`));
  const states = (of: World) => members(of).map(({ status, weight }) => [status, weight]);
  assert.deepEqual(states(world), states(before));
  assert.deepEqual(states(world).map(([status]) => status), [
    ...["draining", "maintenance", "up", "down"],
  ]);
});

Deno.test("saved members, what the policy says differently than before becomes so", () => {
  const before = worldWith();
  changeMember(before.appliance, named(before, "web/192.168.0.2"), { to: "weight", weight: 7 });
  changeMember(before.appliance, named(before, "web/192.168.0.2"), { to: "maintenance" });
  const other = policyOf("pool $web = 192.168.0.1 port 8080, 192.168.0.2 weight 5 state drain");
  const { world } = resume(save(before), other);
  const { status, weight } = named(world, "web/192.168.0.2");
  assert.deepEqual([status, weight], ["draining", 5]);
});

Deno.test("saved members, one that was ready again before it was found is in service", () => {
  const policy = policyOf("pool $web = 192.168.0.1, 192.168.0.2 state drain");
  const before = new World({ policy, backends: ["192.168.0.3"] });
  changeMember(before.appliance, named(before, "web/192.168.0.2"), { to: "ready" });
  assert.equal(named(before, "web/192.168.0.2").status, "unknown");
  const { world } = resume(save(before), policy);
  assert.equal(named(world, "web/192.168.0.2").status, "unknown");
});

Deno.test("saved members, one that was leaving its pool and is in the policy again is in service", () => {
  const before = worldWith(policyOf("pool $web = 192.168.0.2"));
  open(before, 40_000);
  finish(before.appliance.prepare({ policy: policyOf("pool $web = 192.168.0.1") }))();
  assert.equal(named(before, "web/192.168.0.2").status, "draining");
  const { world, became } = resume(save(before), policyOf("pool $web = 192.168.0.2"));
  assert.deepEqual([became.resumed, named(world, "web/192.168.0.2").status], [1, "up"]);
});

Deno.test("saved members, one that checks had found down, and ARP decides about now, is up if it is there", () => {
  const before = worldWith(undefined, { check: "tcp 80, interval 1s, fall 1, timeout 500ms" });
  before.advance(4000);
  before.answer("192.168.0.3");
  assert.equal(named(before, "dst-addrs/192.168.0.3").status, "down");
  const { world } = resume(save(before));
  assert.equal(named(world, "dst-addrs/192.168.0.3").status, "up");
});

Deno.test("saved members, one that checks have found down is down, and that is no news", () => {
  const options = { check: "tcp 80, interval 1s, fall 1, timeout 500ms" };
  const isTold = (world: World) => world.log.some((line) => line.includes(" is down: tcp 80"));
  const before = worldWith(undefined, options);
  before.advance(4000);
  assert.ok(isTold(before));
  const { world } = resume(save(before), POLICY, options);
  const status = () => named(world, "dst-addrs/192.168.0.3").status;
  assert.equal(status(), "down");
  world.advance(4000);
  assert.equal(status(), "down");
  assert.ok(!isTold(world));
});

Deno.test("saved members, a connection's age goes on", () => {
  const before = worldWith();
  open(before, 40_000);
  before.advance(3000);
  const { world } = resume(save(before), POLICY, {}, 500);
  world.advance(1500);
  const { connections } = world.appliance;
  const [entry] = connections;
  assert.equal(connections.ageMs(entry!, world.appliance.nowMs), 5000);
});
