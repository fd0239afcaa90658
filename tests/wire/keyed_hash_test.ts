import assert from "node:assert/strict";
import { type HashKey, hashKeyOf, keyedHash, NO_KEY } from "../../src/wire/keyed_hash.ts";

const KEY = hashKeyOf(new TextEncoder().encode("sixteen bytes :)"));

Deno.test("keyedHash changes half of its bits with any one bit of the block or the key", () => {
  const flips: ((bit: number) => number)[] = [0, 1, 2, 3].flatMap((word) => [
    (bit: number) => {
      const block = [1, 2, 3, 4] as [number, number, number, number];
      block[word]! ^= 1 << bit;
      return keyedHash(KEY, ...block);
    },
    (bit: number) => {
      const key = [...KEY] as [number, number, number, number];
      key[word]! ^= 1 << bit;
      return keyedHash(key, 1, 2, 3, 4);
    },
  ]);
  const one = keyedHash(KEY, 1, 2, 3, 4);
  let changed = 0;
  for (const flip of flips) {
    for (let bit = 0; bit < 32; bit++) {
      const bits = (flip(bit) ^ one) >>> 0;
      assert.notEqual(bits, 0);
      changed += bits.toString(2).replaceAll("0", "").length;
    }
  }
  const share = changed / (flips.length * 32 * 32);
  assert.ok(Math.abs(share - 0.5) < 0.02, `${share}`);
});

Deno.test("keyedHash is the same in every run: other instances depend on it", () => {
  assert.deepEqual([keyedHash(NO_KEY, 1, 2, 3, 4), keyedHash(KEY, 1, 2, 3, 4)], [
    1369866797,
    1091101738,
  ]);
});

Deno.test("hashKeyOf makes of every byte, and of the number of bytes, another key", () => {
  const bytes = new Uint8Array(33);
  const keys = new Set<string>([String(hashKeyOf(bytes))]);
  for (let i = 0; i < bytes.length; i++) {
    const other = bytes.slice();
    other[i] = 1;
    keys.add(String(hashKeyOf(other)));
  }
  for (const length of [16, 32, 34, 48]) keys.add(String(hashKeyOf(new Uint8Array(length))));
  assert.equal(keys.size, 1 + 33 + 4);
  const key: HashKey = hashKeyOf(bytes);
  assert.equal(key.length, 4);
});
