/** Limits how often something is done: `perSecond` on average, `burst` at once. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #filledMs: number;

  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perMs = perSecond / 1000;
    this.#burst = burst;
    this.#tokens = burst;
    this.#filledMs = nowMs;
  }

  /**
   * Takes a token; false when there is none. `nowMs` may be modulo 2³². It may cost `cost` tokens
   * instead, also of those to come.
   */
  take(nowMs: number, cost = 1): boolean {
    const elapsedMs = nowMs - this.#filledMs;
    const filled = this.#tokens + (elapsedMs < 0 ? elapsedMs + 2 ** 32 : elapsedMs) * this.#perMs;
    this.#tokens = Math.min(this.#burst, filled);
    this.#filledMs = nowMs;
    if (this.#tokens < 1) return false;
    this.#tokens -= cost;
    return true;
  }

  /** Puts back `count` tokens: what they were taken for turned out to cost nothing. */
  putBack(count: number): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + count);
  }
}
