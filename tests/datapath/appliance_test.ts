/** The demo in memory: what each host on the Ethernet sends, and exactly what comes back. */
import assert from "node:assert/strict";
import { Count } from "../../src/datapath/metrics.ts";
import {
  firstMatch,
  forward,
  isEchoRequest,
  or,
  otherwise,
  policy,
  tcpDport,
  translateAToB,
  translateBToA,
  udpDport,
} from "../../src/policy/language/build.ts";
import { cut } from "../support/fragments.ts";
import {
  buildArp,
  buildIcmp,
  buildTcp,
  buildUdp,
  bytesOf,
  type Icmp,
  readEthernet,
  readIcmp,
  readTcp,
  readUdp,
  tagged,
  type Tcp,
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

/**
 * Answers the SYN that a backend got and lets the client, whose port it kept or lost, complete it.
 */
function complete(world: World, syn: Tcp): void {
  const answer = { ...from(syn.dst), srcPort: syn.dstPort, dstPort: syn.srcPort };
  const sent = world.send(buildTcp({ ...answer, flags: "SA", seq: 9000, ack: syn.seq + 1 }));
  const { dst, dstPort } = readTcp(sent[0]!);
  const there = { ...from(dst), srcPort: dstPort, dstPort: syn.dstPort };
  world.send(buildTcp({ ...there, flags: "A", seq: syn.seq + 1, ack: 9001 }));
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
  const hello = bytesOf("hello");
  const steps = [
    { what: "SYN ACK", frame: { ...back, flags: "SA", seq: 9000, ack: 1001 }, to: CLIENT },
    { what: "ACK", frame: { ...there, flags: "A", seq: 1001, ack: 9001 }, to: backend },
    {
      what: "data",
      frame: { ...there, flags: "PA", seq: 1001, ack: 9001, payload: hello },
      to: backend,
    },
    {
      what: "answer",
      frame: { ...back, flags: "PA", seq: 9001, ack: 1006, payload: hello },
      to: CLIENT,
    },
    { what: "FIN", frame: { ...there, flags: "FA", seq: 1006, ack: 9006 }, to: backend },
    { what: "FIN back", frame: { ...back, flags: "FA", seq: 9006, ack: 1007 }, to: CLIENT },
    { what: "last ACK", frame: { ...there, flags: "A", seq: 1007, ack: 9007 }, to: backend },
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
  let taken = 0;
  let refused = 0;
  for (let srcPort = 40_000; srcPort < 40_100; srcPort++) {
    const [sent] = packetsOf(world.send(buildTcp({ srcPort })));
    const syn = readTcp(sent!);
    assert.equal(syn.src, PROXY);
    if (syn.dst === CLIENT) {
      assert.equal(syn.flags, "RA", "a live connection holds every port: a clear no");
      refused++;
      continue;
    }
    complete(world, syn);
    assert.ok(syn.srcPort >= 5000 && syn.srcPort <= 5003);
    seen.add(`${syn.dst} ${syn.srcPort}`);
    taken++;
  }
  assert.equal(seen.size, taken, "no port twice towards one backend");
  assert.equal(taken, 12, "every port towards every backend");
  assert.equal(refused, 88);
  assert.deepEqual(world.drops(), { "no-port": 88 });
});

Deno.test("Appliance gives a SYN the port of one that nobody has answered when all are taken", () => {
  const world = World.settled({
    backends: BACKENDS.slice(0, 1),
    ports: { first: 5000, last: 5001 },
  });
  const ports = Array.from({ length: 6 }, (_, i) => open(world, { srcPort: 40_000 + i }).srcPort);
  assert.deepEqual(new Set(ports.slice(0, 2)), new Set([5000, 5001]));
  assert.deepEqual(ports.slice(2), [...ports.slice(0, 2), ...ports.slice(0, 2)], "oldest first");
  assert.equal(world.appliance.connections.evicted, 4);
  assert.deepEqual(world.drops(), {});
});

Deno.test("Appliance is silent about port 80, UDP and what else the policy drops", () => {
  const frames = {
    "SYN to port 80": buildTcp({ dstPort: 80 }),
    "RST to port 80": buildTcp({ dstPort: 80, flags: "R" }),
    "UDP": buildUdp({ payload: bytesOf("x") }),
    "echo reply": buildIcmp({ type: 0 }),
    "timestamp request": buildIcmp({ type: 13 }),
    "port unreachable": buildIcmp({
      ...{ type: 3, code: 3 },
      payload: buildTcp({ src: PROXY, dst: CLIENT }).slice(14),
    }),
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
  const reply = { srcPort: 2000, dstPort: srcPort, flags: "SA", seq: 9000, ack: 1001 };
  for (
    const stray of [{ ...reply, ...from(other) }, { ...reply, ...from(backend), srcPort: 2001 }]
  ) {
    const [answer, ...more] = world.send(buildTcp(stray)).map(readTcp);
    assert.deepEqual([answer!.flags, answer!.dst, more], ["R", stray.src, []]);
  }
  assert.equal(world.send(buildTcp({ ...reply, ...from(backend) })).length, 1);
  assert.deepEqual(world.drops(), { stray: 2 });
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
    { reason: "source-mac", frame: buildTcp({ srcMac: "01:00:5e:00:00:01" }) },
    { reason: "source-mac", frame: buildIcmp({ srcMac: PROXY_MAC }) },
    { reason: "vlan-tagged", frame: tagged(buildIcmp(), 7) },
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
    assert.equal(world.appliance.metrics.counts[Count.pdusIn], 0, reason);
  }
});

Deno.test("Appliance takes frames with a priority tag as those without, and answers untagged", () => {
  const plain = World.settled({ policy: HAIRPIN, backends: BACKENDS.slice(0, 1) });
  const urgent = World.settled({ policy: HAIRPIN, backends: BACKENDS.slice(0, 1) });
  const exchange = [
    buildArp({ targetAddress: PROXY }),
    buildTcp({ flags: "S", tcpOptions: [2, 4, 5, 180] }),
    buildUdp({ payload: bytesOf("urgent") }),
    ...cut(buildUdp({ srcPort: 5, payload: new Uint8Array(3000), fragment: 0 }), 1480),
    buildIcmp({ ttl: 1 }),
  ];
  for (const frame of exchange) {
    const sent = urgent.send(tagged(frame, 0xc000));
    assert.deepEqual(sent, plain.send(frame));
  }
  assert.deepEqual(urgent.drops(), plain.drops());
  assert.deepEqual(urgent.drops(), { "ttl-expired": 1 });
  assert.equal(urgent.appliance.connections.table.count, 3);
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

Deno.test("Appliance tells a client when it has its share of a table three quarters full", () => {
  const world = World.settled({ maxConn: 4, maxConnPerSource: null });
  for (const srcPort of [40_000, 40_001, 40_002]) complete(world, open(world, { srcPort }));
  const reset = readTcp(world.send(buildTcp({ srcPort: 40_003 }))[0]!);
  assert.deepEqual([reset.dst, reset.flags, reset.dstPort], [CLIENT, "RA", 40_003]);
  assert.deepEqual(world.drops(), { "source-limit": 1 });
});

Deno.test("Appliance tells the client when the connection table is full; others go on", () => {
  const world = World.settled({ maxConn: 2 });
  const backends = [40_000, 40_001].map((srcPort) => {
    const syn = open(world, { srcPort });
    complete(world, syn);
    return syn.dst;
  });
  const reset = readTcp(world.send(buildTcp({ srcPort: 40_002 }))[0]!);
  const { dst, flags, srcPort, dstPort, seq, ack } = reset;
  assert.deepEqual({ dst, flags, srcPort, dstPort, seq, ack }, {
    ...{ dst: CLIENT, flags: "RA", srcPort: 2000, dstPort: 40_002, seq: 0, ack: 1001 },
  });
  assert.deepEqual(world.drops(), { "table-full": 1 });
  backends.forEach((backend, i) => {
    const data = { srcPort: 40_000 + i, flags: "PA", seq: 1001, ack: 9001, payload: bytesOf("on") };
    assert.equal(readTcp(world.send(buildTcp(data))[0]!).dst, backend);
  });
});

Deno.test("Appliance lets the oldest SYN go that nobody has answered when the table is full", () => {
  const world = World.settled({ maxConn: 3 });
  const live = open(world, { srcPort: 40_000 });
  complete(world, live);
  for (let srcPort = 40_001; srcPort < 40_020; srcPort++) open(world, { srcPort });
  assert.equal(world.appliance.connections.table.count, 3);
  assert.equal(world.appliance.connections.evicted, 17);
  const data = { srcPort: 40_000, flags: "PA", seq: 1001, ack: 9001, payload: bytesOf("alive") };
  assert.equal(readTcp(world.send(buildTcp(data))[0]!).dst, live.dst);
  assert.deepEqual(world.drops(), {});
});

Deno.test("Appliance forgets a connection that never got an answer after four minutes", () => {
  const world = World.settled({ maxConn: 1 });
  open(world);
  world.advance(3 * 60_000);
  assert.equal(world.appliance.connections.table.count, 1);
  world.advance(61_000);
  assert.equal(world.appliance.connections.table.count, 0);
});

/** Forwards everything, backends' own connections to port 2000 as well. */
const HAIRPIN = policy(
  "drop",
  firstMatch([
    [or(tcpDport.eq(2000), udpDport.eq(2000), isEchoRequest), translateAToB(forward, "in turn")],
    [otherwise, translateBToA(forward)],
  ]),
);

Deno.test("Appliance lets a backend be its client where the policy does", () => {
  const world = World.settled({ policy: HAIRPIN });
  const [first, second] = BACKENDS;
  open(world, { srcPort: 50_000 }); // takes the first turn
  const syn = open(world, { ...from(first!), srcPort: 40_000 });
  assert.deepEqual([syn.src, syn.dst, syn.dstMac], [PROXY, second, macOf(second!)]);
  const answer = { ...from(second!), srcPort: 2000, dstPort: syn.srcPort, flags: "SA", ack: 1001 };
  const reply = readTcp(world.send(buildTcp(answer))[0]!);
  assert.deepEqual([reply.src, reply.dst, reply.dstPort], [PROXY, first, 40_000]);
  const ack = { ...from(first!), srcPort: 40_000, flags: "A", seq: 1001, ack: 1001 };
  assert.equal(readTcp(world.send(buildTcp(ack))[0]!).dst, second);
  assert.deepEqual(world.drops(), {});
});

Deno.test("Appliance forwards UDP both ways where the policy does, without a checksum as well", () => {
  for (const noChecksum of [false, true]) {
    const world = World.settled({ policy: HAIRPIN, backends: BACKENDS.slice(0, 1) });
    const fields = { payload: bytesOf("odd"), noChecksum };
    const there = readUdp(world.send(buildUdp({ ...fields, dstPort: 2000 }))[0]!);
    assert.partialDeepStrictEqual(there, { ...fields, src: PROXY, dst: BACKENDS[0]!, ttl: 63 });
    const ports = { srcPort: 2000, dstPort: there.srcPort };
    const back = readUdp(
      world.send(buildUdp({ ...fields, ...ports, ...from(BACKENDS[0]!) }))[0]!,
    );
    assert.partialDeepStrictEqual(back, { ...fields, src: PROXY, dst: CLIENT, dstPort: 40_000 });
  }
});

Deno.test("Appliance forwards UDP from source port 0, and an answer back to it", () => {
  const world = World.settled({ policy: HAIRPIN, backends: BACKENDS.slice(0, 1) });
  const [toB] = world.send(buildUdp({ srcPort: 0, payload: bytesOf("no answer wanted") }));
  const sent = readUdp(toB!);
  assert.partialDeepStrictEqual(sent, { src: PROXY, dstPort: 2000 });
  assert.ok(sent.srcPort >= 1024, `from the range, so that an answer finds back: ${sent.srcPort}`);
  const answer = { srcPort: 2000, dstPort: sent.srcPort, payload: bytesOf("all the same") };
  const [toA] = world.send(buildUdp({ ...from(sent.dst), ...answer }));
  assert.partialDeepStrictEqual(readUdp(toA!), { dst: CLIENT, srcPort: 2000, dstPort: 0 });
  // Another client's is another connection; destination port 0 is nobody's.
  const [other] = world.send(buildUdp({ ...from("192.168.0.253"), srcPort: 0 }));
  assert.notEqual(readUdp(other!).srcPort, sent.srcPort);
  assert.deepEqual(world.send(buildUdp({ dstPort: 0 })), []);
  assert.deepEqual(world.drops(), { "port-zero": 1 });
});

Deno.test("Appliance forwards pings both ways where the policy does, one of zeroes as well", () => {
  for (const identifier of [0x4a49, 0]) {
    const world = World.settled({ policy: HAIRPIN, backends: BACKENDS.slice(0, 1) });
    const fields = { payload: new Uint8Array(56) };
    const there = readIcmp(
      world.send(buildIcmp({ ...fields, rest: [identifier, 0] }))[0]!,
    );
    assert.partialDeepStrictEqual(there, { type: 8, src: PROXY, dst: BACKENDS[0]!, ttl: 63 });
    const answer = { ...fields, type: 0, rest: there.rest, ...from(BACKENDS[0]!) };
    const back = readIcmp(world.send(buildIcmp(answer))[0]!);
    assert.partialDeepStrictEqual(back, {
      type: 0,
      src: PROXY,
      dst: CLIENT,
      rest: [identifier, 0],
    });
  }
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
