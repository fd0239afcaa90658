/**
 * Ids by exact 32-bit value: open addressing at a load of at most one half, one multiply a look-up.
 */
import { NOWHERE } from "./interval_map.ts";

export class PointMap {
  readonly #keys: Int32Array<ArrayBuffer>;
  readonly #ids: Int32Array<ArrayBuffer>;
  readonly #shift: number;

  /** Of several points with the same value the lowest id counts. */
  constructor(points: readonly { readonly value: number; readonly id: number }[]) {
    const bits = Math.max(2, Math.ceil(Math.log2(2 * points.length + 1)));
    this.#keys = new Int32Array(1 << bits);
    this.#ids = new Int32Array(1 << bits).fill(NOWHERE);
    this.#shift = 32 - bits;
    for (const { value, id } of points) {
      const slot = this.#slot(value | 0);
      this.#keys[slot] = value;
      this.#ids[slot] = Math.min(this.#ids[slot]!, id);
    }
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
