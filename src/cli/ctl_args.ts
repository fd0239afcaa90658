/** The command line of `proxy ctl`. */
import type { Command as Program } from "commander";
import { closest, oneOf, quote } from "../core/text.ts";
import type { Command } from "./args.ts";
import type { CtlCommand } from "./ctl_command.ts";
import { type Flags, kebabCase, read } from "./flag_values.ts";
import { CTL_HELP } from "./help.ts";
import { parsePath } from "./values.ts";

/** Where `ctl` looks for a proxy, unless told. */
export const DEFAULT_CONTROL = "/run/treegate/control.sock";

const DST_EXAMPLE = "192.168.0.1";

/**
 * What follows a command: nothing, NAME=VALUE, packets, or a predicate and NAME=VALUE, a backend,
 * and its weight.
 */
type Words =
  | "none"
  | "parameters"
  | "packets"
  | "predicate"
  | "backend"
  | "backend and parameters"
  | "weight";

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
  version: { method: "GET", words: "none" },
};

export function addCtlCommand(program: Program, take: (command: Command) => void): void {
  const ctl = program.command("ctl")
    .usage("[--control=PATH] COMMAND [WORD…] [--json] [--watch]")
    .summary("ask a running proxy, or change it: see proxy ctl --help")
    .description("Asks the proxy that was started with --control=PATH, or changes it.")
    .argument("[COMMAND]")
    .argument("[WORDS...]")
    .option("--json", "print the JSON, for machines")
    .option("--watch", "ask again every second")
    .option("--wait <TIME>", "with drain: until no connection is open, at most so long")
    .addHelpText("after", CTL_HELP)
    .configureHelp({ ...program.configureHelp(), visibleArguments: () => [] });
  ctl.action((_name, _words, _options, { args }: Program) => {
    const flags = program.opts<Flags>();
    const odd = Object.keys(flags).find((name) => name !== "control");
    if (odd !== undefined) {
      throw new SyntaxError(`Cannot use --${kebabCase(odd)} with "ctl", see proxy ctl --help`);
    }
    const { json, watch, wait } = ctl.opts<{ json?: true; watch?: true; wait?: string }>();
    const control = read(flags, "control", DEFAULT_CONTROL, parsePath);
    const request = readCommand(args, wait);
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
  const names = Object.keys(COMMANDS);
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
  if (wait !== undefined && known !== "drain") {
    throw new SyntaxError(`Cannot use --wait with "${known}": expected "drain"`);
  }
  const parameters = readWords(known, kind, words);
  if (wait !== undefined) parameters.push(["wait", wait]);
  const query = new URLSearchParams(parameters).toString();
  return { name: known, method, target: `/${known}${query === "" ? "" : `?${query}`}` };
}

function readWords(name: string, kind: Words, words: readonly string[]): [string, string][] {
  switch (kind) {
    case "none":
      if (words.length === 0) return [];
      throw new SyntaxError(`Cannot use ${quote(words[0]!)} after "ctl ${name}": expected nothing`);
    case "parameters":
      return words.map((word) => readParameter(name, word));
    case "backend":
    case "weight": {
      const [backend, weight, ...more] = words;
      const isWhole = backend !== undefined && (weight !== undefined) === (kind === "weight");
      if (!isWhole || more.length > 0) {
        const expected = kind === "weight" ? "a backend and its weight" : "a backend";
        throw new SyntaxError(
          `Cannot use ${quote(words.join(" "))} after "ctl ${name}": ` +
            `expected ${expected}, as in ${DST_EXAMPLE}${kind === "weight" ? " 10" : ""}`,
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

/** `NAME=VALUE`, or a bare NAME, which means yes. */
function readParameter(name: string, word: string): [string, string] {
  const [, parameter, value] = /^([a-z]+)(?:=(.*))?$/s.exec(word) ?? [];
  if (parameter !== undefined && (value !== undefined || word === "all")) {
    return [parameter, value ?? "true"];
  }
  const quoting = name === "trace" ? "; a predicate is one argument, in quotes" : "";
  throw new SyntaxError(
    `Cannot use ${quote(word)} after "ctl ${name}": expected NAME=VALUE${quoting}`,
  );
}
