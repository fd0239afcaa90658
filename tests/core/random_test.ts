import assert from "node:assert/strict";
import { below, CryptoRandom, type Random, SeededRandom } from "../../src/core/random.ts";

const NUMBERS: readonly [string, Random][] = [
  ["SeededRandom", new SeededRandom(20_250_101)],
  ["CryptoRandom", new CryptoRandom()],
];

for (const [name, random] of NUMBERS) {
  Deno.test(`${name}.uint32 gives unsigned 32-bit integers, every bit set half of the time`, () => {
    const counts = new Uint32Array(32);
    const draws = 20_000;
    for (let i = 0; i < draws; i++) {
      const value = random.uint32();
      assert.ok(Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff, `${value}`);
      for (let bit = 0; bit < 32; bit++) if ((value >>> bit) & 1) counts[bit]!++;
    }
    // The standard deviation is 71: beyond 500 is seven of them.
    for (const count of counts) assert.ok(Math.abs(count - draws / 2) < 500, `${counts}`);
  });

  Deno.test(`below with ${name} is uniform over 0 to count - 1`, () => {
    const counts = new Uint32Array(7);
    for (let i = 0; i < 70_000; i++) counts[below(random, 7)]!++;
    for (const count of counts) assert.ok(Math.abs(count - 10_000) < 700, `${counts}`);
  });
}

Deno.test("SeededRandom repeats its numbers for a seed and has others for another", () => {
  const draw = (seed: number): number[] => {
    const random = new SeededRandom(seed);
    return Array.from({ length: 50 }, () => random.uint32());
  };
  for (const seed of [0, 1, 2, -1, 0x7fff_ffff, 0xffff_fffe]) {
    assert.deepEqual(draw(seed), draw(seed));
    assert.notDeepEqual(draw(seed), draw(seed + 1));
  }
  assert.equal(new Set(Array.from({ length: 1000 }, (_, seed) => draw(seed)[0])).size, 1000);
});

Deno.test("below covers the ends of its range, and only 0 for a count of 1", () => {
  const of = (value: number): Random => ({ uint32: () => value });
  const cases: [number, number, number][] = [
    [0, 1, 0],
    [0xffff_ffff, 1, 0],
    [0, 64_512, 0],
    [0xffff_ffff, 64_512, 64_511],
    [0xffff_ffff, 2 ** 32, 0xffff_ffff],
    [0x8000_0000, 2, 1],
    [0x7fff_ffff, 2, 0],
  ];
  for (const [value, count, expected] of cases) assert.equal(below(of(value), count), expected);
});
