/**
 * What a flood, from one source or from many, may take from others: their exchanges must not
 * suffer.
 */
import assert from "node:assert/strict";
import { SIDE_A } from "../../src/flow/table.ts";
import { ESTABLISHED } from "../../src/flow/tcp_state.ts";
import { ACK, SYN } from "../../src/wire/tcp.ts";
import { BACKENDS, CLIENT, World } from "./connections_world.ts";

const one = { addresses: BACKENDS.slice(0, 1) };
const UDP = { protocol: 17, tcpFlags: 0 };
const ATTACKER = 0x0a00_0001;
/** As many as there are ports by default, and a quarter of them. */
const PORTS = 64_512;
const SHARE = PORTS / 4;
const QUARTER = { maxPerSource: null };

/** How many connections of `src` there are. */
function countOf({ connections: { table } }: World, src: number): number {
  return [...table].filter((entry) => table.src(entry, SIDE_A) === src).length;
}

/** A question and its answer; how the first of the two that failed did, or "". */
function exchange(world: World, fields: { src?: number; srcPort?: number } = {}): string {
  const asked = world.fromA({ ...UDP, ...fields });
  if (!/^192/.test(asked)) return asked;
  const answered = world.fromB(UDP);
  return /^192/.test(answered) ? "" : answered;
}

Deno.test("Connections leaves UDP to others when one source sends from 64,512 ports, again and again", () => {
  const world = new World({ ...one, ...QUARTER, maxConnections: 262_144 });
  for (let round = 0; round < 3; round++) {
    for (let srcPort = 1024; srcPort <= 65_535; srcPort++) {
      assert.match(world.fromA({ ...UDP, src: ATTACKER, srcPort }), /^192/);
      if (srcPort % 500 === 0) assert.equal(exchange(world, { srcPort }), "");
    }
    world.nowMs += 1000;
  }
  assert.equal(countOf(world, ATTACKER), SHARE);
  assert.equal(exchange(world, { src: ATTACKER, srcPort: 1 }), "", "another behind the same NAT");
});

Deno.test("Connections leaves UDP to others when 64,512 sources take all ports", () => {
  for (const pause of [0, 3000]) {
    const world = new World({ ...one, ...QUARTER, maxConnections: 262_144 });
    for (let i = 0; i < PORTS + 1000; i++) world.fromA({ ...UDP, src: ATTACKER + i });
    assert.equal(world.connections.table.count, PORTS);
    world.nowMs += pause;
    for (let srcPort = 1; srcPort <= 100; srcPort++) assert.equal(exchange(world, { srcPort }), "");
    assert.equal(countOf(world, ATTACKER), 0, "the oldest went");
  }
});

Deno.test("Connections gives UDP the port of the oldest unanswered, then of the oldest answered once", () => {
  const world = new World({ ...one, first: 5000, last: 5003 });
  for (const srcPort of [1, 2, 3, 4]) world.fromA({ ...UDP, srcPort });
  const { table } = world.connections;
  const portOf = new Map(
    [...table].map((entry) => [table.srcPort(entry, 0), table.dstPort(entry, 1)]),
  );
  const answer = (srcPort: number) => {
    world.fromA({ ...UDP, srcPort });
    world.fromB(UDP);
  };
  for (const srcPort of [2, 1, 1, 4]) answer(srcPort); // 1 goes on, 3 is unanswered
  const taken = [11, 12, 13].map((srcPort) => {
    world.nowMs += 3000;
    world.fromA({ ...UDP, srcPort });
    const { srcPort: port } = world.to;
    world.fromB(UDP);
    world.fromA({ ...UDP, srcPort }); // goes on
    return port;
  });
  assert.deepEqual(taken, [3, 2, 4].map((srcPort) => portOf.get(srcPort)));
  assert.equal(world.fromA({ ...UDP, srcPort: 14 }), "no-port");
  assert.match(world.fromA({ ...UDP, srcPort: 1 }), /^192/);
});

Deno.test("Connections loses no handshake to pings with new identifiers", () => {
  const world = new World({ ...one, ...QUARTER, maxConnections: 1000 });
  for (let i = 0; i < 10_000; i++) {
    world.nowMs += 0.05; // 20,000 a second
    const at = i % 1000;
    assert.equal(world.track({ src: ATTACKER, srcPort: i & 0xffff }), "tracked");
    const srcPort = 1000 + Math.floor(i / 1000);
    if (at === 100) assert.match(world.fromA({ srcPort }), /^192/);
    if (at === 900) assert.match(world.fromB({ tcpFlags: SYN | ACK }), /^192/);
    if (at === 950) assert.match(world.fromA({ srcPort, tcpFlags: ACK }), /^192/);
  }
  const { table } = world.connections;
  const established = [...table].filter((entry) => table.state(entry) === ESTABLISHED);
  assert.equal(established.length, 10);
});

Deno.test("Connections answers pings while a flood of SYNs has the table, and takes young ones for none", () => {
  const world = new World({ ...one, ...QUARTER, maxConnections: 1000 });
  for (let i = 0; i < 1000; i++) world.fromA({ src: ATTACKER + i });
  assert.equal(world.track(), "table-full");
  world.nowMs += 2000;
  assert.equal(world.track(), "tracked");
  for (let i = 0; i < 1000; i++) world.track({ srcPort: i });
  assert.equal(world.connections.table.count, 1000);
  assert.equal(countOf(world, CLIENT), 1, "they make room for one another");
});

/** [what floods from random sources, 20,000 a second] */
const FLOODS: [string, (world: World, src: number) => string][] = [
  ["SYNs", (world, src) => world.fromA({ src })],
  ["datagrams", (world, src) => world.fromA({ ...UDP, src })],
  ["queries", (world, src) => world.queryA({ src })],
  ["pings", (world, src) => world.track({ src })],
];
/** The table has room for 2.2 s of the flood. */
const ROOM = 44_000;
for (const [name, send] of FLOODS) {
  Deno.test(`Connections loses no exchange to ${name} from 120,000 sources`, () => {
    const world = new World({ ...one, ...QUARTER, maxConnections: ROOM });
    for (let i = 0; i < 120_000; i++) {
      world.nowMs += 0.05;
      send(world, ATTACKER + i);
      if (i < ROOM || i % 500 !== 0) continue;
      const srcPort = 1000 + i / 500;
      const syn = world.fromA({ srcPort });
      assert.match(syn, /^192/, `SYN at ${world.nowMs} ms`);
      assert.match(world.fromB({ tcpFlags: SYN | ACK }), /^192/);
      assert.match(world.fromA({ srcPort, tcpFlags: ACK }), /^192/);
      assert.equal(exchange(world, { srcPort }), "", `UDP at ${world.nowMs} ms`);
      assert.equal(world.track({ srcPort }), "tracked", `ping at ${world.nowMs} ms`);
      assert.match(world.queryA({ src: CLIENT - 1, srcPort }), /^192/);
      assert.match(world.queryB(), /^192/);
    }
    assert.equal(world.connections.table.count, ROOM);
  });
}

Deno.test("Connections has a source that is above its share make room by its own oldest", () => {
  const world = new World({ ...one, ...QUARTER, maxConnections: 40 });
  const [alice, bob] = [CLIENT, CLIENT - 1];
  for (let srcPort = 1; srcPort <= 5; srcPort++) world.fromA({ src: bob, srcPort });
  for (let srcPort = 1; srcPort <= 15; srcPort++) {
    assert.match(world.fromA({ src: alice, srcPort }), /^192/);
  }
  const { table } = world.connections;
  const left = [...table].filter((entry) => table.src(entry, SIDE_A) === alice)
    .map((entry) => table.srcPort(entry, SIDE_A));
  assert.deepEqual(left.sort((a, b) => a - b), [6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
  assert.equal(countOf(world, bob), 5);
  assert.match(world.fromB({ tcpFlags: SYN | ACK }), /^192/, "the newest goes on");
});

Deno.test("Connections refuses a source whose own are not among the oldest, and changes nothing", () => {
  const world = new World({ ...one, maxPerSource: 2, maxConnections: 1000 });
  for (let i = 0; i < 16; i++) world.fromA({ ...UDP, src: ATTACKER + i });
  for (const srcPort of [1, 2]) assert.match(world.fromA({ ...UDP, srcPort }), /^192/);
  const before = world.snapshot();
  assert.equal(world.fromA({ ...UDP, srcPort: 3 }), "source-limit");
  assert.equal(world.fromA({ srcPort: 3 }), "source-limit", "UDP and TCP count together");
  assert.deepEqual(world.snapshot(), before);
  world.fromA({ ...UDP, srcPort: 1 });
  world.fromB(UDP);
  assert.match(world.fromA({ ...UDP, srcPort: 3 }), /^192/, "what is answered counts no longer");
  world.expire(30_000);
  for (const srcPort of [3, 4]) assert.match(world.fromA({ ...UDP, srcPort }), /^192/);
});

Deno.test("Connections counts a source's live ones when three quarters of the table are in use", () => {
  const world = new World({ ...QUARTER, maxConnections: 40 });
  for (let srcPort = 1; srcPort <= 30; srcPort++) world.establish({ srcPort });
  const before = world.snapshot();
  assert.equal(world.fromA({ srcPort: 31 }), "source-limit");
  assert.deepEqual(world.snapshot(), before);
  for (let srcPort = 1; srcPort <= 10; srcPort++) world.establish({ src: CLIENT - 1, srcPort });
  assert.deepEqual([countOf(world, CLIENT), countOf(world, CLIENT - 1)], [30, 10]);
  assert.equal(world.fromA({ src: CLIENT - 2 }), "table-full");
});

Deno.test("Connections counts a source's live ones when three quarters of a pool are in use", () => {
  const world = new World({ ...one, ...QUARTER, maxConnections: 1000, first: 5000, last: 5039 });
  for (let srcPort = 1; srcPort <= 30; srcPort++) world.establish({ srcPort });
  assert.equal(world.fromA({ srcPort: 31 }), "source-limit");
  world.establish({ srcPort: 31, dstPort: 2001 });
  world.fromA({ ...UDP, srcPort: 31 });
  for (let srcPort = 1; srcPort <= 10; srcPort++) world.establish({ src: CLIENT - 1, srcPort });
  assert.equal(countOf(world, CLIENT - 1), 10, "another source has its share");
  assert.equal(world.fromA({ src: CLIENT - 2 }), "no-port");
});

Deno.test("Connections does not count towards a share what makes room for everybody", () => {
  const world = new World({ ...one, maxPerSource: 3, maxConnections: 8 });
  for (let round = 0; round < 20; round++) {
    for (let srcPort = 1; srcPort <= 3; srcPort++) world.track({ srcPort: 100 * round + srcPort });
    assert.equal(exchange(world, { srcPort: round + 1 }), "");
  }
  assert.equal(world.connections.table.count, 8);
});
