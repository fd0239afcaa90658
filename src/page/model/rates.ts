/** What a second brings, out of counters that only grow. */
import type { Counters } from "./feed.ts";

/** Everything is a second. */
export interface Rates {
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly bitsIn: number;
  readonly bitsOut: number;
  readonly dropped: number;
  readonly opened: number;
  readonly carried: number;
  /** By node. */
  readonly hits: readonly number[];
  /** By reason. */
  readonly drops: Readonly<Record<string, number>>;
  /** New connections, by place in the tree's `backends`. */
  readonly backends: readonly number[];
}

/**
 * What happened between two events. Null: they don't tell, as the counters are others' (after a
 * reload, or a new start) or no time has passed.
 */
export function ratesBetween(before: Counters | null, now: Counters): Rates | null {
  if (before === null || before.tree !== now.tree || now.uptime_s < before.uptime_s) return null;
  const seconds = (now.ms - before.ms) / 1000;
  if (seconds <= 0) return null;
  const rate = (count: number, former = 0) => Math.max(0, count - former) / seconds;
  return {
    packetsIn: rate(now.in.packets, before.in.packets),
    packetsOut: rate(now.out.packets, before.out.packets),
    bitsIn: 8 * rate(now.in.bytes, before.in.bytes),
    bitsOut: 8 * rate(now.out.bytes, before.out.bytes),
    dropped: rate(now.dropped, before.dropped),
    opened: rate(now.opened, before.opened),
    carried: rate(now.carried, before.carried),
    hits: now.hits.map((count, node) => rate(count, before.hits[node])),
    drops: Object.fromEntries(
      Object.entries(now.drops).map(([reason, count]) => [
        reason,
        rate(count, before.drops[reason]),
      ]),
    ),
    backends: Object.entries(now.backends).map(([place, { opened }]) =>
      rate(opened, before.backends[place]?.opened)
    ),
  };
}
