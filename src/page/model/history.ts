/** The last fifteen minutes of in, out and drops. */
import type { Rates } from "./rates.ts";

export const HISTORY_S = 900;

export class History {
  /** Unix times in seconds; packets a second. Null: there is a gap. */
  readonly times: number[] = [];
  readonly in: (number | null)[] = [];
  readonly out: (number | null)[] = [];
  readonly drops: (number | null)[] = [];

  add(ms: number, rates: Rates): void {
    this.#add(ms / 1000, [rates.packetsIn, rates.packetsOut, rates.dropped]);
  }

  /** Nothing is known of the time from now on. */
  gap(ms: number): void {
    if (this.in.length > 0 && this.in.at(-1) !== null) this.#add(ms / 1000, [null, null, null]);
  }

  #add(time: number, values: readonly [number | null, number | null, number | null]): void {
    if (time <= (this.times.at(-1) ?? -Infinity)) return;
    this.times.push(time);
    const lines = [this.in, this.out, this.drops];
    for (const [i, line] of lines.entries()) line.push(values[i]!);
    while (this.times[0]! < time - HISTORY_S) {
      this.times.shift();
      for (const line of lines) line.shift();
    }
  }
}
