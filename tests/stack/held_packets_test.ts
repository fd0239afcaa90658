import assert from "node:assert/strict";
import { Arena, VNET_BYTES } from "../../src/core/arena.ts";
import { reasonName } from "../../src/core/reason.ts";
import { HeldPackets } from "../../src/stack/held_packets.ts";

const AT = 100;

function hold(
  held: HeldPackets,
  arena: Arena,
  neighbor: number,
  byte: number,
  length = 60,
): string {
  arena.bytes.fill(byte, AT, AT + length);
  return reasonName(held.hold(neighbor, arena, AT, length));
}

Deno.test("HeldPackets keeps copies, the last 32 a neighbour, and gives them in order", () => {
  const dropped: string[] = [];
  const held = new HeldPackets((reason) => void dropped.push(reasonName(reason)));
  const arena = new Arena();
  for (let i = 0; i < 34; i++) assert.equal(hold(held, arena, 1, i), "none");
  assert.equal(hold(held, arena, 2, 0), "none");
  assert.deepEqual(dropped, ["arp-queue-full", "arp-queue-full"]);
  assert.deepEqual(
    held.take(1).map((record) => record.slice(VNET_BYTES)),
    Array.from({ length: 32 }, (_, i) => new Uint8Array(60).fill(2 + i)),
  );
  assert.deepEqual(held.take(1), []);
  assert.equal(hold(held, arena, 1, 99), "none");
});

Deno.test("HeldPackets keeps at most 4 MiB for all, and room comes back", () => {
  const held = new HeldPackets(() => assert.fail("none is dropped for another"));
  const arena = new Arena();
  const length = 65_536 - VNET_BYTES;
  for (let i = 0; i < 64; i++) assert.equal(hold(held, arena, i % 4, i, length), "none");
  assert.equal(hold(held, arena, 5, 0, 1), "arp-queue-full");
  assert.equal(held.take(0).length, 16);
  for (let i = 0; i < 16; i++) assert.equal(hold(held, arena, 5, 0, length), "none");
  assert.equal(hold(held, arena, 6, 0, 1), "arp-queue-full");
  assert.equal(held.clear(), 64);
  assert.equal(hold(held, arena, 6, 0, 1), "none");
});
