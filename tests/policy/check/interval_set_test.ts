import assert from "node:assert/strict";
import { below, SeededRandom } from "../../../src/core/random.ts";
import {
  difference,
  has,
  intersection,
  intersects,
  interval,
  type IntervalSet,
  intervalsOf,
  onlyOf,
  union,
  unionOf,
  within,
  without,
} from "../../../src/policy/check/interval_set.ts";

const SEED = 3;
const SIZE = 40;

/** The same set as one boolean for each number. */
function bits(set: IntervalSet): readonly boolean[] {
  return Array.from({ length: SIZE }, (_, value) => has(set, value));
}

Deno.test("interval sets: agree with arrays of booleans", () => {
  const random = new SeededRandom(SEED);
  const draw = (): { first: number; last: number } => {
    const first = below(random, SIZE);
    return { first, last: Math.min(SIZE - 1, first + below(random, 6)) };
  };
  for (let round = 0; round < 3_000; round++) {
    const [a, b] = [0, 1].map(() => Array.from({ length: below(random, 8) }, draw));
    const [setA, setB] = [unionOf(a!), unionOf(b!)];
    const inA = bits(setA);
    const inB = bits(setB);
    const { first, last } = draw();
    const inside = inA.map((_, value) => first <= value && value <= last);
    const told = `seed ${SEED}, round ${round}`;
    assert.deepEqual(inA, inA.map((_, v) => a!.some((i) => i.first <= v && v <= i.last)), told);
    assert.deepEqual(bits(union(setA, setB)), inA.map((is, v) => is || inB[v]!), told);
    assert.deepEqual(bits(intersection(setA, setB)), inA.map((is, v) => is && inB[v]!), told);
    assert.deepEqual(bits(difference(setA, setB)), inA.map((is, v) => is && !inB[v]!), told);
    assert.deepEqual(bits(within(setA, first, last)), inA.map((is, v) => is && inside[v]!), told);
    assert.deepEqual(bits(without(setA, first, last)), inA.map((is, v) => is && !inside[v]!), told);
    assert.equal(intersects(setA, setB), inA.some((is, v) => is && inB[v]!), told);
    assert.equal(difference(setA, setA), null, told);
    const sorted = intervalsOf(difference(setA, setB));
    assert.ok(sorted.every((one, i) => i === 0 || sorted[i - 1]!.last < one.first), told);
    assert.deepEqual(bits(setA), inA, `${told}: changed`);
  }
});

Deno.test("onlyOf: the number of a set of one, else null", () => {
  assert.equal(onlyOf(interval(7, 7)), 7);
  assert.equal(onlyOf(interval(-1, -1)), -1);
  assert.equal(onlyOf(interval(7, 8)), null);
  assert.equal(onlyOf(unionOf([{ first: 1, last: 1 }, { first: 3, last: 3 }])), null);
  assert.equal(onlyOf(null), null);
});

Deno.test("interval sets: all 32 bits, unsigned", () => {
  const holes = without(interval(0, 0xffff_ffff), 0x8000_0000, 0xffff_fffe);
  assert.deepEqual(intervalsOf(holes), [
    { first: 0, last: 0x7fff_ffff },
    { first: 0xffff_ffff, last: 0xffff_ffff },
  ]);
});

Deno.test("interval sets: 100,000 cuts in order are made in no time", () => {
  let set = interval(0, 0xffff_ffff);
  for (let i = 0; i < 100_000; i++) set = without(set, 3 * i, 3 * i);
  assert.equal(set?.count, 100_000);
  assert.ok(!has(set, 299_997) && has(set, 299_998));
});
