/**
 * One array for all the look-ups of a policy: a few hundred thousand arrays of their own would be
 * as many objects, and could not cross to another thread at once.
 */
export class NumberWriter {
  #numbers = new Int32Array(64);
  #length = 0;

  /** Adds so many zeros; where the first one is. */
  add(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#numbers.length) {
      const longer = new Int32Array(2 * this.#length);
      longer.set(this.#numbers);
      this.#numbers = longer;
    }
    return at;
  }

  /** Adds these; where the first one is. */
  put(numbers: ArrayLike<number>): number {
    const at = this.add(numbers.length);
    this.#numbers.set(numbers, at);
    return at;
  }

  /** All that there are: until more are added. */
  get numbers(): Int32Array<ArrayBuffer> {
    return this.#numbers.subarray(0, this.#length);
  }
}
