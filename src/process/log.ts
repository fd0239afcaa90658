/**
 * The operator's log lines, through LogTape. Information goes to stdout as it is; warnings and errors
 * go to stderr with their level in front.
 *
 * LogTape keeps its configuration for the whole process: the program opens its log once, and opening
 * another one redirects the first.
 */
import type { LogRecord } from "@logtape/logtape";
import type { Log } from "../core/log.ts";
import type { Outlet } from "./outlet.ts";
import { configureSync, getLogger } from "@logtape/logtape";

const CATEGORY = "treegate";

/** Makes the log that writes to `stdout` and `stderr`. Never throws, and neither does the log. */
export function openLog(stdout: Outlet, stderr: Outlet): Log {
  configureSync({
    reset: true,
    sinks: {
      console: (record) => {
        if (record.level === "info") stdout.offer(`${textOf(record)}\n`);
        else stderr.offer(`${record.level}: ${textOf(record)}\n`);
      },
    },
    loggers: [
      { category: CATEGORY, sinks: ["console"], lowestLevel: "info" },
      { category: ["logtape", "meta"], sinks: [], lowestLevel: null },
    ],
  });
  const logger = getLogger(CATEGORY);
  // Template literals: LogTape would read braces in a plain string as placeholders.
  return {
    info: (message) => logger.info`${message}`,
    warning: (message) => logger.warn`${message}`,
    error: (message) => logger.error`${message}`,
  };
}

function textOf(record: LogRecord): string {
  return record.message.join("");
}
