import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { IntSet } from "../../src/tree/int_set.ts";

Deno.test("IntSet.has agrees with Array.includes, for every size to 300 and some thousands", () => {
  for (const size of [...Array(301).keys(), 1023, 1024, 1025, 5000]) {
    const random = new SeededRandom(size);
    const values = Array.from({ length: size }, () => random.uint32() | 0);
    const set = new IntSet(values);
    for (const value of values.slice(0, 400)) assert.ok(set.has(value));
    for (let i = 0; i < 200; i++) {
      const value = i < 100 ? random.uint32() | 0 : (values[i % size] ?? 0) + (i & 1 ? 1 : -1) | 0;
      assert.equal(set.has(value), values.includes(value), `${value} of ${size} with seed ${size}`);
    }
  }
});

Deno.test("IntSet takes neighbours, repetitions, edges and 0 as what they are", () => {
  const lists = [
    [],
    [0],
    [0, 0, 0, 0],
    [-1],
    [1, 2, 3, 4, 5, 6, 7, 8, 9],
    [-0x8000_0000, 0x7fff_ffff, -1, 0, 1],
    Array.from({ length: 256 }, (_, i) => (0xc0a8_0000 | i) | 0),
    Array.from({ length: 256 }, (_, i) => i << 24),
  ];
  const asked = [
    0,
    1,
    -1,
    10,
    -0x8000_0000,
    0x7fff_ffff,
    0xc0a8_0000 | 0,
    0xc0a8_00ff | 0,
    1 << 24,
  ];
  for (const list of lists) {
    const set = new IntSet(list);
    for (const value of [...asked, ...list]) assert.equal(set.has(value), list.includes(value));
  }
});
