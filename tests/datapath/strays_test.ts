/** TCP segments of no connection: who is answered, how, and how often (RFC 9293 §3.10.7.1). */
import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import type { Link } from "../../src/datapath/link.ts";
import { Strays } from "../../src/datapath/strays.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { parseAddress6 } from "../../src/wire/address6.ts";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  bytesOf,
  readEthernet,
  readTcp,
  type Tcp,
} from "../support/frames.ts";
import { buildTcp6 } from "../support/frames6.ts";
import {
  BACKENDS,
  BACKENDS_B,
  CLIENT,
  from,
  fromB,
  isArp,
  PROXY,
  PROXY_B,
  World,
  type WorldOptions,
} from "../support/world.ts";
import { decoded6 } from "../wire/place6.ts";

const NUMBERS = { seq: 5000, ack: 77_000 };

/** What of the answers is no ARP. */
function answers(world: World, ...frames: Uint8Array[]): Tcp[] {
  return world.send(...frames).filter((frame) => !isArp(frame)).map(readTcp);
}

const SENDERS = [{ host: CLIENT, fields: {} }, { host: BACKENDS[0]!, fields: from(BACKENDS[0]!) }];

Deno.test("strays: a segment of no connection is answered with the RST that its sender takes", () => {
  for (const { host, fields } of SENDERS) {
    const world = World.settled();
    for (const flags of ["A", "PA", "FA", "SA", "FPAU"]) {
      const payload = bytesOf(flags === "PA" ? "data" : "");
      const [reset, ...more] = answers(world, buildTcp({ ...fields, ...NUMBERS, flags, payload }));
      assert.deepEqual(more, []);
      const { src, dst, srcPort, dstPort, flags: found, seq, ack } = reset!;
      assert.deepEqual([src, dst, srcPort, dstPort], [PROXY, host, 2000, 40_000], flags);
      assert.deepEqual([found, seq, ack], ["R", NUMBERS.ack, 0], flags);
    }
    assert.deepEqual(world.drops(), { stray: 5 });
    assert.equal(world.appliance.connections.table.count, 0);
  }
});

Deno.test("strays: an RST of no connection is dropped as such, and never answered", () => {
  for (const { fields } of SENDERS) {
    const world = World.settled();
    for (const flags of ["R", "RA"]) {
      assert.deepEqual(answers(world, buildTcp({ ...fields, ...NUMBERS, flags })), []);
    }
    assert.deepEqual(world.drops(), { stray: 2 });
  }
});

Deno.test("strays=drop: a segment of no connection is dropped in silence, under the same name", () => {
  for (const { fields } of SENDERS) {
    const world = World.settled({ strays: "drop" });
    assert.deepEqual(answers(world, buildTcp({ ...fields, ...NUMBERS, flags: "A" })), []);
    assert.deepEqual(world.drops(), { stray: 1 });
  }
});

Deno.test("strays: a backend's SYN, and what is no TCP, get no RST", () => {
  const world = World.settled();
  const backend = from(BACKENDS[0]!);
  const frames = [
    buildTcp({ ...backend, flags: "S" }),
    buildUdp(backend),
    buildIcmp(backend),
    buildIcmp({ type: 0 }),
  ];
  for (const frame of frames) assert.deepEqual(world.send(frame), []);
  assert.deepEqual(world.drops(), { policy: 1, "no-mapping": 3 });
});

Deno.test("strays: the tree decides first, port 80 stays silent and stray -> drop wins", () => {
  const silent = World.settled();
  assert.deepEqual(answers(silent, buildTcp({ ...NUMBERS, dstPort: 80, flags: "A" })), []);
  const { policy } = parse(
    "default drop\nstray -> drop\nnot ip.src in $dst-addrs\n  tcp -> translate-a-to-b, forward\n" +
      "otherwise -> translate-b-to-a, forward\n",
    { file: "test" },
  );
  const dropping = World.settled({ policy: policy! });
  for (const fields of [{}, from(BACKENDS[0]!)]) {
    assert.deepEqual(answers(dropping, buildTcp({ ...fields, ...NUMBERS, flags: "A" })), []);
  }
  assert.deepEqual([silent.drops(), dropping.drops()], [{ policy: 1 }, { policy: 2 }]);
});

Deno.test("strays: the RST goes to the station that sent the segment, and is not longer than that", () => {
  const world = World.settled({ gateway: "192.168.0.250" });
  const router = "02:00:00:00:00:fa";
  const stray = buildTcp({ ...NUMBERS, srcMac: router, src: "203.0.113.9", flags: "A" });
  const sent = world.send(stray);
  assert.deepEqual(sent.map((frame) => readEthernet(frame).dstMac), [router], "no ARP first");
  assert.ok(sent[0]!.length <= stray.length);
});

Deno.test("strays, with the clients' addresses: what a backend sends to another host is no affair of ours", () => {
  const options: WorldOptions = { twoSided: true, preserveSource: true, backends: BACKENDS_B };
  const world = World.settled(options);
  const backend = { ...fromB(BACKENDS_B[0]!), ...NUMBERS, flags: "A" };
  assert.deepEqual(world.send(buildTcp({ ...backend, dst: CLIENT })), []);
  assert.deepEqual(world.drops(), { "foreign-destination": 1 });
  const [reset] = answers(world, buildTcp(backend));
  assert.deepEqual([reset!.src, reset!.dst], [PROXY_B, BACKENDS_B[0]]);
});

Deno.test("strays: a living connection's ends hear nothing, however wrong a segment in their name is", () => {
  const world = World.settled({ backends: [BACKENDS[0]!] });
  const there = { srcPort: 40_000, dstPort: 2000, window: 1000 };
  const [syn] = world.send(buildTcp({ ...there, flags: "S", seq: 1000 }));
  const back = { ...from(BACKENDS[0]!), srcPort: 2000, dstPort: readTcp(syn!).srcPort };
  world.send(buildTcp({ ...back, flags: "SA", seq: 9000, ack: 1001 }));
  world.send(buildTcp({ ...there, flags: "A", seq: 1001, ack: 9001 }));
  for (const flags of ["A", "PA", "FA", "SA", "R", "RA"]) {
    for (const way of [there, back]) {
      const wrong = { ...way, flags, seq: 0x4000_0000, ack: 0x5000_0000 };
      assert.deepEqual(answers(world, buildTcp(wrong)), [], flags);
    }
  }
  assert.equal(world.drops().stray, undefined);
});

Deno.test("strays: after the longest idle time both ends hear with their next segment", () => {
  const world = World.settled({ backends: [BACKENDS[0]!], timeouts: { established: 60 } });
  const there = { srcPort: 40_000, dstPort: 2000 };
  const [syn] = world.send(buildTcp({ ...there, flags: "S", seq: 1000 }));
  const back = { ...from(BACKENDS[0]!), srcPort: 2000, dstPort: readTcp(syn!).srcPort };
  world.send(buildTcp({ ...back, flags: "SA", seq: 9000, ack: 1001 }));
  world.send(buildTcp({ ...there, flags: "A", seq: 1001, ack: 9001 }));
  world.advance(120_000);
  assert.equal(world.appliance.connections.table.count, 0);
  const payload = bytesOf("x");
  const [client] = answers(
    world,
    buildTcp({ ...there, flags: "PA", seq: 1001, ack: 9001, payload }),
  );
  const [server] = answers(
    world,
    buildTcp({ ...back, flags: "PA", seq: 9001, ack: 1001, payload }),
  );
  assert.deepEqual([client!.dst, client!.flags, client!.seq], [CLIENT, "R", 9001]);
  assert.deepEqual([server!.dst, server!.flags, server!.seq], [BACKENDS[0], "R", 1001]);
});

/** So many strays, from `sources` addresses in turn; how many are answered. */
function flood(world: World, strays: number, sources: number): number {
  let count = 0;
  for (let i = 0; i < strays; i += 32) {
    const burst = Array.from({ length: 32 }, (_, j) => {
      const source = (i + j) % sources;
      const src = `10.${source >> 16}.${(source >> 8) & 255}.${source & 255}`;
      return buildTcp({ ...NUMBERS, src, srcPort: 1024 + ((i + j) & 0x7fff), flags: "A" });
    });
    count += answers(world, ...burst).length;
  }
  return count;
}

Deno.test("strays: one source gets 1,000 RSTs at once and 1,000 a second, others none the fewer", () => {
  const world = World.settled();
  assert.equal(flood(world, 3200, 1), 1000);
  assert.equal(answers(world, buildTcp({ ...NUMBERS, flags: "A" })).length, 1);
  world.clock.advance(500);
  assert.equal(flood(world, 3200, 1), 500);
});

Deno.test("strays: all together get about 2,000 at once and 10,000 a second, nobody can tell exactly how many", () => {
  const counts = [1, 2, 3, 4].map((seed) => {
    const world = World.settled({ seed });
    const atOnce = flood(world, 4000, 1000);
    let later = 0;
    for (let ms = 0; ms < 1000; ms += 20) {
      world.clock.advance(20);
      later += flood(world, 320, 1000);
    }
    return [atOnce, later];
  });
  for (const [atOnce, later] of counts) {
    assert.ok(atOnce! > 1800 && atOnce! < 2200, `${atOnce} at once`);
    assert.ok(later! > 9500 && later! < 10_500, `${later} in a second`);
  }
  assert.equal(new Set(counts.map(String)).size, counts.length, "the limit is not a number");
  assert.ok(new Set(counts.map(([atOnce]) => atOnce)).size > 1);
});

Deno.test("strays: the console says what they are", async () => {
  const world = World.settled({ trace: "all" });
  await world.printed();
  world.send(buildTcp({ ...NUMBERS, flags: "A" }));
  assert.match(await world.printed(), /^Decision : Drop \(stray\)$/m);
});

Deno.test("strays: over IPv6 a /64 has one limit for all of its addresses", () => {
  const strays = new Strays(new SeededRandom(1), 0);
  const { arena, pdu } = decoded6(buildTcp6());
  const told = (network: string, times: number): number => {
    let count = 0;
    for (let i = 0; i < times; i++) {
      pdu.addresses.set(parseAddress6(`${network}::${i.toString(16)}`));
      strays.answer({ arena } as Link, pdu, 0);
      count += arena.txCount;
      arena.sent();
    }
    return count;
  };
  assert.equal(told("2001:db8:0:1", 1500), 1000);
  assert.equal(told("2001:db8:0:1", 10), 0);
  assert.ok(told("2001:db8:0:2", 500) > 400);
});
