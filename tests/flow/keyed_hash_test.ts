import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { KeyedHash } from "../../src/flow/keyed_hash.ts";

Deno.test("KeyedHash is the same for the same tuple and key, and another for another key", () => {
  const [first, again, other] = [1, 1, 2].map((seed) => new KeyedHash(new SeededRandom(seed)));
  let same = 0;
  for (let i = 0; i < 1000; i++) {
    const tuple = [6, Math.imul(i, 0x1234_5671), ~i, i << 16] as const;
    assert.equal(first!.of(...tuple), again!.of(...tuple));
    if (first!.of(...tuple) === other!.of(...tuple)) same++;
  }
  assert.ok(same < 3, `${same} of 1,000 alike under another key`);
});

Deno.test("KeyedHash depends on every bit of the tuple", () => {
  const hash = new KeyedHash(new SeededRandom(9));
  const tuple: [number, number, number, number] = [
    6,
    0xc0a8_0001 | 0,
    0xc0a8_0064 | 0,
    0x9c40_07d0 | 0,
  ];
  const plain = hash.of(...tuple);
  for (const [field, bits] of [[0, 8], [1, 32], [2, 32], [3, 32]] as const) {
    for (let bit = 0; bit < bits; bit++) {
      const flipped: typeof tuple = [...tuple];
      flipped[field] ^= 1 << bit;
      assert.notEqual(hash.of(...flipped), plain, `field ${field}, bit ${bit}`);
    }
  }
});

Deno.test("KeyedHash spreads one client's connections evenly over 256 slots", () => {
  const hash = new KeyedHash(new SeededRandom(11));
  const counts = new Uint32Array(256);
  for (let port = 0; port < 65_536; port++) counts[hash.of(6, 1, 2, (port << 16) | 80) & 255]!++;
  assert.ok(counts.every((count) => count > 0 && count < 1024), `${Math.max(...counts)}`);
});
