/**
 * Which of many overlapping ranges of 32-bit numbers comes first for a value: a sorted array of
 * boundaries and a binary search, however many ranges there are.
 *
 *     ranges        1 ├───────┤     2 ├──┤
 *                 0 ├──┤
 *     boundaries  │0   │1     │-      │2  │-
 */
import type { Interval } from "../language/ast.ts";

/** What `find` returns where no range holds the value: above every id. */
export const NOWHERE = 0x7fffffff;

export class IntervalMap {
  /** Where each stretch starts, with the sign bit flipped: signed order is then unsigned order. */
  readonly #starts: Int32Array<ArrayBuffer>;
  readonly #ids: Int32Array<ArrayBuffer>;

  /** `ids` are 0 … 2³¹ - 2; of several ranges that hold a value the lowest id counts. */
  constructor(ranges: readonly { readonly interval: Interval; readonly id: number }[]) {
    const events = ranges.flatMap(({ interval, id }) => [
      { at: interval.first, id, opens: true },
      { at: interval.last + 1, id, opens: false },
    ]).sort((a, b) => a.at - b.at);
    const open: number[] = []; // ids of ranges that hold the current value, ascending
    const starts = [0];
    const ids = [NOWHERE];
    for (const [i, event] of events.entries()) {
      const index = lowerBound(open, event.id);
      if (event.opens) open.splice(index, 0, event.id);
      else open.splice(index, 1);
      if (events[i + 1]?.at === event.at || event.at > 0xffff_ffff) continue;
      const id = open[0] ?? NOWHERE;
      if (starts.at(-1) === event.at) ids[ids.length - 1] = id;
      else if (ids.at(-1) !== id) {
        starts.push(event.at);
        ids.push(id);
      }
    }
    this.#starts = Int32Array.from(starts, (start) => start ^ 0x8000_0000);
    this.#ids = Int32Array.from(ids);
  }

  /** The lowest id whose range holds `value` (any 32 bits, signed or not), or NOWHERE. */
  find(value: number): number {
    const key = value ^ 0x8000_0000;
    let low = 0;
    let high = this.#starts.length;
    while (high - low > 1) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! <= key) low = middle;
      else high = middle;
    }
    return this.#ids[low]!;
  }

  has(value: number): boolean {
    return this.find(value) !== NOWHERE;
  }
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
