/**
 * The messages of Neighbor Discovery that the proxy sends (RFC 4861 §4), as whole frames.
 * `neighbor_discovery.ts` reads what comes in.
 */
import {
  type Address6,
  ALL_ROUTERS,
  GROUP_MAC_HI,
  solicitedNodeOf,
  UNSPECIFIED,
  writeAddress6,
} from "./address6.ts";
import type { Mac } from "./address.ts";
import {
  ETHERNET_BYTES,
  ETHERTYPE_IPV6,
  setDestination,
  setEtherType,
  setSource,
} from "./ethernet.ts";
import * as icmpv6 from "./icmpv6.ts";
import * as ipv6 from "./ipv6.ts";
import {
  FLAG_OVERRIDE,
  FLAG_ROUTER,
  FLAG_SOLICITED,
  isFromUnspecified,
  MAC_OPTION_UNITS,
  NEIGHBOR_BYTES,
  OPTION_NONCE,
  OPTION_SOURCE_MAC,
  OPTION_TARGET_MAC,
  OPTION_UNIT_BYTES,
  TARGET,
} from "./neighbor_discovery.ts";

/** The longest frame that is written here: target and one option. */
export const NEIGHBOR_FRAME_BYTES: number = ETHERNET_BYTES + ipv6.IPV6_BYTES + NEIGHBOR_BYTES +
  OPTION_UNIT_BYTES;

/** 48 bits, the shortest (RFC 3971 §5.3.2). */
const NONCE_OPTION_UNITS = 1;

/** A host on the link. */
export interface Station {
  readonly mac: Mac;
  readonly address: Address6;
}

/**
 * Writes a whole frame that asks who has `target`: to its solicited-node group, or as a probe to
 * the MAC address at which it was (RFC 4861 §7.2.2, §7.3.3). Returns the frame's length.
 */
export function writeNeighborSolicitation(
  view: DataView,
  frame: number,
  sender: Station,
  target: { readonly address: Address6; readonly mac: Mac | null },
): number {
  const { mac, address } = target;
  const end = writeNeighborMessage(view, frame, icmpv6.ICMPV6_NEIGHBOR_SOLICITATION, 0, {
    sender,
    receiver: { address: mac === null ? solicitedNodeOf(address) : address, mac },
    target: address,
  });
  return finish(view, frame, writeMacOption(view, end, OPTION_SOURCE_MAC, sender.mac));
}

/**
 * Writes a whole frame that asks, from `::`, whether anybody has `target` already (RFC 4862
 * §5.4.2). Its nonce of 48 bits tells it from another's, should the link send it back (RFC 7527
 * §4). Returns the frame's length.
 */
export function writeDuplicateCheck(
  view: DataView,
  frame: number,
  senderMac: Mac,
  target: Address6,
  nonceHi: number,
  nonceLo: number,
): number {
  const end = writeNeighborMessage(view, frame, icmpv6.ICMPV6_NEIGHBOR_SOLICITATION, 0, {
    sender: { mac: senderMac, address: UNSPECIFIED },
    receiver: { address: solicitedNodeOf(target), mac: null },
    target,
  });
  view.setUint16(end, (OPTION_NONCE << 8) | NONCE_OPTION_UNITS);
  view.setUint16(end + 2, nonceHi);
  view.setInt32(end + 4, nonceLo);
  return finish(view, frame, end + OPTION_UNIT_BYTES);
}

/**
 * Writes a whole frame that says at which MAC address `target` is (RFC 4861 §7.2.4): to who has
 * asked, or with a null MAC to a group. Returns the frame's length.
 */
export function writeNeighborAdvertisement(
  view: DataView,
  frame: number,
  sender: Station,
  receiver: { readonly address: Address6; readonly mac: Mac | null },
  target: Address6,
  flags: { readonly router: boolean; readonly solicited: boolean; readonly override: boolean },
): number {
  const bits = (flags.router ? FLAG_ROUTER : 0) | (flags.solicited ? FLAG_SOLICITED : 0) |
    (flags.override ? FLAG_OVERRIDE : 0);
  const type = icmpv6.ICMPV6_NEIGHBOR_ADVERTISEMENT;
  const end = writeNeighborMessage(view, frame, type, bits << 24, { sender, receiver, target });
  return finish(view, frame, writeMacOption(view, end, OPTION_TARGET_MAC, sender.mac));
}

/**
 * Writes a whole frame that asks all routers for an advertisement (RFC 4861 §6.3.7), with the
 * sender's MAC address unless it has no address yet. Returns the frame's length.
 */
export function writeRouterSolicitation(view: DataView, frame: number, sender: Station): number {
  const icmp = writeHeaders(view, frame, sender, { address: ALL_ROUTERS, mac: null });
  icmpv6.writeHeader(view, icmp, icmpv6.ICMPV6_ROUTER_SOLICITATION, 0, 0);
  const end = icmp + icmpv6.ICMPV6_BYTES;
  return isFromUnspecified(view, frame + ETHERNET_BYTES)
    ? finish(view, frame, end)
    : finish(view, frame, writeMacOption(view, end, OPTION_SOURCE_MAC, sender.mac));
}

/** Writes headers and target, and returns where the options go. */
function writeNeighborMessage(
  view: DataView,
  frame: number,
  type: number,
  flags: number,
  message: {
    readonly sender: Station;
    readonly receiver: { readonly address: Address6; readonly mac: Mac | null };
    readonly target: Address6;
  },
): number {
  const icmp = writeHeaders(view, frame, message.sender, message.receiver);
  icmpv6.writeHeader(view, icmp, type, 0, flags);
  writeAddress6(view, icmp + TARGET, message.target, 0);
  return icmp + NEIGHBOR_BYTES;
}

/** Writes Ethernet and IPv6 headers, and returns where ICMPv6 begins. A null MAC is the group's. */
function writeHeaders(
  view: DataView,
  frame: number,
  sender: Station,
  receiver: { readonly address: Address6; readonly mac: Mac | null },
): number {
  const { address, mac } = receiver;
  setDestination(view, frame, mac?.hi ?? GROUP_MAC_HI, mac?.lo ?? address[3]!);
  setSource(view, frame, sender.mac.hi, sender.mac.lo);
  setEtherType(view, frame, ETHERTYPE_IPV6);
  const ip = frame + ETHERNET_BYTES;
  ipv6.writeHeader(view, ip, {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: 0,
    nextHeader: ipv6.PROTOCOL_ICMPV6,
    hopLimit: ipv6.NEIGHBOR_HOP_LIMIT,
    src: sender.address,
    dst: address,
  });
  return ip + ipv6.IPV6_BYTES;
}

/** Writes an option with a MAC address, and returns where the next one goes. */
function writeMacOption(view: DataView, option: number, kind: number, mac: Mac): number {
  view.setUint16(option, (kind << 8) | MAC_OPTION_UNITS);
  view.setUint16(option + 2, mac.hi);
  view.setInt32(option + 4, mac.lo);
  return option + OPTION_UNIT_BYTES;
}

/** Writes payload length and checksum of the frame that ends at `end`, and returns its length. */
function finish(view: DataView, frame: number, end: number): number {
  const ip = frame + ETHERNET_BYTES;
  const icmp = ip + ipv6.IPV6_BYTES;
  ipv6.setPayloadLength(view, ip, end - icmp);
  icmpv6.writeChecksum(view, ip, icmp, end);
  return end - frame;
}
