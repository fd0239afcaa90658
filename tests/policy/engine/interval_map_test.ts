import assert from "node:assert/strict";
import { finish } from "../../../src/core/slices.ts";
import { below, type Random, SeededRandom } from "../../../src/core/random.ts";
import {
  findRange,
  findRange6,
  NOWHERE,
  writeRanges,
  writeRanges6,
} from "../../../src/policy/engine/interval_map.ts";
import { wordsOf } from "../../../src/wire/host_address.ts";
import { NumberWriter } from "../../../src/policy/engine/number_writer.ts";
import type { Interval } from "../../../src/policy/language/ast.ts";

interface Entry {
  readonly interval: Interval;
  readonly id: number;
}

/** The naive twin: the lowest id of the ranges that hold the value. */
function naive(entries: readonly Entry[], value: number): number {
  const unsigned = value >>> 0;
  return entries
    .filter(({ interval: { first, last } }) => first <= unsigned && unsigned <= last)
    .reduce((least, { id }) => Math.min(least, id), NOWHERE);
}

/** The map, between others. */
function mapOf(entries: readonly Entry[]): { find: (value: number) => number } {
  const writer = new NumberWriter();
  finish(writeRanges(writer, [range(0, 0xffff_ffff)]));
  const at = finish(writeRanges(writer, entries));
  finish(writeRanges(writer, [range(0, 0xffff_ffff)]));
  return { find: (value) => findRange(writer.numbers, at, value) };
}

function range(first: number, last: number, id = 0): Entry {
  return { interval: { first, last }, id };
}

/** Edges of the ranges with their neighbours, signed and unsigned, and some other values. */
function valuesOf(entries: readonly Entry[], random: Random): number[] {
  const edges = entries.flatMap(({ interval: { first, last } }) => [first, last]);
  const near = edges.flatMap((edge) => [edge - 1, edge, edge + 1]);
  const some = Array.from({ length: 20 }, () => random.uint32());
  return [0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, ...near, ...some]
    .flatMap((value) => [value >>> 0, value | 0]);
}

function check(entries: readonly Entry[], random: Random, what: string): void {
  const map = mapOf(entries);
  for (const value of valuesOf(entries, random)) {
    const expected = naive(entries, value);
    assert.equal(map.find(value), expected, `${value} of ${what}`);
  }
}

Deno.test("findRange gives the lowest id of ranges that touch, overlap, nest or end at an edge", () => {
  const top = 0xffff_ffff;
  const cases: [string, Entry[]][] = [
    ["no range", []],
    ["everything", [range(0, top)]],
    ["one value", [range(7, 7)]],
    ["the first value", [range(0, 0)]],
    ["the last value", [range(top, top)]],
    ["both sides of the sign", [range(0x7fff_ffff, 0x8000_0000)]],
    ["ranges that touch", [range(1, 5, 3), range(6, 9, 2)]],
    ["ranges of one id that touch", [range(1, 5, 3), range(6, 9, 3)]],
    ["ranges of one id that overlap", [range(1, 5, 3), range(4, 9, 3), range(2, 3, 3)]],
    ["ranges that overlap, the later one first", [range(1, 5, 1), range(3, 9, 0)]],
    ["a range in another one", [range(1, 9, 1), range(3, 5, 0)]],
    ["a range behind another one", [range(1, 9, 0), range(3, 5, 1)]],
    ["the same range twice", [range(1, 9, 2), range(1, 9, 1)]],
    ["one that starts where another starts", [range(1, 9, 1), range(1, 3, 0)]],
    ["one that ends where another ends", [range(1, 9, 1), range(7, 9, 0)]],
    ["everything last", [range(5, 6, 0), range(0, top, 9)]],
    ["the largest id", [range(5, 6, NOWHERE - 1)]],
  ];
  for (const [what, entries] of cases) check(entries, new SeededRandom(1), what);
});

Deno.test("findRange agrees with looking at all ranges, of any number and nesting", () => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = new SeededRandom(seed);
    const spread = [8, 300, 0x1_0000_0000][seed % 3]!;
    const entries = Array.from({ length: below(random, 40) }, () => {
      const [one, other] = [below(random, spread), below(random, spread)];
      return range(Math.min(one, other), Math.max(one, other), below(random, 50));
    });
    check(entries, random, `seed ${seed}`);
  }
});

Deno.test("findRange takes 20,000 ranges that all overlap, in reasonable time", () => {
  const entries = Array.from({ length: 20_000 }, (_, i) => range(i, 0xffff_ffff - i, 20_000 - i));
  const map = mapOf(entries);
  assert.equal(map.find(0), 20_000);
  assert.equal(map.find(19_999), 1);
  assert.equal(map.find(0x8000_0000 | 0), 1);
  assert.equal(map.find(-1), 20_000);
});

Deno.test("findRange6 gives the lowest id of IPv6 ranges that overlap in every way", () => {
  const random = new SeededRandom(6);
  const last = (1n << 128n) - 1n;
  const edges = [0n, 1n, 0x2001_0db8n << 96n, 1n << 127n, (1n << 64n) - 1n, 1n << 64n, last - 9n];
  const some = () => {
    const address = edges[below(random, edges.length)]! + BigInt(below(random, 10));
    return address > last ? last : address;
  };
  let found = 0;
  for (let round = 0; round < 200; round++) {
    const entries = Array.from({ length: below(random, 40) }, () => {
      const [one, other] = [some(), some()];
      const interval = one < other ? { first: one, last: other } : { first: other, last: one };
      return { interval, id: below(random, 30) };
    });
    const writer = new NumberWriter();
    writer.put([5, 6]);
    const at = finish(writeRanges6(writer, entries));
    writer.put([7]);
    for (let i = 0; i < 60; i++) {
      const address = some();
      const expected = entries
        .filter(({ interval: { first, last } }) => first <= address && address <= last)
        .reduce((least, { id }) => Math.min(least, id), NOWHERE);
      const words = Int32Array.of(1, ...wordsOf(address), 2);
      if (expected !== NOWHERE) found++;
      assert.equal(findRange6(writer.numbers, at, words, 1), expected, `round ${round}`);
    }
  }
  assert.ok(found > 3000, `${found}`);
});
