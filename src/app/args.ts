/**
 * The command line: text in, one of three outcomes out. Nothing is printed and nobody exits here, so
 * that `main.ts` alone decides about streams and exit codes, and a test can ask for every message.
 *
 * commander splits the flags, suggests the right spelling and lays out the help page; what a value
 * means is decided below, in the order of the help page. A later subcommand is one more
 * `program.command(…)` with its own action and its own member of `Command`.
 */
import type { Mac } from "../wire/address.ts";
import type { Config, TraceMode } from "./config.ts";
import type { ExplainCommand } from "./explain.ts";
import type { PolicyCommand } from "./policy_command.ts";
import type { ReplayCommand } from "./replay_command.ts";
import { Command as Program, CommanderError } from "commander";
import { DEFAULT_TIMEOUTS, type Timeouts } from "../flow/lifetimes.ts";
import { isGroupMac, parseAddress, parseInterface, parseMac, stableMac } from "../wire/address.ts";
import { checkBackends, checkGateway, checkOwnAddress } from "./config.ts";
import { parsePacket } from "./packet_text.ts";
import { POLICY_VIEWS } from "./policy_command.ts";

/** What the command line asks for. */
export type Command =
  /** Run the proxy. */
  | { readonly kind: "run"; readonly config: Config }
  /** Look at a policy without running it. */
  | { readonly kind: "policy" } & PolicyCommand
  /** Tell what would become of packets. */
  | { readonly kind: "explain" } & ExplainCommand
  /** Run a capture in memory. */
  | { readonly kind: "replay" } & ReplayCommand
  /** Print `text` (the help page or the version, line break included) and exit 0. */
  | { readonly kind: "print"; readonly text: string }
  /** Print `message`, which is one line, to stderr and exit 2. */
  | { readonly kind: "usage-error"; readonly message: string };

/** What `--version` tells. */
export interface About {
  /** E.g. `0.1.0`. */
  readonly version: string;
  /** How this program was made: `source`, `compiled` or `portable`. */
  readonly build: string;
}

/** The values of one flag in the order given. */
type Values = readonly string[];
type Flags = Readonly<Record<string, Values | undefined>>;

const DEFAULT_IPV4 = "192.168.0.100/24";
const DEFAULT_PREFIX = 24;
const DEFAULT_PORTS = "1024-65535";
const DEFAULT_MAX_CONN = "262144";
const MAX_CONN = 1_000_000;
const MAX_SEED = 0xffff_ffff;
const TRACE_MODES: readonly string[] = ["auto", "all", "off"] satisfies TraceMode[];

const MAX_TIMEOUT_SECONDS = 1_000_000;

/** Flag after `--timeout-`, and which connections it is about. */
const TIMEOUT_FLAGS = [
  ["half-open", "TCP before the handshake is over"],
  ["established", "TCP with both sides open"],
  ["closing", "TCP after a FIN"],
  ["reset", "TCP after an RST"],
  ["udp", "UDP"],
  ["icmp", "ICMP queries"],
] as const;

/** How a flag that must be given is written. */
const SHAPE: Readonly<Record<string, string>> = {
  net: "--net=DEVICE, as in --net=tap100",
  "dst-addrs": "--dst-addrs=ADDR[,ADDR…], as in --dst-addrs=192.168.0.1,192.168.0.2",
  pcap: "--pcap=FILE, as in --pcap=in.pcap",
};

const EXAMPLES = `
Examples:
  Answer at 192.168.0.100 and spread connections over two backends:
    proxy --net=tap100 --dst-addrs=192.168.0.1,192.168.0.2
  Another address, a backend behind a router, no PDUs on the console:
    proxy --net=tap0 --ipv4=10.0.0.9 --gateway=10.0.0.1 --dst-addrs=10.7.0.5 --trace=off

Signals: SIGUSR2 prints the summary; SIGHUP reads the policy again; SIGINT and SIGTERM print the
summary and exit.
Exit codes: 0 after a signal, 1 for a failure at run time, 2 for a wrong command line.`;

const POLICY_HELP = `
  check    looks for mistakes: says what and where; exit code 1 if there are errors
  print    the policy in the text notation, in its one canonical form
  mermaid  its picture as Mermaid, for a page that draws it
  dot      its picture as Graphviz DOT
  svg      its picture

Examples:
  proxy policy check web.policy
  proxy policy svg > built-in.svg

Exit codes: 0, 1 for a wrong policy or a failure, 2 for a wrong command line.`;

const EXPLAIN_HELP = `
PACKET is one argument, in the words of the policy notation:
  'tcp ADDR:PORT > ADDR:PORT [FLAG…]'        flags syn, ack, fin, rst, psh, urg, none (default syn)
  'udp ADDR:PORT > ADDR:PORT'
  'icmp ADDR > ADDR [TYPE [code CODE]]'      each a name or a number (default echo-request)
  'proto N ADDR > ADDR'
and behind each: ttl N, length N (of the whole IP packet), id N (of an ICMP query).
Several packets are one small scene: each meets the connections that those before it have opened.
Flags --policy, --ipv4, --gateway, --mac, --ports, --max-conn, --seed are those of a run (seed
default 0). Every neighbour has answered ARP. Nothing outside is touched.

Examples:
  proxy explain --dst-addrs=192.168.0.1 'tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn'
  proxy explain --dst-addrs=192.168.0.1 'tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn' \\
    'tcp 192.168.0.1:2000 > 192.168.0.100:40000 syn ack'

Exit codes: 0, 1 for a wrong policy or a failure, 2 for a wrong command line.`;

const REPLAY_HELP = `
Flags --policy, --ipv4, --gateway, --ports, --max-conn, --seed, --trace are those of a run; for the
same decisions give those of the run that was captured (seed default 0, trace default all).
Without --mac the proxy's MAC address is found in the capture. Frames from that address are not
received but compared with those sent here, ARP requests excepted.
A neighbour of which the capture has packets, but none of ARP, is taken to have answered before.
A TCP or UDP checksum that is the bare sum of the pseudo-header counts as not completed yet; in
--out it is completed.

Examples:
  proxy replay --dst-addrs=192.168.0.1,192.168.0.2 --pcap=in.pcap --seed=7
  proxy replay --policy=new.policy --dst-addrs=192.168.0.1 --pcap=in.pcap --trace=off --out=out.pcap

Exit codes: 0, 1 for frames that differ or a failure, 2 for a wrong command line.`;

/** Reads the arguments after the program's name. */
export function parseArgs(argv: readonly string[], about: About): Command {
  let printed = "";
  let command: Command | null = null;
  const program = makeProgram(about, (text) => printed += text);
  program.action(() => {
    command = { kind: "run", config: readRun(program.opts<Flags>(), program.args) };
  });
  const take = (given: Command) => command = given;
  addPolicyCommand(program, take);
  addExplainCommand(program, take);
  addReplayCommand(program, take);
  try {
    program.parse(argv.flatMap(splitFlag), { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) {
      return { kind: "print", text: printed };
    }
    if (error instanceof CommanderError) return usageError(ownWords(error));
    if (error instanceof SyntaxError || error instanceof RangeError) {
      return usageError(error.message);
    }
    throw error;
  }
  return command!;
}

function makeProgram(about: About, print: (text: string) => void): Program {
  const flag = (flags: string, text: string) => addFlag(program, flags, text);
  const program = new Program("proxy")
    .usage("--net=DEVICE --dst-addrs=ADDR[,ADDR…] [flags]")
    .description(
      "A load-balancing proxy on a Linux TAP device: answers for one IPv4 address and runs\n" +
        "every packet for it through a firewall tree.",
    );
  flag("--net <DEVICE>", "TAP device, 1 to 15 bytes (required)");
  flag("--dst-addrs <ADDR,…>", "addresses of the backends, comma-separated (required)");
  flag("--ipv4 <ADDR/LEN>", `own address; without /LEN, /24 (default ${DEFAULT_IPV4})`);
  flag("--gateway <ADDR>", "next hop outside the own subnet (default none)");
  flag("--mac <MAC>", "own MAC address (default made from device and address)");
  flag("--ports <FIRST-LAST>", `source ports towards backends (default ${DEFAULT_PORTS})`);
  flag("--max-conn <N>", `most connections at a time (default ${DEFAULT_MAX_CONN})`);
  for (const [name, text] of TIMEOUT_FLAGS) {
    const seconds = DEFAULT_TIMEOUTS[timeoutKey(name)];
    flag(`--timeout-${name} <SECONDS>`, `longest idle time: ${text} (default ${seconds})`);
  }
  flag("--policy <FILE>", "policy to run, read again at SIGHUP (default the built-in one)");
  flag("--seed <N>", "makes a run repeatable, for replay and tests (default random)");
  flag("--trace <MODE>", "PDUs shown: auto (50 a second), all or off (default auto)");
  program.helpCommand(false);
  // The output settings keep commander away from the terminal and the environment.
  return program
    .helpOption("--help", "print this page")
    .version(
      `treegate ${about.version} (${about.build} build)`,
      "--version",
      "print version and build",
    )
    .addHelpText("after", EXAMPLES)
    .configureHelp({
      optionTerm: (option) => option.flags.replace(/ <(.*)>$/, "=$1"),
      styleTitle: (title) => title === "Options:" ? "Flags:" : title,
    })
    .configureOutput({
      writeOut: print,
      writeErr: () => {},
      getOutHelpWidth: () => 100,
      getErrHelpWidth: () => 100,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .allowExcessArguments() // we have the better words for them
    .exitOverride();
}

/** A flag with a value; all that are given are kept. */
function addFlag(program: Program, flags: string, text: string): Program {
  return program.option(flags, text, (value: string, previous?: Values) => {
    if (value.startsWith("--")) {
      throw new SyntaxError(`${flags.split(" ")[0]}: Missing value before "${value}"`);
    }
    return [...previous ?? [], value];
  });
}

function addPolicyCommand(program: Program, take: (command: Command) => void): void {
  program.command("policy")
    .usage(`${POLICY_VIEWS.join("|")} [FILE]`)
    .summary("check a policy, print it, or draw it: see proxy policy --help")
    .description(
      "Looks at the policy in FILE (-: standard input; none: the built-in policy) without running it.",
    )
    .argument("[VIEW]")
    .argument("[FILE]")
    .addHelpText("after", POLICY_HELP)
    .configureHelp({ ...program.configureHelp(), visibleArguments: () => [] })
    .action((_view, _file, _options, { args }: Program) => {
      const [flag] = Object.keys(program.opts<Flags>());
      if (flag !== undefined) {
        throw new SyntaxError(`Cannot use --${kebabCase(flag)} with "policy": expected no flags`);
      }
      take({ kind: "policy", ...readPolicyCommand(args) });
    });
}

function readPolicyCommand([view, file, ...rest]: Values): PolicyCommand {
  const views = `${POLICY_VIEWS.slice(0, -1).join(", ")} or ${POLICY_VIEWS.at(-1)}`;
  if (view === undefined) {
    throw new SyntaxError(`Missing word after "policy": expected ${views}`);
  }
  const known = POLICY_VIEWS.find((name) => name === view);
  if (known === undefined) {
    throw new SyntaxError(`Cannot use "${view}" after "policy": expected ${views}`);
  }
  if (rest.length > 0) {
    throw new SyntaxError(`Cannot use "${rest[0]}" as second file: expected one`);
  }
  return { view: known, file: file === undefined ? null : parsePath(file) };
}

function addExplainCommand(program: Program, take: (command: Command) => void): void {
  program.command("explain")
    .usage("--dst-addrs=ADDR[,ADDR…] [flags] PACKET…")
    .summary("tell what would become of packets, and why: see proxy explain --help")
    .description("Shows each packet's path through the policy, the decision, and what is sent.")
    .argument("[PACKET...]")
    .addHelpText("after", EXPLAIN_HELP)
    .configureHelp({ ...program.configureHelp(), visibleArguments: () => [] })
    .action((_packets, _options, { args }: Program) => {
      const flags = program.opts<Flags>();
      refuseFlags(flags, "explain", ["net", "trace"]);
      if (args.length === 0) {
        throw new SyntaxError(
          'Missing packet after "explain": expected one, as in ' +
            "'icmp 192.168.0.254 > 192.168.0.100'",
        );
      }
      const packets = args.map(parsePacket);
      take({ kind: "explain", config: readConfig(flags, "memory", "off"), packets });
    });
}

function addReplayCommand(program: Program, take: (command: Command) => void): void {
  const replay = program.command("replay")
    .usage("--dst-addrs=ADDR[,ADDR…] --pcap=FILE [flags]")
    .summary("run a capture in memory, without a device: see proxy replay --help")
    .description(
      "Runs the frames of a capture through the proxy in memory, on the capture's clock.",
    )
    .addHelpText("after", REPLAY_HELP)
    .configureHelp(program.configureHelp());
  addFlag(replay, "--pcap <FILE>", "capture to run (required)");
  addFlag(replay, "--out <FILE>", "capture to write: the frames that are sent (default none)");
  replay.action((_options, { args }: Program) => {
    const flags = program.opts<Flags>();
    const own = replay.opts<Flags>();
    refuseFlags(flags, "replay", ["net"]);
    refuseArguments(args);
    const pcap = read(own, "pcap", null, parsePath);
    take({
      kind: "replay",
      config: readConfig(flags, pcap, "all"),
      findMac: flags.mac === undefined,
      pcap,
      out: readOptional(own, "out", parsePath),
    });
  });
}

function refuseFlags(flags: Flags, command: string, names: readonly string[]): void {
  for (const name of names) {
    if (flags[camelCase(name)] === undefined) continue;
    throw new SyntaxError(`Cannot use --${name} with "${command}", see proxy ${command} --help`);
  }
}

function refuseArguments(positional: Values): void {
  if (positional.length === 0) return;
  throw new SyntaxError(`Cannot use argument "${positional[0]}": expected flags only, see --help`);
}

/** `--flag=value` as two arguments, so that an unknown flag is compared without its value. */
function splitFlag(argument: string): string[] {
  const split = /^(--[^=]+)=(.*)$/s.exec(argument);
  return split === null ? [argument] : [split[1]!, split[2]!];
}

/** commander's message as one line of ours. */
function ownWords(error: CommanderError): string {
  const text = error.message.replace(/^error: /, "").replace(/ <(.*?)>/, "=$1").replaceAll(
    /\s+/g,
    " ",
  ).trim();
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}, see --help`;
}

/** Control characters are escaped: a bad argument must neither break the line nor reach the terminal. */
function usageError(message: string): Command {
  const line = message.replaceAll(
    /\p{Cc}/gu,
    (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
  return { kind: "usage-error", message: line };
}

function readRun(flags: Flags, positional: Values): Config {
  refuseArguments(positional);
  return readConfig(flags, read(flags, "net", null, parseDevice), "auto");
}

function readConfig(flags: Flags, net: string, trace: TraceMode): Config {
  const ipv4 = read(flags, "ipv4", DEFAULT_IPV4, parseOwnAddress);
  const { address, prefixLength } = ipv4;
  const gateway = readOptional(flags, "gateway", (text) => {
    const parsed = parseAddress(text);
    checkGateway(parsed, address, prefixLength);
    return parsed;
  });
  const dstAddrs = read(flags, "dst-addrs", null, (text) => {
    const parsed = text.split(",").map(parseAddress);
    checkBackends(parsed, address, prefixLength, gateway);
    return parsed;
  });
  return {
    net,
    dstAddrs,
    address,
    prefixLength,
    gateway,
    mac: readOptional(flags, "mac", parseOwnMac) ?? stableMac(net, address),
    ports: read(flags, "ports", DEFAULT_PORTS, parsePorts),
    maxConn: read(
      flags,
      "max-conn",
      DEFAULT_MAX_CONN,
      (text) => parseInteger(text, "number of connections", 1, MAX_CONN),
    ),
    timeouts: readTimeouts(flags),
    seed: readOptional(flags, "seed", (text) => parseInteger(text, "seed", 0, MAX_SEED)),
    trace: read(flags, "trace", trace, parseTrace),
    policy: readOptional(flags, "policy", parsePath),
  };
}

function readTimeouts(flags: Flags): Timeouts {
  const seconds = TIMEOUT_FLAGS.map(([name]) => [
    timeoutKey(name),
    readOptional(
      flags,
      `timeout-${name}`,
      (text) => parseInteger(text, "time in seconds", 1, MAX_TIMEOUT_SECONDS),
    ) ?? DEFAULT_TIMEOUTS[timeoutKey(name)],
  ]);
  return Object.fromEntries(seconds);
}

function timeoutKey(name: typeof TIMEOUT_FLAGS[number][0]): keyof Timeouts {
  return name === "half-open" ? "halfOpen" : name;
}

/** The flag's value; `fallback` is its text when it is not given, null: it must be given. */
function read<T>(
  flags: Flags,
  name: string,
  fallback: string | null,
  parse: (text: string) => T,
): T {
  const values = flags[camelCase(name)] ?? (fallback === null ? [] : [fallback]);
  const text = values[0];
  if (text === undefined) throw new SyntaxError(`--${name}: Required: expected ${SHAPE[name]}`);
  if (values.length > 1) {
    throw new SyntaxError(`--${name}: Cannot use "${values[1]}" as second value: expected one`);
  }
  try {
    return parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw new SyntaxError(`--${name}: ${error.message}`);
    if (error instanceof RangeError) throw new RangeError(`--${name}: ${error.message}`);
    throw error;
  }
}

function readOptional<T>(flags: Flags, name: string, parse: (text: string) => T): T | null {
  return flags[camelCase(name)] === undefined ? null : read(flags, name, null, parse);
}

/** commander's name for a flag's value. */
function camelCase(name: string): string {
  return name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

function kebabCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/**
 * The kernel's own rule (dev_valid_name in net/core/dev.c); `%` too, which the kernel would fill with
 * a number.
 */
function parseDevice(text: string): string {
  const fail = `Cannot use "${text}" as device name`;
  const lenBytes = new TextEncoder().encode(text).length;
  if (lenBytes < 1 || lenBytes > 15) {
    throw new RangeError(`${fail}: expected 1 to 15 bytes, found ${lenBytes}`);
  }
  if (text === "." || text === ".." || /[\s\p{Cc}/:%]/u.test(text)) {
    throw new SyntaxError(
      `${fail}: expected a name without "/", ":", "%" and white space, not "." or ".."`,
    );
  }
  return text;
}

function parseOwnAddress(text: string): { address: number; prefixLength: number } {
  const { address, prefixLength } = parseInterface(text, DEFAULT_PREFIX);
  checkOwnAddress(address, prefixLength);
  return { address, prefixLength };
}

function parseOwnMac(text: string): Mac {
  const mac = parseMac(text);
  const fail = `Cannot use "${text}" as MAC address`;
  if (isGroupMac(mac)) {
    throw new RangeError(`${fail}: expected a unicast address, the first octet even`);
  }
  if (mac.hi === 0 && mac.lo === 0) throw new RangeError(`${fail}: expected one that is not zero`);
  return mac;
}

function parsePorts(text: string): { first: number; last: number } {
  const fail = `Cannot parse "${text}" as port range`;
  const range = /^(\d+)-(\d+)$/.exec(text);
  if (range === null) {
    throw new SyntaxError(`${fail}: expected FIRST-LAST, as in ${DEFAULT_PORTS}`);
  }
  const first = Number(range[1]);
  const last = Number(range[2]);
  for (const port of [first, last]) {
    if (port < 1 || port > 65_535) throw new RangeError(`${fail}: port must be 1 to 65535`);
  }
  if (first > last) throw new RangeError(`${fail}: first port must be ≤ last port`);
  return { first, last };
}

function parseInteger(text: string, what: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!(value >= min && value <= max)) {
    throw new RangeError(`Cannot parse "${text}" as ${what}: expected an integer ${min} to ${max}`);
  }
  return value;
}

function parsePath(text: string): string {
  if (text === "" || text.includes("\0")) {
    throw new SyntaxError(`Cannot use "${text}" as file name: expected a path`);
  }
  return text;
}

function parseTrace(text: string): TraceMode {
  if (!TRACE_MODES.includes(text)) {
    throw new SyntaxError(`Cannot parse "${text}" as trace mode: expected auto, all or off`);
  }
  return text as TraceMode;
}
