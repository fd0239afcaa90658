/** Counts values by how large they are, without allocating anything. */
export class Histogram {
  readonly bounds: readonly number[];
  /** How many there were up to each bound and above the one before, those above all, the sum. */
  readonly numbers: Float64Array<ArrayBuffer>;

  /** `bounds` ascend. */
  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.numbers = new Float64Array(bounds.length + 2);
  }

  add(value: number): void {
    const { bounds, numbers } = this;
    let place = 0;
    while (place < bounds.length && value > bounds[place]!) place++;
    numbers[place]!++;
    numbers[numbers.length - 1]! += value;
  }
}
