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
import { Command as Program, CommanderError } from "commander";
import { isGroupMac, parseAddress, parseInterface, parseMac, stableMac } from "../wire/address.ts";
import { checkBackends, checkGateway, checkOwnAddress } from "./config.ts";

/** What the command line asks for. */
export type Command =
  /** Run the proxy. */
  | { readonly kind: "run"; readonly config: Config }
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

/** How a flag that must be given is written. */
const SHAPE: Readonly<Record<string, string>> = {
  net: "--net=DEVICE, as in --net=tap100",
  "dst-addrs": "--dst-addrs=ADDR[,ADDR…], as in --dst-addrs=192.168.0.1,192.168.0.2",
};

const EXAMPLES = `
Examples:
  Answer at 192.168.0.100 and spread connections over two backends:
    proxy --net=tap100 --dst-addrs=192.168.0.1,192.168.0.2
  Another address, a backend behind a router, no PDUs on the console:
    proxy --net=tap0 --ipv4=10.0.0.9 --gateway=10.0.0.1 --dst-addrs=10.7.0.5 --trace=off

Signals: SIGUSR2 prints the summary; SIGINT and SIGTERM print it and exit.
Exit codes: 0 after a signal, 1 for a failure at run time, 2 for a wrong command line.`;

/** Reads the arguments after the program's name. */
export function parseArgs(argv: readonly string[], about: About): Command {
  let printed = "";
  let command: Command | null = null;
  const program = makeProgram(about, (text) => printed += text);
  program.action(() => {
    command = { kind: "run", config: readConfig(program.opts<Flags>(), program.args) };
  });
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
  const flag = (flags: string, text: string) =>
    program.option(flags, text, (value: string, previous?: Values) => {
      if (value.startsWith("--")) {
        throw new SyntaxError(`${flags.split(" ")[0]}: Missing value before "${value}"`);
      }
      return [...previous ?? [], value];
    });
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
  flag("--seed <N>", "makes a run repeatable, for replay and tests (default random)");
  flag("--trace <MODE>", "PDUs shown: auto (50 a second), all or off (default auto)");
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

function readConfig(flags: Flags, positional: Values): Config {
  if (positional.length > 0) {
    throw new SyntaxError(
      `Cannot use argument "${positional[0]}": expected flags only, see --help`,
    );
  }
  const net = read(flags, "net", null, parseDevice);
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
    seed: readOptional(flags, "seed", (text) => parseInteger(text, "seed", 0, MAX_SEED)),
    trace: read(flags, "trace", "auto", parseTrace),
  };
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

function parseTrace(text: string): TraceMode {
  if (!TRACE_MODES.includes(text)) {
    throw new SyntaxError(`Cannot parse "${text}" as trace mode: expected auto, all or off`);
  }
  return text as TraceMode;
}
