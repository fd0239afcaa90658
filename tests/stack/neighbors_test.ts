import assert from "node:assert/strict";
import { Arena, VNET_BYTES } from "../../src/core/arena.ts";
import { reasonName } from "../../src/core/reason.ts";
import { Neighbors } from "../../src/stack/neighbors.ts";

const AT = 100;

function hold(
  neighbors: Neighbors,
  arena: Arena,
  address: number,
  byte: number,
  length = 60,
): string {
  arena.bytes.fill(byte, AT, AT + length);
  return reasonName(neighbors.hold(neighbors.obtain(address), arena, AT, length));
}

Deno.test("Neighbors.obtain and watch give one neighbour an address", () => {
  const neighbors = new Neighbors(() => {});
  const watched = neighbors.watch(1);
  assert.equal(neighbors.obtain(1), watched);
  assert.equal(neighbors.get(1), watched);
  assert.deepEqual([watched.watched, neighbors.obtain(2).watched], [true, false]);
  assert.equal(neighbors.get(3), undefined);
  assert.deepEqual([...neighbors.values()].map(({ address }) => address), [1, 2]);
});

Deno.test("Neighbors.hold keeps copies, 32 a neighbour, and gives them in order", () => {
  const [neighbors, arena] = [new Neighbors(() => {}), new Arena()];
  for (let i = 0; i < 32; i++) assert.equal(hold(neighbors, arena, 1, i), "none");
  assert.equal(hold(neighbors, arena, 1, 99), "arp-queue-full");
  assert.equal(hold(neighbors, arena, 2, 0), "none");
  const neighbor = neighbors.obtain(1);
  for (let i = 0; i < 32; i++) {
    const record = neighbors.takeHeld(neighbor);
    assert.deepEqual(record?.slice(VNET_BYTES), new Uint8Array(60).fill(i));
  }
  assert.equal(neighbors.takeHeld(neighbor), undefined);
  assert.equal(hold(neighbors, arena, 1, 99), "none");
});

Deno.test("Neighbors.hold keeps at most 4 MiB for all, and room comes back", () => {
  const lost: number[] = [];
  const [neighbors, arena] = [new Neighbors((packets) => lost.push(packets)), new Arena()];
  const length = 65_536 - VNET_BYTES;
  for (let i = 0; i < 64; i++) assert.equal(hold(neighbors, arena, i % 4, i, length), "none");
  assert.equal(hold(neighbors, arena, 5, 0, 1), "arp-queue-full");
  neighbors.dropHeld(neighbors.obtain(0));
  assert.deepEqual(lost, [16]);
  for (let i = 0; i < 16; i++) assert.equal(hold(neighbors, arena, 5, 0, length), "none");
  assert.equal(hold(neighbors, arena, 6, 0, 1), "arp-queue-full");
  neighbors.remove(neighbors.obtain(1));
  assert.deepEqual(lost, [16, 16]);
  assert.equal(hold(neighbors, arena, 6, 0, 1), "none");
});

Deno.test("Neighbors.obtain makes room among 4,096 by the one that came first, never a watched one", () => {
  const neighbors = new Neighbors(() => {});
  neighbors.watch(-1);
  for (let address = 0; address < 4096; address++) neighbors.obtain(address);
  neighbors.watch(-2);
  assert.notEqual(neighbors.get(0), undefined);
  neighbors.obtain(4096);
  assert.equal(neighbors.get(0), undefined);
  for (let address = 4097; address < 9000; address++) neighbors.obtain(address);
  assert.equal([...neighbors.values()].length, 4096 + 2);
  assert.ok(neighbors.get(-1)?.watched && neighbors.get(-2)?.watched);
});
