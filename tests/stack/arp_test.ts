import assert from "node:assert/strict";
import { LimitedLog } from "../../src/core/limited_log.ts";
import { Arena } from "../../src/core/arena.ts";
import { reasonName } from "../../src/core/reason.ts";
import { Arp } from "../../src/stack/arp.ts";
import { Openers } from "../../src/stack/openers.ts";
import {
  formatAddress,
  formatMac,
  parseAddress,
  parseMac,
  subnetOf,
} from "../../src/wire/address.ts";
import { decodeFrame } from "../../src/wire/decode.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import {
  type Arp as ArpFrame,
  buildArp,
  buildTcp,
  readArp,
  readEthernet,
} from "../support/frames.ts";
import { FRAME_OFFSET, OWN_MAC, place, takeSent } from "../wire/place.ts";

const PROXY = "192.168.0.100";
const PROXY_MAC = "02:00:00:00:01:00";
const CLIENT = "192.168.0.254";
const CLIENT_MAC = "02:00:00:00:00:fe";
const BACKEND = "192.168.0.1";
const BACKEND_MAC = "02:00:00:00:00:01";
const ALL = "ff:ff:ff:ff:ff:ff";
const TICK_MS = 100;

/** ARP beside a clock; notes what it logs, reports and sends. */
class World {
  readonly arena = new Arena();
  readonly errors: string[] = [];
  readonly events: string[] = [];
  readonly arp: Arp;
  nowMs = 5000;

  readonly openers = new Openers(10);

  constructor(watched: readonly string[] = [BACKEND], maxNeighbors = 4096) {
    const address = parseAddress(PROXY);
    this.arp = new Arp({
      arena: this.arena,
      mac: OWN_MAC,
      own: { address, subnet: subnetOf(address, 24) },
      watched: watched.map(parseAddress),
      maxNeighbors,
      openers: this.openers,
      log: new LimitedLog({
        info: () => assert.fail("ARP has nothing to inform about"),
        warning: () => assert.fail("ARP has nothing to warn of"),
        error: (message) => this.errors.push(message),
      }),
      events: {
        resolved: (who, mac) => this.events.push(`${formatAddress(who)} is ${formatMac(mac)}`),
        unanswered: (who) => this.events.push(`${formatAddress(who)} is unanswered`),
        dropped: (reason, count) => this.events.push(`${reasonName(reason)} ${count}`),
      },
      nowMs: this.nowMs,
    });
  }

  /** Lets an ARP frame in; its frames in answer. */
  receive(fields: Partial<ArpFrame>): Uint8Array[] {
    assert.equal(this.reasonFor(fields), "none");
    return takeSent(this.arena);
  }

  reasonFor(fields: Partial<ArpFrame>): string {
    const frame = buildArp(fields);
    const pdu = new Pdu();
    place(this.arena, frame);
    const reason = decodeFrame(this.arena.view, FRAME_OFFSET, frame.length, OWN_MAC, pdu) ||
      this.arp.receive(pdu, this.nowMs);
    return reasonName(reason);
  }

  /** An answer from `address`, and the frames that leave for it. */
  answer(senderAddress: string, senderMac: string): Uint8Array[] {
    return this.receive({ operation: 2, dstMac: PROXY_MAC, senderAddress, senderMac });
  }

  /** Sends a packet that is told apart by its identification; the frames that leave. */
  send(nextHop: string, id = 0, entry = -1): Uint8Array[] {
    assert.equal(this.reasonToSend(nextHop, id, 0, entry), "none");
    return takeSent(this.arena);
  }

  reasonToSend(nextHop: string, id = 0, length = 0, entry = -1): string {
    const frame = buildTcp({ id, dst: nextHop, payload: new Uint8Array(length) });
    place(this.arena, frame);
    const next = parseAddress(nextHop);
    return reasonName(this.arp.send(FRAME_OFFSET, frame.length, next, this.nowMs, entry));
  }

  /** Ticks for so long; what was sent, by when. */
  run(ms: number): { atMs: number; frame: ArpFrame }[] {
    const sent: { atMs: number; frame: ArpFrame }[] = [];
    for (const endMs = this.nowMs + ms; this.nowMs < endMs; this.nowMs += TICK_MS) {
      this.arp.tick(this.nowMs);
      for (const frame of takeSent(this.arena)) {
        sent.push({ atMs: this.nowMs, frame: readArp(frame) });
      }
    }
    return sent;
  }

  /** As `run`: when somebody was asked for `address`, in ms from now. */
  asked(address: string, ms: number): number[] {
    const startMs = this.nowMs;
    return this.run(ms).filter(({ frame }) =>
      frame.targetAddress === address && frame.operation === 1
    )
      .map(({ atMs }) => atMs - startMs);
  }

  /** Past probes and announcements, all watched neighbours answering. */
  settle(...known: [string, string][]): this {
    for (const [address, mac] of known) this.answer(address, mac);
    this.run(5000);
    this.events.length = 0;
    return this;
  }
}

function ids(frames: readonly Uint8Array[]): number[] {
  return frames.map((frame) => frame[18]! * 256 + frame[19]!);
}

Deno.test("Arp.receive answers a request for the proxy's address, to the asker", () => {
  for (const dstMac of [ALL, PROXY_MAC]) {
    const [answer, ...more] = new World([]).receive({ dstMac });
    assert.equal(more.length, 0);
    assert.equal(answer!.length, 42);
    assert.deepEqual(readArp(answer!), {
      dstMac: CLIENT_MAC,
      srcMac: PROXY_MAC,
      etherType: 0x0806,
      operation: 2,
      senderMac: PROXY_MAC,
      senderAddress: PROXY,
      targetMac: CLIENT_MAC,
      targetAddress: CLIENT,
    });
  }
});

Deno.test("Arp.receive answers a probe, whose sender has no address yet, and learns nothing from it", () => {
  const world = new World([]);
  const [answer] = world.receive({ senderAddress: "0.0.0.0" });
  assert.partialDeepStrictEqual(readArp(answer!), {
    operation: 2,
    senderAddress: PROXY,
    targetAddress: "0.0.0.0",
    targetMac: CLIENT_MAC,
  });
  assert.equal(readEthernet(world.send("0.0.0.0")[0]!).dstMac, ALL);
});

Deno.test("Arp.receive answers nothing but requests for the proxy's address", () => {
  const cases: [string, Partial<ArpFrame>][] = [
    ["a request for another", { targetAddress: "192.168.0.101" }],
    ["a reply", { operation: 2, dstMac: PROXY_MAC }],
    ["an announcement", { targetAddress: CLIENT }],
  ];
  for (const [name, fields] of cases) assert.deepEqual(new World([]).receive(fields), [], name);
});

Deno.test("Arp.receive drops what claims the proxy's MAC, or a group's", () => {
  const world = new World([]);
  assert.equal(world.reasonFor({ senderMac: PROXY_MAC }), "own-source");
  assert.equal(world.reasonFor({ senderMac: "01:00:5e:00:00:01" }), "arp-malformed");
  assert.equal(world.reasonFor({ senderMac: ALL }), "arp-malformed");
  assert.deepEqual(takeSent(world.arena), []);
});

/** Who is learnt: the packet sent afterwards leaves at once. */
const LEARNS: [string, Partial<ArpFrame>, boolean][] = [
  ["a request for the proxy", {}, true],
  ["a reply to the proxy", { operation: 2, dstMac: PROXY_MAC }, true],
  ["a request for another", { targetAddress: "192.168.0.101" }, false],
  ["an announcement", { targetAddress: CLIENT }, false],
];

for (const [name, fields, learns] of LEARNS) {
  Deno.test(`Arp.receive ${learns ? "learns" : "does not learn"} a new neighbour from ${name}`, () => {
    const world = new World([]);
    world.receive(fields);
    const [frame] = world.send(CLIENT);
    const expected = learns
      ? { dstMac: CLIENT_MAC, srcMac: PROXY_MAC, etherType: 0x0800 }
      : { dstMac: ALL, srcMac: PROXY_MAC, etherType: 0x0806 };
    assert.deepEqual(readEthernet(frame!), expected);
  });
}

Deno.test("Arp.receive learns no sender that no host on the link can be", () => {
  const senders = [
    "10.0.0.1",
    "192.168.1.1",
    "192.168.0.255",
    "192.168.0.0",
    "224.0.0.1",
    "127.0.0.1",
  ];
  for (const senderAddress of senders) {
    const world = new World([]);
    world.receive({ senderAddress });
    assert.equal(readEthernet(world.send(senderAddress)[0]!).etherType, 0x0806, senderAddress);
  }
});

Deno.test("Arp.receive takes a known neighbour's new MAC address from any of its packets", () => {
  const world = new World().settle([BACKEND, BACKEND_MAC]);
  world.receive({ senderAddress: BACKEND, senderMac: "02:00:00:00:00:99", targetAddress: BACKEND });
  assert.deepEqual(world.events, [`${BACKEND} is 02:00:00:00:00:99`]);
  assert.equal(readEthernet(world.send(BACKEND)[0]!).dstMac, "02:00:00:00:00:99");
  world.answer(BACKEND, "02:00:00:00:00:99");
  assert.equal(world.events.length, 1);
});

Deno.test("Arp.tick probes three times and announces twice at start, and again after restart", () => {
  const world = new World([]);
  for (let round = 0; round < 2; round++) {
    const startMs = world.nowMs;
    const sent = world.run(20_000).map(({ atMs, frame }) => ({ ...frame, atMs: atMs - startMs }));
    const probes = sent.filter(({ senderAddress }) => senderAddress === "0.0.0.0");
    const announcements = sent.filter(({ senderAddress }) => senderAddress === PROXY);
    assert.deepEqual(probes.map(({ atMs }) => atMs), [0, 1000, 2000]);
    assert.deepEqual(announcements.map(({ atMs }) => atMs), [0, 2000]);
    assert.equal(sent.length, 5);
    for (const frame of sent) {
      assert.partialDeepStrictEqual(frame, {
        dstMac: ALL,
        operation: 1,
        senderMac: PROXY_MAC,
        targetMac: "00:00:00:00:00:00",
        targetAddress: PROXY,
      });
    }
    world.arp.restart(world.nowMs);
  }
});

Deno.test("Arp.receive defends the address once in ten seconds, with one error line each", () => {
  const world = new World([]).settle();
  const conflict = { senderAddress: PROXY, senderMac: "02:00:00:00:00:66", targetAddress: CLIENT };
  const line =
    `${PROXY} is also used by 02:00:00:00:00:66: address conflict, defending ours with ` +
    "an announcement; one of the two must be given another address";
  for (const operation of [1, 2]) {
    const [announcement, ...more] = world.receive({ ...conflict, operation });
    assert.equal(more.length, 0);
    assert.partialDeepStrictEqual(readArp(announcement!), {
      dstMac: ALL,
      operation: 1,
      senderMac: PROXY_MAC,
      senderAddress: PROXY,
      targetAddress: PROXY,
    });
    for (const ms of [0, 1, 4000, 5998]) {
      world.nowMs += ms;
      assert.deepEqual(world.receive(conflict), []);
    }
    world.nowMs += 1;
  }
  assert.deepEqual(world.errors, [line, line]);
});

Deno.test("Arp.tick asks for a watched neighbour at start, once a second, and reports its answer", () => {
  const world = new World();
  const sent = world.run(1000).filter(({ frame }) => frame.targetAddress === BACKEND);
  assert.equal(sent.length, 1);
  assert.partialDeepStrictEqual(sent[0]!.frame, {
    dstMac: ALL,
    operation: 1,
    senderMac: PROXY_MAC,
    senderAddress: PROXY,
    targetMac: "00:00:00:00:00:00",
  });
  assert.deepEqual(world.answer(BACKEND, BACKEND_MAC), []);
  assert.deepEqual(world.events, [`${BACKEND} is ${BACKEND_MAC}`]);
  assert.deepEqual(world.asked(BACKEND, 25_000), []);
});

Deno.test("Arp.tick reports a watched neighbour after three requests, and asks on every five seconds", () => {
  const world = new World();
  assert.deepEqual(world.asked(BACKEND, 3000), [0, 1000, 2000]);
  assert.deepEqual(world.events, []);
  assert.deepEqual(world.asked(BACKEND, 15_000), [4000, 9000, 14_000]);
  assert.deepEqual(world.events, [`${BACKEND} is unanswered`]);
  world.answer(BACKEND, BACKEND_MAC);
  assert.deepEqual(world.events, [`${BACKEND} is unanswered`, `${BACKEND} is ${BACKEND_MAC}`]);
  assert.equal(readEthernet(world.send(BACKEND)[0]!).dstMac, BACKEND_MAC);
});

Deno.test("Arp.tick asks a watched neighbour itself after half a minute of silence, then everybody", () => {
  const world = new World().settle([BACKEND, BACKEND_MAC]);
  assert.deepEqual(world.asked(BACKEND, 25_000), []);
  const sent = world.run(8000);
  assert.deepEqual(sent.map(({ frame }) => frame.dstMac), [
    BACKEND_MAC,
    BACKEND_MAC,
    BACKEND_MAC,
    ALL,
  ]);
  assert.deepEqual(world.events, [`${BACKEND} is unanswered`]);
});

Deno.test("Arp.tick keeps a watched neighbour that answers, asking it every half a minute", () => {
  const world = new World().settle([BACKEND, BACKEND_MAC]);
  let requests = 0;
  for (let tick = 0; tick < 6000; tick++) {
    for (const { frame } of world.run(TICK_MS)) {
      assert.equal(frame.dstMac, BACKEND_MAC);
      requests++;
      world.answer(BACKEND, BACKEND_MAC);
    }
  }
  assert.ok(requests >= 18 && requests <= 20, `${requests} requests in ten minutes`);
  assert.deepEqual(world.events, []);
});

Deno.test("Arp.send holds packets until the answer comes, then sends them in order", () => {
  const world = new World([]);
  const [request, ...more] = world.send(CLIENT, 1);
  assert.equal(more.length, 0);
  assert.partialDeepStrictEqual(readArp(request!), {
    operation: 1,
    targetAddress: CLIENT,
    dstMac: ALL,
  });
  for (const id of [2, 3, 4, 5]) assert.deepEqual(world.send(CLIENT, id), []);
  const released = world.answer(CLIENT, CLIENT_MAC);
  assert.deepEqual(ids(released), [1, 2, 3, 4, 5]);
  for (const [i, frame] of released.entries()) {
    assert.deepEqual(
      frame,
      buildTcp({ id: i + 1, dst: CLIENT, dstMac: CLIENT_MAC, srcMac: PROXY_MAC }),
    );
  }
  assert.deepEqual(ids(world.send(CLIENT, 6)), [6]);
});

Deno.test("Arp.send releases held packets to a neighbour that asks for the proxy itself", () => {
  const world = new World([]);
  world.send(CLIENT, 7);
  const frames = world.receive({});
  assert.deepEqual(frames.map((frame) => readEthernet(frame).etherType), [0x0800, 0x0806]);
});

Deno.test("Arp.send holds the last 32 packets for a neighbour", () => {
  const world = new World([]);
  for (let id = 0; id < 33; id++) assert.equal(world.reasonToSend(CLIENT, id), "none");
  takeSent(world.arena);
  assert.deepEqual(
    ids(world.answer(CLIENT, CLIENT_MAC)),
    Array.from({ length: 32 }, (_, i) => 1 + i),
  );
});

Deno.test("Arp.send and tick ask for one address at most once a second, however much is sent", () => {
  for (const nextHop of [CLIENT, BACKEND]) {
    const world = new World();
    const asked: number[] = [];
    const startMs = world.nowMs;
    for (; world.nowMs < startMs + 30_000; world.nowMs += 50) {
      world.reasonToSend(nextHop);
      if (world.nowMs % 100 === 0) world.arp.tick(world.nowMs);
      for (const frame of takeSent(world.arena)) {
        if (readArp(frame).targetAddress === nextHop) asked.push(world.nowMs - startMs);
      }
    }
    const gaps = asked.slice(1).map((ms, i) => ms - asked[i]!);
    assert.ok(asked.length >= 5 && Math.min(...gaps) >= 1000, `${nextHop}: ${asked}`);
  }
});

/** When `CLIENT` is asked for, if packets to it are sent at these times. */
function askedFor(world: World, sendAtMs: readonly number[]): number[] {
  const asked: number[] = [];
  const startMs = world.nowMs;
  for (let ms = 0; ms <= sendAtMs.at(-1)!; ms += 50) {
    world.nowMs = startMs + ms;
    if (sendAtMs.includes(ms)) world.reasonToSend(CLIENT);
    if (ms % 100 === 0) world.arp.tick(world.nowMs);
    for (const frame of takeSent(world.arena)) {
      if (readArp(frame).targetAddress === CLIENT) asked.push(ms);
    }
  }
  return asked;
}

Deno.test("Arp asks for one address at most once a second, whenever a second packet comes", () => {
  for (let laterMs = 50; laterMs <= 6000; laterMs += 50) {
    const asked = askedFor(new World([]), [0, laterMs]);
    const gaps = asked.slice(1).map((ms, i) => ms - asked[i]!);
    assert.ok(Math.min(...gaps) >= 1000, `packets at 0 and ${laterMs} ms: asked at ${asked}`);
  }
});

Deno.test("Arp asks for one address at most once a second when nothing more can be held", () => {
  const world = new World([]);
  for (let i = 0; i < 96; i++) world.reasonToSend(`192.168.0.${1 + i % 3}`, i, 60_000);
  takeSent(world.arena);
  assert.equal(world.reasonToSend("192.168.0.4", 0, 60_000), "arp-queue-full");
  takeSent(world.arena);
  const next = (ms: number) => {
    world.nowMs += ms;
    world.arp.tick(world.nowMs);
    takeSent(world.arena);
    world.reasonToSend("192.168.0.4", 0, 60_000);
    return takeSent(world.arena).length;
  };
  assert.equal(next(200), 0);
  assert.equal(next(200), 0);
});

Deno.test("Arp.send asks for many unwatched addresses at once, and for watched ones beyond", () => {
  const world = new World();
  let requests = 0;
  for (let host = 0; host < 1000; host++) {
    requests += world.send(`192.168.${4 + (host >> 8)}.${host & 255}`).length;
  }
  assert.equal(requests, 256);
  assert.equal(world.asked(BACKEND, 100).length, 1);
});

for (const nextHop of [CLIENT, BACKEND]) {
  const kind = nextHop === BACKEND ? "a watched" : "an unwatched";
  Deno.test(`Arp.tick drops what waits for ${kind} neighbour a second after the third request`, () => {
    const world = new World();
    world.send(nextHop, 1);
    world.send(nextHop, 2);
    assert.ok(world.asked(nextHop, 2900).length >= 2);
    assert.equal(world.events.length, 0, "the third request may still be answered");
    world.run(1000);
    assert.ok(world.events.includes("arp-unanswered 2"), `${world.events}`);
    assert.deepEqual(ids(world.answer(nextHop, CLIENT_MAC)), []);
  });
}

Deno.test("Arp.send counts every held packet that is lost, also when there are too many neighbours", () => {
  const world = new World([]);
  const total = 4096 + 10;
  // 192.168.x.y lies beyond this link; what matters is the number of next hops.
  for (let i = 0; i < total; i++) {
    assert.equal(world.reasonToSend(`192.168.${1 + (i >> 8)}.${i & 255}`), "none");
    world.arena.sent();
  }
  world.run(20_000);
  const lost = world.events.reduce((sum, event) => sum + Number(event.split(" ")[1]), 0);
  assert.equal(lost, total);
});

Deno.test("Arp.send asks a neighbour that it has not heard of for long again, and sends meanwhile", () => {
  const world = new World([]);
  world.answer(CLIENT, CLIENT_MAC);
  world.run(20_000);
  assert.equal(world.send(CLIENT).length, 1);
  world.nowMs += 20_000;
  const [request, frame] = world.send(CLIENT, 3);
  assert.partialDeepStrictEqual(readArp(request!), { dstMac: CLIENT_MAC, targetAddress: CLIENT });
  assert.deepEqual(ids([frame!]), [3]);
});

Deno.test("Arp.tick forgets a neighbour that it has not heard of for ten minutes", () => {
  const world = new World([]);
  world.answer(CLIENT, CLIENT_MAC);
  world.nowMs += 599_000;
  world.arp.tick(world.nowMs);
  takeSent(world.arena);
  const before = world.send(CLIENT);
  assert.equal(readEthernet(before.at(-1)!).etherType, 0x0800);
  world.answer(CLIENT, CLIENT_MAC);
  world.nowMs += 601_000;
  world.arp.tick(world.nowMs);
  takeSent(world.arena);
  assert.deepEqual(world.send(CLIENT).map((frame) => readEthernet(frame).dstMac), [ALL]);
});

Deno.test("Arp.send drops as no-buffer when no frame can be queued any more", () => {
  const world = new World([]);
  world.answer(CLIENT, CLIENT_MAC);
  while (world.arena.send(0, 0));
  assert.equal(world.reasonToSend(CLIENT), "no-buffer");
});

Deno.test("Arp.receive counts held packets that find no room when they are released", () => {
  const world = new World([]);
  for (let id = 0; id < 5; id++) world.reasonToSend(CLIENT, id, 1400);
  takeSent(world.arena);
  while (world.arena.scratch(60_000) >= 0);
  while (world.arena.scratch(1000) >= 0);
  world.answer(CLIENT, CLIENT_MAC);
  assert.deepEqual(world.events, Array(5).fill("no-buffer 1"));
});

Deno.test("Arp takes MAC addresses with every bit set or clear", () => {
  for (const mac of ["00:00:00:00:00:01", "fe:ff:ff:ff:ff:ff", "02:00:80:00:00:00"]) {
    const world = new World([]);
    world.answer(CLIENT, mac);
    assert.equal(readEthernet(world.send(CLIENT)[0]!).dstMac, formatMac(parseMac(mac)));
  }
});

for (const known of [false, true]) {
  const kind = known ? "has gone silent" : "has never answered";
  Deno.test(`Arp.tick reports a watched neighbour that ${kind}, under steady traffic too`, () => {
    const world = new World();
    if (known) world.settle([BACKEND, BACKEND_MAC]).nowMs += 30_000;
    for (let ms = 0; ms < 10_000; ms += 10) {
      world.nowMs += 10;
      world.reasonToSend(BACKEND);
      if (ms % 100 === 50) world.arp.tick(world.nowMs);
      world.arena.sent();
    }
    assert.ok(world.events.includes(`${BACKEND} is unanswered`), "not reported in ten seconds");
  });
}
