/** Long work: all at once, or in slices between which the packets have their turn. */
import type { Clock } from "../core/clock.ts";
import { finish, type Slices } from "../core/slices.ts";

/** How long a slice takes, give or take what can't be interrupted. */
const SLICE_MS = 0.5;

/** Does the work; rejects with what it throws. */
export type Work = <T>(slices: Slices<T>) => Promise<T>;

/** For when nobody waits. */
export function atOnce<T>(slices: Slices<T>): Promise<T> {
  return Promise.resolve(finish(slices));
}

/** In slices, with a turn of the event loop, and so of the pump, after each. */
export function inTurns(clock: Clock): Work {
  return async (slices) => {
    for (;;) {
      const endMs = clock.nowMs() + SLICE_MS;
      do {
        const { done, value } = slices.next();
        if (done) return value;
      } while (clock.nowMs() < endMs);
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
}
