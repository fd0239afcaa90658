/**
 * Ids by exact 32-bit value: open addressing at a load of at most one half, one multiply a look-up.
 */
import type { Slices } from "../../core/slices.ts";
import { NOWHERE } from "./interval_map.ts";

/** How many are handled in one go. */
const STRIDE = 256;

export class PointMap {
  readonly #keys: Int32Array<ArrayBuffer>;
  readonly #ids: Int32Array<ArrayBuffer>;
  readonly #shift: number;

  private constructor(points: number) {
    const bits = Math.max(2, Math.ceil(Math.log2(2 * points + 1)));
    this.#keys = new Int32Array(1 << bits);
    this.#ids = new Int32Array(1 << bits).fill(NOWHERE);
    this.#shift = 32 - bits;
  }

  /** Of several points with the same value the lowest id counts. */
  static *of(
    points: readonly { readonly value: number; readonly id: number }[],
  ): Slices<PointMap> {
    const map = new PointMap(points.length);
    for (let i = 0; i < points.length; i++) {
      if (i % STRIDE === 0) yield;
      const { value, id } = points[i]!;
      const slot = map.#slot(value | 0);
      map.#keys[slot] = value;
      map.#ids[slot] = Math.min(map.#ids[slot]!, id);
    }
    return map;
  }

  /** The lowest id at `value` (any 32 bits, signed), or NOWHERE. */
  find(value: number): number {
    return this.#ids[this.#slot(value)]!;
  }

  /** The slot that holds `value`, or the free one where it belongs. */
  #slot(value: number): number {
    let slot = Math.imul(value, 0x9e3779b1) >>> this.#shift;
    while (this.#ids[slot] !== NOWHERE && this.#keys[slot] !== value) {
      slot = (slot + 1) & (this.#keys.length - 1);
    }
    return slot;
  }
}
