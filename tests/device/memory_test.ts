import assert from "node:assert/strict";
import { Arena, BURST_FRAMES, VNET_BYTES } from "../../src/core/arena.ts";
import { MemoryDevice } from "../../src/device/memory.ts";

/** The frames of the burst that was read last. */
function burstOf(arena: Arena): Uint8Array[] {
  return Array.from(
    { length: arena.rxCount },
    (_, i) => arena.bytes.slice(arena.rx[2 * i]!, arena.rx[2 * i]! + arena.rx[2 * i + 1]!),
  );
}

Deno.test("MemoryDevice.read delivers the inbox in order, IP headers aligned, vnet headers zero", () => {
  const device = new MemoryDevice();
  const arena = new Arena();
  arena.bytes.fill(0xee);
  const frames = [60, 61, 62, 63, 14, 1].map((length, i) => new Uint8Array(length).fill(i));
  device.inbox.push(...frames);
  assert.equal(device.read(arena, 0), frames.length);
  assert.deepEqual(burstOf(arena), frames);
  for (let i = 0; i < arena.rxCount; i++) {
    const offset = arena.rx[2 * i]!;
    assert.equal((offset + 14) % 4, 0);
    assert.deepEqual(
      [...arena.bytes.slice(offset - VNET_BYTES, offset)],
      Array(VNET_BYTES).fill(0),
    );
  }
  assert.equal(device.read(arena, 0), 0);
  assert.equal(arena.rxCount, 0);
});

Deno.test("MemoryDevice.read splits what is too much for one burst", () => {
  const arena = new Arena();
  const cases = [
    { what: "many frames", count: 2 * BURST_FRAMES + 1, lengthBytes: 60, bursts: [64, 64, 1] },
    { what: "long frames", count: BURST_FRAMES + 1, lengthBytes: 65_549, bursts: [64, 1] },
  ];
  for (const { what, count, lengthBytes, bursts } of cases) {
    const device = new MemoryDevice();
    for (let i = 0; i < count; i++) device.inbox.push(new Uint8Array(lengthBytes));
    const seen: number[] = [];
    while (device.read(arena, 0) > 0) seen.push(arena.rxCount);
    assert.deepEqual(seen, bursts, what);
  }
});

Deno.test("MemoryDevice.write keeps copies of what was sent and empties the list", () => {
  const device = new MemoryDevice();
  const arena = new Arena();
  const offset = arena.scratch(3);
  arena.bytes.set([1, 2, 3], offset);
  arena.send(offset, 3);
  arena.send(offset, 2);
  assert.equal(device.write(arena), 2);
  assert.equal(arena.txCount, 0);
  arena.bytes.fill(0xee);
  assert.deepEqual(device.take(), [Uint8Array.of(1, 2, 3), Uint8Array.of(1, 2)]);
  assert.deepEqual(device.take(), []);
});

Deno.test("MemoryDevice.write fails with EIO while it is broken, and still empties the list", () => {
  const device = new MemoryDevice();
  const arena = new Arena();
  device.broken = true;
  arena.send(arena.scratch(1), 1);
  assert.equal(device.write(arena), -5);
  assert.equal(arena.txCount, 0);
  assert.deepEqual(device.take(), []);
});
