/** ICMP errors about connections that the proxy forwards: they reach the connection's other end. */
import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import {
  drop,
  dstAddrs,
  echo,
  firstMatch,
  forward,
  ipSrc,
  not,
  otherwise,
  policy,
  reject,
  track,
  translateAToB,
  translateBToA,
} from "../../src/policy/language/build.ts";
import { bothFamilies, type Family, IPV4 } from "../support/families.ts";
import type { Icmp } from "../support/frames.ts";
import {
  CLIENT,
  from,
  macOf,
  packetsOf,
  PROXY,
  PROXY_MAC,
  World,
  type WorldOptions,
} from "../support/world.ts";

const BACKEND = "192.168.0.1";
const ROUTER = "192.168.0.77";

/** A settled world with one backend. */
function settled(family: Family, options: WorldOptions = {}): World {
  return World.settled({ backends: [family.of(BACKEND)], ipv6: family.ipv6, ...options });
}

/** Forwards everything, UDP too, and translates back what backends send. */
const EVERYTHING = policy(
  "drop",
  firstMatch([[not(ipSrc.oneOf(dstAddrs)), translateAToB(forward)], [
    otherwise,
    translateBToA(forward),
  ]]),
);

/**
 * A connection, and a segment of each side through the proxy that is not acknowledged yet: as the
 * client sent it and the backend got it, and the other way round.
 */
function open(world: World, family: Family) {
  const { buildTcp, readTcp } = family;
  const [synToB] = packetsOf(world.send(buildTcp()));
  const back = { ...from(BACKEND), srcPort: 2000, dstPort: readTcp(synToB!).srcPort, seq: 9000 };
  world.send(buildTcp({ ...back, flags: "SA", ack: 1001 }));
  world.send(buildTcp({ flags: "A", seq: 1001, ack: 9001 }));
  const payload = new Uint8Array(100);
  const fromA = buildTcp({ flags: "PA", seq: 1001, ack: 9001, payload });
  const [toB] = packetsOf(world.send(fromA));
  const fromB = buildTcp({ ...back, flags: "PA", seq: 9001, ack: 1001, payload });
  const [toA] = packetsOf(world.send(fromB));
  return { fromA, toB: toB!, fromB, toA: toA! };
}

/** An error about a frame that the proxy has sent, from a host on its Ethernet. */
function errorAbout(
  family: Family,
  frame: Uint8Array,
  host: string,
  fields: Partial<Icmp> = {},
) {
  const payload = frame.slice(14, 14 + family.ipBytes + 8);
  return family.buildIcmp({ ...from(host), type: 3, code: 1, rest: [0, 0], payload, ...fields });
}

/** The first bytes of an IP packet with the TTL that it has at the end of its way. */
function asQuoted(
  family: Family,
  frame: Uint8Array<ArrayBuffer>,
  lengthBytes = family.ipBytes + 8,
): Uint8Array {
  const packet = frame.slice(14, 14 + lengthBytes);
  const view = new DataView(packet.buffer);
  view.setUint8(family.ipv6 ? 7 : 8, 63);
  // TTL 64 → 63: the header checksum rises by 0x100
  if (!family.ipv6) view.setUint16(10, view.getUint16(10) + 0x100);
  return packet;
}

bothFamilies(
  "Appliance: fragmentation needed reaches the client with the addresses it knows",
  (family) => {
    const world = settled(family);
    const { fromA, toB } = open(world, family);
    const [frame, ...more] = world.send(
      errorAbout(family, toB, ROUTER, { code: 4, rest: [0, 1280], ttl: 64 }),
    );
    assert.deepEqual(more, []);
    const error = family.readIcmp(frame!);
    assert.deepEqual([error.srcMac, error.dstMac], [PROXY_MAC, macOf(CLIENT)]);
    assert.deepEqual([error.src, error.dst, error.ttl], [ROUTER, CLIENT, 63]);
    assert.deepEqual([error.type, error.code, error.rest], [3, 4, [0, 1280]]);
    assert.deepEqual(error.payload, asQuoted(family, fromA));
    assert.deepEqual(world.drops(), {});
  },
);

bothFamilies(
  "Appliance: an error from the client's side reaches the backend, from the proxy",
  (family) => {
    const world = settled(family);
    const { fromB, toA } = open(world, family);
    for (const host of [CLIENT, ROUTER]) {
      const [frame] = world.send(errorAbout(family, toA, host, { code: 4, rest: [0, 1400] }));
      const error = family.readIcmp(frame!);
      assert.deepEqual([error.src, error.dst], [PROXY, BACKEND]);
      assert.deepEqual([error.dstMac, error.rest], [macOf(BACKEND), [0, 1400]]);
      assert.deepEqual(error.payload, asQuoted(family, fromB));
    }
  },
);

bothFamilies(
  "Appliance: a backend's port unreachable about UDP comes to the client from the proxy",
  (family) => {
    const world = settled(family, { policy: EVERYTHING });
    for (const noChecksum of [false, true]) {
      const sent = family.buildUdp({ noChecksum, payload: new Uint8Array(9).fill(5) });
      const [toB] = packetsOf(world.send(sent));
      family.readUdp(toB!);
      const payload = toB!.slice(14);
      const [frame] = world.send(errorAbout(family, toB!, BACKEND, { code: 3, payload }));
      const error = family.readIcmp(frame!);
      assert.deepEqual([error.src, error.dst, error.code], [PROXY, CLIENT, 3]);
      assert.deepEqual(error.payload, asQuoted(family, sent, payload.length));
    }
  },
);

bothFamilies(
  "Appliance: errors about a datagram from source port 0, and about its answer, find their way",
  (family) => {
    const world = settled(family, { policy: EVERYTHING });
    const sent = family.buildUdp({ srcPort: 0 });
    const [toB] = packetsOf(world.send(sent));
    const [toA] = packetsOf(world.send(errorAbout(family, toB!, BACKEND, { code: 3 })));
    assert.partialDeepStrictEqual(family.readIcmp(toA!), { dst: CLIENT, type: 3, code: 3 });
    assert.deepEqual(family.readIcmp(toA!).payload, asQuoted(family, sent));
    const ports = { srcPort: 2000, dstPort: family.readUdp(toB!).srcPort };
    const answer = family.buildUdp({ ...from(BACKEND), ...ports });
    const [answered] = packetsOf(world.send(answer));
    const [told] = packetsOf(world.send(errorAbout(family, answered!, CLIENT, { code: 3 })));
    assert.partialDeepStrictEqual(family.readIcmp(told!), { dst: BACKEND, type: 3, code: 3 });
    assert.deepEqual(family.readIcmp(told!).payload, asQuoted(family, answer));
  },
);

bothFamilies(
  "Appliance: time exceeded behind the proxy shows the router, for traceroute",
  (family) => {
    const world = settled(family);
    const [toB] = packetsOf(world.send(family.buildTcp({ ttl: 2 })));
    const [frame] = world.send(errorAbout(family, toB!, ROUTER, { type: 11, code: 0 }));
    const error = family.readIcmp(frame!);
    assert.deepEqual([error.type, error.src, error.dst], [11, ROUTER, CLIENT]);
  },
);

bothFamilies("Appliance: an error neither refreshes nor ends a connection", (family) => {
  const world = settled(family);
  const { toB } = open(world, family);
  const { table } = world.appliance.connections;
  const [entry] = table;
  const state = table.state(entry!);
  const kinds = [[3, 1], [11, 1], [12, 0]] as const;
  const errors = kinds.map(([type, code]) => errorAbout(family, toB, ROUTER, { type, code }));
  for (let i = 0; i < 3; i++) {
    world.answer(family.of(CLIENT));
    assert.equal(packetsOf(world.send(...errors)).length, 3);
    assert.equal(table.state(entry!), state);
    world.clock.advance(2_400_000);
    world.advance(300);
  }
  assert.equal(table.count, 1);
  world.send(...errors);
  // Idle for 2 h 4 min since the backend's segment, in spite of the errors meanwhile.
  world.clock.advance(240_000);
  world.advance(300);
  assert.equal(table.count, 0);
  assert.deepEqual(world.send(errors[0]!), []);
  assert.deepEqual(world.drops(), { policy: 1 });
});

bothFamilies(
  "Appliance: an error without a connection enters the tree as any ICMP does",
  (family) => {
    const stranger = family.buildTcp({ src: PROXY, dst: BACKEND, srcPort: 7777, dstPort: 2000 });
    const errors = (host: string) => [
      errorAbout(family, stranger, host),
      errorAbout(family, family.buildTcp({ src: "10.0.0.1" }), host),
    ];
    const demo = settled(family);
    assert.deepEqual(demo.send(...errors(CLIENT)), []);
    assert.deepEqual(demo.drops(), { policy: 2 });
    assert.deepEqual(demo.send(...errors(BACKEND)), []);
    assert.deepEqual(demo.drops(), { policy: 2, "no-mapping": 2 });
    assert.equal(demo.appliance.connections.table.count, 0);
  },
);

bothFamilies(
  "Appliance: an error without a connection goes nowhere, whatever the policy says",
  (family) => {
    const stranger = family.buildTcp({ src: PROXY, dst: BACKEND, srcPort: 7777, dstPort: 2000 });
    const decisions = [echo, forward, reject, drop];
    const trees = decisions.flatMap((
      end,
    ) => [end, track(end), translateAToB(end), translateBToA(end)]);
    for (const [i, tree] of trees.entries()) {
      const world = settled(family, { policy: policy("drop", tree) });
      world.send(family.buildIcmp({ rest: [0, 0] })); // a query whose identifier is no port either
      for (const host of [CLIENT, BACKEND]) {
        assert.deepEqual(
          world.send(errorAbout(family, stranger, host)),
          [],
          `tree ${i}, from ${host}`,
        );
      }
    }
  },
);

Deno.test("Appliance: redirect and source quench are never translated", () => {
  const family = IPV4;
  const world = settled(family);
  const { toB } = open(world, family);
  assert.deepEqual(
    world.send(...[4, 5].map((type) => errorAbout(family, toB, ROUTER, { type }))),
    [],
  );
  assert.deepEqual(world.drops(), { policy: 2 });
});

bothFamilies(
  "Appliance drops an error with a wrong checksum outside or inside, and 7 quoted bytes",
  (family) => {
    const world = settled(family);
    const { toB } = open(world, family);
    const outside = errorAbout(family, toB, ROUTER);
    outside[14 + family.ipBytes + 8 + 25]! ^= 1;
    const quotedBytes = family.ipBytes + 8;
    const inside = toB.slice(14, 14 + quotedBytes);
    inside[1]! ^= 1;
    const cut = toB.slice(14, 14 + quotedBytes - 1);
    const cases: [string, Uint8Array][] = [
      ["icmp-checksum", outside],
      ["icmp-quote", errorAbout(family, toB, ROUTER, { payload: cut })],
    ];
    // A header of IPv6 has no checksum.
    const sum = errorAbout(family, toB, ROUTER, { payload: inside });
    if (!family.ipv6) cases.push(["icmp-quote-checksum", sum]);
    for (const [reason, frame] of cases) {
      assert.deepEqual(world.send(frame), [], reason);
      assert.equal(world.drops()[reason], 1, reason);
    }
  },
);

bothFamilies("Appliance: an error's TTL ends like any other, but silently", (family) => {
  const world = settled(family);
  const { toB } = open(world, family);
  assert.deepEqual(world.send(errorAbout(family, toB, ROUTER, { ttl: 1 })), []);
  assert.deepEqual(world.drops(), { "ttl-expired": 1 });
  assert.equal(world.send(errorAbout(family, toB, ROUTER, { ttl: 2 })).length, 1);
});

Deno.test("Appliance: an error for a client behind a gateway goes through it; without one, nowhere", () => {
  const family = IPV4;
  const far = { src: "10.9.8.7", srcMac: macOf("192.168.0.250") };
  const world = settled(family, { gateway: "192.168.0.250" });
  world.answer("192.168.0.250");
  const [toB] = packetsOf(world.send(family.buildTcp(far)));
  const [frame] = world.send(errorAbout(family, toB!, BACKEND));
  const error = family.readIcmp(frame!);
  assert.deepEqual([error.dst, error.dstMac], [far.src, far.srcMac]);

  const cut = settled(family);
  const [there] = packetsOf(cut.send(family.buildTcp(far)));
  assert.deepEqual(cut.send(errorAbout(family, there!, BACKEND)), []);
  assert.equal(cut.drops()["no-route"], 1);
});

Deno.test("Appliance shows a related error as forwarded, and counts it so", async () => {
  const family = IPV4;
  const world = settled(family, { trace: "all" });
  const { toB } = open(world, family);
  await world.printed();
  world.send(
    errorAbout(family, toB, ROUTER),
    errorAbout(family, toB, ROUTER, { payload: new Uint8Array(28) }),
  );
  const text = await world.printed();
  assert.match(text, /type Destination unreachable/);
  assert.deepEqual(text.match(/Decision : .*/g), [
    'Decision : Forward "related"',
    "Decision : Drop (icmp-quote)",
  ]);
  assert.deepEqual([...world.appliance.metrics.decisions].slice(0, 3), [1, 6, 0]);
});

Deno.test("Appliance takes 20,000 mutated errors, and what it sends of them is right", () => {
  const family = IPV4;
  const world = settled(family, { policy: EVERYTHING });
  const { toB, toA } = open(world, family);
  const [datagram] = packetsOf(world.send(family.buildUdp({ payload: new Uint8Array(30) })));
  const random = new SeededRandom(20_260_404);
  let forwarded = 0;
  for (let round = 0; round < 20_000; round++) {
    const about = [toB, toA, datagram!][round % 3]!;
    const payload = about.slice(14, 14 + 28 + below(random, 40));
    for (let flips = below(random, 4); flips > 0; flips--) {
      payload[below(random, payload.length)]! ^= 1 << below(random, 8);
    }
    const rest: [number, number] = [below(random, 40), below(random, 65_536)];
    const type = [3, 11, 12][below(random, 3)]!;
    const error = errorAbout(family, about, ROUTER, {
      type,
      code: below(random, 16),
      rest,
      payload,
    });
    // What lies behind the frame in the arena must not count: the next frame is a stranger to it.
    const cut = below(random, 8) === 0 ? error.slice(0, error.length - below(random, 30)) : error;
    for (const frame of packetsOf(world.send(cut))) {
      const { dst, payload: quote, ...sent } = family.readIcmp(frame);
      assert.ok(dst === CLIENT || dst === BACKEND, `round ${round}`);
      assert.deepEqual([sent.type, sent.rest, quote.length], [type, rest, payload.length]);
      forwarded++;
    }
    if (round % 1000 === 0) { for (const host of [CLIENT, BACKEND]) world.answer(host); }
  }
  assert.ok(forwarded > 2000, `${forwarded} forwarded`);
  assert.equal(world.appliance.connections.table.count, 2);
});
