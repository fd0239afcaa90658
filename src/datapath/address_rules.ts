/**
 * The rules that the addresses of a run must keep: every host address is unicast and can
 * be reached (RFC 1122 §3.2.1.3, RFC 3021 for /31). Each check throws a RangeError that quotes the
 * bad value and says what is expected.
 */
import { MAX_MEMBERS } from "../flow/backends/backends.ts";
import type { Policy } from "../policy/language/ast.ts";
import {
  formatSubnet,
  isBehind,
  type LinkConfig,
  type Links,
  type Own,
  routesOn,
  sideB,
  subnetOn,
} from "./config.ts";
import {
  type Address,
  BROADCAST_ADDRESS,
  directedBroadcast,
  formatAddress,
  inSubnet,
  isLoopback,
  isMulticast,
  isReserved,
  isThisNetwork,
  type Subnet,
  subnetOf,
} from "../wire/address.ts";
import { formatHostAddress, type HostAddress, isIpv6 } from "../wire/host_address.ts";

/** Throws RangeError unless a host on a subnet of `prefixLength` can have `address`. */
export function checkOwnAddress(address: Address, prefixLength: number): void {
  const fail = `Cannot use "${formatAddress(address)}/${prefixLength}" as own address`;
  if (prefixLength === 32) {
    throw new RangeError(`${fail}: expected a prefix length of at most 31, /32 has no neighbours`);
  }
  throwIfNoHost(fail, address, subnetOf(address, prefixLength));
}

/**
 * Throws RangeError unless `nextHop` is another host in the subnet of one of `links`. `role` is
 * what it is to be, e.g. `gateway`.
 */
export function checkNextHop(nextHop: Address, role: string, links: readonly Own[]): void {
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

/**
 * Throws RangeError unless each backend is another host, reachable through side B, and given once.
 */
export function checkBackends(backends: readonly HostAddress[], links: Links): void {
  if (backends.length > MAX_MEMBERS) {
    throw new RangeError(
      `Cannot use ${backends.length} backends: expected at most ${MAX_MEMBERS}`,
    );
  }
  const check = backendCheck(links);
  const seen = new Set<HostAddress>();
  for (const backend of backends) {
    const fail = `Cannot use "${formatHostAddress(backend)}" as backend`;
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
      check(address, `Cannot use "${formatHostAddress(address)}" as member of pool "$${name}"`);
    }
  }
}

function backendCheck(links: Links): (backend: HostAddress, fail: string) => void {
  const link = sideB(links);
  const subnet = subnetOn(link);
  const routes = routesOn(link);
  return (backend, fail) => {
    if (isIpv6(backend)) throw new RangeError(`${fail}: expected an IPv4 address`);
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

/** Throws RangeError if a host could be on either side: the subnets must not overlap. */
export function checkSubnets(a: LinkConfig, b: LinkConfig): void {
  const [subnetA, subnetB] = [subnetOn(a), subnetOn(b)];
  if (!inSubnet(a.address, subnetB) && !inSubnet(b.address, subnetA)) return;
  throw new RangeError(
    `Cannot use ${formatSubnet(subnetB)} on side B: expected another subnet than ` +
      `${formatSubnet(subnetA)} on side A`,
  );
}

function throwIfNoHost(fail: string, address: Address, subnet: Subnet): void {
  const kind = nonHostKind(address, subnet);
  if (kind !== null) throw new RangeError(`${fail}: expected the address of one host, not ${kind}`);
}

/** What `address` is if it cannot belong to one host, else null. */
function nonHostKind(address: Address, subnet: Subnet): string | null {
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
