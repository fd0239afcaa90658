/** The demo in memory: what each host on the Ethernet sends, and exactly what comes back. */
import assert from "node:assert/strict";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  bytesOf,
  type Icmp,
  readEthernet,
  readIcmp,
  readTcp,
} from "../support/frames.ts";
import {
  BACKENDS,
  CLIENT,
  from,
  macOf,
  packetsOf,
  PROXY,
  PROXY_MAC,
  World,
} from "../support/world.ts";

const BROADCAST_MAC = "ff:ff:ff:ff:ff:ff";

/** A connection's SYN through the proxy, as the backend gets it. */
function open(world: World, fields: Parameters<typeof buildTcp>[0] = {}) {
  const sent = world.send(buildTcp({ ...fields, flags: "S" }));
  assert.equal(sent.length, 1);
  return readTcp(sent[0]!);
}

Deno.test("Appliance answers pings with even numbers, nine of eighteen", () => {
  const world = World.settled();
  const answered: number[] = [];
  for (let seq = 1; seq <= 18; seq++) {
    const payload = bytesOf(`ping number ${seq}`);
    for (const frame of world.send(buildIcmp({ rest: [0x4a49, seq], payload, ttl: 38 }))) {
      const reply = readIcmp(frame);
      const { src, dst, srcMac, dstMac, ttl, type, code, rest } = reply;
      assert.deepEqual({ src, dst, srcMac, dstMac, ttl, type, code, rest }, {
        ...{ src: PROXY, dst: CLIENT, srcMac: PROXY_MAC, dstMac: macOf(CLIENT) },
        ...{ ttl: 64, type: 0, code: 0, rest: [0x4a49, seq] },
      });
      assert.deepEqual(reply.payload, payload);
      answered.push(seq);
    }
    world.advance(1000);
  }
  assert.deepEqual(answered, [2, 4, 6, 8, 10, 12, 14, 16, 18]);
  assert.deepEqual(world.drops(), { policy: 9 });
});

Deno.test("Appliance counts pings in one row for all clients", () => {
  const world = World.settled();
  const clients = [CLIENT, "192.168.0.77", CLIENT, CLIENT, "192.168.0.77", "192.168.0.77"];
  const answered = clients.map((client) => world.send(buildIcmp(from(client))).length);
  assert.deepEqual(answered, [0, 1, 0, 1, 0, 1]);
});

Deno.test("Appliance forwards a connection both ways, from SYN to the last ACK", () => {
  const world = World.settled();
  const syn = open(world, { srcPort: 40_000, dstPort: 2000, tcpOptions: [2, 4, 5, 180] });
  const backend = syn.dst;
  assert.ok(BACKENDS.includes(backend));
  assert.deepEqual(
    { ...syn, payload: syn.payload.length },
    {
      ...{ srcMac: PROXY_MAC, dstMac: macOf(backend), etherType: 0x0800 },
      ...{ src: PROXY, dst: backend, ttl: 63, tos: 0, id: 0x1234, fragment: 0x4000 },
      ...{ protocol: 6, options: [], srcPort: 40_000, dstPort: 2000, seq: 1000, ack: 0 },
      ...{ flags: "S", window: 64_240, tcpOptions: [2, 4, 5, 180], payload: 0 },
    },
  );
  const there = { srcPort: 40_000, dstPort: 2000 };
  const back = { ...from(backend), srcPort: 2000, dstPort: syn.srcPort };
  const steps = [
    { what: "SYN ACK", frame: { ...back, flags: "SA", seq: 9000, ack: 1001 }, to: CLIENT },
    { what: "ACK", frame: { ...there, flags: "A", seq: 1001, ack: 9001 }, to: backend },
    { what: "data", frame: { ...there, flags: "PA", payload: bytesOf("hello") }, to: backend },
    { what: "answer", frame: { ...back, flags: "PA", payload: bytesOf("Hello!") }, to: CLIENT },
    { what: "FIN", frame: { ...there, flags: "FA" }, to: backend },
    { what: "FIN back", frame: { ...back, flags: "FA" }, to: CLIENT },
    { what: "last ACK", frame: { ...there, flags: "A" }, to: backend },
  ];
  for (const { what, frame, to } of steps) {
    const sent = world.send(buildTcp({ ...frame, ttl: 50 }));
    assert.equal(sent.length, 1, what);
    const tcp = readTcp(sent[0]!);
    assert.equal(tcp.flags, frame.flags, what);
    assert.deepEqual(tcp.payload, "payload" in frame ? frame.payload : new Uint8Array(), what);
    const { src, dst, srcMac, dstMac, srcPort, dstPort, ttl } = tcp;
    assert.deepEqual({ src, dst, srcMac, dstMac, srcPort, dstPort, ttl }, {
      ...{ src: PROXY, dst: to, srcMac: PROXY_MAC, dstMac: macOf(to), ttl: 49 },
      srcPort: to === CLIENT ? 2000 : syn.srcPort,
      dstPort: to === CLIENT ? 40_000 : 2000,
    }, what);
  }
  assert.deepEqual(world.drops(), {});
});

Deno.test("Appliance keeps a connection on its backend, and spreads connections over all", () => {
  const world = World.settled();
  const counts = new Map<string, number>();
  for (let i = 0; i < 60; i++) {
    const srcPort = 40_000 + i;
    const { dst } = open(world, { srcPort });
    counts.set(dst, (counts.get(dst) ?? 0) + 1);
    for (let again = 0; again < 3; again++) assert.equal(open(world, { srcPort }).dst, dst);
  }
  assert.deepEqual([...counts.keys()].sort(), BACKENDS);
  assert.ok(Math.min(...counts.values()) >= 8, JSON.stringify([...counts]));
});

Deno.test("Appliance takes source ports from its range, the same one towards another backend", () => {
  const world = World.settled({ ports: { first: 5000, last: 5003 } });
  const seen = new Set<string>();
  const taken = Array.from({ length: 40 }, (_, i) => {
    const sent = packetsOf(world.send(buildTcp({ srcPort: 40_000 + i })));
    const { src, protocol } = readTcpOrNull(sent[0]!) ?? { src: "", protocol: 1 };
    if (protocol !== 6) return 0;
    const tcp = readTcp(sent[0]!);
    assert.equal(src, PROXY);
    assert.ok(tcp.srcPort >= 5000 && tcp.srcPort <= 5003);
    seen.add(`${tcp.dst} ${tcp.srcPort}`);
    return 1;
  }).reduce<number>((sum, one) => sum + one, 0);
  assert.equal(seen.size, taken, "no port twice towards one backend");
  assert.equal(taken, 12, "every port towards every backend");
  assert.equal(world.drops()["no-port"], 28);
});

function readTcpOrNull(frame: Uint8Array): { src: string; protocol: number } | null {
  return frame[23] === 6 ? readTcp(frame) : null;
}

Deno.test("Appliance is silent about port 80, UDP and what else the policy drops", () => {
  const frames = {
    "SYN to port 80": buildTcp({ dstPort: 80 }),
    "RST to port 80": buildTcp({ dstPort: 80, flags: "R" }),
    "UDP": buildUdp({ payload: bytesOf("x") }),
    "echo reply": buildIcmp({ type: 0 }),
    "timestamp request": buildIcmp({ type: 13 }),
    "port unreachable": buildIcmp({ type: 3, code: 3 }),
  };
  for (const [what, frame] of Object.entries(frames)) {
    const world = World.settled();
    assert.deepEqual(world.send(frame), [], what);
    assert.deepEqual(world.drops(), { policy: 1 }, what);
    assert.equal(world.appliance.connections.table.count, 0, what);
  }
});

Deno.test("Appliance gives a backend nothing that no client has asked for", () => {
  const frames = {
    "SYN": buildTcp(from(BACKENDS[0]!)),
    "SYN ACK": buildTcp({ ...from(BACKENDS[0]!), flags: "SA" }),
    "ping": buildIcmp(from(BACKENDS[0]!)),
    "UDP": buildUdp(from(BACKENDS[0]!)),
  };
  for (const [what, frame] of Object.entries(frames)) {
    const world = World.settled();
    assert.deepEqual(world.send(frame), [], what);
    assert.deepEqual(world.drops(), { "no-mapping": 1 }, what);
  }
});

Deno.test("Appliance takes a connection's packets only from its own backend and port", () => {
  const world = World.settled();
  const { dst: backend, srcPort } = open(world);
  const other = BACKENDS.find((one) => one !== backend)!;
  const reply = { srcPort: 2000, dstPort: srcPort, flags: "SA" };
  assert.deepEqual(world.send(buildTcp({ ...reply, ...from(other) })), []);
  assert.deepEqual(world.send(buildTcp({ ...reply, ...from(backend), srcPort: 2001 })), []);
  assert.equal(world.send(buildTcp({ ...reply, ...from(backend) })).length, 1);
  assert.deepEqual(world.drops(), { "no-mapping": 2 });
});

Deno.test("Appliance drops a segment of no connection as invalid", () => {
  const world = World.settled();
  for (const flags of ["A", "PA", "FA", "R", "SA"]) {
    assert.deepEqual(world.send(buildTcp({ flags })), [], flags);
  }
  assert.deepEqual(world.drops(), { invalid: 5 });
});

Deno.test("Appliance never touches what is not for it: no answer, no PDU, one counted reason", () => {
  const cases = [
    {
      reason: "foreign-mac",
      frame: buildTcp({ dstMac: macOf(BACKENDS[0]!), dst: BACKENDS[0]! }),
    },
    { reason: "foreign-mac", frame: buildTcp({ dstMac: macOf(BACKENDS[0]!) }) },
    { reason: "foreign-destination", frame: buildTcp({ dst: "192.168.0.101" }) },
    {
      reason: "broadcast-destination",
      frame: buildIcmp({ dst: "255.255.255.255", dstMac: BROADCAST_MAC }),
    },
    {
      reason: "broadcast-destination",
      frame: buildIcmp({ dst: "192.168.0.255", dstMac: BROADCAST_MAC }),
    },
    {
      reason: "multicast-mac",
      frame: buildIcmp({ dst: "224.0.0.1", dstMac: "01:00:5e:00:00:01" }),
    },
    { reason: "multicast-destination", frame: buildIcmp({ dst: "224.0.0.1" }) },
    { reason: "broadcast-mac", frame: buildIcmp({ dstMac: BROADCAST_MAC }) },
    { reason: "own-source", frame: buildTcp({ src: PROXY }) },
    { reason: "martian-source", frame: buildTcp({ src: "0.0.0.0" }) },
    { reason: "martian-source", frame: buildTcp({ src: "224.0.0.1" }) },
    { reason: "martian-source", frame: buildTcp({ src: "192.168.0.255" }) },
  ];
  for (const { reason, frame } of cases) {
    const world = World.settled();
    assert.deepEqual(world.send(frame), [], reason);
    assert.deepEqual(world.drops(), { [reason]: 1 });
    assert.equal(world.appliance.metrics.pdusIn, 0, reason);
  }
});

Deno.test("Appliance sends Time Exceeded at TTL 1, and commits nothing", () => {
  const world = World.settled();
  for (const ttl of [1, 0]) {
    const syn = buildTcp({ ttl, payload: bytesOf("data") });
    const sent = world.send(syn);
    assert.equal(sent.length, 1);
    checkError(readIcmp(sent[0]!), 11, 0, syn);
  }
  assert.equal(world.appliance.connections.table.count, 0);
  assert.equal(world.send(buildTcp({ ttl: 2 })).length, 1);
  const { metrics } = world.appliance;
  assert.deepEqual(world.drops(), { "ttl-expired": 2 });
  assert.deepEqual([...metrics.decisions], [2, 1, 0, 0]);
});

Deno.test("Appliance answers a ping of nothing but zeroes with checksum 0xffff", () => {
  const world = World.settled();
  const ping = buildIcmp({ rest: [0, 0], payload: new Uint8Array(56) });
  world.send(ping);
  assert.equal(readIcmp(world.send(ping)[0]!).type, 0);
});

Deno.test("Appliance answers a ping whose TTL is 1: it goes no further", () => {
  const world = World.settled();
  world.send(buildIcmp({ ttl: 1 }));
  assert.equal(world.send(buildIcmp({ ttl: 1 })).length, 1);
});

Deno.test("Appliance tells the client when the connection table is full; others go on", () => {
  const world = World.settled({ maxConn: 2 });
  open(world, { srcPort: 40_000 });
  open(world, { srcPort: 40_001 });
  const third = buildTcp({ srcPort: 40_002 });
  const sent = world.send(third);
  assert.equal(sent.length, 1);
  checkError(readIcmp(sent[0]!), 3, 1, third);
  assert.deepEqual(world.drops(), { "table-full": 1 });
  open(world, { srcPort: 40_000 });
});

Deno.test("Appliance forgets a connection that never got an answer after four minutes", () => {
  const world = World.settled({ maxConn: 1 });
  open(world);
  world.advance(3 * 60_000);
  assert.equal(world.appliance.connections.table.count, 1);
  world.advance(61_000);
  assert.equal(world.appliance.connections.table.count, 0);
});

Deno.test("Appliance counts what the device did not take, and goes on when it does again", () => {
  const world = World.settled();
  world.device.broken = true;
  assert.deepEqual(world.send(buildTcp(), buildTcp({ srcPort: 40_001 })), []);
  assert.deepEqual(world.drops(), { "send-failed": 2 });
  world.device.broken = false;
  assert.equal(world.send(buildTcp()).length, 1);
});

/** An error from the proxy to the client about `about`, quoted from its IP header on. */
function checkError(error: Icmp, type: number, code: number, about: Uint8Array): void {
  const { src, dst, srcMac, dstMac, ttl } = error;
  assert.deepEqual({ src, dst, srcMac, dstMac, ttl, type: error.type, code: error.code }, {
    ...{ src: PROXY, dst: readEthernet(about).srcMac === macOf(CLIENT) ? CLIENT : dst },
    ...{ srcMac: PROXY_MAC, dstMac: readEthernet(about).srcMac, ttl: 64, type, code },
  });
  assert.deepEqual(error.payload, about.slice(14));
}
