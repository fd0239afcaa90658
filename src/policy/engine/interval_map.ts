/**
 * Which of many overlapping ranges of 32-bit numbers comes first for a value: a sorted array of
 * boundaries and a binary search, however many ranges there are.
 *
 *     ranges        1 ├───────┤     2 ├──┤
 *                 0 ├──┤
 *     boundaries  │0   │1     │-      │2  │-
 *
 * In the policy's array it is their count, where each stretch starts, and the id there.
 */
import { type Slices, sortInSlices } from "../../core/slices.ts";
import type { Interval } from "../language/ast.ts";
import type { NumberWriter } from "./number_writer.ts";

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
  // Each range opens at one place, and closes at the next; both have its number.
  const places = new Float64Array(2 * ranges.length);
  for (let i = 0; i < ranges.length; i++) {
    const { first, last } = ranges[i]!.interval;
    places[2 * i] = first;
    places[2 * i + 1] = last + 1;
    if (i % STRIDE === 0) yield;
  }
  const order = yield* sortInSlices(Uint32Array.from(places.keys()), places);
  const open: number[] = []; // ids of ranges that hold the current value, ascending
  const starts = [0];
  const ids = [NOWHERE];
  for (let i = 0; i < order.length; i++) {
    if (i % STRIDE === 0) yield;
    const event = order[i]!;
    const at = places[event]!;
    const { id } = ranges[event >> 1]!;
    const index = lowerBound(open, id);
    if (event % 2 === 0) open.splice(index, 0, id);
    else open.splice(index, 1);
    if (places[order[i + 1]!] === at || at > 0xffff_ffff) continue;
    const lowest = open[0] ?? NOWHERE;
    if (starts.at(-1) === at) ids[ids.length - 1] = lowest;
    else if (ids.at(-1) !== lowest) {
      starts.push(at);
      ids.push(lowest);
    }
  }
  const at = writer.put([starts.length]);
  // With the sign bit flipped: signed order is then unsigned order.
  writer.put(starts.map((start) => start ^ 0x8000_0000));
  writer.put(ids);
  return at;
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
