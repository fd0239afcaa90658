/**
 * Long work that can be interrupted: a generator that yields wherever others may have their turn,
 * and returns what it has made. Who runs it decides how much of it is done at a time; the result is
 * the same.
 */

export type Slices<T> = Generator<void, T, void>;

/** Does all that is left of it at once. */
export function finish<T>(work: Slices<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** Most numbers that are sorted, or merged, in one go. */
const RUN_LENGTH = 512;

/** Sorts `order`, places in `keys`, by what stands there; equal ones stay in their order. */
export function* sortInSlices(
  order: Uint32Array<ArrayBuffer>,
  keys: Readonly<Float64Array> | readonly bigint[],
): Slices<Uint32Array<ArrayBuffer>> {
  const { length } = order;
  for (let start = 0; start < length; start += RUN_LENGTH) {
    order.subarray(start, start + RUN_LENGTH).sort((a, b) =>
      keys[a]! < keys[b]! ? -1 : Number(keys[a]! > keys[b]!)
    );
    yield;
  }
  let [from, to] = [order, new Uint32Array(length)];
  for (let run = RUN_LENGTH; run < length; run *= 2) {
    for (let start = 0; start < length; start += 2 * run) {
      const middle = Math.min(start + run, length);
      const end = Math.min(middle + run, length);
      let [left, right] = [start, middle];
      for (let at = start; at < end; at++) {
        const takesLeft = left < middle &&
          (right === end || keys[from[left]!]! <= keys[from[right]!]!);
        to[at] = takesLeft ? from[left++]! : from[right++]!;
        if (at % RUN_LENGTH === 0) yield;
      }
    }
    [from, to] = [to, from];
  }
  return from;
}
