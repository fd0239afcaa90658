/**
 * What the appliance makes of frames over IPv6 that leave work to the interface, seen from the
 * wire: as `appliance_offload_test.ts` has it of IPv4, where only routers never cut a packet.
 */
import assert from "node:assert/strict";
import { buildTcp6, readIcmp6, readTcp6 } from "../support/frames6.ts";
import { leaveToNic, type Open, transmit, vnetBytes } from "../support/nic.ts";
import { BACKENDS6, CLIENT6, from, packetsOf, PROXY6, World } from "../support/world.ts";

const [BACKEND] = BACKENDS6;
const CLIENT_PORTS = { srcPort: 40_000, dstPort: 2000 };
const payload = Uint8Array.from({ length: 20_000 }, (_, i) => i * 13);

/** Delivers what a sender hands to its interface; returns what comes onto the wire. */
function sendOpen(world: World, { frame, vnet }: Open): Uint8Array<ArrayBuffer>[] {
  world.device.vnet.set(frame, vnet);
  return packetsOf(world.send(frame)).flatMap((sent) => {
    const left = world.device.vnet.get(sent);
    return left === undefined ? [sent] : transmit(sent, left);
  });
}

/** A world with one connection that is open, and the proxy's port towards the backend. */
function connected(): { world: World; port: number } {
  const world = World.settled({ ipv6: true, backends: [BACKEND!] });
  const [syn] = packetsOf(world.send(buildTcp6({ ...CLIENT_PORTS, flags: "S" })));
  const { dst, srcPort: port } = readTcp6(syn!);
  assert.equal(dst, BACKEND);
  const answer = { ...from(BACKEND!), srcPort: 2000, dstPort: port, seq: 0, ack: 1001 };
  world.send(buildTcp6({ ...answer, flags: "SA" }));
  world.send(buildTcp6({ ...CLIENT_PORTS, flags: "A", seq: 1001, ack: 1 }));
  return { world, port };
}

function data(): Uint8Array<ArrayBuffer> {
  return buildTcp6({ ...CLIENT_PORTS, flags: "PA", seq: 1001, ack: 1, payload });
}

Deno.test("Appliance forwards a segment of IPv6 to be cut up, and its packets are right, both ways", () => {
  for (const ecn of [false, true]) {
    const { world, port } = connected();
    const up = sendOpen(world, leaveToNic(data(), 1440, ecn)).map(readTcp6);
    assert.equal(up.length, Math.ceil(20_000 / 1440));
    assert.deepEqual(up.flatMap((one) => Array.from(one.payload)), [...payload]);
    assert.ok(up.every((one) => one.src === PROXY6 && one.dst === BACKEND && one.srcPort === port));
    const back = { ...from(BACKEND!), srcPort: 2000, dstPort: port, flags: "A" };
    const answer = buildTcp6({ ...back, seq: 1, ack: 21_001, payload });
    const down = sendOpen(world, leaveToNic(answer, 1428, ecn)).map(readTcp6);
    assert.deepEqual(down.flatMap((one) => Array.from(one.payload)), [...payload]);
    assert.ok(down.every((one) => one.src === PROXY6 && one.dst === CLIENT6));
    assert.deepEqual(world.drops(), {});
  }
});

Deno.test("Appliance, packets of a segment of IPv6 beyond the MTU, answers Packet Too Big", () => {
  const { world } = connected();
  const [error, ...more] = sendOpen(world, leaveToNic(data(), 1441));
  const { type, code, rest, payload: quote } = readIcmp6(error!);
  assert.deepEqual([type, code, rest], [2, 0, [0, 0, 1500 >> 8, 1500 & 255]]);
  assert.equal(quote.length, 1280 - 40 - 8);
  assert.deepEqual([more, world.drops()], [[], { "mtu-exceeded": 1 }]);
});

Deno.test("Appliance leaves a checksum over IPv6 open that came so", () => {
  const { world, port } = connected();
  const bytes = payload.subarray(0, 1001);
  const open = leaveToNic(buildTcp6({ ...CLIENT_PORTS, seq: 1001, ack: 1, payload: bytes }));
  const [segment, ...more] = sendOpen(world, open);
  assert.partialDeepStrictEqual(readTcp6(segment!), { src: PROXY6, dst: BACKEND, srcPort: port });
  assert.deepEqual(more, []);
  const answer = { ...from(BACKEND!), srcPort: 2000, dstPort: port };
  const back = leaveToNic(buildTcp6({ ...answer, seq: 1, ack: 2002, payload: bytes }));
  assert.partialDeepStrictEqual(readTcp6(sendOpen(world, back)[0]!), { src: PROXY6, dst: CLIENT6 });
  assert.deepEqual(world.drops(), {});
});

Deno.test("Appliance drops segments of IPv6 that its interface could not cut up", () => {
  const { world } = connected();
  const { frame } = leaveToNic(data(), 1440);
  const csum = { flags: 1, csumStart: 54, csumOffset: 16, headerLength: 74 };
  for (const vnet of [{ gsoType: 1, gsoSize: 1440 }, { gsoType: 4, gsoSize: 7 }]) {
    assert.deepEqual(sendOpen(world, { frame, vnet: vnetBytes({ ...csum, ...vnet }) }), []);
  }
  assert.deepEqual(world.drops(), { "vnet-header": 2 });
});
