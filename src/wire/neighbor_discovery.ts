/**
 * Neighbor Discovery over Ethernet (RFC 4861 §4; RFC 2464 §6 for its options), read: solicitations
 * and advertisements of neighbours and routers, and redirects. `icmp` is the offset of the ICMPv6
 * header.
 *
 *   | IPv6 | ICMPv6, 8 bytes | target, in a redirect destination, too | options, n × 8 bytes each |
 *     ip     icmp
 *
 * A message that `checkDiscovery` accepts can be read without any other check. What it can't know
 * is whether a redirect comes from the router that is in use. `neighbor_messages.ts` writes
 * messages.
 */
import { isLinkLocal, isMulticast6, isSolicitedNode, isUnspecified } from "./address6.ts";
import type { Chain } from "./extension_headers.ts";
import * as icmpv6 from "./icmpv6.ts";
import * as ipv6 from "./ipv6.ts";

export const OPTION_SOURCE_MAC = 1;
export const OPTION_TARGET_MAC = 2;
const OPTION_MTU = 5;
/** RFC 3971 §5.3.2; RFC 7527 takes it to know looped solicitations. */
export const OPTION_NONCE = 14;

/** Options are counted in these (RFC 4861 §4.6). */
export const OPTION_UNIT_BYTES = 8;
export const MAC_OPTION_UNITS = 1;
const MTU_OPTION_UNITS = 1;

export const TARGET = 8;
const REDIRECT_DESTINATION = 24;
/** Header and target. */
export const NEIGHBOR_BYTES = 24;
const REDIRECT_BYTES = 40;
const ROUTER_ADVERTISEMENT_BYTES = 16;

const FLAGS = 4;
export const FLAG_ROUTER = 0x80;
export const FLAG_SOLICITED = 0x40;
export const FLAG_OVERRIDE = 0x20;

const ROUTER_LIFETIME = 6;

/** Why a message is to be ignored. */
export const DiscoveryFault = {
  /** Not 255: the packet has passed a router. */
  "hop-limit": 1,
  "code": 2,
  "length": 3,
  "checksum": 4,
  /** An option of length 0, or one that ends beyond the message. */
  "option-length": 5,
  "multicast-target": 6,
  /** From `::`, and not to a solicited-node group. */
  "unspecified-to-others": 7,
  /** From `::`, and with its MAC address. */
  "unspecified-with-mac": 8,
  /** Solicited, and to a group. */
  "solicited-to-group": 9,
  /** A router's message that isn't from a link-local address. */
  "router-not-link-local": 10,
  /** A redirect to neither a router's link-local address nor the destination itself. */
  "redirect-target": 11,
  /** In a fragment, even an atomic one (RFC 6980 §5). */
  "fragment": 12,
  "no-discovery": 13,
} as const;

/** The options of a message: offsets of their data, 0 for what there is none of, or its value. */
export class DiscoveryOptions {
  /** The MAC address of the sender, 6 bytes. */
  sourceMac = 0;
  /** 1 if there is an option for it, even one that isn't as long as Ethernet's. */
  hasSourceMac = 0;
  /** The MAC address of the target, 6 bytes. */
  targetMac = 0;
  nonce = 0;
  nonceBytes = 0;
  /** The link's MTU as the router tells it. */
  mtu = 0;
}

/** True for the types that `checkDiscovery` knows (RFC 4861 §4). */
export function isDiscovery(type: number): boolean {
  return type >= icmpv6.ICMPV6_ROUTER_SOLICITATION && type <= icmpv6.ICMPV6_REDIRECT;
}

/**
 * All that the RFC wants checked of a message (RFC 4861 §6.1.1, §6.1.2, §7.1.1, §7.1.2, §8.1),
 * which ends at `end`. Reads its options. Returns 0, or the `DiscoveryFault` for which it is
 * ignored silently.
 */
export function checkDiscovery(
  view: DataView,
  ip: number,
  end: number,
  chain: Chain,
  options: DiscoveryOptions,
): number {
  const icmp = chain.l4;
  if (end - icmp < icmpv6.ICMPV6_BYTES) return DiscoveryFault["length"];
  const type = icmpv6.type(view, icmp);
  if (!isDiscovery(type)) return DiscoveryFault["no-discovery"];
  if (chain.fragment !== 0) return DiscoveryFault["fragment"];
  if (ipv6.hopLimit(view, ip) !== ipv6.NEIGHBOR_HOP_LIMIT) return DiscoveryFault["hop-limit"];
  if (icmpv6.code(view, icmp) !== 0) return DiscoveryFault["code"];
  const fixedBytes = fixedBytesOf(type);
  if (end - icmp < fixedBytes) return DiscoveryFault["length"];
  if (!icmpv6.isChecksumRight(view, ip, icmp, end)) return DiscoveryFault["checksum"];
  if (!readOptions(view, icmp + fixedBytes, end, options)) return DiscoveryFault["option-length"];
  if (type === icmpv6.ICMPV6_NEIGHBOR_SOLICITATION) {
    return checkSolicitation(view, ip, icmp, options);
  }
  if (type === icmpv6.ICMPV6_NEIGHBOR_ADVERTISEMENT) return checkAdvertisement(view, ip, icmp);
  if (type === icmpv6.ICMPV6_ROUTER_SOLICITATION) {
    return isFromUnspecified(view, ip) && options.hasSourceMac !== 0
      ? DiscoveryFault["unspecified-with-mac"]
      : 0;
  }
  if (!isLinkLocal(view.getInt32(ip + ipv6.SOURCE))) return DiscoveryFault["router-not-link-local"];
  return type === icmpv6.ICMPV6_REDIRECT ? checkRedirect(view, icmp) : 0;
}

/** The bytes before the options. */
function fixedBytesOf(type: number): number {
  if (type === icmpv6.ICMPV6_ROUTER_SOLICITATION) return icmpv6.ICMPV6_BYTES;
  if (type === icmpv6.ICMPV6_ROUTER_ADVERTISEMENT) return ROUTER_ADVERTISEMENT_BYTES;
  return type === icmpv6.ICMPV6_REDIRECT ? REDIRECT_BYTES : NEIGHBOR_BYTES;
}

function checkSolicitation(
  view: DataView,
  ip: number,
  icmp: number,
  options: DiscoveryOptions,
): number {
  if (isMulticast6(view.getInt32(icmp + TARGET))) return DiscoveryFault["multicast-target"];
  if (!isFromUnspecified(view, ip)) return 0;
  if (options.hasSourceMac !== 0) return DiscoveryFault["unspecified-with-mac"];
  return isToSolicitedNode(view, ip) ? 0 : DiscoveryFault["unspecified-to-others"];
}

function checkAdvertisement(view: DataView, ip: number, icmp: number): number {
  if (isMulticast6(view.getInt32(icmp + TARGET))) return DiscoveryFault["multicast-target"];
  return isSolicited(view, icmp) && isMulticast6(view.getInt32(ip + ipv6.DESTINATION))
    ? DiscoveryFault["solicited-to-group"]
    : 0;
}

function checkRedirect(view: DataView, icmp: number): number {
  if (isMulticast6(view.getInt32(icmp + REDIRECT_DESTINATION))) {
    return DiscoveryFault["multicast-target"];
  }
  return isLinkLocal(view.getInt32(icmp + TARGET)) || isRedirectToDestination(view, icmp)
    ? 0
    : DiscoveryFault["redirect-target"];
}

/** True if the source is `::`: the sender tries whether an address is free (RFC 4862 §5.4.2). */
export function isFromUnspecified(view: DataView, ip: number): boolean {
  const at = ip + ipv6.SOURCE;
  return isUnspecified(
    view.getInt32(at),
    view.getInt32(at + 4),
    view.getInt32(at + 8),
    view.getInt32(at + 12),
  );
}

function isToSolicitedNode(view: DataView, ip: number): boolean {
  const at = ip + ipv6.DESTINATION;
  return isSolicitedNode(
    view.getInt32(at),
    view.getInt32(at + 4),
    view.getInt32(at + 8),
    view.getInt32(at + 12),
  );
}

/**
 * Reads the options from `at` to `end`. Of a kind that comes more than once the first counts; one
 * that is unknown, or not as long as Ethernet's, is ignored (RFC 4861 §9). False if one has length
 * 0 or ends beyond `end`.
 */
function readOptions(view: DataView, at: number, end: number, options: DiscoveryOptions): boolean {
  options.sourceMac = 0;
  options.hasSourceMac = 0;
  options.targetMac = 0;
  options.nonce = 0;
  options.nonceBytes = 0;
  options.mtu = 0;
  for (let option = at; option < end;) {
    const units = option + 1 < end ? view.getUint8(option + 1) : 0;
    const next = option + units * OPTION_UNIT_BYTES;
    if (units === 0 || next > end) return false;
    readOption(view, option, units, options);
    option = next;
  }
  return true;
}

function readOption(
  view: DataView,
  option: number,
  units: number,
  options: DiscoveryOptions,
): void {
  const kind = view.getUint8(option);
  const data = option + 2;
  if (kind === OPTION_SOURCE_MAC) options.hasSourceMac = 1;
  if (kind === OPTION_SOURCE_MAC && units === MAC_OPTION_UNITS) options.sourceMac ||= data;
  else if (kind === OPTION_TARGET_MAC && units === MAC_OPTION_UNITS) options.targetMac ||= data;
  else if (kind === OPTION_MTU && units === MTU_OPTION_UNITS) {
    options.mtu ||= view.getUint32(option + 4);
  } else if (kind === OPTION_NONCE && options.nonce === 0) {
    options.nonce = data;
    options.nonceBytes = units * OPTION_UNIT_BYTES - 2;
  }
}

/** Upper 16 bits of the MAC address at `at`. */
export function macHi(view: DataView, at: number): number {
  return view.getUint16(at);
}

/** Lower 32 bits of the MAC address at `at`. */
export function macLo(view: DataView, at: number): number {
  return view.getInt32(at + 2);
}

/**
 * Offset of the target address: whom a solicitation asks for, or what an advertisement is about.
 */
export function targetAt(icmp: number): number {
  return icmp + TARGET;
}

/** True if a redirect says that its destination is a neighbour (RFC 4861 §8). */
function isRedirectToDestination(view: DataView, icmp: number): boolean {
  for (let i = 0; i < 16; i += 4) {
    const target = view.getInt32(icmp + TARGET + i);
    if (target !== view.getInt32(icmp + REDIRECT_DESTINATION + i)) return false;
  }
  return true;
}

/** An advertisement's sender is a router. */
export function isRouter(view: DataView, icmp: number): boolean {
  return (view.getUint8(icmp + FLAGS) & FLAG_ROUTER) !== 0;
}

/** An advertisement answers a solicitation, and so confirms that its sender is reached. */
export function isSolicited(view: DataView, icmp: number): boolean {
  return (view.getUint8(icmp + FLAGS) & FLAG_SOLICITED) !== 0;
}

/** An advertisement replaces the MAC address that is known. */
export function isOverride(view: DataView, icmp: number): boolean {
  return (view.getUint8(icmp + FLAGS) & FLAG_OVERRIDE) !== 0;
}

/** How long the sender is a default router, in seconds; 0: it is none. */
export function routerLifetimeSeconds(view: DataView, icmp: number): number {
  return view.getUint16(icmp + ROUTER_LIFETIME);
}
