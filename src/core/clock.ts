/** Time as the appliance sees it: milliseconds since an arbitrary start, never going back. */
export interface Clock {
  nowMs(): number;
}

/** A clock that only moves when told to: a five-day timeout becomes a unit test. */
export class ManualClock implements Clock {
  #nowMs: number;

  constructor(startMs = 0) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  advance(ms: number): void {
    this.#nowMs += ms;
  }
}
