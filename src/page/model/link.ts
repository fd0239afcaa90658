/**
 * How the page stands with the proxy: whether anything comes, and when to try again. Times are
 * milliseconds of the page's clock.
 */

/** After so long a silence the numbers are old. */
export const STALE_MS = 3000;

/** After so long a silence the connection is given up. */
export const GIVE_UP_MS = 10_000;

/** From one try to the next. */
const RETRIES_MS = [1000, 2000, 4000, 8000, 10_000];

/** How long a change of the tree is told. */
const RELOADED_MS = 10_000;

export type LinkState =
  | { readonly kind: "connecting" }
  | { readonly kind: "live" }
  /** Events come, but no packets. */
  | { readonly kind: "idle" }
  | { readonly kind: "stale"; readonly silentMs: number }
  | { readonly kind: "lost"; readonly retryMs: number }
  /** The policy or the backends have changed, or the proxy has started again. */
  | { readonly kind: "reloaded" };

export class Link {
  #heardMs: number | null = null;
  #hasTraffic = false;
  #failures = 0;
  /** When to try again; null: there is a connection, or one is being made. */
  #retryMs: number | null = null;
  #reloadedMs = -Infinity;

  heard(nowMs: number, hasTraffic: boolean): void {
    this.#heardMs = nowMs;
    this.#hasTraffic = hasTraffic;
    this.#failures = 0;
    this.#retryMs = null;
  }

  reloaded(nowMs: number): void {
    this.#reloadedMs = nowMs;
  }

  /** The connection is over, or could not be made. */
  failed(nowMs: number): void {
    this.#retryMs = nowMs + RETRIES_MS[Math.min(this.#failures++, RETRIES_MS.length - 1)]!;
  }

  /** A try begins. */
  tries(nowMs: number): void {
    this.#retryMs = null;
    this.#heardMs = nowMs; // so that it has its time
  }

  isDue(nowMs: number): boolean {
    return this.#retryMs !== null && nowMs >= this.#retryMs;
  }

  /** Nothing has come for so long that another connection is worth a try. */
  isSilent(nowMs: number): boolean {
    return this.#retryMs === null && this.#heardMs !== null &&
      nowMs - this.#heardMs > GIVE_UP_MS;
  }

  state(nowMs: number): LinkState {
    if (this.#retryMs !== null) {
      return { kind: "lost", retryMs: Math.max(0, this.#retryMs - nowMs) };
    }
    if (this.#failures > 0) return { kind: "lost", retryMs: 0 };
    if (this.#heardMs === null) return { kind: "connecting" };
    const silentMs = nowMs - this.#heardMs;
    if (silentMs > STALE_MS) return { kind: "stale", silentMs };
    if (nowMs - this.#reloadedMs < RELOADED_MS) return { kind: "reloaded" };
    return { kind: this.#hasTraffic ? "live" : "idle" };
  }
}
