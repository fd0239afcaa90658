/**
 * Which of many overlapping ranges of 32-bit numbers, or of IPv6 addresses, comes first for a
 * value: a sorted array of boundaries and a binary search, however many ranges there are.
 *
 *     ranges        1 ├───────┤     2 ├──┤
 *                 0 ├──┤
 *     boundaries  │0   │1     │-      │2  │-
 *
 * In the policy's array it is their count, where each stretch starts, and the id there. The start
 * of a stretch of IPv6 addresses is four words.
 */
import { type Slices, sortInSlices } from "../../core/slices.ts";
import type { Interval } from "../language/ast.ts";
import { wordsOf } from "../../wire/host_address.ts";
import type { NumberWriter } from "./number_writer.ts";
import type { Interval6 } from "./address_ranges.ts";

/** What `find` returns where no range holds the value: above every id. */
export const NOWHERE = 0x7fffffff;

/** How many are handled in one go. */
const STRIDE = 256;

/**
 * Writes the map; where it is. `ids` are 0 … 2³¹ - 2; of several ranges that hold a value the
 * lowest id counts.
 */
export function* writeRanges(
  writer: NumberWriter,
  ranges: readonly { readonly interval: Interval; readonly id: number }[],
): Slices<number> {
  const places = new Float64Array(2 * ranges.length);
  for (let i = 0; i < ranges.length; i++) {
    const { first, last } = ranges[i]!.interval;
    places[2 * i] = first;
    places[2 * i + 1] = last + 1;
    if (i % STRIDE === 0) yield;
  }
  const { starts, ids } = yield* stretchesOf(ranges, places, 0, 0x1_0000_0000);
  const at = writer.put([starts.length]);
  // With the sign bit flipped: signed order is then unsigned order.
  writer.put(starts.map((start) => start ^ 0x8000_0000));
  writer.put(ids);
  return at;
}

/** As `writeRanges`, of IPv6 addresses. */
export function* writeRanges6(
  writer: NumberWriter,
  ranges: readonly { readonly interval: Interval6; readonly id: number }[],
): Slices<number> {
  const places: bigint[] = [];
  for (const { interval: { first, last } } of ranges) {
    if (places.push(first, last + 1n) % STRIDE === 0) yield;
  }
  const { starts, ids } = yield* stretchesOf(ranges, places, 0n, 1n << 128n);
  const at = writer.put([starts.length]);
  for (const [i, start] of starts.entries()) {
    writer.put(wordsOf(start).map((word) => word ^ 0x8000_0000));
    if (i % STRIDE === 0) yield;
  }
  writer.put(ids);
  return at;
}

/**
 * Where stretches with one lowest id start, from `zero` on, and the ids. Each range opens at one of
 * the `places`, and closes at the next one; `end` is the first beyond all values.
 */
function* stretchesOf<Value extends number | bigint>(
  ranges: readonly { readonly id: number }[],
  places: Readonly<Float64Array> & ArrayLike<Value> | readonly Value[] & readonly bigint[],
  zero: Value,
  end: Value,
): Slices<{ readonly starts: readonly Value[]; readonly ids: readonly number[] }> {
  const order = yield* sortInSlices(Uint32Array.from(places.keys()), places);
  const open: number[] = []; // ids of ranges that hold the current value, ascending
  const starts = [zero];
  const ids = [NOWHERE];
  for (let i = 0; i < order.length; i++) {
    if (i % STRIDE === 0) yield;
    const event = order[i]!;
    const at = places[event]! as Value;
    const { id } = ranges[event >> 1]!;
    const index = lowerBound(open, id);
    if (event % 2 === 0) open.splice(index, 0, id);
    else open.splice(index, 1);
    if (places[order[i + 1]!] === at || at >= end) continue;
    const lowest = open[0] ?? NOWHERE;
    if (starts.at(-1) === at) ids[ids.length - 1] = lowest;
    else if (ids.at(-1) !== lowest) {
      starts.push(at);
      ids.push(lowest);
    }
  }
  return { starts, ids };
}

/**
 * The lowest id whose range in the map at `at` holds `value` (any 32 bits, signed or not), or
 * NOWHERE.
 */
export function findRange(numbers: Int32Array, at: number, value: number): number {
  const key = value ^ 0x8000_0000;
  const count = numbers[at]!;
  let low = at + 1;
  let high = low + count;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (numbers[middle]! <= key) low = middle;
    else high = middle;
  }
  return numbers[low + count]!;
}

/** As `findRange`, for the IPv6 address whose four words are at `from`. */
export function findRange6(
  numbers: Int32Array,
  at: number,
  words: Int32Array,
  from: number,
): number {
  const count = numbers[at]!;
  let low = 0;
  let high = count;
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (isAtMost(numbers, at + 1 + 4 * middle, words, from)) low = middle;
    else high = middle;
  }
  return numbers[at + 1 + 4 * count + low]!;
}

/** True if the start of a stretch that is at `at` is not above the address. */
function isAtMost(numbers: Int32Array, at: number, words: Int32Array, from: number): boolean {
  for (let i = 0; i < 4; i++) {
    const start = numbers[at + i]!;
    const word = words[from + i]! ^ 0x8000_0000;
    if (start !== word) return start < word;
  }
  return true;
}

function lowerBound(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
