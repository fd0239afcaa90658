/**
 * Ids by exact 32-bit value: open addressing at a load of at most one half, one multiply a look-up.
 * In the policy's array it is the count of bits that a hash loses, the keys, and their ids.
 */
import type { Slices } from "../../core/slices.ts";
import { NOWHERE } from "./interval_map.ts";
import type { NumberWriter } from "./number_writer.ts";

/** How many are handled in one go. */
const STRIDE = 256;

/** Writes the map; where it is. Of several points with the same value the lowest id counts. */
export function* writePoints(
  writer: NumberWriter,
  points: readonly { readonly value: number; readonly id: number }[],
): Slices<number> {
  const bits = Math.max(2, Math.ceil(Math.log2(2 * points.length + 1)));
  const slots = 1 << bits;
  const at = writer.put([32 - bits]);
  writer.add(2 * slots);
  const { numbers } = writer;
  numbers.fill(NOWHERE, at + 1 + slots, at + 1 + 2 * slots);
  for (let i = 0; i < points.length; i++) {
    if (i % STRIDE === 0) yield;
    const { value, id } = points[i]!;
    const slot = slotOf(numbers, at, value | 0);
    numbers[slot] = value;
    numbers[slot + slots] = Math.min(numbers[slot + slots]!, id);
  }
  return at;
}

/** The lowest id at `value` (any 32 bits, signed) in the map at `at`, or NOWHERE. */
export function findPoint(numbers: Int32Array, at: number, value: number): number {
  return numbers[slotOf(numbers, at, value) + (1 << (32 - numbers[at]!))]!;
}

/** Where the key is that is `value`, or the free place where it belongs. */
function slotOf(numbers: Int32Array, at: number, value: number): number {
  const shift = numbers[at]!;
  const slots = 1 << (32 - shift);
  const first = at + 1;
  let slot = Math.imul(value, 0x9e3779b1) >>> shift;
  while (numbers[first + slots + slot] !== NOWHERE && numbers[first + slot] !== value) {
    slot = (slot + 1) & (slots - 1);
  }
  return first + slot;
}
