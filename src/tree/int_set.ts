/** An immutable set of 32-bit integers: open addressing at half load, one multiply a look-up. */
export class IntSet {
  readonly #slots: Int32Array;
  readonly #used: Uint8Array;
  readonly #shift: number;

  constructor(values: readonly number[]) {
    const bits = Math.max(2, Math.ceil(Math.log2(2 * values.length + 1)));
    this.#slots = new Int32Array(1 << bits);
    this.#used = new Uint8Array(1 << bits);
    this.#shift = 32 - bits;
    for (const value of values) {
      const slot = this.#find(value);
      this.#slots[slot] = value;
      this.#used[slot] = 1;
    }
  }

  has(value: number): boolean {
    return this.#used[this.#find(value)] === 1;
  }

  /** The slot that holds `value`, or the free one where it belongs. */
  #find(value: number): number {
    let slot = Math.imul(value, 0x9e3779b1) >>> this.#shift;
    while (this.#used[slot] === 1 && this.#slots[slot] !== value) {
      slot = (slot + 1) & (this.#slots.length - 1);
    }
    return slot;
  }
}
