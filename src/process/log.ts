/**
 * The operator's log lines, through LogTape, to stderr: time (UTC, RFC 3339), level, message; or
 * one JSON object a line, which names the event and has its fields. Stdout has the PDUs and the
 * summary.
 *
 *     2026-03-01T12:00:00.000Z warning: tap100 is down: waiting for 'ip link set tap100 up'
 *     {"ts":"2026-03-01T12:00:00.000Z","level":"warning","event":"device-down","device":"tap100",…}
 *
 * LogTape keeps its configuration for the whole process: the program opens its log once, and
 * opening another one redirects the first.
 */
import {
  configureSync,
  type FormattedValues,
  getAnsiColorFormatter,
  getLogger,
  getTextFormatter,
  type LogRecord,
} from "@logtape/logtape";
import type { Log, LogFields } from "../core/log.ts";
import type { LogEvent } from "../core/log_events.ts";
import { type LostLine, lostText, type Outlet } from "./outlet.ts";

const CATEGORY = "treegate";

/** The least important lines that are written. */
export type LogLevel = "debug" | "info" | "warning" | "error";

export type LogFormat = "text" | "json";

/** How a run logs, beside the level. */
export interface LogConfig {
  readonly format: LogFormat;
}

export interface OperatorLog extends Log {
  /** What only a search for a fault needs, e.g. what the kernel says about a program. */
  debug(message: string, event: LogEvent, fields?: LogFields): void;
  setLevel(level: LogLevel): void;
}

/** Makes the log that writes to `stderr`. Never throws, and neither does the log. */
export function openLog(
  stderr: Outlet,
  hasColor: boolean,
  format: LogFormat = "text",
): OperatorLog {
  const lineOf = format === "json" ? jsonOf : textFormat(hasColor);
  const setLevel = (lowestLevel: LogLevel) =>
    configureSync({
      reset: true,
      sinks: { console: (record) => void stderr.offer(lineOf(record).trimEnd() + "\n") },
      loggers: [
        { category: CATEGORY, sinks: ["console"], lowestLevel },
        { category: ["logtape", "meta"], sinks: [], lowestLevel: null },
      ],
    });
  setLevel("info");
  const logger = getLogger(CATEGORY);
  // A message of its own would have braces read as placeholders.
  const told = (message: string, event: LogEvent, fields?: LogFields): Told => ({
    message,
    event,
    fields,
  });
  return {
    setLevel,
    debug: (...line) => logger.debug("{message}", told(...line)),
    info: (...line) => logger.info("{message}", told(...line)),
    warning: (...line) => logger.warn("{message}", told(...line)),
    error: (...line) => logger.error("{message}", told(...line)),
  };
}

/** LogTape's properties of a record. */
interface Told extends Record<string, unknown> {
  readonly message: string;
  readonly event: LogEvent;
  readonly fields: LogFields | undefined;
}

function textFormat(hasColor: boolean): (record: LogRecord) => string {
  const options = {
    timestamp: "rfc3339",
    level: "full",
    value: String, // as it is, without quotes
    format: ({ timestamp, level, message }: FormattedValues) => `${timestamp} ${level}: ${message}`,
  } as const;
  return hasColor
    ? getAnsiColorFormatter({ ...options, timestampStyle: "dim" })
    : getTextFormatter(options);
}

function jsonOf({ timestamp, level, properties }: LogRecord): string {
  const { message, event, fields } = properties as Told;
  return jsonLine(timestamp, level, message, event, fields);
}

/** One line of the log without its line break. */
function jsonLine(
  timeMs: number,
  level: string,
  message: string,
  event: LogEvent,
  fields: LogFields | undefined,
): string {
  const ts = new Date(timeMs).toISOString();
  return JSON.stringify({ ts, level, event, ...fields, message });
}

/** What an outlet says where it has lost lines, as this log's reader expects it. */
export function lostLine(format: LogFormat, nowMs: () => number): LostLine {
  if (format === "text") return lostText;
  return (count, wasFull) => {
    const why = wasFull ? "its disk was full" : "the reader of the log was too slow";
    const message = `${count} lines lost: ${why}`;
    return `${jsonLine(nowMs(), "warning", message, "lines-lost", { count })}\n`;
  };
}
