/**
 * The flags about interfaces. Those of side B end in `-b`; without any of them one interface serves
 * both sides. A route belongs to the side whose subnet has its next hop.
 */
import { stableMac, type Subnet } from "../wire/address.ts";
import {
  formatHostAddress,
  formatHostSubnet,
  type HostAddress,
  type HostSubnet,
  inHostSubnet,
  isIpv6,
  parseHostAddress,
} from "../wire/host_address.ts";
import {
  type Ipv6Config,
  isOwn,
  type LinkConfig,
  type Links,
  subnetsFor,
} from "../datapath/config.ts";
import { checkNextHop, checkSubnets } from "../datapath/address_rules.ts";
import {
  FlagError,
  type Flags,
  isGiven,
  named,
  read,
  readAll,
  readOptional,
  required,
} from "./flag_values.ts";
import {
  type HostRoute,
  parseOwnAddress,
  parseOwnAddress6,
  parseOwnMac,
  parseRoute,
  parseSwitch,
} from "./values.ts";

export const DEFAULT_IPV4 = "192.168.0.100/24";

/** Names of the devices; `b` is null where there is one. */
export interface Nets {
  readonly a: string;
  readonly b: string | null;
}

/** Of the names of flags, by interface. */
export const SUFFIXES: readonly string[] = ["", "-b"];

/** Flags that only a second interface gives a meaning. */
export const ONLY_B: readonly string[] = [
  ...["ipv4-b", "gateway-b", "mac-b", "host-ipv4-b"],
  ...["ipv6-b", "host-ipv6-b"],
];

/** `translates`: what one side has of IPv6 is enough. */
export function readLinks(flags: Flags, nets: Nets, translates = false): Links {
  const a = readLink(flags, nets.a, "", DEFAULT_IPV4);
  const routes = readAll(flags, "route", parseRoute);
  if (nets.b === null) {
    const alone = ONLY_B.find((name) => isGiven(flags, name));
    if (alone !== undefined) throw new FlagError(alone, "Cannot use without --net-b");
    checkHosts([a]);
    return [withRoutes(a, routes, [a])];
  }
  const b = readLink(flags, nets.b, "-b", null);
  if (!translates && (a.ipv6 === null) !== (b.ipv6 === null)) {
    throw required(a.ipv6 === null ? "ipv6" : "ipv6-b");
  }
  named("ipv4-b", () => checkSubnets(subnetsFor(0, a), subnetsFor(0, b)));
  named("ipv6-b", () => checkSubnets(subnetsFor(0n, a), subnetsFor(0n, b)));
  checkHosts([a, b]);
  return [withRoutes(a, routes, [a, b]), withRoutes(b, routes, [a, b])];
}

function readLink(flags: Flags, net: string, suffix: string, ipv4: string | null): LinkConfig {
  const own = read(flags, `ipv4${suffix}`, ipv4, parseOwnAddress);
  const link = {
    net,
    ...own,
    mac: readOptional(flags, `mac${suffix}`, parseOwnMac) ?? stableMac(net, own.address),
    routes: [],
    host: readOptional(flags, `host-ipv4${suffix}`, parseOwnAddress),
    ipv6: readIpv6(flags, suffix),
  };
  const gateways = readAll(flags, `gateway${suffix}`, (text) => {
    const nextHop = parseHostAddress(text);
    checkNextHop(nextHop, "gateway", [link]);
    return nextHop;
  });
  return gateways.reduce<LinkConfig>((before, nextHop) => {
    if ((isIpv6(nextHop) ? before.ipv6!.routes : before.routes).length > 0) {
      const second = `Cannot use "${formatHostAddress(nextHop)}" as second gateway`;
      throw new FlagError(`gateway${suffix}`, `${second}: expected one for each family`);
    }
    const network = isIpv6(nextHop) ? 0n : 0;
    return withRoute(before, { to: { network, prefixLength: 0 }, nextHop });
  }, link);
}

/** Null: there is no own address of it. */
function readIpv6(flags: Flags, suffix: string): Ipv6Config | null {
  const addresses = readAll(flags, `ipv6${suffix}`, parseOwnAddress6);
  if (addresses.length === 0) {
    const alone = [`host-ipv6${suffix}`, "accept-ra"].find((name) => isGiven(flags, name));
    if (alone === undefined) return null;
    throw new FlagError(alone, `Cannot use without --ipv6${suffix}`);
  }
  const again = addresses.find(({ address }, i) =>
    addresses.findIndex((one) => one.address === address) < i
  );
  if (again !== undefined) {
    const text = formatHostAddress(again.address);
    throw new FlagError(`ipv6${suffix}`, `Cannot use "${text}" twice: expected another address`);
  }
  return {
    addresses,
    routes: [],
    host: readOptional(flags, `host-ipv6${suffix}`, parseOwnAddress6),
    acceptRa: read(flags, "accept-ra", "off", parseSwitch),
  };
}

/** Throws a RangeError for a device that is to have an address of the proxy. */
function checkHosts(links: Links): void {
  for (const [i, { host, ipv6 }] of links.entries()) {
    for (
      const [flag, address] of [["host-ipv4", host?.address], [
        "host-ipv6",
        ipv6?.host?.address,
      ]] as const
    ) {
      if (address === undefined || links.every((link) => !isOwn(address, link))) continue;
      throw new FlagError(
        `${flag}${SUFFIXES[i]}`,
        `Cannot use "${formatHostAddress(address)}": expected another address than the proxy's`,
      );
    }
  }
}

/**
 * The link with those of `routes` that lead over it. Throws a RangeError for one that leads
 * nowhere.
 */
function withRoutes(link: LinkConfig, routes: readonly HostRoute[], links: Links): LinkConfig {
  return routes.reduce((before, route) => {
    const { nextHop } = route;
    return named("route", () => {
      checkNextHop(nextHop, "next hop", links);
      const over = links.find((one) => isNeighbor(nextHop, one)) ?? links[0];
      if (over.net !== link.net) return before; // the other side's
      if (links.length === 2 && !isNeighbor(nextHop, over)) {
        throw new RangeError(
          `Cannot use "${formatHostAddress(nextHop)}" as next hop: ` +
            "expected an address of one side, not link-local (fe80::/10)",
        );
      }
      throwIfKnown(route.to, before);
      return withRoute(before, route);
    });
  }, link);
}

function isNeighbor(nextHop: HostAddress, link: LinkConfig): boolean {
  return subnetsFor(nextHop, link).some((subnet) => inHostSubnet(nextHop, subnet));
}

function withRoute(link: LinkConfig, { to, nextHop }: HostRoute): LinkConfig {
  if (!isIpv6(nextHop)) {
    return { ...link, routes: [...link.routes, { to: to as Subnet, nextHop }] };
  }
  const ipv6 = link.ipv6!;
  return { ...link, ipv6: { ...ipv6, routes: [...ipv6.routes, { to, nextHop }] } };
}

function throwIfKnown(to: HostSubnet, link: LinkConfig): void {
  const { network, prefixLength } = to;
  const routes: readonly { readonly to: HostSubnet }[] = isIpv6(network)
    ? link.ipv6!.routes
    : link.routes;
  const known = [...subnetsFor(network, link), ...routes.map((route) => route.to)];
  if (!known.some((one) => one.network === network && one.prefixLength === prefixLength)) return;
  throw new RangeError(`Cannot use second route to ${formatHostSubnet(to)}: expected one`);
}
