import assert from "node:assert/strict";
import { Arena } from "../../../src/core/arena.ts";
import { below, SeededRandom } from "../../../src/core/random.ts";
import { MemoryDevice } from "../../../src/device/memory.ts";
import { completeChecksum, OffloadGuess } from "../../../src/device/capture/offload_guess.ts";
import {
  buildArp,
  buildIcmp,
  buildIp,
  buildTcp,
  buildUdp,
  readTcp,
  readUdp,
} from "../../support/frames.ts";
import { buildIp6, buildTcp6, buildUdp6 } from "../../support/frames6.ts";
import { leaveToNic } from "../../support/nic.ts";

const L4 = 14 + 20;

/** The sum of the frame's pseudo-header, word by word. */
function bareSum(frame: Uint8Array, protocol: number): number {
  const view = new DataView(frame.buffer);
  let sum = protocol + frame.length - L4;
  for (let at = 14 + 12; at < L4; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

function opened(frame: Uint8Array, protocol: 6 | 17): Uint8Array {
  const copy = frame.slice();
  new DataView(copy.buffer).setUint16(L4 + (protocol === 6 ? 16 : 6), bareSum(copy, protocol));
  return copy;
}

function randomBytes(random: SeededRandom, lenBytes: number): Uint8Array {
  return Uint8Array.from({ length: lenBytes }, () => random.uint32());
}

/** A TCP frame whose checksum is right and the bare sum at the same time. */
function ambiguous(srcMac: string): Uint8Array {
  for (let i = 0; i < 0x1_0000; i++) {
    const frame = buildTcp({ srcMac, payload: Uint8Array.of(i >> 8, i & 255) });
    const view = new DataView(frame.buffer);
    if (view.getUint16(L4 + 16) === bareSum(frame, 6)) return frame;
  }
  throw new Error("There is one in 65,536");
}

Deno.test("OffloadGuess tells open checksums from complete ones; completing gives the sender's own", () => {
  const random = new SeededRandom(1);
  const guess = new OffloadGuess(1500);
  for (let i = 0; i < 500; i++) {
    const payload = randomBytes(random, below(random, 100));
    for (const frame of [buildTcp({ payload }), buildUdp({ payload })]) {
      const protocol = frame[14 + 9] as 6 | 17;
      assert.equal(guess.vnetOf(frame), null);
      const open = opened(frame, protocol);
      const vnet = new OffloadGuess(1500).vnetOf(open);
      assert.deepEqual([...vnet!], [1, 0, 0, 0, 0, 0, L4, 0, protocol === 6 ? 16 : 6, 0]);
      completeChecksum(open);
      assert.deepEqual(open, frame);
      if (protocol === 6) readTcp(open);
      else readUdp(open);
    }
  }
});

Deno.test("OffloadGuess tells open checksums over IPv6, and segments that are to be cut there", () => {
  const random = new SeededRandom(4);
  for (let i = 0; i < 200; i++) {
    const payload = randomBytes(random, below(random, 100));
    for (const frame of [buildTcp6({ payload }), buildUdp6({ payload })]) {
      const guess = new OffloadGuess(1500);
      assert.equal(guess.vnetOf(frame), null);
      const open = leaveToNic(frame);
      assert.deepEqual(guess.vnetOf(open.frame), open.vnet);
      completeChecksum(open.frame);
      assert.deepEqual(open.frame, frame);
    }
  }
  const long = leaveToNic(buildTcp6({ payload: new Uint8Array(3000) }), 1440);
  assert.deepEqual(new OffloadGuess(1500).vnetOf(long.frame), long.vnet);
});

Deno.test("OffloadGuess has segments cut so that they pass the whole way", () => {
  const short = leaveToNic(buildTcp({ payload: new Uint8Array(3000) }), 1360);
  assert.deepEqual(new OffloadGuess(9000, 1400).vnetOf(short.frame)?.[1], 0, "fits the link");
  assert.deepEqual(new OffloadGuess(1500, 1400).vnetOf(short.frame), short.vnet);
});

Deno.test("OffloadGuess takes a frame that may be either as its sender's other frames are", () => {
  const mac = "02:00:00:00:00:aa";
  const other = "02:00:00:00:00:bb";
  const doubtful = ambiguous(mac);
  assert.notEqual(new OffloadGuess(1500).vnetOf(doubtful), null); // nothing known: not completed yet
  const guess = new OffloadGuess(1500);
  guess.vnetOf(buildTcp({ srcMac: mac }));
  guess.vnetOf(opened(buildTcp({ srcMac: other }), 6));
  assert.equal(guess.vnetOf(doubtful), null);
  assert.notEqual(guess.vnetOf(ambiguous(other)), null);
  guess.vnetOf(opened(buildTcp({ srcMac: mac }), 6));
  assert.notEqual(guess.vnetOf(doubtful), null);
});

const untouched: [name: string, frame: Uint8Array][] = [
  ["ARP", buildArp()],
  ["ICMP", buildIcmp()],
  ["a UDP datagram without checksum", buildUdp({ noChecksum: true })],
  [
    "a TCP segment with a wrong checksum",
    buildTcp().map((byte, at) => at === L4 + 17 ? byte ^ 1 : byte),
  ],
  ["a fragment", opened(buildTcp({ fragment: 0x2000 }), 6)],
  ["another protocol", buildIp({ protocol: 47 }, new Uint8Array(40))],
  ["IPv6 behind extension headers", buildTcp6({ headers: [[60, [0, 0, 1, 4, 0, 0, 0, 0]]] })],
  ["another version behind IPv6's EtherType", leaveToNic(buildTcp6()).frame.with(14, 0x40)],
  ["a short TCP header over IPv6", buildIp6({ protocol: 6 }, new Uint8Array(19))],
  ["a short TCP header", buildIp({ protocol: 6 }, new Uint8Array(19))],
];
for (const [name, frame] of untouched) {
  Deno.test(`OffloadGuess leaves ${name} alone`, () => {
    assert.equal(new OffloadGuess(1500).vnetOf(frame), null);
  });
}

Deno.test("OffloadGuess and completeChecksum bear any bytes, cut anywhere", () => {
  const random = new SeededRandom(2);
  const guess = new OffloadGuess(1500);
  for (let i = 0; i < 2000; i++) {
    const build = i % 2 === 0 ? buildTcp : buildTcp6;
    const frame = build({ payload: new Uint8Array(9) }).map((byte, at) =>
      at > 11 && below(random, 6) === 0 ? random.uint32() & 255 : byte
    ).subarray(0, below(random, 90));
    guess.vnetOf(frame);
    completeChecksum(frame);
  }
});

Deno.test("MemoryDevice carries the vnet headers that it is told, in and out", () => {
  const device = new MemoryDevice();
  const arena = new Arena();
  const open = opened(buildTcp(), 6);
  const vnet = new OffloadGuess(1500).vnetOf(open)!;
  device.vnet.set(open, vnet);
  const plain = buildTcp();
  device.inbox.push(open, plain);
  device.read(arena, 0);
  arena.send(arena.rx[0]!, arena.rx[1]!);
  arena.send(arena.rx[2]!, arena.rx[3]!);
  device.write(arena);
  const [first, second] = device.take();
  assert.deepEqual([device.vnet.get(first!), device.vnet.get(second!)], [vnet, undefined]);
});
