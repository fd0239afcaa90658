/** What the appliance makes of frames that leave work to the interface, seen from the wire. */
import assert from "node:assert/strict";
import {
  dstAddrs,
  echo,
  firstMatch,
  otherwise,
  translateAToB,
  translateBToA,
} from "../../src/policy/language/build.ts";
import {
  forward,
  ipSrc,
  isEchoRequest,
  not,
  policy,
  reject,
} from "../../src/policy/language/build.ts";
import { tcpDport } from "../../src/policy/language/build.ts";
import {
  buildArp,
  buildIcmp,
  buildTcp,
  buildUdp,
  readIcmp,
  readTcp,
  readUdp,
} from "../support/frames.ts";
import { leaveToNic, type Open, transmit, vnetBytes } from "../support/nic.ts";
import { arpReply, BACKENDS, from, PROXY, World } from "../support/world.ts";

const [BACKEND] = BACKENDS;
const POLICY = policy(
  "drop",
  firstMatch([
    [
      not(ipSrc.oneOf(dstAddrs)),
      firstMatch([[tcpDport.eq(443), reject], [isEchoRequest, echo], [
        otherwise,
        translateAToB(forward),
      ]]),
    ],
    [otherwise, translateBToA(forward)],
  ]),
);
const CLIENT_PORTS = { srcPort: 40_000, dstPort: 2000 };
const payload = Uint8Array.from({ length: 20_000 }, (_, i) => i * 13);

/** Delivers what a sender hands to its interface; returns what comes onto the wire. */
function sendOpen(world: World, { frame, vnet }: Open): Uint8Array<ArrayBuffer>[] {
  world.device.vnet.set(frame, vnet);
  return onWire(world, world.send(frame));
}

function onWire(world: World, frames: readonly Uint8Array<ArrayBuffer>[]) {
  return frames.flatMap((frame) => {
    const left = world.device.vnet.get(frame);
    return left === undefined ? [frame] : transmit(frame, left);
  });
}

/** A world with one connection that is open, and the proxy's port towards the backend. */
function connected(): { world: World; port: number } {
  const world = World.settled({ backends: [BACKEND!], policy: POLICY });
  const [syn] = world.send(buildTcp(CLIENT_PORTS));
  const port = readTcp(syn!).srcPort;
  const answer = { ...from(BACKEND!), srcPort: 2000, dstPort: port, seq: 0, ack: 1001 };
  world.send(buildTcp({ ...answer, flags: "SA", ack: 1001 }));
  world.send(buildTcp({ ...CLIENT_PORTS, flags: "A", seq: 1001, ack: 1 }));
  return { world, port };
}

function data(fragment: number): Uint8Array<ArrayBuffer> {
  return buildTcp({ ...CLIENT_PORTS, flags: "PA", seq: 1001, ack: 1, payload, fragment });
}

Deno.test("Appliance forwards a segment to be cut up, and its packets are right, both ways", () => {
  for (const ecn of [false, true]) {
    const { world, port } = connected();
    const up = sendOpen(world, leaveToNic(data(0x4000), 1460, ecn)).map(readTcp);
    assert.equal(up.length, Math.ceil(20_000 / 1460));
    assert.deepEqual(up.flatMap((one) => [...one.payload]), [...payload]);
    assert.ok(up.every((one) => one.src === PROXY && one.dst === BACKEND && one.srcPort === port));
    const back = { ...from(BACKEND!), srcPort: 2000, dstPort: port, flags: "A" };
    const answer = buildTcp({ ...back, seq: 1, ack: 21_001, payload });
    const down = sendOpen(world, leaveToNic(answer, 1448, ecn)).map(readTcp);
    assert.deepEqual(down.flatMap((one) => [...one.payload]), [...payload]);
    assert.ok(down.every((one) => one.src === PROXY && one.srcPort === 2000));
    assert.deepEqual(world.drops(), {});
  }
});

Deno.test("Appliance, packets of a segment beyond the MTU, says so where they must not be cut", () => {
  const { world } = connected();
  const [error, ...more] = sendOpen(world, leaveToNic(data(0x4000), 1461));
  const { type, code, rest, payload: quote } = readIcmp(error!);
  assert.deepEqual([type, code, rest], [3, 4, [0, 1500]]);
  assert.equal(quote.length, 548);
  assert.deepEqual([more, world.drops()], [[], { "mtu-exceeded": 1 }]);
});

Deno.test("Appliance, packets of a segment beyond the MTU, cuts it finer where it may", () => {
  const { world } = connected();
  const packets = sendOpen(world, leaveToNic(data(0), 8000));
  assert.ok(packets.every((one) => one.length <= 1514));
  const parts = packets.map(readTcp);
  assert.deepEqual(parts.flatMap((one) => [...one.payload]), [...payload]);
  assert.ok(parts.every(({ fragment }) => fragment === 0));
});

Deno.test("Appliance refuses a segment to be cut up with an RST that acknowledges all of it", () => {
  const world = World.settled({ backends: [BACKEND!], policy: POLICY });
  const given = buildTcp({ dstPort: 443, flags: "S", seq: 1000, payload });
  const [reset, ...more] = sendOpen(world, leaveToNic(given, 1460));
  assert.partialDeepStrictEqual(readTcp(reset!), { flags: "RA", seq: 0, ack: 21_001 });
  assert.deepEqual(more, []);
});

Deno.test("Appliance completes an open checksum before it cuts a datagram into fragments", () => {
  const world = World.settled({ backends: [BACKEND!], policy: POLICY });
  const fragments = sendOpen(world, leaveToNic(buildUdp({ payload, fragment: 0 })));
  assert.equal(fragments.length, 14);
  const whole = sendOpen(world, leaveToNic(buildUdp({ payload: payload.subarray(0, 1000) })));
  assert.deepEqual(readUdp(whole[0]!).payload, payload.slice(0, 1000));
});

Deno.test("Appliance leaves no work to the interface in an echo reply or an ARP reply", () => {
  const world = World.settled({ backends: [BACKEND!], policy: POLICY });
  const ping = buildIcmp({ rest: [1, 2], payload: payload.subarray(0, 99) });
  const open = ping.map((byte, at) => at === 36 || at === 37 ? 0 : byte);
  const icmp = { flags: 1, csumStart: 34, csumOffset: 2, headerLength: 9999, gsoSize: 7 };
  const [pong] = sendOpen(world, { frame: open, vnet: vnetBytes(icmp) });
  assert.deepEqual(readIcmp(pong!).payload, payload.slice(0, 99));
  const question = buildArp();
  world.device.vnet.set(question, vnetBytes({ flags: 255, gsoType: 255, headerLength: 65_535 }));
  const [answer] = world.send(question);
  assert.equal(world.device.vnet.get(answer!), undefined);
});

Deno.test("Appliance keeps a segment whole with its vnet header while it waits for ARP", () => {
  const world = new World({ backends: [BACKEND!], policy: POLICY });
  world.poll();
  const syn = buildTcp({ ...CLIENT_PORTS, payload: payload.subarray(0, 3000) });
  const waiting = sendOpen(world, leaveToNic(syn, 1460));
  assert.ok(waiting.every((one) => one.length < 100), "nothing but questions");
  const sent = onWire(world, world.send(arpReply(BACKEND!)));
  const parts = sent.filter((one) => one[12] === 8 && one[13] === 0).map(readTcp);
  assert.deepEqual(parts.flatMap((one) => [...one.payload]), [...payload.slice(0, 3000)]);
  assert.equal(parts.length, 3);
});
