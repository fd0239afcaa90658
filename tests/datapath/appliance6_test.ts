/** The demo in memory over IPv6: what each host sends, and exactly what comes back. */
import assert from "node:assert/strict";
import { Count } from "../../src/datapath/metrics.ts";
import { formatHostAddress } from "../../src/wire/host_address.ts";
import { buildIcmp, buildTcp, bytesOf, readTcp } from "../support/frames.ts";
import {
  buildIcmp6,
  buildIp6,
  buildSolicitation,
  buildTcp6,
  buildUdp6,
  readIcmp6,
  readIp6,
  readTcp6,
  readUdp6,
  type Tcp6,
} from "../support/frames6.ts";
import {
  BACKENDS,
  BACKENDS6,
  BACKENDS6_B,
  CLIENT6,
  from,
  fromB,
  macOf,
  neighborsOf,
  packetsOf,
  PROXY6,
  PROXY6_B,
  PROXY_B_MAC,
  PROXY_MAC,
  World,
  type WorldOptions,
} from "../support/world.ts";

function settled(options: WorldOptions = {}): World {
  const world = World.settled({ ipv6: true, ...options });
  assert.deepEqual(world.drops(), {});
  return world;
}

/** A connection's SYN through the proxy, as the backend gets it. */
function open(world: World, fields: Partial<Tcp6> = {}): Tcp6 {
  const sent = packetsOf(world.send(buildTcp6({ ...fields, flags: "S", ack: 0 })));
  assert.equal(sent.length, 1);
  return readTcp6(sent[0]!);
}

/** Answers the SYN that a backend got, and lets the client complete it. */
function complete(world: World, syn: Tcp6): void {
  const answer = { ...from(syn.dst), srcPort: syn.dstPort, dstPort: syn.srcPort };
  const sent = world.send(buildTcp6({ ...answer, flags: "SA", seq: 9000, ack: syn.seq + 1 }));
  assert.equal(readTcp6(sent[0]!).dst, CLIENT6);
  world.send(buildTcp6({ dstPort: syn.dstPort, flags: "A", seq: syn.seq + 1, ack: 9001 }));
}

/** The ICMPv6 messages among the frames, those between neighbours apart. */
function messages(frames: readonly Uint8Array<ArrayBuffer>[]) {
  return packetsOf(frames).map(readIcmp6).map(({ src, dst, hopLimit, type, code, rest }) => (
    { src, dst, hopLimit, type, code, rest }
  ));
}

Deno.test("IPv6: the appliance answers every other ping", () => {
  const world = settled();
  const answered: number[] = [];
  for (let seq = 1; seq <= 18; seq++) {
    const payload = bytesOf(`ping number ${seq}`);
    const request = buildIcmp6({ rest: [0x4a, 0x49, 0, seq], payload, hopLimit: 38 });
    for (const frame of world.send(request)) {
      const { src, dst, srcMac, dstMac, hopLimit, type, code, rest, ...reply } = readIcmp6(frame);
      assert.deepEqual({ src, dst, srcMac, dstMac, hopLimit, type, code, rest }, {
        ...{ src: PROXY6, dst: CLIENT6, srcMac: PROXY_MAC, dstMac: macOf(CLIENT6) },
        ...{ hopLimit: 64, type: 129, code: 0, rest: [0x4a, 0x49, 0, seq] },
      });
      assert.deepEqual(reply.payload, payload);
      answered.push(seq);
    }
    world.advance(1000);
  }
  assert.deepEqual(answered, [2, 4, 6, 8, 10, 12, 14, 16, 18]);
  assert.deepEqual(world.drops(), { policy: 9 });
});

Deno.test("IPv6: a connection goes both ways, from SYN to the last ACK", () => {
  const world = settled();
  const mss = [2, 4, 5, 160];
  const syn = open(world, { trafficClass: 0xb8, flowLabel: 0xabcde, tcpOptions: mss });
  const backend = syn.dst;
  assert.ok(BACKENDS6.includes(backend));
  assert.deepEqual({ ...syn, payload: syn.payload.length }, {
    ...{ srcMac: PROXY_MAC, dstMac: macOf(backend), etherType: 0x86dd },
    ...{ src: PROXY6, dst: backend, hopLimit: 63, trafficClass: 0xb8, flowLabel: 0xabcde },
    ...{ protocol: 6, headers: [], srcPort: 40_000, dstPort: 2000, seq: 1000, ack: 0 },
    ...{ flags: "S", window: 64_240, tcpOptions: mss, payload: 0 },
  });
  const there = { srcPort: 40_000, dstPort: 2000 };
  const back = { ...from(backend), srcPort: 2000, dstPort: syn.srcPort };
  const hello = bytesOf("hello");
  const steps = [
    { frame: { ...back, flags: "SA", seq: 9000, ack: 1001 }, to: CLIENT6 },
    { frame: { ...there, flags: "A", seq: 1001, ack: 9001 }, to: backend },
    { frame: { ...there, flags: "PA", seq: 1001, ack: 9001, payload: hello }, to: backend },
    { frame: { ...back, flags: "PA", seq: 9001, ack: 1006, payload: hello }, to: CLIENT6 },
    { frame: { ...there, flags: "FA", seq: 1006, ack: 9006 }, to: backend },
    { frame: { ...back, flags: "FA", seq: 9006, ack: 1007 }, to: CLIENT6 },
    { frame: { ...there, flags: "A", seq: 1007, ack: 9007 }, to: backend },
  ];
  for (const { frame, to } of steps) {
    const sent = world.send(buildTcp6({ ...frame, hopLimit: 50 }));
    assert.equal(sent.length, 1, frame.flags);
    const tcp = readTcp6(sent[0]!);
    assert.equal(tcp.flags, frame.flags);
    assert.deepEqual(tcp.payload, "payload" in frame ? frame.payload : new Uint8Array());
    const { src, dst, srcMac, dstMac, srcPort, dstPort, hopLimit } = tcp;
    assert.deepEqual({ src, dst, srcMac, dstMac, srcPort, dstPort, hopLimit }, {
      ...{ src: PROXY6, dst: to, srcMac: PROXY_MAC, dstMac: macOf(to), hopLimit: 49 },
      srcPort: to === CLIENT6 ? 2000 : syn.srcPort,
      dstPort: to === CLIENT6 ? 40_000 : 2000,
    });
  }
  assert.deepEqual(world.drops(), {});
});

Deno.test("IPv6: each family's clients get backends of their own", () => {
  const world = settled();
  const over6 = new Set<string>();
  const over4 = new Set<string>();
  for (let i = 0; i < 16; i++) {
    over6.add(open(world, { srcPort: 50_000 + i }).dst);
    over4.add(readTcp(world.send(buildTcp({ srcPort: 50_000 + i, flags: "S" }))[0]!).dst);
  }
  assert.deepEqual([...over6].sort(), [...BACKENDS6]);
  assert.deepEqual([...over4].sort(), [...BACKENDS]);
  assert.equal(world.appliance.connections.table.count, 32);
});

Deno.test("IPv6: a client whose family no backend has is told so", () => {
  const world = settled({ backends: BACKENDS });
  const sent = world.send(buildTcp6({ flags: "S" }));
  assert.deepEqual(messages(sent), [
    { src: PROXY6, dst: CLIENT6, hopLimit: 64, type: 1, code: 3, rest: [0, 0, 0, 0] },
  ]);
  assert.deepEqual(world.drops(), { "no-backend": 1 });
  assert.equal(packetsOf(world.send(buildTcp({ flags: "S" }))).length, 1);
});

Deno.test("IPv6: without it every packet of it is of an unknown type, and nothing is said", () => {
  const world = World.settled();
  assert.deepEqual(world.send(buildTcp6({ flags: "S" })), []);
  assert.deepEqual(world.send(buildSolicitation({ target: PROXY6 })), []);
  assert.deepEqual(world.drops(), { "unknown-ethertype": 1, "multicast-mac": 1 });
});

Deno.test("IPv6: messages between neighbours are counted, and no PDUs", () => {
  const world = settled();
  const { counts } = world.appliance.metrics;
  const before = counts[Count.neighborIn]!;
  assert.equal(world.send(buildSolicitation({ target: PROXY6 })).length, 1);
  assert.equal(counts[Count.neighborIn], before + 1);
  assert.equal(counts[Count.pdusIn], 0);
  const { neighbors } = world.appliance.snapshot().frames;
  assert.equal(neighbors!.in, before + 1);
  assert.ok(neighbors!.out > before);
});

Deno.test("IPv6: UDP is forwarded and answered, a wrong checksum is not", () => {
  const world = settled();
  const [datagram] = packetsOf(world.send(buildUdp6({ payload: bytesOf("question") })));
  if (datagram !== undefined) readUdp6(datagram);
  const wrong = buildUdp6({ payload: bytesOf("question") });
  wrong[wrong.length - 1]! ^= 1;
  assert.deepEqual(world.send(wrong), []);
  assert.equal(world.drops()["udp-checksum"], 1);
});

Deno.test("IPv6: a packet whose hop limit is used up is told of, and makes no connection", () => {
  const world = settled();
  const sent = world.send(buildTcp6({ flags: "S", hopLimit: 1 }));
  assert.deepEqual(messages(sent), [
    { src: PROXY6, dst: CLIENT6, hopLimit: 64, type: 3, code: 0, rest: [0, 0, 0, 0] },
  ]);
  assert.deepEqual(world.drops(), { "ttl-expired": 1 });
  assert.equal(world.appliance.connections.table.count, 0);
});

Deno.test("IPv6: a packet longer than the other side's MTU is answered with that MTU", () => {
  const world = settled({ twoSided: true, mtus: [1500, 1400] });
  const syn = open(world);
  const answer = { ...fromB(syn.dst), srcPort: syn.dstPort, dstPort: syn.srcPort };
  world.send(buildTcp6({ ...answer, flags: "SA", seq: 9000, ack: 1001 }));
  world.send(buildTcp6({ flags: "A", seq: 1001, ack: 9001 }));
  const long = buildTcp6({ flags: "A", seq: 1001, ack: 9001, payload: new Uint8Array(1440) });
  assert.deepEqual(messages(world.send(long)), [
    { src: PROXY6, dst: CLIENT6, hopLimit: 64, type: 2, code: 0, rest: [0, 0, 5, 0x78] },
  ]);
  assert.deepEqual(world.drops(), { "mtu-exceeded": 1 });
});

Deno.test("IPv6: a SYN's MSS is lowered to the shorter MTU minus 60", () => {
  const world = settled({ twoSided: true, mtus: [1500, 1400] });
  assert.deepEqual(open(world, { tcpOptions: [2, 4, 5, 160] }).tcpOptions, [2, 4, 5, 60]);
});

Deno.test("IPv6: on two sides each has its own address", () => {
  const world = settled({ twoSided: true });
  const syn = open(world);
  assert.ok(BACKENDS6_B.includes(syn.dst));
  assert.deepEqual([syn.src, syn.srcMac], [PROXY6_B, PROXY_B_MAC]);
  const answer = { ...fromB(syn.dst), srcPort: syn.dstPort, dstPort: syn.srcPort };
  const [back] = world.send(buildTcp6({ ...answer, flags: "SA", seq: 9000, ack: 1001 }));
  const { src, dst, srcMac } = readTcp6(back!);
  assert.deepEqual([src, dst, srcMac], [PROXY6, CLIENT6, PROXY_MAC]);
  world.send(buildTcp6({ src: "2001:db8:b::9", flags: "S" }));
  world.send(buildTcp6({ dst: PROXY6_B, flags: "S" }));
  world.send(buildTcp6({ src: PROXY6_B, flags: "S" }));
  assert.deepEqual(world.drops(), {
    "wrong-side": 1,
    "foreign-destination": 1,
    "own-source": 1,
  });
});

Deno.test("IPv6: what is of one link only never crosses to the other side", () => {
  const world = settled({ twoSided: true });
  const src = "fe80::fe";
  const sent = world.send(buildTcp6({ src, flags: "S" }));
  assert.deepEqual(messages(sent), [
    { src: PROXY6, dst: src, hopLimit: 64, type: 1, code: 2, rest: [0, 0, 0, 0] },
  ]);
  assert.deepEqual(world.drops(), { "beyond-scope": 1 });
});

Deno.test("IPv6: faults of extension headers are told, headers that nobody needs are not", () => {
  const world = settled();
  const destinationOptions = [60, [0, 0, 1, 4, 0, 0, 0, 0]] as const;
  const unknown = buildIp6({ protocol: 200 }, [1, 2, 3, 4]);
  assert.deepEqual(messages(world.send(unknown)), [
    { src: PROXY6, dst: CLIENT6, hopLimit: 64, type: 4, code: 1, rest: [0, 0, 0, 6] },
  ]);
  assert.deepEqual(world.send(buildTcp6({ headers: [destinationOptions], flags: "S" })), []);
  const elsewhere = buildIp6({ dst: "2001:db8::77", protocol: 200 }, [1, 2, 3, 4]);
  assert.deepEqual(world.send(elsewhere), []);
  assert.deepEqual(world.drops(), {
    "next-header": 1,
    "unusual-headers": 1,
    "foreign-destination": 1,
  });
});

Deno.test("IPv6: an error about a connection goes to its other end, with its packet in it", () => {
  const world = settled();
  const syn = open(world);
  complete(world, syn);
  const [sent] = packetsOf(
    world.send(buildTcp6({ flags: "PA", seq: 1001, ack: 9001, payload: new Uint8Array(1000) })),
  );
  const quote = sent!.subarray(14);
  const router = "2001:db8::77";
  const tooBig = buildIcmp6({
    ...from(router),
    ...{ type: 2, code: 0, rest: [0, 0, 5, 0], payload: quote },
  });
  const [error] = packetsOf(world.send(tooBig));
  const { src, dst, type, code, rest, payload } = readIcmp6(error!);
  assert.deepEqual({ src, dst, type, code, rest }, {
    ...{ src: router, dst: CLIENT6, type: 2, code: 0, rest: [0, 0, 5, 0] },
  });
  const quoted = readTcp6(Uint8Array.of(...error!.subarray(0, 14), ...payload as number[]));
  assert.deepEqual([quoted.src, quoted.dst, quoted.srcPort, quoted.dstPort], [
    CLIENT6,
    PROXY6,
    40_000,
    2000,
  ]);
  const small = buildIcmp6({
    ...from(router),
    ...{ type: 2, code: 0, rest: [0, 0, 4, 0xff], payload: quote },
  });
  assert.deepEqual(packetsOf(world.send(small)), []);
});

Deno.test("IPv6: a backend's RST sends the SYN to the next backend, the last one to the client", () => {
  const world = settled();
  const tried = new Set<string>();
  let syn = open(world);
  for (let i = 0; i < 3; i++) {
    tried.add(syn.dst);
    const rst = {
      ...from(syn.dst),
      ...{ srcPort: syn.dstPort, dstPort: syn.srcPort, flags: "RA", seq: 0, ack: syn.seq + 1 },
    };
    const [next] = packetsOf(world.send(buildTcp6(rst)));
    syn = readTcp6(next!);
  }
  assert.equal(tried.size, 3);
  assert.deepEqual([syn.dst, syn.flags], [CLIENT6, "RA"]);
});

Deno.test("IPv6: a segment of no connection is reset", () => {
  const world = settled();
  const [rst] = world.send(buildTcp6({ flags: "A", seq: 5000, ack: 6000 }));
  const { src, dst, flags, seq, srcPort, dstPort } = readTcp6(rst!);
  assert.deepEqual({ src, dst, flags, seq, srcPort, dstPort }, {
    ...{ src: PROXY6, dst: CLIENT6, flags: "R", seq: 6000, srcPort: 2000, dstPort: 40_000 },
  });
  assert.deepEqual(world.drops(), { stray: 1 });
});

Deno.test("IPv6: at the end both ends of a connection get an RST", () => {
  const world = settled();
  const syn = open(world);
  complete(world, syn);
  world.appliance.endings.resetAll(1000);
  const sent = world.devices[0]!.take().map(readTcp6);
  assert.deepEqual(
    sent.map(({ dst, flags }) => [dst, flags]).sort(),
    [[CLIENT6, "RA"], [syn.dst, "RA"]].sort(),
  );
});

Deno.test("IPv6: a ping in fragments is answered in fragments", () => {
  const world = settled();
  world.send(buildIcmp6());
  const payload = Uint8Array.from({ length: 3000 }, (_, i) => i & 255);
  const whole = buildIcmp6({ payload });
  const message = readIp6(whole).l4;
  const fragment = (from: number, to: number) => {
    const word = from | (to < message.length ? 1 : 0);
    const header = [0, 0, word >> 8, word & 255, 0, 0, 0, 7];
    return buildIp6({ protocol: 58, headers: [[44, header]] }, message.subarray(from, to));
  };
  assert.deepEqual(world.send(fragment(0, 1400)), []);
  const sent = packetsOf(world.send(fragment(1400 - 1400 % 8, message.length)));
  const parts = sent.map((frame) => readIp6(frame));
  assert.ok(parts.length >= 3);
  for (const { ip } of parts) assert.deepEqual([ip.src, ip.dst], [PROXY6, CLIENT6]);
  const data = parts.flatMap(({ l4 }) => [...l4]);
  assert.equal(data.length, message.length);
  assert.deepEqual(data.slice(8), [...payload]);
  assert.deepEqual(world.drops(), { policy: 1 });
});

/** A world whose proxy has just asked for its backends, none of which answers. */
function unanswered(retries: number): World {
  const world = new World({ ipv6: true, backends: BACKENDS6, retries });
  for (let ms = 0; ms < 5000; ms += 100) {
    const asked = neighborsOf(world.advance(100)).map(({ target }) => target);
    if (asked.some((target) => BACKENDS6.includes(target))) return world;
  }
  throw new Error("The proxy has not asked for its backends");
}

Deno.test("IPv6: who waited in vain for a backend's address is told so, with its own packet", () => {
  const world = unanswered(0);
  const syn = buildTcp6({ flags: "S", ack: 0, hopLimit: 9, payload: [1, 2, 3] });
  assert.deepEqual(packetsOf(world.send(syn)), []);
  const [error, ...more] = packetsOf(world.advance(3500));
  assert.deepEqual(more, []);
  const { src, dst, dstMac, type, code, payload } = readIcmp6(error!);
  assert.deepEqual({ src, dst, dstMac, type, code }, {
    ...{ src: PROXY6, dst: CLIENT6, dstMac: macOf(CLIENT6), type: 1, code: 3 },
  });
  const expected = syn.slice(14);
  expected[7]!--; // the hop limit
  assert.deepEqual(Uint8Array.from(payload), expected);
  assert.equal(world.drops()["arp-unanswered"], 1);
});

Deno.test("IPv6: a SYN that waited in vain for a backend's address goes to another one", () => {
  const world = unanswered(3);
  world.send(buildTcp6({ flags: "S", ack: 0 }));
  const { backends, connections: { table } } = world.appliance;
  const [entry] = [...table];
  const silent = formatHostAddress(backends.all[table.member(entry!)]!.address);
  const others = BACKENDS6.filter((backend) => backend !== silent);
  assert.equal(others.length, 2);
  for (const backend of others) world.answer(backend);
  const [syn, ...more] = packetsOf(world.advance(3500)).map(readTcp6);
  assert.deepEqual(more, []);
  assert.ok(others.includes(syn!.dst));
  assert.deepEqual([syn!.flags, syn!.seq], ["S", 1000]);
});

Deno.test("IPv6: with --preserve-source backends see the client's address", () => {
  const world = settled({ twoSided: true, preserveSource: true });
  const syn = open(world);
  assert.deepEqual([syn.src, syn.srcPort, syn.srcMac], [CLIENT6, 40_000, PROXY_B_MAC]);
  const answer = {
    ...fromB(syn.dst),
    ...{ dst: CLIENT6, srcPort: 2000, dstPort: 40_000, flags: "SA", seq: 9000, ack: 1001 },
  };
  const [back] = packetsOf(world.send(buildTcp6(answer)));
  const { src, dst, srcPort, dstPort } = readTcp6(back!);
  assert.deepEqual({ src, dst, srcPort, dstPort }, {
    ...{ src: PROXY6, dst: CLIENT6, srcPort: 2000, dstPort: 40_000 },
  });
  assert.deepEqual(packetsOf(world.send(buildTcp6({ ...answer, dstPort: 40_001 }))), []);
  assert.deepEqual(world.drops(), { "foreign-destination": 1 });
});

Deno.test("IPv6: backends are checked over it", () => {
  const [backend = ""] = BACKENDS6;
  const world = settled({ backends: [backend], check: "tcp 80, interval 1s" });
  world.answer(backend);
  const syns = packetsOf(world.advance(3000)).map(readTcp6);
  assert.ok(syns.length > 0);
  for (const { src, dst, dstPort, flags } of syns) {
    assert.deepEqual({ src, dst, dstPort, flags }, {
      src: PROXY6,
      dst: backend,
      dstPort: 80,
      flags: "S",
    });
  }
});

Deno.test("IPv6: pings of both families count in one row", () => {
  const world = settled();
  const answered = [buildIcmp6(), buildIcmp(), buildIcmp6(), buildIcmp6()].map((frame) =>
    packetsOf(world.send(frame)).length
  );
  assert.deepEqual(answered, [0, 1, 0, 1]);
});
