/**
 * The time of a capture that is replayed. It never goes back; the appliance sees it from 0 on.
 * Between two records it goes on in ticks, as in a real run; a long pause is jumped over:
 *
 *     record ─ a minute of ticks ─ jump ─ a minute of ticks ─ record
 *
 * In the first minute everything settles that a packet has begun: ARP gives up after half of it,
 * and fragments are no longer waited for. The last one comes round to the whole connection table,
 * so what became too old in the jump is forgotten before the next packet. The moments of ticks are
 * those of a pause without a jump.
 */
import type { Clock } from "../core/clock.ts";

const TICK_US = 100_000;

/** Ticks for as long before and after a jump: more than a turn of the table's expiry takes. */
const SETTLE_US = 60_000_000;

/**
 * No connection may be idle for longer than `--timeout-…` allows, at most 11.6 days, and idle times
 * are right up to 24.8 (`flow/table.ts`): after this long the whole table is looked at once before
 * the jump goes on.
 */
const FORGOTTEN_US = 12 * 86_400_000_000;

export class CaptureClock implements Clock {
  #startUs = 0;
  #timeUs = 0;
  /** Time of the last record. */
  #recordUs = 0;

  get timeUs(): number {
    return this.#timeUs;
  }

  begin(timeUs: number): void {
    this.#startUs = this.#timeUs = this.#recordUs = timeUs;
  }

  /** Moves on to the record at `timeUs`; true if there is a tick before, and then only to that. */
  approach(timeUs: number): boolean {
    const leftUs = timeUs - this.#timeUs;
    const stepUs = stepOf(this.#timeUs - this.#recordUs, leftUs);
    if (leftUs > stepUs) {
      this.#timeUs += stepUs;
      return true;
    }
    this.#timeUs = Math.max(timeUs, this.#timeUs);
    this.#recordUs = this.#timeUs;
    return false;
  }

  nowMs(): number {
    return (this.#timeUs - this.#startUs) / 1000;
  }

  /** Since the first record. */
  secondsOf(timeUs: number): string {
    return ((timeUs - this.#startUs) / 1_000_000).toFixed(6);
  }
}

/** How far time goes on, `pausedUs` after a record and `leftUs` before the next one. */
function stepOf(pausedUs: number, leftUs: number): number {
  const settles = pausedUs < SETTLE_US ||
    (pausedUs >= FORGOTTEN_US && pausedUs < FORGOTTEN_US + SETTLE_US);
  if (settles) return TICK_US;
  const jumpUs = pausedUs < FORGOTTEN_US
    ? Math.min(FORGOTTEN_US - pausedUs, leftUs - SETTLE_US)
    : leftUs - SETTLE_US;
  return Math.max(TICK_US, jumpUs - jumpUs % TICK_US);
}
