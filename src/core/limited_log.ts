/**
 * A log for lines that packets can cause: of each kind so many at once, then one every ten seconds.
 * What was left out is counted, and the count told as soon as a line of that kind may be written
 * again.
 */
import type { Log } from "./log.ts";
import { TokenBucket } from "./token_bucket.ts";

const PER_SECOND = 0.1;

type Level = keyof Log;

/** Lines that share a limit. */
interface Kind {
  readonly level: Level;
  readonly limit: TokenBucket;
  leftOut: number;
}

export class LimitedLog {
  readonly #log: Log;
  readonly #kinds = new Map<string, Kind>();

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * Writes a line of a kind, e.g. `address conflict`, of which there may be `atOnce`. The kinds are
   * few and fixed; `text` is asked for only if the line is written.
   */
  write(level: Level, kind: string, atOnce: number, nowMs: number, text: () => string): void {
    let known = this.#kinds.get(kind);
    if (known === undefined) {
      known = { level, limit: new TokenBucket(PER_SECOND, atOnce, nowMs), leftOut: 0 };
      this.#kinds.set(kind, known);
    }
    if (!known.limit.take(nowMs)) known.leftOut++;
    else this.#log[level](text());
  }

  /** Tells what was left out, where that is due; to be called some times a second. */
  tick(nowMs: number): void {
    for (const [name, kind] of this.#kinds) {
      if (kind.leftOut === 0 || !kind.limit.take(nowMs)) continue;
      this.#log[kind.level](`${name}: ${kind.leftOut} more lines were left out`);
      kind.leftOut = 0;
    }
  }
}
