/** From the flags of a run to its configuration: which are required, what the others default to. */
import { DEFAULT_TIMEOUTS, type Timeouts } from "../flow/lifetimes.ts";
import { parseAddress, stableMac } from "../wire/address.ts";
import {
  checkBackends,
  checkGateway,
  type Config,
  type TapConfig,
  type TraceMode,
} from "./config.ts";
import {
  DEFAULT_PORTS,
  parseInteger,
  parseOwnAddress,
  parseOwnMac,
  parsePath,
  parsePorts,
  parseSwitch,
  parseTrace,
} from "./values.ts";

/** The values of one flag in the order given. */
export type Values = readonly string[];
export type Flags = Readonly<Record<string, Values | undefined>>;

export const DEFAULT_IPV4 = "192.168.0.100/24";
export const DEFAULT_MAX_CONN = "262144";
export const DEFAULT_OFFLOAD = "on";
export const DEFAULT_SPIN = "100";
const MAX_CONN = 1_000_000;
/** Signals and timers have their turn after it at the latest. */
const MAX_SPIN_US = 1000;
const MAX_SEED = 0xffff_ffff;

const MAX_TIMEOUT_SECONDS = 1_000_000;

/** Flag after `--timeout-`, and which connections it is about. */
export const TIMEOUT_FLAGS = [
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

export function readConfig(flags: Flags, net: string, trace: TraceMode): Config {
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

export function readTapConfig(flags: Flags): TapConfig {
  return {
    offload: read(flags, "offload", DEFAULT_OFFLOAD, parseSwitch),
    spinUs: read(
      flags,
      "spin",
      DEFAULT_SPIN,
      (text) => parseInteger(text, "time in microseconds", 0, MAX_SPIN_US),
    ),
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

export function timeoutKey(name: typeof TIMEOUT_FLAGS[number][0]): keyof Timeouts {
  return name === "half-open" ? "halfOpen" : name;
}

/** The flag's value; `fallback` is its text when it is not given, null: it must be given. */
export function read<T>(
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

export function readOptional<T>(flags: Flags, name: string, parse: (text: string) => T): T | null {
  return flags[camelCase(name)] === undefined ? null : read(flags, name, null, parse);
}

/** commander's name for a flag's value. */
export function camelCase(name: string): string {
  return name.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
}

export function kebabCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
