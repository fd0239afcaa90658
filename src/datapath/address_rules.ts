/**
 * The rules that the addresses of a run must keep: every host address is unicast and can
 * be reached (RFC 1122 §3.2.1.3, RFC 3021 for /31). Each check throws a RangeError that quotes the
 * bad value and says what is expected.
 */
import { MAX_MEMBERS } from "../flow/backends/backends.ts";
import type { Policy } from "../policy/language/ast.ts";
import {
  isBehind,
  isOwn,
  type LinkConfig,
  type Links,
  prefixTo,
  sideB,
  subnetsFor,
} from "./config.ts";
import {
  type Address,
  BROADCAST_ADDRESS,
  directedBroadcast,
  isLoopback,
  isMulticast,
  isReserved,
  isThisNetwork,
  type Subnet,
} from "../wire/address.ts";
import { isLinkLocal, isMapped, isMulticast6 } from "../wire/address6.ts";
import {
  formatHostAddress,
  formatHostSubnet,
  type HostAddress,
  type HostSubnet,
  hostSubnetOf,
  inHostSubnet,
  isIpv6,
  wordsOf,
} from "../wire/host_address.ts";

/** Throws RangeError unless a host on a subnet of `prefixLength` can have `address`. */
export function checkOwnAddress(address: HostAddress, prefixLength: number): void {
  const fail = `Cannot use "${formatHostAddress(address)}/${prefixLength}" as own address`;
  if (!isIpv6(address) && prefixLength === 32) {
    throw new RangeError(`${fail}: expected a prefix length of at most 31, /32 has no neighbours`);
  }
  throwIfNoHost(fail, address, [hostSubnetOf(address, prefixLength)]);
}

/**
 * Throws RangeError unless `nextHop` is another host in the subnet of one of `links`, or has a
 * link-local address. `role` is what it is to be, e.g. `gateway`.
 */
export function checkNextHop(
  nextHop: HostAddress,
  role: string,
  links: readonly LinkConfig[],
): void {
  const fail = `Cannot use "${formatHostAddress(nextHop)}" as ${role}`;
  const subnets = links.flatMap((link) => subnetsFor(nextHop, link));
  if (subnets.length === 0) throw new RangeError(`${fail}: expected an IPv4 address, or --ipv6`);
  if (isIpv6(nextHop) && isLinkLocal(wordsOf(nextHop)[0]!)) return;
  const subnet = subnets.find((one) => inHostSubnet(nextHop, one));
  throwIfNoHost(fail, nextHop, [subnet ?? subnets[0]!]);
  if (links.some((link) => isOwn(nextHop, link))) {
    throw new RangeError(`${fail}: expected another host, not the proxy`);
  }
  if (subnet === undefined) {
    throw new RangeError(
      `${fail}: expected an address in ${subnets.map(formatHostSubnet).join(" or ")}`,
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
  const suffix = links.length === 1 ? "" : "-b";
  const subnets = { ipv4: subnetsFor(0, link), ipv6: subnetsFor(0n, link) };
  return (backend, fail) => {
    if (isIpv6(backend) && link.ipv6 === null) {
      throw new RangeError(`${fail}: expected an IPv4 address, or --ipv6${suffix} to reach it`);
    }
    const own = isIpv6(backend) ? subnets.ipv6 : subnets.ipv4;
    throwIfNoHost(fail, backend, own);
    if (links.some((one) => isOwn(backend, one))) {
      throw new RangeError(`${fail}: expected another host, not the proxy`);
    }
    if (prefixTo(backend, link) < 0) {
      throw new RangeError(
        `${fail}: expected an address in ${own.map(formatHostSubnet).join(" or ")}, ` +
          `or a --gateway${suffix} or --route to reach it`,
      );
    }
    if (links.length === 2 && isBehind(backend, links, 0)) {
      throw new RangeError(`${fail}: expected a host on side B, the routes say side A`);
    }
  };
}

/** Throws RangeError if a host could be on either side: the subnets must not overlap. */
export function checkSubnets(
  subnetsA: readonly HostSubnet[],
  subnetsB: readonly HostSubnet[],
): void {
  for (const a of subnetsA) {
    for (const b of subnetsB) {
      if (!inHostSubnet(a.network, b) && !inHostSubnet(b.network, a)) continue;
      throw new RangeError(
        `Cannot use ${formatHostSubnet(b)} on side B: expected another subnet than ` +
          `${formatHostSubnet(a)} on side A`,
      );
    }
  }
}

function throwIfNoHost(fail: string, address: HostAddress, subnets: readonly HostSubnet[]): void {
  const kind = isIpv6(address)
    ? nonHostKind6(address, subnets)
    : nonHostKind(address, subnets[0] as Subnet);
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
  if (address === broadcast) return `the broadcast address of ${formatHostSubnet(subnet)}`;
  if (address === subnet.network) return `the network address of ${formatHostSubnet(subnet)}`;
  return null;
}

/**
 * The same of IPv6; whose a link-local address is depends on the link. The first address of a
 * subnet is that of any of its routers (RFC 4291), if it has more than two (RFC 6164).
 */
function nonHostKind6(address: bigint, subnets: readonly HostSubnet[]): string | null {
  const [word0 = 0, word1 = 0, word2 = 0] = wordsOf(address);
  if (address === 0n) return "no address (::)";
  if (address === 1n) return "loopback (::1)";
  if (isMapped(word0, word1, word2)) return "an IPv4 address in IPv6 (::ffff:0:0/96)";
  if (isMulticast6(word0)) return "multicast (ff00::/8)";
  if (isLinkLocal(word0)) return "link-local (fe80::/10)";
  const subnet = subnets.find(({ network, prefixLength }) =>
    network === address && prefixLength < 127
  );
  return subnet === undefined ? null : `any router of ${formatHostSubnet(subnet)}`;
}
