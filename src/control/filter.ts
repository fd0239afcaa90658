/**
 * Which connections are meant: every part that is given must fit.
 *
 *     source=10.0.0.0/8 backend=192.168.0.1:80 port=443 protocol=tcp state=established older=60s
 *     source=2001:db8::/32 backend=[2001:db8::1]:80
 */
import type { Connections } from "../flow/connections.ts";
import { type FlowTable, SIDE_A, SIDE_B } from "../flow/table.ts";
import { WHOLE_WORDS } from "../flow/whole_addresses.ts";
import { closest, oneOf, quote } from "../core/text.ts";
import { type Address, inSubnet, type Subnet } from "../wire/address.ts";
import {
  type Address6,
  ADDRESS6_WORDS,
  inSubnet6,
  isSameAddress6,
  type Subnet6,
} from "../wire/address6.ts";
import {
  isIpv6 as isIpv6Address,
  parseHostAddress,
  parseHostSubnet,
  splitEndpoint,
  wordsOf,
} from "../wire/host_address.ts";
import { isIpv6 } from "../wire/pdu.ts";
import { PROTOCOL_WORDS } from "../policy/language/words.ts";
import type { Parameters } from "./parameters.ts";
import { protocolNumber, STATE_NAMES, statesNamed } from "./state_names.ts";

/** Plain data; null: any. */
export interface Filter {
  readonly protocol: number | null;
  /** The client's network. */
  readonly source: Subnet | Subnet6 | null;
  /** Port null: any. */
  readonly backend: { readonly address: Address | Address6; readonly port: number | null } | null;
  /** The port that the client has asked for. */
  readonly port: number | null;
  /** A bit for each state's number. */
  readonly states: number | null;
  /** Opened at least so long ago, in milliseconds. */
  readonly olderMs: number | null;
  /** Opened less than so long ago. */
  readonly youngerMs: number | null;
}

/** The parameters of a filter. */
export const FILTER_PARAMETERS = [
  ...["source", "backend", "port", "protocol", "state", "older", "younger"] as const,
];

/** Reads the filter's parameters. Throws a SyntaxError or RangeError of one line. */
export function readFilter(parameters: Parameters): Filter {
  return {
    protocol: parameters.read("protocol", parseProtocol),
    source: parameters.read("source", parseNetwork),
    backend: parameters.read("backend", parseBackend),
    port: parameters.read("port", parsePort),
    states: parameters.read("state", parseState),
    olderMs: parameters.read("older", parseDuration),
    youngerMs: parameters.read("younger", parseDuration),
  };
}

/** True if the filter lets every connection through. */
export function isEverything(filter: Filter): boolean {
  return Object.values(filter).every((part) => part === null);
}

/** Whether the connection at `entry` is meant. `nowMs` is a 32-bit integer. */
export function fits(
  filter: Filter,
  connections: Connections,
  entry: number,
  nowMs: number,
): boolean {
  const { table } = connections;
  const { protocol, source, backend, port, states, olderMs, youngerMs } = filter;
  return (protocol === null || protocolNumber(table.protocol(entry)) === protocol) &&
    (states === null || ((states >>> table.state(entry)) & 1) !== 0) &&
    (port === null || table.dstPort(entry, SIDE_A) === port) &&
    (source === null || isFrom(source, table, entry)) &&
    (backend === null || (table.hasSideB(entry) && isAt(backend.address, table, entry) &&
      (backend.port === null || table.srcPort(entry, SIDE_B) === backend.port))) &&
    (olderMs === null || connections.ageMs(entry, nowMs) >= olderMs) &&
    (youngerMs === null || connections.ageMs(entry, nowMs) < youngerMs);
}

function isFrom(source: Subnet | Subnet6, table: FlowTable, entry: number): boolean {
  if (typeof source.network === "number") {
    return !isIpv6(table.protocol(entry)) && inSubnet(table.src(entry, SIDE_A), source as Subnet);
  }
  return isIpv6(table.protocol(entry)) &&
    inSubnet6(table.whole!.words, WHOLE_WORDS * entry, source as Subnet6);
}

function isAt(backend: Address | Address6, table: FlowTable, entry: number): boolean {
  const isOver6 = isIpv6(table.protocolOf((entry << 1) | SIDE_B));
  if (typeof backend === "number") return !isOver6 && table.src(entry, SIDE_B) === backend;
  if (!isOver6) return false;
  const words = new Int32Array(ADDRESS6_WORDS);
  table.whole!.copySource((entry << 1) | SIDE_B, words, 0);
  return isSameAddress6(words, 0, backend, 0);
}

function parseProtocol(text: string): number {
  const number = PROTOCOL_WORDS.get(text);
  if (number !== undefined) return number;
  return refuse(text, "protocol", oneOf([...PROTOCOL_WORDS.keys()]));
}

function parseNetwork(text: string): Subnet | Subnet6 {
  const { network, prefixLength } = parseHostSubnet(text);
  return isIpv6Address(network)
    ? { network: wordsOf(network), prefixLength }
    : { network, prefixLength };
}

function parseBackend(text: string): NonNullable<Filter["backend"]> {
  if (/^\d+\.[\d.]*:.*:|^[^/]*\/[^/]*[:.]/.test(text)) {
    refuse(text, "backend", "ADDR or ADDR:PORT, without its pool");
  }
  const { host, port } = splitEndpoint(text);
  const address = parseHostAddress(host);
  return {
    address: isIpv6Address(address) ? wordsOf(address) : address,
    port: port === null ? null : parsePort(port),
  };
}

/** `least` is 0 where 0 is the port of what has none, such as an ICMP query. */
export function parsePort(text: string, least: 0 | 1 = 0): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  return port >= least && port <= 65_535 ? port : refuse(text, "port", `${least} to 65535`);
}

function parseState(text: string): number {
  const states = statesNamed(text);
  if (states !== 0) return states;
  const names = [...new Set(STATE_NAMES.filter((name) => name !== ""))];
  const near = closest(text, names);
  if (near === null) return refuse(text, "state", oneOf(names));
  throw new RangeError(`Cannot use ${quote(text)} as state: did you mean ${quote(near)}?`);
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** `500ms`, `60s`, `5m`, `2h`; a bare number is in seconds. In milliseconds, at most 49 days. */
export function parseDuration(text: string): number {
  const [, number, unit] = /^(\d+)(ms|s|m|h|)$/.exec(text) ?? [];
  if (number === undefined) return refuse(text, "time", "a number and ms, s, m or h, as in 60s");
  const ms = Number(number) * UNITS_MS[unit || "s"]!;
  return ms < 2 ** 32 ? ms : refuse(text, "time", "less than 50 days, 1193h");
}

function refuse(text: string, what: string, expected: string): never {
  throw new RangeError(`Cannot use ${quote(text)} as ${what}: expected ${expected}`);
}
