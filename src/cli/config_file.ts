/**
 * The file of `--config`: flags without their dashes, one a line, as in
 *
 *     # the balancer of the web
 *     net       = tap100
 *     dst-addrs = 192.168.0.1,192.168.0.2    # a comment
 *     preserve-source
 *
 * A `#` at the beginning of a line or after white space begins a comment. The path of a policy is
 * relative to the folder of this file.
 */
import { pathOf } from "../policy/notation/include.ts";
import { closest, quote } from "../core/text.ts";
import { formatAt } from "../policy/notation/policy_error.ts";
import { camelCase, type FlagError, type Flags, valuesOf } from "./flag_values.ts";

/** Largest file. */
export const MAX_CONFIG_BYTES: number = 1 << 20;

/** Most errors that are shown. */
const MAX_ERRORS = 100;

/** Flags that may be given several times. */
const REPEATED: readonly string[] = [
  ...["ipv6", "ipv6-b", "gateway", "gateway-b", "route"],
  "include-dir",
];

/** Flags whose values are paths, relative to the folder of the file. */
const PATHS: readonly string[] = [
  "policy",
  "hash-key-file",
  "control",
  "state",
  "include-dir",
  "capture",
  "capture-dir",
];

/** Flags of which the command line only has a use. */
const NOT_HERE: readonly string[] = ["config", "help", "version"];

/** A file as it was read. */
export interface ConfigText {
  readonly file: string;
  readonly text: string;
}

/** A flag that a command line can have. */
export interface KnownFlag {
  readonly name: string;
  readonly takesValue: boolean;
}

/** What is wrong with the file: lines for a person. */
export class ConfigError extends Error {}

interface Place {
  readonly line: number;
  readonly column: number;
  readonly length: number;
  readonly source: string;
}

export class ConfigFile {
  readonly flags: Flags;
  readonly #file: string;
  /** Where the values of each flag are written, or its name if it has none. */
  readonly #places = new Map<string, Place[]>();

  /** Throws a ConfigError that says all that is wrong. */
  constructor({ file, text }: ConfigText, known: readonly KnownFlag[]) {
    this.#file = file;
    const errors: string[] = [];
    const flags: Record<string, string[] | true> = {};
    for (const [i, raw] of text.replace(/^\ufeff/, "").split("\n").entries()) {
      const source = raw.replace(/\r$/, "");
      const parts = /^(\s*)([^\s=#]*)(\s*)(=?)(\s*)(.*?)\s*$/.exec(
        source.replace(/(^|\s)#.*/, ""),
      )!;
      const [, indent = "", name = "", gap = "", equals = "", blank = "", value = ""] = parts;
      if (name + equals + value === "") continue;
      const nameAt = { line: i + 1, column: indent.length + 1, length: name.length || 1, source };
      const column = nameAt.column + name.length + gap.length + equals.length + blank.length;
      const valueAt = { ...nameAt, column, length: value.length || 1 };
      const wrong = (at: Place, found: string, expected: string, hint: string | null = null) => {
        const more = hint === null ? "" : `; ${hint}`;
        errors.push(formatAt({ file, ...at }, `Found ${found}, expected ${expected}${more}`));
      };
      const flag = known.find((one) => one.name === name);
      const [first] = this.#places.get(name) ?? [];
      if (NOT_HERE.includes(name)) {
        wrong(nameAt, quote(name), "a flag that a file may have", "it is for the command line");
      } else if (flag === undefined) {
        const names = known.map((one) => one.name).filter((one) => !NOT_HERE.includes(one));
        const bare = name.replace(/^-+/, "");
        const guess = names.includes(bare) ? bare : closest(bare, names);
        const hint = guess === null ? null : `did you mean "${guess}"?`;
        wrong(nameAt, name === "" ? quote(equals) : quote(name), "a flag without its dashes", hint);
      } else if (first !== undefined && !REPEATED.includes(name)) {
        wrong(
          nameAt,
          `${quote(name)} a second time`,
          "it once",
          `it is in line ${first.line}, too`,
        );
      } else if (!flag.takesValue && equals + value !== "") {
        wrong(valueAt, quote(value || equals), "the end of the line: this flag has no value");
      } else if (flag.takesValue && equals === "") {
        wrong(valueAt, value === "" ? "the end of the line" : quote(value), `"=" and a value`);
      } else if (flag.takesValue && value === "") {
        wrong(valueAt, "the end of the line", "a value");
      } else if (/^(["']).*\1$/.test(value)) {
        const bare = value.slice(1, -1);
        wrong(valueAt, "a value in quotes", "it without", `did you mean ${bare}?`);
      } else {
        this.#places.set(name, [...this.#places.get(name) ?? [], value === "" ? nameAt : valueAt]);
        const given = PATHS.includes(name) && value !== "-" ? pathsOf(file, name, value) : value;
        const key = camelCase(name);
        flags[key] = flag.takesValue ? [...valuesOf(flags, name), given] : true;
      }
      if (errors.length === MAX_ERRORS) break;
    }
    if (errors.length > 0) throw new ConfigError(errors.join("\n"));
    this.flags = flags;
  }

  /** The same error at the place of the flag in the file; null: it is not in the file. */
  located({ flag, reason }: FlagError): ConfigError | null {
    const places = this.#places.get(flag);
    if (places === undefined) return null;
    const values = valuesOf(this.flags, flag);
    const blamed = values.findIndex((value) => reason.includes(quote(value)));
    const place = places[Math.max(0, blamed)]!;
    return new ConfigError(formatAt({ file: this.#file, ...place }, `${flag}: ${reason}`));
  }
}

/** The path, or the paths, relative to the folder of the file. */
function pathsOf(file: string, name: string, value: string): string {
  const parts = name === "include-dir" ? value.split(",") : [value];
  return parts.map((part) => part === "" ? "" : pathOf(file, part)).join(",");
}
