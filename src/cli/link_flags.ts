/**
 * The flags about interfaces. Those of side B end in `-b`; without any of them one interface serves
 * both sides. A route belongs to the side whose subnet has its next hop.
 */
import type { Route } from "../stack/routes.ts";
import { formatAddress, inSubnet, parseAddress, stableMac, type Subnet } from "../wire/address.ts";
import { formatSubnet, type LinkConfig, type Links, subnetOn } from "../datapath/config.ts";
import { checkNextHop, checkSubnets } from "../datapath/address_rules.ts";
import {
  FlagError,
  type Flags,
  isGiven,
  named,
  read,
  readAll,
  readOptional,
} from "./flag_values.ts";
import { parseOwnAddress, parseOwnMac, parseRoute } from "./values.ts";

export const DEFAULT_IPV4 = "192.168.0.100/24";

const EVERYWHERE: Subnet = { network: 0, prefixLength: 0 };

/** Names of the devices; `b` is null where there is one. */
export interface Nets {
  readonly a: string;
  readonly b: string | null;
}

/** Of the names of flags, by interface. */
export const SUFFIXES: readonly string[] = ["", "-b"];

/** Flags that only a second interface gives a meaning. */
export const ONLY_B: readonly string[] = ["ipv4-b", "gateway-b", "mac-b", "host-ipv4-b"];

export function readLinks(flags: Flags, nets: Nets): Links {
  const a = readLink(flags, nets.a, "", DEFAULT_IPV4);
  const routes = readAll(flags, "route", parseRoute);
  if (nets.b === null) {
    const alone = ONLY_B.find((name) => isGiven(flags, name));
    if (alone !== undefined) throw new FlagError(alone, "Cannot use without --net-b");
    checkHosts([a]);
    return [withRoutes(a, routes, [a])];
  }
  const b = readLink(flags, nets.b, "-b", null);
  named("ipv4-b", () => checkSubnets(a, b));
  checkHosts([a, b]);
  return [withRoutes(a, routes, [a, b]), withRoutes(b, routes, [a, b])];
}

function readLink(flags: Flags, net: string, suffix: string, ipv4: string | null): LinkConfig {
  const own = read(flags, `ipv4${suffix}`, ipv4, parseOwnAddress);
  const gateway = readOptional(flags, `gateway${suffix}`, (text) => {
    const nextHop = parseAddress(text);
    checkNextHop(nextHop, "gateway", [own]);
    return nextHop;
  });
  return {
    net,
    ...own,
    mac: readOptional(flags, `mac${suffix}`, parseOwnMac) ?? stableMac(net, own.address),
    routes: gateway === null ? [] : [{ to: EVERYWHERE, nextHop: gateway }],
    host: readOptional(flags, `host-ipv4${suffix}`, parseOwnAddress),
    ipv6: null,
  };
}

/** Throws a RangeError for a device that is to have an address of the proxy. */
function checkHosts(links: Links): void {
  for (const [i, { host }] of links.entries()) {
    if (links.every(({ address }) => address !== host?.address)) continue;
    throw new FlagError(
      `host-ipv4${SUFFIXES[i]}`,
      `Cannot use "${formatAddress(host!.address)}": expected another address than the proxy's`,
    );
  }
}

/**
 * The link with those of `routes` that lead over it. Throws a RangeError for one that leads
 * nowhere.
 */
function withRoutes(link: LinkConfig, routes: readonly Route[], links: Links): LinkConfig {
  const all = [...link.routes];
  for (const route of routes) {
    const over = links.find((one) => inSubnet(route.nextHop, subnetOn(one))) ?? links[0];
    if (over.net !== link.net) continue; // the other side's
    named("route", () => {
      checkNextHop(route.nextHop, "next hop", links);
      throwIfKnown(route.to, link, all);
    });
    all.push(route);
  }
  return { ...link, routes: all };
}

function throwIfKnown(to: Subnet, link: LinkConfig, routes: readonly Route[]): void {
  const known = [subnetOn(link), ...routes.map((route) => route.to)].some(
    ({ network, prefixLength }) => network === to.network && prefixLength === to.prefixLength,
  );
  if (!known) return;
  throw new RangeError(`Cannot use second route to ${formatSubnet(to)}: expected one`);
}
