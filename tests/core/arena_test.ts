import assert from "node:assert/strict";
import {
  Arena,
  BURST_FRAMES,
  FRONT_BYTES,
  OFFSET_BITS,
  SLOT_BYTES,
  VNET_BYTES,
} from "../../src/core/arena.ts";

Deno.test("OFFSET_BITS has the bits of all offsets", () => {
  assert.ok(Arena.share(2)[0]!.buffer.byteLength - 1 <= OFFSET_BITS);
});

Deno.test("Arena.scratch gives separate rooms behind the burst, IP header on 4 bytes", () => {
  const arena = new Arena();
  let end = arena.rxEnd;
  for (const lengthBytes of [42, 60, 61, 62, 63, 1514, 1]) {
    const offset = arena.scratch(lengthBytes);
    assert.ok(offset - VNET_BYTES - FRONT_BYTES >= end, `${lengthBytes} bytes at ${offset}`);
    assert.equal((offset + 14) % 4, 0);
    end = offset + lengthBytes;
  }
});

Deno.test("Arena.scratch zeroes the vnet header in front, whatever stood there", () => {
  const arena = new Arena();
  arena.bytes.fill(0xff);
  const offset = arena.scratch(100);
  assert.deepEqual([...arena.bytes.slice(offset - VNET_BYTES, offset)], Array(VNET_BYTES).fill(0));
});

Deno.test("Arena.scratch gives -1 when the space is used up, and room again after sent", () => {
  const arena = new Arena();
  let count = 0;
  while (arena.scratch(60_000) >= 0) count++;
  assert.ok(count >= 3 && count < 10, `${count} frames of 60,000 bytes`);
  assert.equal(arena.scratch(60_000), -1);
  arena.sent();
  assert.ok(arena.scratch(60_000) >= 0);
});

Deno.test("Arena.scratch never gives room beyond the buffer", () => {
  const arena = new Arena();
  const first = arena.rxEnd + FRONT_BYTES + VNET_BYTES;
  const room = arena.buffer.byteLength - first;
  assert.equal(arena.scratch(room + 1), -1);
  assert.equal(arena.scratch(room), first);
  assert.equal(arena.scratch(0), -1);
});

Deno.test("Arena.hasRoom promises what scratch and send then give", () => {
  for (const lengthBytes of [1, 61, 1514, 65_549]) {
    const arena = new Arena();
    let promised = 0;
    while (arena.hasRoom(2, 2 * lengthBytes)) {
      for (let i = 0; i < 2; i++) {
        const offset = arena.scratch(lengthBytes);
        assert.ok(offset > 0 && arena.send(offset, lengthBytes), `${lengthBytes} bytes`);
        promised++;
      }
    }
    assert.ok(promised > 5 && arena.hasRoom(0, 0));
    arena.sent();
    assert.equal(arena.hasRoom(2, 2 * lengthBytes), true);
  }
});

Deno.test("Arena.send lists frames in order and is false when the list is full", () => {
  const arena = new Arena();
  const capacity = arena.tx.length / 2;
  for (let i = 0; i < capacity; i++) assert.equal(arena.send(i, 2 * i), true);
  assert.equal(arena.send(1, 1), false);
  assert.equal(arena.txCount, capacity);
  for (let i = 0; i < capacity; i++) {
    assert.deepEqual([arena.tx[2 * i], arena.tx[2 * i + 1]], [i, 2 * i]);
  }
  arena.sent();
  assert.equal(arena.txCount, 0);
  assert.equal(arena.send(1, 1), true);
});

Deno.test("Arena.copyOut and sendCopy keep a frame and its vnet header while its place is used again", () => {
  const arena = new Arena();
  const record = Uint8Array.from({ length: VNET_BYTES + 99 }, (_, i) => i * 7);
  arena.bytes.set(record);
  const copy = arena.copyOut(VNET_BYTES, 99);
  arena.bytes.fill(0xee);
  const offset = arena.sendCopy(copy);
  assert.deepEqual([...arena.tx.subarray(0, 2)], [offset, 99]);
  assert.deepEqual(arena.bytes.slice(offset - VNET_BYTES, offset + 99), record);
});

Deno.test("Arena.sendCopy gives -1 when there is no room", () => {
  const arena = new Arena();
  const record = new Uint8Array(65_549);
  while (arena.sendCopy(record) >= 0);
  assert.equal(arena.sendCopy(record), -1);
});

Deno.test("Arena takes the longest record, with room in front of the next", () => {
  const arena = new Arena();
  const lengthBytes = 18 + 40 + 65_535; // with a tagged Ethernet header
  assert.ok(SLOT_BYTES >= VNET_BYTES + lengthBytes + FRONT_BYTES);
  for (const { rxStart, rxEnd, buffer } of Arena.share(2)) {
    assert.equal(rxStart % 64, 0);
    assert.ok(rxStart % (buffer.byteLength / 2) >= FRONT_BYTES);
    assert.equal(rxStart + BURST_FRAMES * SLOT_BYTES, rxEnd);
  }
  assert.ok(arena.scratch(lengthBytes) > 0);
});
