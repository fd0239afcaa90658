/**
 * What the lower layers need of a log: one finished line for the operator at a time, without a line
 * break, the event that it tells of, and what a program may want to know of it.
 * `src/process/log.ts` implements it; what a packet can cause goes through `limited_log.ts`.
 */
import type { LogEvent } from "./log_events.ts";

/** What a line tells, as data: addresses as text, times in milliseconds. */
export type LogFields =
  & Readonly<Record<string, string | number | boolean | null>>
  & { readonly [name in "ts" | "level" | "event" | "message"]?: never };

export interface Log {
  /** Something the operator waits for or will look up, e.g. `backend 192.168.0.1 is 02:00:…`. */
  info(message: string, event: LogEvent, fields?: LogFields): void;

  /** Something is wrong and the proxy copes, e.g. a backend that does not answer ARP. */
  warning(message: string, event: LogEvent, fields?: LogFields): void;

  /** Something is wrong that only the operator can mend, e.g. an address conflict. */
  error(message: string, event: LogEvent, fields?: LogFields): void;
}
