/**
 * What the value of a flag means. Each function throws a SyntaxError or RangeError that quotes it.
 */
import { quote } from "../core/text.ts";
import { type Address, isGroupMac, type Mac, parseInterface, parseMac } from "../wire/address.ts";
import { isLinkLocal } from "../wire/address6.ts";
import {
  formatHostSubnet,
  formatUrlHost,
  type HostAddress,
  type HostSubnet,
  hostSubnetOf,
  isIpv6,
  parseHostAddress,
  parseHostInterface,
  splitEndpoint,
  wordsOf,
} from "../wire/host_address.ts";
import { parsePredicate } from "../policy/notation/parse_one_predicate.ts";
import { checkOwnAddress } from "../datapath/address_rules.ts";
import { checkDeviceName } from "../device/device_name.ts";
import type { LogFormat, LogLevel } from "../process/log.ts";
import type { FastPathMode, SandboxMode, StrayMode, TraceMode } from "../datapath/config.ts";

const DEFAULT_PREFIX = { ipv4: 24, ipv6: 64 };
export const DEFAULT_PORTS = "1024-65535";
export const DEFAULT_MTU = "1500";
export const LOG_LEVELS: readonly string[] = ["debug", "info", "warning", "error"];
export const TRACE_MODES: readonly string[] = ["auto", "all", "drops", "off"] satisfies TraceMode[];

/** Throws a RangeError for what can't name a device. */
export function parseDevice(text: string): string {
  checkDeviceName(text);
  return text;
}

export function parseOwnAddress(text: string): { address: Address; prefixLength: number } {
  if (text.includes(":")) {
    throw new SyntaxError(`Cannot use "${text}": expected an IPv4 address, as in 192.168.0.100/24`);
  }
  const { address, prefixLength } = parseInterface(text, DEFAULT_PREFIX.ipv4);
  checkOwnAddress(address, prefixLength);
  return { address, prefixLength };
}

export function parseOwnAddress6(text: string): { address: bigint; prefixLength: number } {
  const fail = `Cannot use "${text}": expected an IPv6 address, as in 2001:db8::64/64`;
  if (!text.includes(":")) throw new SyntaxError(fail);
  const { address, prefixLength } = parseHostInterface(text, DEFAULT_PREFIX);
  if (!isIpv6(address)) throw new SyntaxError(fail);
  checkOwnAddress(address, prefixLength);
  return { address, prefixLength };
}

/** A route of either family. */
export interface HostRoute {
  readonly to: HostSubnet;
  readonly nextHop: HostAddress;
}

/** `10.0.0.0/8,192.168.0.1`: a network, and the next hop towards it. */
export function parseRoute(text: string): HostRoute {
  const fail = `Cannot parse "${text}" as route`;
  const [network, nextHop, ...rest] = text.split(",");
  if (network === undefined || nextHop === undefined || rest.length > 0 || !network.includes("/")) {
    throw new SyntaxError(`${fail}: expected CIDR,ADDR, as in 10.0.0.0/8,192.168.0.1`);
  }
  const { address, prefixLength } = parseHostInterface(network);
  const to = hostSubnetOf(address, prefixLength);
  if (to.network !== address) {
    const meant = formatHostSubnet(to);
    throw new RangeError(`${fail}: host bits must be zero; did you mean "${meant}"?`);
  }
  const route = { to, nextHop: parseHostAddress(nextHop) };
  if (isIpv6(route.nextHop) === isIpv6(to.network)) return route;
  throw new RangeError(`${fail}: expected network and next hop of one family`);
}

export function parseOwnMac(text: string): Mac {
  const mac = parseMac(text);
  const fail = `Cannot use "${text}" as MAC address`;
  if (isGroupMac(mac)) {
    throw new RangeError(`${fail}: expected a unicast address, the first octet even`);
  }
  if (mac.hi === 0 && mac.lo === 0) throw new RangeError(`${fail}: expected one that is not zero`);
  return mac;
}

export function parsePorts(text: string): { first: number; last: number } {
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

export function parseInteger(text: string, what: string, min: number, max: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!(value >= min && value <= max)) {
    throw new RangeError(`Cannot parse "${text}" as ${what}: expected an integer ${min} to ${max}`);
  }
  return value;
}

/**
 * The least is what every IPv4 host takes (RFC 791 §3.2), the most what Linux gives a TAP device.
 */
export function parseMtu(text: string): number {
  return parseInteger(text, "MTU in bytes", 68, 65_521);
}

export function parsePath(text: string): string {
  if (text === "" || text.includes("\0")) {
    throw new SyntaxError(`Cannot use "${text}" as file name: expected a path`);
  }
  return text;
}

/** `127.0.0.1:9100` or `[::1]:9100`; of an address that others reach only if that is meant. */
export function parseAdmin(text: string, isInsecure: boolean): { host: string; port: number } {
  const fail = `Cannot parse "${text}" as address to listen at`;
  const { host, port: digits } = splitEndpoint(text);
  if (host === "" || digits === null || !/^\d+$/.test(digits)) {
    throw new SyntaxError(`${fail}: expected ADDR:PORT, as in 127.0.0.1:9100 or [::1]:9100`);
  }
  const address = parseHostAddress(host);
  const port = Number(digits);
  if (port < 1 || port > 65_535) throw new RangeError(`${fail}: port must be 1 to 65535`);
  if (isIpv6(address) && isLinkLocal(wordsOf(address)[0]!)) {
    throw new RangeError(`${fail}: a link-local address belongs to a device, expected another`);
  }
  const isLoopback = isIpv6(address) ? address === 1n : address >>> 24 === 127;
  if (!isLoopback && !isInsecure) {
    throw new RangeError(
      `Cannot listen at ${text}: others could read it, expected 127.0.0.1 or [::1], or ` +
        "--admin-insecure-bind",
    );
  }
  return { host: formatUrlHost(address), port };
}

/** `proxy1,proxy1.example.org`, in small letters. */
export function parseHostNames(text: string): readonly string[] {
  const names = text.toLowerCase().split(",");
  for (const name of names) {
    if (/^[a-z\d]([a-z\d.-]*[a-z\d])?$/.test(name)) continue;
    throw new SyntaxError(
      `Cannot use "${name}" as host name: expected one as in proxy1.example.org`,
    );
  }
  return names;
}

/** Standard input can't be read a second time. */
export function parseConfigPath(text: string): string {
  if (text === "-") throw new SyntaxError(`Cannot use "-" as config file: expected a path`);
  return parsePath(text);
}

export function parseSwitch(text: string): boolean {
  if (text !== "on" && text !== "off") {
    throw new SyntaxError(`Cannot parse "${text}" as switch: expected on or off`);
  }
  return text === "on";
}

export function parseStrays(text: string): StrayMode {
  if (text !== "reset" && text !== "drop") {
    throw new SyntaxError(`Cannot parse "${text}" as answer to strays: expected reset or drop`);
  }
  return text;
}

export function parseLogLevel(text: string): LogLevel {
  if (!LOG_LEVELS.includes(text)) {
    throw new SyntaxError(
      `Cannot parse "${text}" as log level: expected debug, info, warning or error`,
    );
  }
  return text as LogLevel;
}

export function parseLogFormat(text: string): LogFormat {
  if (text !== "text" && text !== "json") {
    throw new SyntaxError(`Cannot parse "${text}" as log format: expected text or json`);
  }
  return text;
}

/** Most lines a second: their text takes the packet thread's time. */
const MAX_LINE_RATE = 1000;

export function parseLineRate(text: string): number {
  const rate = /^(\d+)\/s$/.exec(text);
  if (rate === null) {
    throw new SyntaxError(`Cannot parse "${text}" as rate: expected N/s, as in 10/s`);
  }
  return parseInteger(rate[1]!, "lines a second", 0, MAX_LINE_RATE);
}

export function parseFastPath(text: string): FastPathMode {
  if (text !== "auto" && text !== "on" && text !== "off") {
    throw new SyntaxError(`Cannot parse "${text}" as fast path mode: expected auto, on or off`);
  }
  return text;
}

export function parseSandbox(text: string): SandboxMode {
  if (text !== "on" && text !== "strict" && text !== "off") {
    throw new SyntaxError(`Cannot parse "${text}" as sandbox mode: expected on, strict or off`);
  }
  return text;
}

/** Of an account: passwd(5). */
export function parseUser(text: string): string {
  if (/^[A-Za-z_][\w.-]{0,31}$/.test(text)) return text;
  throw new SyntaxError(`Cannot use "${text}" as user: expected a name, as in treegate`);
}

/** `a,b`: paths. */
export function parseFolders(text: string): readonly string[] {
  return text.split(",").map(parsePath);
}

/** Throws a SyntaxError if a packet's words came apart, as without quotes in a shell. */
export function refuseParts(packets: readonly string[]): void {
  const part = packets.find((packet) => packets.length > 1 && !packet.includes(" "));
  if (part === undefined) return;
  throw new SyntaxError(
    `Cannot use ${quote(part)} as packet: expected one argument in quotes, as in ` +
      "'icmp 192.168.0.254 > 192.168.0.100'",
  );
}

/** A mode's word, or a predicate, read when the policy is known whose lists it may name. */
export function parseTrace(text: string): TraceMode {
  if (TRACE_MODES.includes(text)) return text as Extract<TraceMode, string>;
  if (/^[a-z]*$/.test(text) && !isPredicate(text)) {
    throw new SyntaxError(
      `Cannot parse "${text}" as trace mode: expected auto, all, drops, off or a predicate, ` +
        "as in 'tcp.dport = 443'",
    );
  }
  return { filter: text };
}

/** True for one without names of a policy's. */
function isPredicate(text: string): boolean {
  try {
    parsePredicate(text, { lists: {}, pools: {} }, {});
    return true;
  } catch {
    return false;
  }
}
