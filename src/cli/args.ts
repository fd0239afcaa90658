/**
 * The command line: text in, one of three outcomes out. Nothing is printed and nobody exits here,
 * so that `main.ts` alone decides about streams and exit codes, and a test can ask for every
 * message.
 *
 * commander splits the flags, suggests the right spelling and lays out the help page; what they
 * mean is decided in `flags.ts`, and what a value means in `values.ts`. A later subcommand is one
 * more `program.command(…)` with its own action and its own member of `Command`.
 *
 * Long because all flags of all commands are declared here.
 */
import { Command as Program, CommanderError } from "commander";
import { closest, oneOf, quote } from "../core/text.ts";
import { ConfigError, ConfigFile, type ConfigText } from "./config_file.ts";
import { addCtlCommand, CTL_WORDS } from "./ctl_args.ts";
import type { CtlCommand } from "./ctl_command.ts";
import type { TopCommand } from "./top_command.ts";
import type { ExplainCommand } from "./explain_command.ts";
import {
  camelCase,
  FlagError,
  type Flags,
  isGiven,
  kebabCase,
  read,
  readOptional,
  type Values,
} from "./flag_values.ts";
import {
  DEFAULT_LOG,
  DEFAULT_LOG_CONNECTIONS,
  DEFAULT_LOG_LEVEL,
  readCaptureConfig,
  readConfig,
  readStateConfig,
  readTapConfig,
} from "./flags.ts";
import { type Nets, ONLY_B, SUFFIXES } from "./link_flags.ts";
import { type CommandFacts, grammarOf } from "./grammar.ts";
import { CTL_HELP, EXAMPLES, EXPLAIN_HELP, POLICY_HELP, REPLAY_HELP } from "./help.ts";
import { parsePacket } from "../offline/packet_text.ts";
import type { Settings } from "../process/reload.ts";
import { POLICY_VIEWS, type PolicyCommand } from "./policy_command.ts";
import { addHelp, PROGRAM } from "./program_name.ts";
import type { ReplayCommand } from "./replay_command.ts";
import { addFlag, addRunFlags } from "./run_flags.ts";
import { addShellCommands, SHELLS } from "./shell_args.ts";
import {
  DEFAULT_MTU,
  LOG_LEVELS,
  parseConfigPath,
  parseDevice,
  parseLineRate,
  parseLogFormat,
  parseLogLevel,
  parseMtu,
  parsePath,
  refuseParts,
  TRACE_MODES,
} from "./values.ts";

/** What the command line asks for. */
export type Command =
  /** Run the proxy. */
  | { readonly kind: "run" } & Settings
  /** Ask a running proxy, or change it. */
  | { readonly kind: "ctl" } & CtlCommand
  /** Show a running proxy, as it changes. */
  | { readonly kind: "top" } & TopCommand
  /** Look at a policy without running it. */
  | { readonly kind: "policy" } & PolicyCommand
  /** Show what would happen to packets. */
  | { readonly kind: "explain" } & ExplainCommand
  /** Run a capture in memory. */
  | { readonly kind: "replay" } & ReplayCommand
  /** Print `text` (the help page or the version, line break included) and exit 0. */
  | { readonly kind: "print"; readonly text: string }
  /** Read this file, and then the arguments again, with it. */
  | { readonly kind: "read-config"; readonly path: string }
  /** Print `message` to stderr and exit 2. */
  | { readonly kind: "usage-error"; readonly message: string };

/** What `--version` tells. */
export interface About {
  /** How the program is called, if not `proxy`. */
  readonly name?: string;
  /** E.g. `0.1.0`. */
  readonly version: string;
  /** How this program was made: `source`, `compiled` or `portable`. */
  readonly build: string;
}

/**
 * Reads the arguments after the program's name; `config` is the file that `read-config` has asked
 * for.
 */
export function parseArgs(
  argv: readonly string[],
  about: About,
  config: ConfigText | null = null,
): Command {
  let printed = "";
  let command: Command | null = null;
  const program = makeProgram(about, (text) => printed += text);
  const files = new ConfigFiles(program, config);
  program.action(() => {
    refuseArguments(program.args);
    const flags = files.flags([]);
    const config = readConfig(flags, readNets(flags), "auto");
    const control = readOptional(flags, "control", parsePath);
    const state = readStateConfig(flags);
    const captures = readCaptureConfig(flags);
    const logLevel = read(flags, "log-level", DEFAULT_LOG_LEVEL, parseLogLevel);
    const log = { format: read(flags, "log", DEFAULT_LOG, parseLogFormat) };
    const logConnections = read(flags, "log-connections", DEFAULT_LOG_CONNECTIONS, parseLineRate);
    const tap = readTapConfig(flags);
    command = { kind: "run", config, tap, control, state, captures, logLevel, log, logConnections };
  });
  const take = (given: Command) => command = given;
  addPolicyCommand(program, take);
  addExplainCommand(program, files, take);
  addReplayCommand(program, files, take);
  addCtlCommand(program, take);
  addShellCommands(program, about.version, () => grammarOf(program, FACTS, VALUES), take);
  try {
    const bare = bareFlags(program);
    const words = withHelpCommand(argv).flatMap((word) => splitFlag(word, bare));
    program.parse(words, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) {
      return { kind: "print", text: printed };
    }
    if (error instanceof CommanderError) return usageError(ownWords(error), argv);
    if (error instanceof MissingConfig) return { kind: "read-config", path: error.message };
    const own = error instanceof FlagError ? files.located(error) ?? error : error;
    if (own instanceof ConfigError) return { kind: "usage-error", message: own.message };
    if (own instanceof FlagError || own instanceof SyntaxError || own instanceof RangeError) {
      return usageError(own.message, argv);
    }
    throw error;
  }
  return command!;
}

/** The file that has to be read first; its path is the message. */
class MissingConfig extends Error {}

/** The flags of the command line, and those of the file that `--config` names. */
class ConfigFiles {
  readonly #program: Program;
  readonly #text: ConfigText | null;
  #file: ConfigFile | null = null;
  #given: Flags = {};

  constructor(program: Program, text: ConfigText | null) {
    this.#program = program;
    this.#text = text;
  }

  /** Those of the command line win; of the file's those of `unused` don't count. */
  flags(unused: readonly string[]): Flags {
    this.#given = this.#program.opts<Flags>();
    const path = readOptional(this.#given, "config", parseConfigPath);
    if (path === null) return this.#given;
    if (this.#text === null) throw new MissingConfig(path);
    const known = this.#program.options.map(({ long, required }) => (
      { name: long!.slice(2), takesValue: required }
    ));
    this.#file = new ConfigFile(this.#text, known);
    const left = Object.entries(this.#file.flags)
      .filter(([key]) => !unused.some((name) => camelCase(name) === key));
    return { ...Object.fromEntries(left), ...this.#given };
  }

  /** What is wrong with a flag of the file, with its place. */
  located(error: FlagError): ConfigError | null {
    return isGiven(this.#given, error.flag) ? null : this.#file?.located(error) ?? null;
  }
}

function makeProgram(about: About, print: (text: string) => void): Program {
  const name = about.name ?? PROGRAM;
  const program = new Program(name)
    .usage("--net=DEVICE --dst-addrs=ADDR[,ADDR…] [flags]")
    .description(
      "A load-balancing firewall on a Linux TAP device: answers for addresses of IPv4\n" +
        "and IPv6, and runs every packet for them through a policy.",
    );
  addRunFlags(program);
  program.helpCommand(false);
  addHelp(program, name, EXAMPLES);
  // The output settings keep commander away from the terminal and the environment.
  return program
    .helpOption("-h, --help", "print this page")
    .version(
      `treegate ${about.version} (${about.build} build)`,
      "--version",
      "print version and build",
    )
    .configureHelp({
      optionTerm: (option) => option.flags.replace(/ <(.*)>$/, "=$1"),
      styleTitle: (title) => title === "Options:" ? "Flags:" : title,
    })
    .configureOutput({
      writeOut: print,
      writeErr: () => {},
      getOutHelpWidth: () => 80,
      getErrHelpWidth: () => 80,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .allowExcessArguments() // we have the better words for them
    .exitOverride();
}

function addPolicyCommand(program: Program, take: (command: Command) => void): void {
  const policy = program.command("policy")
    .usage(`${POLICY_VIEWS.join("|")} [FILE]`)
    .summary(`check, print or draw a policy: see ${program.name()} policy --help`)
    .description(
      "Checks, prints or draws the policy in FILE without running it.\n" +
        "FILE - is standard input; without FILE it is the built-in policy.",
    )
    .argument("[VIEW]")
    .argument("[FILE]")
    .configureHelp({ ...program.configureHelp(), visibleArguments: () => [] })
    .action((_view, _file, _options, { args }: Program) => {
      const [flag] = Object.keys(program.opts<Flags>());
      if (flag !== undefined) {
        throw new SyntaxError(`Cannot use --${kebabCase(flag)} with "policy": expected no flags`);
      }
      take({ kind: "policy", ...readPolicyCommand(args) });
    });
  addHelp(policy, program.name(), POLICY_HELP);
}

function readPolicyCommand([view, file, ...rest]: Values): PolicyCommand {
  const views = `${POLICY_VIEWS.slice(0, -1).join(", ")} or ${POLICY_VIEWS.at(-1)}`;
  if (view === undefined) {
    throw new SyntaxError(`Missing word after "policy": expected ${views}`);
  }
  const known = POLICY_VIEWS.find((name) => name === view);
  if (known === undefined) {
    const meant = didYouMean(view, POLICY_VIEWS);
    throw new SyntaxError(`Cannot use "${view}" after "policy": expected ${views}${meant}`);
  }
  if (rest.length > 0) {
    throw new SyntaxError(`Cannot use "${rest[0]}" as second file: expected one`);
  }
  return { view: known, file: file === undefined ? null : parsePath(file) };
}

function addExplainCommand(
  program: Program,
  files: ConfigFiles,
  take: (command: Command) => void,
): void {
  const explain = program.command("explain")
    .usage("--dst-addrs=ADDR[,ADDR…] [flags] PACKET…")
    .summary(`show what would happen to a packet: see ${program.name()} explain --help`)
    .description("Shows each packet's path through the policy, the decision, and what is sent.")
    .argument("[PACKET...]")
    .configureHelp({ ...program.configureHelp(), visibleArguments: () => [] })
    .action((_packets, _options, { args }: Program) => {
      refuseFlags(program, "explain", NOT_OF_EXPLAIN);
      if (args.length === 0) {
        throw new SyntaxError(
          'Missing packet after "explain": expected one, as in ' +
            "'icmp 192.168.0.254 > 192.168.0.100'",
        );
      }
      refuseParts(args);
      const packets = args.map(parsePacket);
      const flags = files.flags(NOT_OF_EXPLAIN);
      take({
        kind: "explain",
        config: readConfig(flags, memoryNets(flags, "memory"), "off"),
        packets,
      });
    });
  addHelp(explain, program.name(), EXPLAIN_HELP);
}

function addReplayCommand(
  program: Program,
  files: ConfigFiles,
  take: (command: Command) => void,
): void {
  const replay = program.command("replay")
    .usage("--dst-addrs=ADDR[,ADDR…] --pcap=FILE [flags]")
    .summary(`run a capture in memory: see ${program.name()} replay --help`)
    .description(
      "Runs the frames of a capture through the proxy in memory, on its clock.",
    )
    .configureHelp(program.configureHelp());
  addHelp(replay, program.name(), REPLAY_HELP);
  addFlag(replay, "--pcap <FILE>", "capture to run (required)");
  addFlag(replay, "--out <FILE>", "capture to write of the frames sent (default none)");
  addFlag(replay, "--pcap-b <FILE>", "capture of side B's interface (default: --pcap has both)");
  addFlag(replay, "--out-b <FILE>", "capture to write of the frames sent to side B (default none)");
  addFlag(replay, "--mtu <BYTES>", `MTU of the interface (default ${DEFAULT_MTU})`);
  addFlag(replay, "--mtu-b <BYTES>", `MTU of side B's interface (default ${DEFAULT_MTU})`);
  replay.action((_options, { args }: Program) => {
    const own = replay.opts<Flags>();
    refuseFlags(program, "replay", OF_DEVICES);
    refuseArguments(args);
    const flags = files.flags(OF_DEVICES);
    const config = readConfig(flags, memoryNets(flags, "memory"), "all");
    const captures = SUFFIXES.slice(0, config.links.length).map((suffix, i) => ({
      findMac: !isGiven(flags, `mac${suffix}`),
      pcap: i === 0
        ? read(own, `pcap${suffix}`, null, parsePath)
        : readOptional(own, `pcap${suffix}`, parsePath),
      out: readOptional(own, `out${suffix}`, parsePath),
      mtu: read(own, `mtu${suffix}`, DEFAULT_MTU, parseMtu),
    }));
    refuseSidesB(own, config.links.length);
    take({ kind: "replay", config, captures });
  });
}

const COMMANDS = ["policy", "explain", "replay", "ctl", "completion", "man", "help"];

function didYouMean(word: string, words: readonly string[]): string {
  const guess = closest(word, words);
  return guess === null ? "" : `; did you mean "${guess}"?`;
}

/** `help` and `help COMMAND` as `--help` and `COMMAND --help`. */
function withHelpCommand(argv: readonly string[]): readonly string[] {
  const [word, command = "help", ...rest] = argv;
  if (word !== "help") return argv;
  if (!COMMANDS.includes(command)) {
    const meant = didYouMean(command, COMMANDS);
    throw new SyntaxError(
      `Cannot use ${quote(command)} after "help": expected ${oneOf(COMMANDS)}${meant}`,
    );
  }
  return [...command === "help" ? [] : [command], ...rest, "--help"];
}

/** Flags that only a device gives a meaning. */
const OF_DEVICES = [
  ...["net", "net-b", "host-ipv4", "host-ipv4-b", "host-ipv6", "host-ipv6-b", "offload", "spin"],
  ...["sandbox", "user", "include-dir"],
  ...["admin", "admin-host", "admin-insecure-bind"],
  ...["capture", "capture-options", "capture-dir"],
  ...["control", "state", "state-max-age", "log-level", "log", "log-connections"],
];

const NOT_OF_EXPLAIN = [...OF_DEVICES, "trace"];

const NO_FLAGS = () => false;
const NOTHING = { kind: "any" } as const;

/** What completions and the man page are told of the run and of each command. */
const FACTS: Readonly<Record<string, CommandFacts>> = {
  "": { takes: () => true, words: [], help: EXAMPLES },
  policy: {
    takes: NO_FLAGS,
    words: POLICY_VIEWS.map((word) => ({ word, then: { kind: "file" } })),
    help: POLICY_HELP,
  },
  explain: { takes: (flag) => !NOT_OF_EXPLAIN.includes(flag), words: [], help: EXPLAIN_HELP },
  replay: { takes: (flag) => !OF_DEVICES.includes(flag), words: [], help: REPLAY_HELP },
  ctl: { takes: (flag) => flag === "control", words: CTL_WORDS, help: CTL_HELP },
  completion: {
    takes: NO_FLAGS,
    words: SHELLS.map((word) => ({ word, then: NOTHING })),
    help: "",
  },
  man: { takes: NO_FLAGS, words: [], help: "" },
};

/** Values that the help page calls by one word. */
const VALUES = { LEVEL: LOG_LEVELS, MODE: TRACE_MODES };

function refuseFlags(program: Program, command: string, names: readonly string[]): void {
  for (const name of names) {
    if (!isGiven(program.opts<Flags>(), name)) continue;
    const page = `${program.name()} ${command} --help`;
    throw new SyntaxError(`Cannot use --${name} with "${command}", see ${page}`);
  }
}

/** With one interface there is nothing to say of side B. */
function refuseSidesB(flags: Flags, interfaces: number): void {
  const alone = ["pcap-b", "out-b", "mtu-b"].find((name) => isGiven(flags, name));
  if (interfaces === 2 || alone === undefined) return;
  throw new FlagError(alone, "Cannot use without --ipv4-b");
}

function refuseArguments(positional: Values): void {
  if (positional.length === 0) return;
  const [word] = positional;
  const whole = wholeCommand(word!);
  const meant = whole === null ? didYouMean(word!, COMMANDS) : `; did you mean "${whole}"?`;
  const expected = meant === "" ? "expected flags only, see --help" : `expected a command${meant}`;
  throw new SyntaxError(`Cannot use argument "${word}": ${expected}`);
}

/** A command without its first word, with it; null: it is none. `version` may be the flag. */
function wholeCommand(word: string): string | null {
  if (POLICY_VIEWS.some((view) => view === word)) return `policy ${word}`;
  const isOfCtl = word !== "version" && CTL_WORDS.some((one) => one.word === word);
  return isOfCtl ? `ctl ${word}` : null;
}

/** Flags of the program and its commands that have no value. */
function bareFlags(program: Program): readonly string[] {
  return [program, ...program.commands].flatMap(({ options }) =>
    options.flatMap(({ long, required }) => required ? [] : [long!])
  );
}

/**
 * `--flag=value` as two arguments, so that an unknown flag is compared without its value. Throws a
 * FlagError if it is one of `bare`.
 */
function splitFlag(argument: string, bare: readonly string[]): string[] {
  const [, flag, value] = /^(--[^=]+)=(.*)$/s.exec(argument) ?? [];
  if (flag === undefined || value === undefined) return [argument];
  if (bare.includes(flag)) {
    throw new FlagError(flag.slice(2), `Cannot use ${quote(value)}: this flag has no value`);
  }
  return [flag, value];
}

/** commander's message as one line of ours. */
function ownWords(error: CommanderError): string {
  const text = error.message.replace(/^error: /, "").replace(/ <(.*?)>/, "=$1").replaceAll(
    /\s+/g,
    " ",
  ).trim();
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}, see --help`;
}

/**
 * What is quoted of the arguments is cut where it is long. Control characters are escaped: a bad
 * argument must neither break the line nor reach the terminal.
 */
function usageError(message: string, argv: readonly string[]): Command {
  const long = argv.flatMap((word) => [word, ...splitFlag(word, []), ...word.split(/[=,]/)])
    .filter((part) => part.length > MOST_QUOTED)
    .sort((a, b) => b.length - a.length);
  const short = long.reduce(
    (text, part) => text.replaceAll(part, `${part.slice(0, MOST_QUOTED)}…`),
    message,
  );
  const line = short.replaceAll(
    /\p{Cc}/gu,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return { kind: "usage-error", message: line };
}

/** Characters of a part of an argument that a message has. */
const MOST_QUOTED = 200;

function readNets(flags: Flags): Nets {
  const a = read(flags, "net", null, parseDevice);
  const b = readOptional(flags, "net-b", parseDevice);
  if (a === b) throw new FlagError("net-b", `Cannot use "${b}" twice: expected another device`);
  return { a, b };
}

/** Without devices, flags of side B tell that there are two interfaces. */
function memoryNets(flags: Flags, name: string): Nets {
  return { a: name, b: ONLY_B.some((flag) => isGiven(flags, flag)) ? `${name}-b` : null };
}
