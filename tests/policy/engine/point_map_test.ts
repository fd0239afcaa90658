import assert from "node:assert/strict";
import { finish } from "../../../src/core/slices.ts";
import { below, SeededRandom } from "../../../src/core/random.ts";
import { NOWHERE } from "../../../src/policy/engine/interval_map.ts";
import { NumberWriter } from "../../../src/policy/engine/number_writer.ts";
import { findPoint, writePoints } from "../../../src/policy/engine/point_map.ts";

type Points = { readonly value: number; readonly id: number }[];

/** The naive twin: the lowest id of the points with this value. Values are the same by 32 bits. */
function naive(points: Points, value: number): number {
  return points
    .filter((point) => (point.value | 0) === (value | 0))
    .reduce((least, { id }) => Math.min(least, id), NOWHERE);
}

/** The map, which something else comes before. */
function mapOf(points: Points): { find: (value: number) => number } {
  const writer = new NumberWriter();
  writer.put([7, 7, 7]);
  const at = finish(writePoints(writer, points));
  const numbers = writer.numbers.slice();
  return { find: (value) => findPoint(numbers, at, value) };
}

function check(points: Points, others: readonly number[], what: string): void {
  const map = mapOf(points);
  const near = points.flatMap(({ value }) => [value - 1, value, value + 1]);
  for (const value of [0, -1, 1, 0x7fff_ffff, -0x8000_0000, ...near, ...others]) {
    assert.equal(map.find(value | 0), naive(points, value), `${value} of ${what}`);
  }
}

Deno.test("findPoint knows 0, -1, edges, neighbours, repetitions, signed and unsigned", () => {
  const of = (...values: number[]): Points => values.map((value, id) => ({ value, id }));
  const cases: [string, Points][] = [
    ["no point", []],
    ["0", of(0)],
    ["-1 as 0xffffffff", of(0xffff_ffff)],
    ["edges", of(0x8000_0000, 0x7fff_ffff, 0xffff_ffff, 0, 1)],
    ["one value several times", [...of(5, 5, 5), { value: 5, id: 9 }].reverse()],
    ["neighbours", of(...Array.from({ length: 300 }, (_, i) => 0xc0a8_0000 + i))],
    ["the same low bits", of(...Array.from({ length: 256 }, (_, i) => i * 0x100_0000))],
    ["the same product's top bits", of(...Array.from({ length: 64 }, (_, i) => i * 0x144c_bc89))],
    ["the largest id", [{ value: 3, id: NOWHERE - 1 }]],
  ];
  for (const [what, points] of cases) check(points, [], what);
});

Deno.test("findPoint agrees with looking at all points, for every size to 260 and some thousands", () => {
  for (const size of [...Array(261).keys(), 1023, 1024, 1025, 3000]) {
    const random = new SeededRandom(size);
    const spread = size % 2 === 0 ? 0x1_0000_0000 : 500;
    const points = Array.from({ length: size }, () => ({
      value: below(random, spread),
      id: below(random, 1000),
    }));
    const others = Array.from({ length: 50 }, () => random.uint32());
    check(points.slice(0, 500), others, `size ${size}`);
    if (size <= 500) continue;
    const map = mapOf(points);
    for (const value of [...others, ...points.slice(-100).map((point) => point.value)]) {
      assert.equal(map.find(value | 0), naive(points, value), `${value} of ${size}`);
    }
  }
});
