/** What would leave with an own address of IPv6 that is on trial, or withheld, does not leave. */
import assert from "node:assert/strict";
import { PROXY_B_MAC, PROXY_MAC } from "../support/config.ts";
import {
  address6Bytes,
  buildAdvertisement,
  buildIcmp6,
  buildSolicitation,
  buildTcp6,
  groupMacOf,
  readIp6,
  readTcp6,
  solicitedNode,
  type Tcp6,
} from "../support/frames6.ts";
import {
  CLIENT6,
  from,
  fromB,
  neighborsOf,
  packetsOf,
  PROXY6,
  PROXY6_B,
  World,
  type WorldOptions,
} from "../support/world.ts";

/** Of one that has `PROXY_MAC`. */
const LINK_LOCAL = "fe80::ff:fe00:100";
const TRIAL_MS = 5000;

/** The device of that link comes back, and another host there says that the address is its own. */
function withhold(world: World, link: number, address: string): void {
  world.appliance.linkDown(link);
  world.appliance.linkUp(link);
  world.devices[link]!.inbox.push(buildAdvertisement({
    ...{ src: address, srcMac: "02:00:00:00:00:99", target: address, mac: "02:00:00:00:00:99" },
    ...{ dst: "ff02::1", dstMac: "33:33:00:00:00:01", neighborFlags: "O" },
  }));
  world.poll();
  assert.ok(world.log.some((line) => line.startsWith(`error: ${address}: used by`)), "withheld");
}

function settled(options: WorldOptions = {}): World {
  return World.settled({ ipv6: true, twoSided: true, ...options });
}

/** An open connection: its SYN as the backend got it. */
function open(world: World, src: string = CLIENT6): Tcp6 {
  const [syn] = packetsOf(world.send(buildTcp6({ src, flags: "S", ack: 0 }))).map(readTcp6);
  world.send(buildTcp6({ ...answerOf(syn!), flags: "SA", seq: 9000, ack: 1001 }));
  world.send(buildTcp6({ src, flags: "A", seq: 1001, ack: 9001 }));
  return syn!;
}

function answerOf({ src, dst, srcPort, dstPort }: Tcp6): Partial<Tcp6> {
  return { ...fromB(dst), dst: src, srcPort: dstPort, dstPort: srcPort };
}

Deno.test("own address on trial: no connection is opened from it, and nobody is told", () => {
  const world = settled();
  world.appliance.linkDown(1);
  world.appliance.linkUp(1);
  assert.deepEqual(packetsOf(world.send(buildTcp6({ flags: "S", ack: 0 }))), []);
  assert.deepEqual(world.drops(), { "address-on-trial": 1 });
  assert.equal(world.appliance.connections.table.count, 0);
  world.advance(TRIAL_MS);
  const [syn] = packetsOf(world.send(buildTcp6({ flags: "S", ack: 0 }))).map(readTcp6);
  assert.equal(syn!.src, PROXY6_B);
});

/** Starts on a link that sends back the frames which `isLooped` wants; what was sent. */
function startOn(isLooped: (sent: readonly Uint8Array[], frame: Uint8Array) => boolean) {
  const world = new World({ ipv6: true });
  const sent: Uint8Array<ArrayBuffer>[] = [];
  let looped = 0;
  for (let ms = 0; ms < 10_000; ms += 100) {
    for (const frame of world.advance(100)) {
      sent.push(frame);
      if (!isLooped(sent, frame)) continue;
      looped++;
      world.device.inbox.push(frame.slice());
    }
  }
  world.poll();
  const { "source-mac": own = 0, "multicast-mac": ofOthers = 0 } = world.drops();
  assert.equal(own + ofOthers, looped);
  const questions = neighborsOf(sent).filter(({ src, target }) =>
    src === "::" && target === PROXY6
  );
  const lines = world.log.filter((line) => line.includes(PROXY6));
  return { world, questions: questions.length, lines };
}

Deno.test("own address on trial: a question that the link sends back is followed by three more", () => {
  const isQuestion = (frame: Uint8Array) => neighborsOf([frame])[0]?.src === "::";
  const sentBack = "the link has sent our own question back: it is asked three times more";
  const cases: [string, Parameters<typeof startOn>[0], number][] = [
    ["no frame", () => false, 1],
    ["the first question about each", (sent, frame) =>
      isQuestion(frame) &&
      neighborsOf(sent).filter(({ target }) => target === neighborsOf([frame])[0]!.target)
          .length ===
        1, 4],
    ["each question", (_, frame) => isQuestion(frame), 4],
    ["each frame to a group", (_, frame) => frame[0] === 0x33, 4],
  ];
  for (const [name, isLooped, count] of cases) {
    const { questions, lines } = startOn(isLooped);
    assert.equal(questions, count, name);
    assert.deepEqual(lines, [
      ...(count === 1 ? [] : [`warning: ${PROXY6}: ${sentBack}`]),
      `info: ${PROXY6} is free, and used from now on`,
    ], name);
  }
});

Deno.test("own address on trial: a station with the same MAC address that wants it, too, is told of", () => {
  const world = new World({ ipv6: true });
  world.send(buildSolicitation({
    ...{ src: "::", srcMac: PROXY_MAC, target: PROXY6, dst: solicitedNode(PROXY6) },
    ...{ dstMac: groupMacOf(solicitedNode(PROXY6)), payload: address6Bytes(PROXY6) },
  }));
  assert.match(world.log.join("\n"), /error: 2001:db8::64: wanted by another station, too/);
  assert.deepEqual(world.drops(), { "source-mac": 1 });
});

Deno.test("own address withheld: no connection is opened from it, whichever address was asked", () => {
  const world = settled({ twoSided: false });
  withhold(world, 0, PROXY6);
  world.advance(TRIAL_MS);
  const before = world.drops()["address-on-trial"] ?? 0;
  const sent = world.send(buildTcp6({ dst: LINK_LOCAL, dstMac: PROXY_MAC, flags: "S", ack: 0 }));
  assert.deepEqual(packetsOf(sent), []);
  assert.equal(world.drops()["address-on-trial"], before + 1);
  assert.equal(world.appliance.connections.table.count, 0);
});

for (const careful of [false, true]) {
  const way = careful ? "the long way" : "the short way";
  Deno.test(`own address withheld: no segment of a connection leaves with it, ${way}`, () => {
    const data = { flags: "PA", seq: 1001, ack: 9001, payload: [1, 2, 3] };
    const there = settled({ careful });
    open(there);
    withhold(there, 1, PROXY6_B);
    assert.deepEqual(packetsOf(there.send(buildTcp6(data))), []);
    assert.deepEqual(there.drops(), { "address-on-trial": 1 });

    const back = settled({ careful });
    const syn = open(back);
    withhold(back, 0, PROXY6);
    const answer = { ...answerOf(syn), flags: "PA", seq: 9001, ack: 1001, payload: [1, 2, 3] };
    assert.deepEqual(packetsOf(back.send(buildTcp6(answer))), []);
    assert.deepEqual(back.drops(), { "address-on-trial": 1 });
  });
}

Deno.test("own address withheld: what leaves with the client's address goes on", () => {
  const world = settled({ preserveSource: true });
  open(world);
  withhold(world, 1, PROXY6_B);
  const data = { flags: "PA", seq: 1001, ack: 9001, payload: [1, 2, 3] };
  for (const frame of [buildTcp6(data), buildTcp6({ srcPort: 40_001, flags: "S", ack: 0 })]) {
    assert.deepEqual(packetsOf(world.send(frame)).map((one) => readIp6(one).ip.src), [CLIENT6]);
  }
  assert.deepEqual(world.drops(), {});
});

Deno.test("own address withheld: no error about a connection leaves with it", () => {
  const world = settled();
  const syn = open(world);
  const [quoted] = packetsOf(
    world.send(buildTcp6({ flags: "PA", seq: 1001, ack: 9001, payload: new Uint8Array(1000) })),
  );
  withhold(world, 0, PROXY6);
  const error = (src: string) =>
    buildIcmp6({
      ...{ ...from(src), dst: PROXY6_B, dstMac: PROXY_B_MAC },
      ...{ type: 2, code: 0, rest: [0, 0, 5, 0], payload: quoted!.subarray(14) },
    });
  assert.deepEqual(packetsOf(world.send(error(syn.dst))), []);
  assert.deepEqual(world.drops(), { "address-on-trial": 1 });
  const router = "2001:db8:b::77";
  const sent = packetsOf(world.send(error(router)));
  assert.deepEqual(sent.map((frame) => readIp6(frame).ip.src), [router]);
});

Deno.test("own address withheld: a SYN that waits for its answer does not go elsewhere", () => {
  const world = settled();
  assert.equal(packetsOf(world.send(buildTcp6({ flags: "S", ack: 0 }))).length, 1);
  withhold(world, 1, PROXY6_B);
  assert.deepEqual(packetsOf(world.advance(TRIAL_MS)), []);
});

Deno.test("own address withheld: no RST leaves with it", () => {
  const world = settled();
  open(world);
  withhold(world, 1, PROXY6_B);
  world.appliance.endings.resetAll(1000);
  const sent = world.devices.flatMap((device) => packetsOf(device.take())).map(readTcp6);
  assert.deepEqual(sent.map(({ src, flags }) => [src, flags]), [[PROXY6, "RA"]]);
});
