/**
 * The operator's log lines, through LogTape: time (UTC, RFC 3339), level, message, to stderr.
 * Stdout has the PDUs and the summary.
 *
 *     2026-03-01T12:00:00.000Z warning: tap100 is down: waiting for 'ip link set tap100 up'
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
} from "@logtape/logtape";
import type { Log } from "../core/log.ts";
import type { Outlet } from "./outlet.ts";

const CATEGORY = "treegate";

/** The least important lines that are written. */
export type LogLevel = "info" | "warning" | "error";

export interface OperatorLog extends Log {
  setLevel(level: LogLevel): void;
}

/** Makes the log that writes to `stderr`. Never throws, and neither does the log. */
export function openLog(stderr: Outlet, hasColor: boolean): OperatorLog {
  const options = {
    timestamp: "rfc3339",
    level: "full",
    value: String, // as it is, without quotes
    format: ({ timestamp, level, message }: FormattedValues) => `${timestamp} ${level}: ${message}`,
  } as const;
  const format = hasColor
    ? getAnsiColorFormatter({ ...options, timestampStyle: "dim" })
    : getTextFormatter(options);
  const setLevel = (lowestLevel: LogLevel) =>
    configureSync({
      reset: true,
      sinks: { console: (record) => void stderr.offer(format(record).trimEnd() + "\n") },
      loggers: [
        { category: CATEGORY, sinks: ["console"], lowestLevel },
        { category: ["logtape", "meta"], sinks: [], lowestLevel: null },
      ],
    });
  setLevel("info");
  const logger = getLogger(CATEGORY);
  // Template literals: LogTape would read braces in a plain string as placeholders.
  return {
    setLevel,
    info: (message) => logger.info`${message}`,
    warning: (message) => logger.warn`${message}`,
    error: (message) => logger.error`${message}`,
  };
}
