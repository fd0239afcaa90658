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
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  readIcmp,
  readIp,
  readTcp,
  readUdp,
} from "../support/frames.ts";
import type { Udp } from "../support/frames.ts";
import { CLIENT, from, PROXY, type World } from "../support/world.ts";
import { BACKEND, deliver, EVERYTHING, idle, oneBackend, tracked } from "./dialogue.ts";

/** A client's datagram to the proxy, as the backend gets it; null if it does not. */
function ask(world: World, fields: Partial<Udp> = {}): Udp | null {
  const [frame, ...more] = deliver(world, buildUdp({ ...from(CLIENT), ...fields }));
  assert.deepEqual(more, []);
  return frame === undefined || readIp(frame).ip.protocol !== 17 ? null : readUdp(frame);
}

/** The backend's answer to what it got, as the client gets it. */
function answer(world: World, { srcPort, dstPort }: Udp): Udp | null {
  const ends = { ...from(BACKEND), srcPort: dstPort, dstPort: srcPort };
  const [frame] = deliver(world, buildUdp(ends));
  return frame === undefined ? null : readUdp(frame);
}

Deno.test("RFC 4787 REQ-3: datagrams of many clients leave from ports of their own", () => {
  const world = oneBackend({ policy: EVERYTHING });
  const ports = Array.from({ length: 40 }, (_, i) => {
    const host = `192.168.0.${10 + i}`;
    return ask(world, { ...from(host), srcPort: 5060 })!.srcPort;
  });
  assert.equal(new Set(ports).size, 40);
});

Deno.test("RFC 4787 REQ-3 a, REQ-4: a free port of the range is kept as it is", () => {
  const world = oneBackend({ policy: EVERYTHING });
  for (const srcPort of [1024, 5060, 5061, 65_535]) {
    assert.equal(ask(world, { srcPort })!.srcPort, srcPort);
  }
  assert.ok(ask(world, { srcPort: 500 })!.srcPort >= 1024, "below the range --ports");
});

Deno.test("RFC 4787 REQ-5: a mapping that nobody answers lives 30 s, or as long as its flag says", () => {
  for (const seconds of [undefined, 120]) {
    const timeouts = seconds === undefined ? {} : { unanswered: seconds };
    const world = oneBackend({ policy: EVERYTHING, timeouts });
    const got = ask(world)!;
    for (let round = 0; round < 3; round++) {
      idle(world, (seconds ?? 30) - 1);
      assert.deepEqual(ask(world)?.srcPort, got.srcPort, "outbound refreshes");
    }
    idle(world, (seconds ?? 30) + 1);
    assert.equal(tracked(world), 0);
    assert.equal(answer(world, got), null);
  }
});

Deno.test("RFC 4787 REQ-5, REQ-6: an answered mapping lives 5 min, and either side refreshes it", () => {
  const world = oneBackend({ policy: EVERYTHING });
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
});

Deno.test("RFC 4787 REQ-8: datagrams from another port or host are no part of a mapping", () => {
  const world = oneBackend({ policy: EVERYTHING });
  const { srcPort: dstPort } = ask(world)!;
  const strangers = [
    buildUdp({ ...from(BACKEND), srcPort: 2001, dstPort }),
    buildUdp({ ...from(BACKEND), srcPort: 2000, dstPort: dstPort - 1 }),
  ];
  assert.deepEqual(deliver(world, ...strangers), []);
  assert.deepEqual(world.drops(), { "no-mapping": 2 });
});

Deno.test("RFC 4787 REQ-9: a backend's datagram to the proxy reaches a backend, from outside", () => {
  const hairpin = policy(
    "drop",
    firstMatch([[udpDport.eq(2000), translateAToB(forward)], [otherwise, translateBToA(forward)]]),
  );
  const world = oneBackend({ policy: hairpin });
  const got = ask(world, { ...from(BACKEND), srcPort: 33_000 });
  assert.ok(got);
  assert.deepEqual([got.src, got.dst, got.dstPort], [PROXY, BACKEND, 2000]);
  const back = answer(world, got);
  assert.deepEqual([back?.src, back?.srcPort, back?.dst, back?.dstPort], [
    ...[PROXY, 2000, BACKEND, 33_000],
  ]);
});

Deno.test("RFC 4787 REQ-11: a mapping stays what it is, whatever else comes and goes", () => {
  const world = oneBackend({ policy: EVERYTHING, ports: { first: 5000, last: 5099 } });
  const got = ask(world, { srcPort: 77 })!;
  assert.equal(answer(world, got)?.dstPort, 77);
  assert.ok(ask(world, { srcPort: 77 }), "it goes on");
  for (let i = 0; i < 300; i++) ask(world, { srcPort: 1000 + i });
  assert.equal(ask(world, { srcPort: 77 })!.srcPort, got.srcPort);
  assert.equal(answer(world, got)?.dstPort, 77);
});

Deno.test("RFC 4787 REQ-13: too long and not to be fragmented is told, with the MTU", () => {
  const world = oneBackend({ policy: EVERYTHING });
  const payload = new Uint8Array(1473);
  const frame = buildUdp({ ...from(CLIENT), payload, fragment: 0x4000 });
  const [told, ...more] = deliver(world, frame);
  assert.deepEqual(more, []);
  const error = readIcmp(told!);
  assert.deepEqual([error.type, error.code, error.rest], [3, 4, [0, 1500]]);
  assert.deepEqual([error.dst, error.payload.slice(0, 28)], [CLIENT, frame.slice(14, 14 + 28)]);
  assert.equal(tracked(world), 0);
});

Deno.test("RFC 4787 REQ-13 a: too long and fragmentable leaves in fragments, in order", () => {
  const world = oneBackend({ policy: EVERYTHING });
  const payload = new Uint8Array(4000).map((_, i) => i);
  const fragments = deliver(world, buildUdp({ ...from(CLIENT), payload, fragment: 0 })).map((f) =>
    readIp(f)
  );
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
function fragmented(id: number, host = CLIENT): Uint8Array<ArrayBuffer>[] {
  const payload = new Uint8Array(2000).map((_, i) => i + id);
  return cut(buildUdp({ ...from(host), payload }), id);
}

/** The frame in three fragments of one identification. */
function cut(whole: Uint8Array, id: number): Uint8Array<ArrayBuffer>[] {
  return [0, 800, 1600].map((start) => {
    const data = whole.slice(34 + start, Math.min(34 + start + 800, whole.length));
    const frame = Uint8Array.from([...whole.slice(0, 34), ...data]);
    const view = new DataView(frame.buffer);
    view.setUint16(16, 20 + data.length);
    view.setUint16(18, id);
    view.setUint16(20, start / 8 | (start === 1600 ? 0 : 0x2000));
    view.setUint16(24, 0);
    let sum = 0;
    for (let i = 14; i < 34; i += 2) sum += view.getUint16(i);
    while (sum > 0xffff) sum = (sum >>> 16) + (sum & 0xffff);
    view.setUint16(24, ~sum);
    return frame;
  });
}

Deno.test("RFC 4787 REQ-14: fragments in any order reach the backend translated", () => {
  const world = oneBackend({ policy: EVERYTHING });
  const orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
  for (const [id, order] of orders.entries()) {
    const parts = fragmented(id);
    const sent = deliver(world, ...order.map((i) => parts[i]!)).map((frame) => readIp(frame));
    const l4 = sent.flatMap((part) => [...part.l4]);
    assert.ok(sent.every(({ ip }) => ip.src === PROXY && ip.dst === BACKEND), `order ${order}`);
    assert.deepEqual(l4.slice(8), [...new Uint8Array(2000).map((_, i) => i + id)]);
  }
  assert.equal(tracked(world), 1);
});

Deno.test("RFC 4787 REQ-14 a: a flood of fragments harms neither whole packets nor other fragments", () => {
  const world = oneBackend({ policy: EVERYTHING });
  const sent = deliver(world, buildTcp());
  const payload = new Uint8Array(2000);
  const wholes = Array.from({ length: 20 }, (_, i) => {
    return buildUdp({ ...from(`192.168.0.${110 + i}`), payload });
  });
  for (let i = 0; i < 6000; i++) world.device.inbox.push(cut(wholes[i % 20]!, i)[i % 3]!);
  world.poll();
  const { srcPort } = readTcp(sent[0]!);
  const back = buildTcp({
    ...from(BACKEND),
    srcPort: 2000,
    dstPort: srcPort,
    flags: "SA",
    ack: 1001,
  });
  assert.equal(readTcp(deliver(world, back)[0]!).dst, CLIENT);
  assert.ok(ask(world));
  idle(world, 31);
  assert.ok(deliver(world, ...fragmented(9)).length > 0, "fragments too, 30 s later");
});

Deno.test("RFC 7857 5, 6: mappings of TCP, UDP and ICMP know nothing of each other", () => {
  const world = oneBackend({ policy: EVERYTHING });
  const { srcPort } = readTcp(deliver(world, buildTcp(from(CLIENT)))[0]!);
  const strangers = [
    buildUdp({ ...from(BACKEND), srcPort: 2000, dstPort: srcPort }),
    buildIcmp({ ...from(BACKEND), type: 0, rest: [srcPort, 1] }),
  ];
  assert.deepEqual(deliver(world, ...strangers), []);
  assert.equal(ask(world)!.srcPort, 40_000, "the client's own port is free for UDP");
});
