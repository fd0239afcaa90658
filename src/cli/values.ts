/**
 * What the value of a flag means. Each function throws a SyntaxError or RangeError that quotes it.
 */
import {
  type Address,
  formatAddress,
  isGroupMac,
  type Mac,
  parseAddress,
  parseInterface,
  parseMac,
  subnetOf,
} from "../wire/address.ts";
import type { Route } from "../stack/routes.ts";
import { checkOwnAddress } from "../datapath/address_rules.ts";
import { checkDeviceName } from "../device/device_name.ts";
import type { LogLevel } from "../process/log.ts";
import type { FastPathMode, StrayMode, TraceMode } from "../datapath/config.ts";

const DEFAULT_PREFIX = 24;
export const DEFAULT_PORTS = "1024-65535";
export const DEFAULT_MTU = "1500";
const LOG_LEVELS: readonly string[] = ["info", "warning", "error"];
const TRACE_MODES: readonly string[] = ["auto", "all", "off"] satisfies TraceMode[];

/** Throws a RangeError for what can't name a device. */
export function parseDevice(text: string): string {
  checkDeviceName(text);
  return text;
}

export function parseOwnAddress(text: string): { address: Address; prefixLength: number } {
  const { address, prefixLength } = parseInterface(text, DEFAULT_PREFIX);
  checkOwnAddress(address, prefixLength);
  return { address, prefixLength };
}

/** `10.0.0.0/8,192.168.0.1`: a network, and the next hop towards it. */
export function parseRoute(text: string): Route {
  const fail = `Cannot parse "${text}" as route`;
  const [network, nextHop, ...rest] = text.split(",");
  if (network === undefined || nextHop === undefined || rest.length > 0 || !network.includes("/")) {
    throw new SyntaxError(`${fail}: expected CIDR,ADDR, as in 10.0.0.0/8,192.168.0.1`);
  }
  const { address, prefixLength } = parseInterface(network, 32);
  const to = subnetOf(address, prefixLength);
  if (to.network !== address) {
    const meant = `${formatAddress(to.network)}/${prefixLength}`;
    throw new RangeError(`${fail}: host bits must be zero; did you mean "${meant}"?`);
  }
  return { to, nextHop: parseAddress(nextHop) };
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
    throw new SyntaxError(`Cannot parse "${text}" as log level: expected info, warning or error`);
  }
  return text as LogLevel;
}

export function parseFastPath(text: string): FastPathMode {
  if (text !== "auto" && text !== "on" && text !== "off") {
    throw new SyntaxError(`Cannot parse "${text}" as fast path mode: expected auto, on or off`);
  }
  return text;
}

export function parseTrace(text: string): TraceMode {
  if (!TRACE_MODES.includes(text)) {
    throw new SyntaxError(`Cannot parse "${text}" as trace mode: expected auto, all or off`);
  }
  return text as TraceMode;
}
