/**
 * The options of a capture as text: parameters of a request, or the words of `--capture-options`.
 *
 *     drops-only snaplen=96 max-size=10M rotate=4 duration=1h filter=tcp.dport = 443
 */
import type { CaptureOptions } from "../capture/options.ts";
import { quote } from "../core/text.ts";
import { parseDuration } from "./filter.ts";
import { integer, Parameters } from "./parameters.ts";

/** Those that the command line may have with their names alone. */
export const CAPTURE_SWITCHES: readonly string[] = ["drops-only"];

export const CAPTURE_PARAMETERS: readonly string[] = [
  ...["filter", ...CAPTURE_SWITCHES, "snaplen", "max-size", "rotate", "duration"],
];

/** An Ethernet header; more than any frame has. */
const MIN_SNAP_BYTES = 14;
const MAX_SNAP_BYTES = 262_144;
/** Room for the longest frame, and what is around it. */
const MIN_SIZE_BYTES = 1 << 17;
const MAX_SIZE_BYTES = 2 ** 40;
const MAX_FILES = 1000;

/** Throws a SyntaxError or RangeError of one line. */
export function readCaptureOptions(parameters: Parameters): CaptureOptions {
  const maxBytes = parameters.read("max-size", parseSize);
  const files = parameters.read("rotate", integer(2, MAX_FILES)) ?? 1;
  if (files > 1 && maxBytes === null) {
    throw new RangeError("rotate: expected max-size, too: how long each file gets");
  }
  return {
    filter: parameters.read("filter", (text) => text),
    dropsOnly: parameters.read("drops-only", parseYes) ?? false,
    snapBytes: parameters.read("snaplen", integer(MIN_SNAP_BYTES, MAX_SNAP_BYTES)) ?? 0,
    maxBytes,
    files,
    durationMs: parameters.read("duration", parseLength),
  };
}

/** Those of `--capture-options`. All after `filter=` is the filter. */
export function parseCaptureOptions(text: string): CaptureOptions {
  const [, words = "", filter] = /^(.*?)(?:(?:^|\s)filter=(.*))?$/s.exec(text) ?? [];
  const values = new Map<string, string[]>();
  const put = (name: string, value: string) => values.set(name, [...values.get(name) ?? [], value]);
  for (const word of words.split(/\s+/).filter((word) => word !== "")) {
    const [, name, value] = /^([a-z-]+)(?:=(.*))?$/.exec(word) ?? [];
    if (name === undefined || (value === undefined && !CAPTURE_SWITCHES.includes(name))) {
      throw new SyntaxError(
        `Cannot use ${quote(word)} as option of a capture: expected NAME=VALUE, or "drops-only"`,
      );
    }
    put(name, value ?? "true");
  }
  if (filter !== undefined) put("filter", filter);
  const parameters = new Parameters(values);
  const options = readCaptureOptions(parameters);
  parameters.done();
  return options;
}

const UNITS: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** `60s`, in milliseconds. */
function parseLength(text: string): number {
  const ms = parseDuration(text);
  if (ms > 0) return ms;
  throw new RangeError(`Cannot use ${quote(text)} as duration: expected more than 0`);
}

/** `10M`, in bytes. */
function parseSize(text: string): number {
  const [, number, unit] = /^(\d{1,13})([KMG]?)$/.exec(text) ?? [];
  const bytes = number === undefined ? NaN : Number(number) * UNITS[unit!]!;
  if (bytes >= MIN_SIZE_BYTES && bytes <= MAX_SIZE_BYTES) return bytes;
  throw new RangeError(`Cannot use ${quote(text)} as size: expected 128K to 1024G, as in 10M`);
}

/** "true" or "false". */
export function parseYes(text: string): boolean {
  if (text === "true" || text === "false") return text === "true";
  throw new RangeError(`Cannot use ${quote(text)}: expected "true" or "false"`);
}
