/** The command line of `proxy ctl`. */
import type { Command as Program } from "commander";
import { closest, oneOf, quote } from "../core/text.ts";
import type { Command } from "./args.ts";
import type { CtlCommand } from "./ctl_command.ts";
import { type Flags, kebabCase, named, read } from "./flag_values.ts";
import type { Place, Word } from "./grammar.ts";
import { CTL_HELP } from "./help.ts";
import { addHelp } from "./program_name.ts";
import { CAPTURE_PARAMETERS, CAPTURE_SWITCHES } from "../control/capture_options.ts";
import { FILTER_PARAMETERS, parseDuration } from "../control/filter.ts";
import { parsePath, refuseParts } from "./values.ts";

/** Where `ctl` looks for a proxy, unless told. */
export const DEFAULT_CONTROL = "/run/treegate/control.sock";

const DST_EXAMPLE = "192.168.0.1";

/**
 * What follows a command: nothing, NAME=VALUE, packets, or a predicate and NAME=VALUE, a backend,
 * and its weight; of a capture `start NAME` and NAME=VALUE, or `stop`.
 */
type Words =
  | "none"
  | "parameters"
  | "packets"
  | "predicate"
  | "backend"
  | "backend and parameters"
  | "weight"
  | "capture";

const COMMANDS: Readonly<
  Record<CtlCommand["name"], { readonly method: "GET" | "POST"; readonly words: Words }>
> = {
  status: { method: "GET", words: "none" },
  pools: { method: "GET", words: "none" },
  backends: { method: "GET", words: "none" },
  connections: { method: "GET", words: "parameters" },
  tree: { method: "GET", words: "none" },
  drops: { method: "GET", words: "none" },
  neighbors: { method: "GET", words: "none" },
  reload: { method: "POST", words: "none" },
  upgrade: { method: "POST", words: "none" },
  drain: { method: "POST", words: "backend" },
  maintenance: { method: "POST", words: "backend" },
  ready: { method: "POST", words: "backend" },
  add: { method: "POST", words: "backend and parameters" },
  remove: { method: "POST", words: "backend" },
  weight: { method: "POST", words: "weight" },
  kill: { method: "POST", words: "parameters" },
  explain: { method: "GET", words: "packets" },
  trace: { method: "GET", words: "predicate" },
  capture: { method: "POST", words: "capture" },
  version: { method: "GET", words: "none" },
};

/** It asks for several things, time after time, and draws. */
const TOP = "top";
const DEFAULT_INTERVAL = "1s";
const MIN_INTERVAL_MS = 200;
const MAX_INTERVAL_MS = 3_600_000;

interface CtlOptions {
  readonly json?: true;
  readonly watch?: true;
  readonly wait?: string;
  readonly interval?: string;
  readonly once?: true;
}

/** Parameters that may be there with their names alone. */
const SWITCHES: readonly string[] = ["all", ...CAPTURE_SWITCHES];

/** Which parameters commands take. */
const PARAMETERS: Readonly<Partial<Record<CtlCommand["name"], readonly string[]>>> = {
  connections: [...FILTER_PARAMETERS, "limit"],
  kill: FILTER_PARAMETERS,
  trace: ["limit", "seconds"],
  add: ["weight"],
  capture: CAPTURE_PARAMETERS,
};

/** The commands, for completions. */
export const CTL_WORDS: readonly Word[] = [
  ...Object.entries(COMMANDS).map(([word, { words }]) => {
    const then: Place = words === "backend" || words === "weight"
      ? { kind: "backend" }
      : { kind: "any" };
    return { word, then, parameters: PARAMETERS[word as CtlCommand["name"]] ?? [] };
  }),
  { word: TOP, then: { kind: "any" }, parameters: [] },
];

export function addCtlCommand(program: Program, take: (command: Command) => void): void {
  const ctl = program.command("ctl")
    .usage("[--control=PATH] COMMAND [WORD…] [--json] [--watch]")
    .summary(`ask a running proxy, or change it: see ${program.name()} ctl --help`)
    .description("Asks the proxy that was started with --control=PATH, or changes it.")
    .argument("[COMMAND]")
    .argument("[WORDS...]")
    .option("--json", "print the JSON, for machines")
    .option("--watch", "ask again every second")
    .option("--wait <TIME>", "with drain: until no connection is open, at most so long")
    .option("--interval <TIME>", "with top: between two looks, 200ms to 1h (default 1s)")
    .option("--once", "with top: print one picture, of an interval")
    .configureHelp({ ...program.configureHelp(), visibleArguments: () => [] });
  addHelp(ctl, program.name(), CTL_HELP);
  ctl.action((_name, _words, _options, { args }: Program) => {
    const flags = program.opts<Flags>();
    const foreign = Object.keys(flags).find((name) => name !== "control");
    if (foreign !== undefined) {
      const page = `${program.name()} ctl --help`;
      throw new SyntaxError(`Cannot use --${kebabCase(foreign)} with "ctl", see ${page}`);
    }
    const { json, watch, wait, interval, once } = ctl.opts<CtlOptions>();
    const control = read(flags, "control", DEFAULT_CONTROL, parsePath);
    if (args[0] === TOP) {
      refuseWords(TOP, args.slice(1));
      const odd = json ? "json" : watch ? "watch" : wait === undefined ? null : "wait";
      if (odd !== null) throw new SyntaxError(`Cannot use --${odd} with "${TOP}"`);
      const intervalMs = readInterval(interval ?? DEFAULT_INTERVAL);
      return take({ kind: "top", control, intervalMs, isOnce: once ?? false });
    }
    const request = readCommand(args, wait);
    const odd = interval !== undefined ? "interval" : once ? "once" : null;
    if (odd !== null) {
      throw new SyntaxError(`Cannot use --${odd} with "${request.name}": expected "${TOP}"`);
    }
    const isWatching = watch ?? false;
    if (isWatching && (request.method !== "GET" || request.name === "trace")) {
      throw new SyntaxError(`Cannot use --watch with "${request.name}"`);
    }
    take({ kind: "ctl", ...request, control, isJson: json ?? false, isWatching });
  });
}

function readCommand(
  [name, ...words]: readonly string[],
  wait: string | undefined,
): Pick<CtlCommand, "name" | "method" | "target"> {
  const names = [...Object.keys(COMMANDS), TOP];
  if (name === undefined) {
    throw new SyntaxError(`Missing word after "ctl": expected ${oneOf(names)}`);
  }
  const known = names.find((one) => one === name) as CtlCommand["name"] | undefined;
  if (known === undefined) {
    const near = closest(name, names);
    const hint = near === null ? `expected ${oneOf(names)}` : `did you mean ${quote(near)}?`;
    throw new SyntaxError(`Cannot use ${quote(name)} after "ctl": ${hint}`);
  }
  const { method, words: kind } = COMMANDS[known];
  if (kind === "capture") return { name: known, method, target: captureTarget(words, wait) };
  if (wait !== undefined && known !== "drain") {
    throw waitRefused(known);
  }
  const parameters = readWords(known, kind, words);
  if (wait !== undefined) parameters.push(["wait", wait]);
  const query = new URLSearchParams(parameters).toString();
  return { name: known, method, target: `/${known}${query === "" ? "" : `?${query}`}` };
}

/** `start NAME [NAME=VALUE…]`, or `stop`. */
function captureTarget([verb, ...words]: readonly string[], wait: string | undefined): string {
  if (wait !== undefined) throw waitRefused("capture");
  if (verb === "stop") {
    refuseWords("capture stop", words);
    return "/capture/stop";
  }
  const [name, ...parameters] = words;
  if (verb !== "start" || name === undefined) {
    const what = verb === undefined
      ? "Missing word"
      : `Cannot use ${quote([verb, ...words].join(" "))}`;
    throw new SyntaxError(
      `${what} after "ctl capture": expected "start NAME", as in start web.pcapng, or "stop"`,
    );
  }
  const query = [["name", name], ...parameters.map((word) => readParameter("capture", word))];
  return `/capture/start?${new URLSearchParams(query)}`;
}

function readWords(
  name: string,
  kind: Exclude<Words, "capture">,
  words: readonly string[],
): [string, string][] {
  switch (kind) {
    case "none":
      refuseWords(name, words);
      return [];
    case "parameters":
      if (name === "kill" && words.length === 0) {
        throw new SyntaxError(
          `Missing word after "ctl kill": expected a filter, as in backend=${DST_EXAMPLE}, or "all"`,
        );
      }
      return words.map((word) => readParameter(name, word));
    case "backend":
    case "weight": {
      const [backend, weight, ...more] = words;
      const isWhole = backend !== undefined && (weight !== undefined) === (kind === "weight");
      if (!isWhole || more.length > 0) {
        const expected = kind === "weight" ? "a backend and its weight" : "a backend";
        const example = `as in ${DST_EXAMPLE}${kind === "weight" ? " 10" : ""}`;
        throw new SyntaxError(
          words.length === 0
            ? `Missing word after "ctl ${name}": expected ${expected}, ${example}`
            : `Cannot use ${
              quote(words.join(" "))
            } after "ctl ${name}": expected ${expected}, ${example}`,
        );
      }
      const parameters: [string, string][] = [["name", backend]];
      return weight === undefined ? parameters : [...parameters, ["weight", weight]];
    }
    case "backend and parameters": {
      const [backend, ...parameters] = words;
      if (backend === undefined) {
        throw new SyntaxError(
          `Missing backend after "ctl ${name}": expected one, as in web/10.0.0.1:8080`,
        );
      }
      return [["name", backend], ...parameters.map((word) => readParameter(name, word))];
    }
    case "packets":
      refuseParts(words);
      if (words.length > 0) return words.map((word) => ["packet", word]);
      throw new SyntaxError(
        `Missing packet after "ctl ${name}": expected one, as in 'icmp 192.168.0.254 > 192.168.0.100'`,
      );
    case "predicate": {
      const [predicate, ...parameters] = words;
      if (predicate === undefined) {
        throw new SyntaxError(
          `Missing predicate after "ctl ${name}": expected one, as in 'tcp.dport = 80'`,
        );
      }
      return [
        ["predicate", predicate],
        ...parameters.map((word) => readParameter(name, word)),
      ];
    }
  }
}

function waitRefused(name: string): SyntaxError {
  return new SyntaxError(`Cannot use --wait with "${name}": expected "drain"`);
}

function refuseWords(name: string, words: readonly string[]): void {
  if (words.length === 0) return;
  throw new SyntaxError(`Cannot use ${quote(words[0]!)} after "ctl ${name}": expected nothing`);
}

/** More often would be work for the proxy, and nobody reads it. */
function readInterval(text: string): number {
  const ms = named("interval", () => parseDuration(text));
  if (ms >= MIN_INTERVAL_MS && ms <= MAX_INTERVAL_MS) return ms;
  throw new RangeError(`--interval: Cannot use ${quote(text)}: expected 200ms to 1h`);
}

/** `NAME=VALUE`, or a bare NAME, which means yes. */
function readParameter(name: string, word: string): [string, string] {
  const [, parameter, value] = /^([a-z-]+)(?:=(.*))?$/s.exec(word) ?? [];
  if (parameter !== undefined && (value !== undefined || SWITCHES.includes(word))) {
    return [parameter, value ?? "true"];
  }
  const quoting = name === "trace" ? "; a predicate is one argument, in quotes" : "";
  throw new SyntaxError(
    `Cannot use ${quote(word)} after "ctl ${name}": expected NAME=VALUE${quoting}`,
  );
}
