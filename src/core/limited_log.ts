/**
 * A log for lines that packets can cause: of each event so many at once, then one every ten
 * seconds. What was left out is counted, and the count told as soon as a line of that event may be
 * written again.
 */
import type { Log, LogFields } from "./log.ts";
import type { LogEvent } from "./log_events.ts";
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
  readonly #kinds = new Map<LogEvent, Kind>();

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * Writes a line of an event, of which there may be `atOnce`. `text` and `fields` are asked for
   * only if the line is written.
   */
  write(
    level: Level,
    event: LogEvent,
    atOnce: number,
    nowMs: number,
    text: () => string,
    fields?: () => LogFields,
  ): void {
    let known = this.#kinds.get(event);
    if (known === undefined) {
      known = { level, limit: new TokenBucket(PER_SECOND, atOnce, nowMs), leftOut: 0 };
      this.#kinds.set(event, known);
    }
    if (!known.limit.take(nowMs)) known.leftOut++;
    else this.#log[level](text(), event, fields?.());
  }

  /** Tells what was left out, where that is due; to be called some times a second. */
  tick(nowMs: number): void {
    for (const [name, kind] of this.#kinds) {
      const { leftOut: count } = kind;
      if (count === 0 || !kind.limit.take(nowMs)) continue;
      const text = `${name}: ${count} more lines were left out`;
      this.#log[kind.level](text, "lines-left-out", { kind: name, count });
      kind.leftOut = 0;
    }
  }
}
