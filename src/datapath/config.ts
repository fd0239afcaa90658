/**
 * What one run of the proxy is told, and the rules that its addresses must keep: every host address
 * is unicast and can be reached (RFC 1122 §3.2.1.3, RFC 3021 for /31).
 *
 * The checks return their argument's verdict by throwing a RangeError that quotes the bad value and
 * says what is expected. Text becomes values in `args.ts`.
 */
import { MAX_MEMBERS } from "../flow/backends/backends.ts";
import type { Timeouts } from "../flow/lifetimes.ts";
import type { Policy } from "../policy/language/ast.ts";
import { type Route, Routes } from "../stack/routes.ts";
import type { Mac, Subnet } from "../wire/address.ts";
import {
  BROADCAST_ADDRESS,
  directedBroadcast,
  formatAddress,
  formatMac,
  inSubnet,
  isLoopback,
  isMulticast,
  isReserved,
  isThisNetwork,
  subnetOf,
} from "../wire/address.ts";

/** Most backends that one line names. */
const MOST_SHOWN = 20;

/** Which PDUs the console shows: some of many, all, or none. */
export type TraceMode = "auto" | "all" | "off";

/** The proxy on one interface. */
export interface LinkConfig {
  /** Name of the TAP device. */
  readonly net: string;
  /** The proxy's own address there. */
  readonly address: number;
  readonly prefixLength: number;
  readonly mac: Mac;
  /** The ways out of the own subnet, a gateway among them; at most one to each network. */
  readonly routes: readonly Route[];
  /** Address of the device itself, the host's end; null: whoever made the device sees to that. */
  readonly host: { readonly address: number; readonly prefixLength: number } | null;
}

/** The proxy's address on one interface. */
export type Own = Pick<LinkConfig, "address" | "prefixLength">;

export interface Config {
  /** One interface for both sides; or that of side A, and that of side B. */
  readonly links: Links;
  /** The backends (side B), in the order given; at least one. */
  readonly dstAddrs: readonly number[];
  /** Source ports towards the backends, both ends included. */
  readonly ports: { readonly first: number; readonly last: number };
  /** Most connections that are tracked at the same time. */
  readonly maxConn: number;
  /** Most buckets of limits per source, of all limits together, that are not full at the same time. */
  readonly maxLimitSources: number;
  /** Most neighbours on a link whose MAC addresses are remembered, beside the next hops to backends. */
  readonly maxNeighbors: number;
  /** A source address's share of them, and of the ports towards each (backend, port); null: a quarter. */
  readonly maxConnPerSource: number | null;
  /** Longest idle times of connections. */
  readonly timeouts: Timeouts;
  /** Makes a run repeatable; null: randomness is cryptographic. */
  readonly seed: number | null;
  readonly trace: TraceMode;
  /** Backends see the clients' addresses instead of the proxy's. */
  readonly preserveSource: boolean;
  /** Lowers the MSS of connections to what both interfaces take; null: if their MTUs differ. */
  readonly clampMss: boolean | null;
  /** Path of the file with the key of consistent hashes; null: there is none. */
  readonly hashKeyFile: string | null;
  /** Path of the policy file; null: the program's own policy. */
  readonly policy: string | null;
}

/** What a run on a TAP device is told besides. */
export interface TapConfig {
  /** Takes TCP segments of up to 64 KiB, and frames whose checksums are made where they leave. */
  readonly offload: boolean;
  /** How long a device that has just given frames is asked for more before the proxy sleeps, in µs. */
  readonly spinUs: number;
}

export type Links = readonly [LinkConfig] | readonly [LinkConfig, LinkConfig];

/** The interface towards the backends. */
export function sideB([a, b = a]: Links): LinkConfig {
  return b;
}

export function mapLinks(
  [a, b]: Links,
  change: (link: LinkConfig, i: number) => LinkConfig,
): Links {
  return b === undefined ? [change(a, 0)] : [change(a, 0), change(b, 1)];
}

/** `192.168.0.100/24, MAC 02:…`. */
export function formatLink({ address, prefixLength, mac }: LinkConfig): string {
  return `${formatAddress(address)}/${prefixLength}, MAC ${formatMac(mac)}`;
}

/** `192.168.0.1, 192.168.0.2`; of very many only the first. */
export function formatBackends(backends: readonly number[]): string {
  const shown = backends.slice(0, MOST_SHOWN).map(formatAddress).join(", ");
  const more = backends.length - MOST_SHOWN;
  return more > 0 ? `${shown} and ${more} more` : shown;
}

export function subnetOn({ address, prefixLength }: Own): Subnet {
  return subnetOf(address, prefixLength);
}

export function routesOn(link: LinkConfig): Routes {
  return new Routes(subnetOn(link), link.routes);
}

/** Throws RangeError unless a host on a subnet of `prefixLength` can have `address`. */
export function checkOwnAddress(address: number, prefixLength: number): void {
  const fail = `Cannot use "${formatAddress(address)}/${prefixLength}" as own address`;
  if (prefixLength === 32) {
    throw new RangeError(`${fail}: expected a prefix length of at most 31, /32 has no neighbours`);
  }
  throwIfNoHost(fail, address, subnetOf(address, prefixLength));
}

/**
 * Throws RangeError unless `nextHop` is another host in the subnet of one of `links`. `role` is what it is
 * to be, e.g. `gateway`.
 */
export function checkNextHop(nextHop: number, role: string, links: readonly Own[]): void {
  const fail = `Cannot use "${formatAddress(nextHop)}" as ${role}`;
  const subnets = links.map(subnetOn);
  const subnet = subnets.find((one) => inSubnet(nextHop, one));
  throwIfNoHost(fail, nextHop, subnet ?? subnets[0]!);
  if (links.some(({ address }) => address === nextHop)) {
    throw new RangeError(`${fail}: expected another host, not the proxy`);
  }
  if (subnet === undefined) {
    throw new RangeError(
      `${fail}: expected an address in ${subnets.map(formatSubnet).join(" or ")}`,
    );
  }
}

/** Throws RangeError unless each backend is another host, reachable through side B, and given once. */
export function checkBackends(backends: readonly number[], links: Links): void {
  if (backends.length > MAX_MEMBERS) {
    throw new RangeError(
      `Cannot use ${backends.length} backends: expected at most ${MAX_MEMBERS}`,
    );
  }
  const check = backendCheck(links);
  const seen = new Set<number>();
  for (const backend of backends) {
    const fail = `Cannot use "${formatAddress(backend)}" as backend`;
    check(backend, fail);
    if (seen.has(backend)) throw new RangeError(`${fail}: expected each backend once`);
    seen.add(backend);
  }
}

/** The same for the members of pools; one host may serve on several ports and in several pools. */
export function checkPools(pools: Policy["pools"], links: Links): void {
  const check = backendCheck(links);
  for (const [name, { members }] of Object.entries(pools)) {
    for (const { address } of members) {
      check(address, `Cannot use "${formatAddress(address)}" as member of pool "$${name}"`);
    }
  }
}

function backendCheck(links: Links): (backend: number, fail: string) => void {
  const link = sideB(links);
  const subnet = subnetOn(link);
  const routes = routesOn(link);
  return (backend, fail) => {
    throwIfNoHost(fail, backend, subnet);
    if (links.some(({ address }) => address === backend)) {
      throw new RangeError(`${fail}: expected another host, not the proxy`);
    }
    if (routes.nextHop(backend) === 0) {
      const gateway = links.length === 1 ? "--gateway" : "--gateway-b";
      throw new RangeError(
        `${fail}: expected an address in ${formatSubnet(subnet)}, ` +
          `or a ${gateway} or --route to reach it`,
      );
    }
    if (links.length === 2 && isBehind(backend, links, 0)) {
      throw new RangeError(`${fail}: expected a host on side B, the routes say side A`);
    }
  };
}

/** True if the interface of that number, and not the other, has the best route to `address`. */
export function isBehind(
  address: number,
  [a, b]: readonly [LinkConfig, LinkConfig],
  link: 0 | 1,
): boolean {
  const lead = routesOn(a).prefixTo(address) - routesOn(b).prefixTo(address);
  return link === 0 ? lead > 0 : lead < 0;
}

/** Throws RangeError if a host could be on either side: the subnets must not overlap. */
export function checkSubnets(a: LinkConfig, b: LinkConfig): void {
  const [subnetA, subnetB] = [subnetOn(a), subnetOn(b)];
  if (!inSubnet(a.address, subnetB) && !inSubnet(b.address, subnetA)) return;
  throw new RangeError(
    `Cannot use ${formatSubnet(subnetB)} on side B: expected another subnet than ` +
      `${formatSubnet(subnetA)} on side A`,
  );
}

function throwIfNoHost(fail: string, address: number, subnet: Subnet): void {
  const kind = nonHostKind(address, subnet);
  if (kind !== null) throw new RangeError(`${fail}: expected the address of one host, not ${kind}`);
}

/** What `address` is if it cannot belong to one host, else null. */
function nonHostKind(address: number, subnet: Subnet): string | null {
  if (isThisNetwork(address)) return `"this network" (0.0.0.0/8)`;
  if (isLoopback(address)) return "loopback (127.0.0.0/8)";
  if (isMulticast(address)) return "multicast (224.0.0.0/4)";
  if (address === BROADCAST_ADDRESS) return "broadcast";
  if (isReserved(address)) return "reserved (240.0.0.0/4)";
  const broadcast = directedBroadcast(subnet);
  if (broadcast === null) return null;
  if (address === broadcast) return `the broadcast address of ${formatSubnet(subnet)}`;
  if (address === subnet.network) return `the network address of ${formatSubnet(subnet)}`;
  return null;
}

export function formatSubnet(subnet: Subnet): string {
  return `${formatAddress(subnet.network)}/${subnet.prefixLength}`;
}
