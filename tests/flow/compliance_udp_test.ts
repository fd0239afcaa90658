/** RFC 4787 and the UDP part of RFC 7857, requirement by requirement: see tests/COMPLIANCE.md. */
import assert from "node:assert/strict";
import {
  firstMatch,
  forward,
  otherwise,
  policy,
  translateAToB,
  translateBToA,
  udpDport,
} from "../../src/policy/language/build.ts";
import { bothFamilies, type Family, IPV4 } from "../support/families.ts";
import { readIp, type Udp } from "../support/frames.ts";
import { CLIENT, from, PROXY } from "../support/world.ts";
import {
  BACKEND,
  deliver,
  EVERYTHING,
  idle,
  oneBackend,
  type SpokenWorld,
  tracked,
} from "./dialogue.ts";

/** A client's datagram to the proxy, as the backend gets it; null if it does not. */
function ask(world: SpokenWorld, fields: Partial<Udp> = {}): Udp | null {
  const { family } = world;
  const [frame, ...more] = deliver(world, family.buildUdp({ ...from(CLIENT), ...fields }));
  assert.deepEqual(more, []);
  return frame === undefined || family.protocolOf(frame) !== 17 ? null : family.readUdp(frame);
}

/** The backend's answer to what it got, as the client gets it. */
function answer(world: SpokenWorld, { srcPort, dstPort }: Udp): Udp | null {
  const { family } = world;
  const ends = { ...from(BACKEND), srcPort: dstPort, dstPort: srcPort };
  const [frame] = deliver(world, family.buildUdp(ends));
  return frame === undefined ? null : family.readUdp(frame);
}

bothFamilies(
  "RFC 4787 REQ-3: datagrams of many clients leave from ports of their own",
  (family) => {
    const world = oneBackend(family, { policy: EVERYTHING });
    const ports = Array.from({ length: 40 }, (_, i) => {
      const host = `192.168.0.${10 + i}`;
      return ask(world, { ...from(host), srcPort: 5060 })!.srcPort;
    });
    assert.equal(new Set(ports).size, 40);
  },
);

bothFamilies("RFC 4787 REQ-3 a, REQ-4: a free port of the range is kept as it is", (family) => {
  const world = oneBackend(family, { policy: EVERYTHING });
  for (const srcPort of [1024, 5060, 5061, 65_535]) {
    assert.equal(ask(world, { srcPort })!.srcPort, srcPort);
  }
  assert.ok(ask(world, { srcPort: 500 })!.srcPort >= 1024, "below the range --ports");
});

bothFamilies(
  "RFC 4787 REQ-5: a mapping that nobody answers lives 30 s, or as long as its flag says",
  (family) => {
    for (const seconds of [undefined, 120]) {
      const timeouts = seconds === undefined ? {} : { unanswered: seconds };
      const world = oneBackend(family, { policy: EVERYTHING, timeouts });
      const got = ask(world)!;
      for (let round = 0; round < 3; round++) {
        idle(world, (seconds ?? 30) - 1);
        assert.deepEqual(ask(world)?.srcPort, got.srcPort, "outbound refreshes");
      }
      idle(world, (seconds ?? 30) + 1);
      assert.equal(tracked(world), 0);
      assert.equal(answer(world, got), null);
    }
  },
);

bothFamilies(
  "RFC 4787 REQ-5, REQ-6: an answered mapping lives 5 min, and either side refreshes it",
  (family) => {
    const world = oneBackend(family, { policy: EVERYTHING });
    const got = ask(world)!;
    assert.ok(answer(world, got));
    idle(world, 295);
    assert.deepEqual(ask(world)?.srcPort, got.srcPort, "outbound refreshes");
    idle(world, 295);
    const back = answer(world, got);
    assert.deepEqual([back?.src, back?.srcPort, back?.dst, back?.dstPort], [
      ...[PROXY, 2000, CLIENT, 40_000],
    ]);
    idle(world, 295);
    assert.ok(answer(world, got), "inbound refreshes");
    idle(world, 301);
    assert.equal(tracked(world), 0);
    assert.equal(answer(world, got), null);
    assert.deepEqual(world.drops(), { "no-mapping": 1 });
  },
);

bothFamilies(
  "RFC 4787 REQ-8: datagrams from another port or host are no part of a mapping",
  (family) => {
    const world = oneBackend(family, { policy: EVERYTHING });
    const { srcPort: dstPort } = ask(world)!;
    const strangers = [
      family.buildUdp({ ...from(BACKEND), srcPort: 2001, dstPort }),
      family.buildUdp({ ...from(BACKEND), srcPort: 2000, dstPort: dstPort - 1 }),
    ];
    assert.deepEqual(deliver(world, ...strangers), []);
    assert.deepEqual(world.drops(), { "no-mapping": 2 });
  },
);

bothFamilies(
  "RFC 4787 REQ-9: a backend's datagram to the proxy reaches a backend, from outside",
  (family) => {
    const hairpin = policy(
      "drop",
      firstMatch([[udpDport.eq(2000), translateAToB(forward)], [
        otherwise,
        translateBToA(forward),
      ]]),
    );
    const world = oneBackend(family, { policy: hairpin });
    const got = ask(world, { ...from(BACKEND), srcPort: 33_000 });
    assert.ok(got);
    assert.deepEqual([got.src, got.dst, got.dstPort], [PROXY, BACKEND, 2000]);
    const back = answer(world, got);
    assert.deepEqual([back?.src, back?.srcPort, back?.dst, back?.dstPort], [
      ...[PROXY, 2000, BACKEND, 33_000],
    ]);
  },
);

bothFamilies(
  "RFC 4787 REQ-11: a mapping stays what it is, whatever else comes and goes",
  (family) => {
    const world = oneBackend(family, { policy: EVERYTHING, ports: { first: 5000, last: 5099 } });
    const got = ask(world, { srcPort: 77 })!;
    assert.equal(answer(world, got)?.dstPort, 77);
    assert.ok(ask(world, { srcPort: 77 }), "it goes on");
    for (let i = 0; i < 300; i++) ask(world, { srcPort: 1000 + i });
    assert.equal(ask(world, { srcPort: 77 })!.srcPort, got.srcPort);
    assert.equal(answer(world, got)?.dstPort, 77);
  },
);

bothFamilies(
  "RFC 4787 REQ-13: too long and not to be fragmented is told, with the MTU",
  (family) => {
    const world = oneBackend(family, { policy: EVERYTHING });
    const payload = new Uint8Array(1500 - family.ipBytes - 8 + 1);
    const frame = family.buildUdp({ ...from(CLIENT), payload, fragment: 0x4000 });
    const [told, ...more] = deliver(world, frame);
    assert.deepEqual(more, []);
    const error = family.readIcmp(told!);
    assert.deepEqual([error.type, error.code, error.rest], [3, 4, [0, 1500]]);
    const quotedBytes = family.ipBytes + 8;
    assert.equal(error.dst, CLIENT);
    assert.deepEqual(error.payload.slice(0, quotedBytes), frame.slice(14, 14 + quotedBytes));
    assert.equal(tracked(world), 0);
  },
);

Deno.test("RFC 4787 REQ-13 a: too long and fragmentable leaves in fragments, in order", () => {
  const world = oneBackend(IPV4, { policy: EVERYTHING });
  const payload = new Uint8Array(4000).map((_, i) => i);
  const fragments = deliver(world, IPV4.buildUdp({ ...from(CLIENT), payload, fragment: 0 })).map((
    f,
  ) => readIp(f));
  assert.equal(fragments.length, 3);
  let at = 0;
  for (const [i, { ip, l4 }] of fragments.entries()) {
    assert.deepEqual([ip.src, ip.dst, ip.id], [PROXY, BACKEND, fragments[0]!.ip.id]);
    assert.equal(ip.fragment, at / 8 | (i < 2 ? 0x2000 : 0));
    at += l4.length;
  }
  const data = fragments.flatMap(({ l4 }) => [...l4]).slice(8);
  assert.deepEqual(Uint8Array.from(data), payload);
});

/** A client's datagram of 2,000 bytes in three fragments. */
function fragmented(family: Family, id: number, host = CLIENT): Uint8Array<ArrayBuffer>[] {
  const payload = new Uint8Array(2000).map((_, i) => i + id);
  return family.cut(family.buildUdp({ ...from(host), payload }), 800, id);
}

bothFamilies("RFC 4787 REQ-14: fragments in any order reach the backend translated", (family) => {
  const world = oneBackend(family, { policy: EVERYTHING });
  const orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
  for (const [id, order] of orders.entries()) {
    const parts = fragmented(family, id);
    const whole = family.join(deliver(world, ...order.map((i) => parts[i]!)));
    const { src, dst, payload } = family.readUdp(whole);
    assert.deepEqual([src, dst], [PROXY, BACKEND], `order ${order}`);
    assert.deepEqual(payload, new Uint8Array(2000).map((_, i) => i + id));
  }
  assert.equal(tracked(world), 1);
});

bothFamilies(
  "RFC 4787 REQ-14 a: a flood of fragments harms neither whole packets nor other fragments",
  (family) => {
    const world = oneBackend(family, { policy: EVERYTHING });
    const sent = deliver(world, family.buildTcp());
    const payload = new Uint8Array(2000);
    const wholes = Array.from({ length: 20 }, (_, i) => {
      return family.buildUdp({ ...from(`192.168.0.${110 + i}`), payload });
    });
    for (let i = 0; i < 6000; i++) {
      world.device.inbox.push(family.cut(wholes[i % 20]!, 800, i)[i % 3]!);
    }
    world.poll();
    const { srcPort } = family.readTcp(sent[0]!);
    const back = family.buildTcp({
      ...from(BACKEND),
      srcPort: 2000,
      dstPort: srcPort,
      flags: "SA",
      ack: 1001,
    });
    assert.equal(family.readTcp(deliver(world, back)[0]!).dst, CLIENT);
    assert.ok(ask(world));
    idle(world, 31);
    assert.ok(deliver(world, ...fragmented(family, 9)).length > 0, "fragments too, 30 s later");
  },
);

bothFamilies(
  "RFC 7857 5, 6: mappings of TCP, UDP and ICMP know nothing of each other",
  (family) => {
    const world = oneBackend(family, { policy: EVERYTHING });
    const { srcPort } = family.readTcp(deliver(world, family.buildTcp(from(CLIENT)))[0]!);
    const strangers = [
      family.buildUdp({ ...from(BACKEND), srcPort: 2000, dstPort: srcPort }),
      family.buildIcmp({ ...from(BACKEND), type: 0, rest: [srcPort, 1] }),
    ];
    assert.deepEqual(deliver(world, ...strangers), []);
    assert.equal(ask(world)!.srcPort, 40_000, "the client's own port is free for UDP");
  },
);
