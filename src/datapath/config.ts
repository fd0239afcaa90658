/**
 * What one run of the proxy is told. Text becomes values in `src/cli`; `address_rules.ts` checks
 * its addresses.
 */
import type { HostEnd } from "../device/device.ts";
import type { Timeouts } from "../flow/lifetimes.ts";
import type { Health } from "../policy/language/health.ts";
import { type Route, Routes } from "../stack/routes.ts";
import type { Address, Mac, Subnet } from "../wire/address.ts";
import { formatMac, subnetOf } from "../wire/address.ts";
import {
  formatHostAddress,
  type HostAddress,
  type HostSubnet,
  hostSubnetOf,
  inHostSubnet,
  isIpv6,
} from "../wire/host_address.ts";

/** Most backends that one line names. */
const MOST_SHOWN = 20;

/**
 * Which PDUs the console shows: some of many, all, none; or some of those that were dropped, or for
 * which a predicate holds, which is text.
 */
export type TraceMode = "auto" | "all" | "off" | "drops" | { readonly filter: string };

/** Whether the sender of a segment of no connection is reset. */
export type StrayMode = "reset" | "drop";

/** Whether the kernel carries connections: if it can, always (else it is an error), or never. */
export type FastPathMode = "auto" | "on" | "off";

/**
 * What a run gives up when it has opened what it needs: most, all that it can do without (else it
 * is an error), or nothing.
 */
export type SandboxMode = "on" | "strict" | "off";

export interface SandboxConfig {
  readonly mode: SandboxMode;
  /** The user that it becomes; null: it stays who it is. */
  readonly user: string | null;
  /** Folders whose files a policy may include, beside its own. */
  readonly includeDirs: readonly string[];
}

/** The proxy on one interface. */
export interface LinkConfig {
  /** Name of the TAP device. */
  readonly net: string;
  /** The proxy's own address there. */
  readonly address: Address;
  readonly prefixLength: number;
  readonly mac: Mac;
  /** The ways out of the own subnet, a gateway among them; at most one to each network. */
  readonly routes: readonly Route[];
  /** Address of the device itself, the host's end; null: set by whoever made the device. */
  readonly host: { readonly address: Address; readonly prefixLength: number } | null;
  /** Null: IPv6 is off, and no frame of it is looked at. */
  readonly ipv6: Ipv6Config | null;
}

/** The proxy in IPv6 on one interface. */
export interface Ipv6Config {
  /**
   * Its own addresses there; of the first one side B sees its connections. One or more, beside the
   * link-local address, which it has by its MAC address.
   */
  readonly addresses: readonly { readonly address: bigint; readonly prefixLength: number }[];
  /** As those of IPv4; a next hop may be link-local. */
  readonly routes: readonly { readonly to: HostSubnet; readonly nextHop: bigint }[];
  /** Address of the device itself; null: set by whoever made the device. */
  readonly host: { readonly address: bigint; readonly prefixLength: number } | null;
  /** A router's advertisements name a default router and the MTU. */
  readonly acceptRa: boolean;
}

/** The proxy's address on one interface. */
export type Own = Pick<LinkConfig, "address" | "prefixLength">;

export interface Config {
  /** One interface for both sides; or that of side A, and that of side B. */
  readonly links: Links;
  /** The backends (side B), in the order given; at least one. */
  readonly dstAddrs: readonly HostAddress[];
  /** How these are checked. */
  readonly health: Health;
  /** Source ports towards the backends, both ends included. */
  readonly ports: { readonly first: number; readonly last: number };
  /** Most connections that are tracked at the same time. */
  readonly maxConn: number;
  /**
   * Most buckets of limits per source, of all limits together, that are not full at the same time.
   */
  readonly maxLimitSources: number;
  /**
   * Most neighbours on a link whose MAC addresses are remembered, beside the next hops to backends.
   */
  readonly maxNeighbors: number;
  /**
   * A source address's share of them, and of the ports towards each (backend, port); null: a
   * quarter.
   */
  readonly maxConnPerSource: number | null;
  /** Longest idle times of connections. */
  readonly timeouts: Timeouts;
  /** Makes a run repeatable; null: randomness is cryptographic. */
  readonly seed: number | null;
  readonly trace: TraceMode;
  /** Backends see the clients' addresses instead of the proxy's. */
  readonly preserveSource: boolean;
  /** A client whose family no backend that can serve has gets one of the other. */
  readonly translateFamilies: boolean;
  /** Lowers the MSS of connections to what both interfaces take; null: if their MTUs differ. */
  readonly clampMss: boolean | null;
  /** Most other backends that a connection tries where one refuses or does not answer. */
  readonly retries: number;
  /** Seconds in which a backend has to answer a SYN. */
  readonly connectTimeout: number;
  /** What becomes of TCP segments that translators find no connection for. */
  readonly strays: StrayMode;
  /** Path of the file with the key of consistent hashes; null: there is none. */
  readonly hashKeyFile: string | null;
  /** Path of the policy file; null: the program's own policy. */
  readonly policy: string | null;
}

/** Where the proxy shows what it does, to programs and browsers. */
export interface AdminConfig {
  /** Address to listen at, as a URL has it: one of IPv6 in brackets. */
  readonly host: string;
  readonly port: number;
  /** Names by which it is asked beside that address. */
  readonly names: readonly string[];
}

/** What a run on a TAP device is told besides. */
export interface TapConfig {
  /** Takes TCP segments of up to 64 KiB, and frames whose checksums are made where they leave. */
  readonly offload: boolean;
  /**
   * How long a device that has just given frames is asked for more before the proxy sleeps, in µs.
   */
  readonly spinUs: number;
  readonly fastPath: FastPathMode;
  readonly sandbox: SandboxConfig;
  /** Null: nowhere. */
  readonly admin: AdminConfig | null;
}

export type Links = readonly [LinkConfig] | readonly [LinkConfig, LinkConfig];

/** The interface towards the backends. */
export function sideB([a, b = a]: Links): LinkConfig {
  return b;
}

/** `both` is that of the only interface. */
export function sideOf([, b]: Links, link: LinkConfig): "a" | "b" | "both" {
  return b === undefined ? "both" : link === b ? "b" : "a";
}

export function mapLinks(
  [a, b]: Links,
  change: (link: LinkConfig, i: number) => LinkConfig,
): Links {
  return b === undefined ? [change(a, 0)] : [change(a, 0), change(b, 1)];
}

/** `192.168.0.100/24, 2001:db8::64/64, MAC 02:…`. */
export function formatLink(link: LinkConfig): string {
  return [...ownTexts(link), `MAC ${formatMac(link.mac)}`].join(", ");
}

/** `192.168.0.100/24` and, with IPv6, `2001:db8::64/64`. */
export function ownTexts({ address, prefixLength, ipv6 }: LinkConfig): string[] {
  return [{ address, prefixLength }, ...ipv6?.addresses ?? []].map(formatEnd);
}

/** The addresses of the device itself. */
export function hostsOf({ host, ipv6 }: LinkConfig): readonly HostEnd[] {
  return [host, ipv6?.host ?? null].filter((end) => end !== null);
}

/** `192.168.0.100/24`. */
export function formatEnd({ address, prefixLength }: HostEnd): string {
  return `${formatHostAddress(address)}/${prefixLength}`;
}

/** True for an address that the flags give the proxy on this link. */
export function isOwn(address: HostAddress, link: LinkConfig): boolean {
  return address === link.address ||
    (link.ipv6 !== null && link.ipv6.addresses.some((own) => own.address === address));
}

/** `192.168.0.1, 192.168.0.2`; of very many only the first. */
export function formatBackends(backends: readonly HostAddress[]): string {
  const shown = backends.slice(0, MOST_SHOWN).map(formatHostAddress).join(", ");
  const more = backends.length - MOST_SHOWN;
  return more > 0 ? `${shown} and ${more} more` : shown;
}

export function subnetOn({ address, prefixLength }: Own): Subnet {
  return subnetOf(address, prefixLength);
}

export function routesOn(link: LinkConfig): Routes {
  return new Routes(subnetOn(link), link.routes);
}

/** The subnets of the link in the family of `address`, one or more if it speaks that. */
export function subnetsFor(
  address: HostAddress,
  link: LinkConfig,
): HostSubnet[] {
  if (!isIpv6(address)) return [subnetOn(link)];
  return (link.ipv6?.addresses ?? []).map(({ address, prefixLength }) =>
    hostSubnetOf(address, prefixLength)
  );
}

/** Prefix length of the link's best route to `address`, its subnets included; -1: no route. */
export function prefixTo(address: HostAddress, link: LinkConfig): number {
  const routes: readonly { readonly to: HostSubnet }[] = isIpv6(address)
    ? link.ipv6?.routes ?? []
    : link.routes;
  return [...subnetsFor(address, link), ...routes.map(({ to }) => to)]
    .filter((subnet) => inHostSubnet(address, subnet))
    .reduce((longest, { prefixLength }) => Math.max(longest, prefixLength), -1);
}

/** True if the interface of that number, and not the other, has the best route to `address`. */
export function isBehind(
  address: HostAddress,
  [a, b]: readonly [LinkConfig, LinkConfig],
  link: 0 | 1,
): boolean {
  const lead = prefixTo(address, a) - prefixTo(address, b);
  return link === 0 ? lead > 0 : lead < 0;
}
