/**
 * Multicast Listener Discovery (RFC 3810, RFC 9777): the queries of routers and snooping switches,
 * read, and the reports of a listener, written. `icmp` is the offset of the ICMPv6 header.
 *
 *   | IPv6, hop limit 1 | hop-by-hop: router alert | ICMPv6, 8 bytes | group | … |
 *     ip                                             icmp
 */
import {
  type Address6,
  ADDRESS6_BYTES,
  ADDRESS6_WORDS,
  GROUP_MAC_HI,
  isLinkLocal,
  isUnspecified,
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
import { type Chain, HEADER_HOP_BY_HOP, writeRouterAlert } from "./extension_headers.ts";
import * as icmpv6 from "./icmpv6.ts";
import * as ipv6 from "./ipv6.ts";

/** ff02::16, to which version 2 reports go (RFC 3810 §5.2.14). */
const ALL_LISTENERS: Address6 = Int32Array.of(0xff02_0000, 0, 0, 0x16);

/** Reports and queries never leave the link (RFC 3810 §5). */
const HOP_LIMIT = 1;

const ROUTER_ALERT_BYTES = 8;
const MAX_RESPONSE = 4;
const GROUP = 8;
const QUERY_V1_BYTES = 24;
const QUERY_V2_BYTES = 28;
const RECORD_BYTES = 4 + ADDRESS6_BYTES;
const SOURCE_COUNT = 26;

/** What a record of a report says about its group, without any source (RFC 3810 §5.2.12). */
export const RecordType = {
  /** In answer to a query: this host listens. */
  "is-exclude": 2,
  /** Since now it does. */
  "to-exclude": 4,
} as const;

/** Why a query is to be ignored. */
export const QueryFault = {
  "no-query": 1,
  "length": 2,
  "checksum": 3,
  "hop-limit": 4,
  "router-alert": 5,
  "not-link-local": 6,
} as const;

/**
 * What RFC 3810 §6.2 and §8.1 want checked of a query that ends at `end`: 0, or the `QueryFault`
 * for which it is ignored silently.
 */
export function checkQuery(view: DataView, ip: number, end: number, chain: Chain): number {
  const icmp = chain.l4;
  const lengthBytes = end - icmp;
  if (
    lengthBytes < icmpv6.ICMPV6_BYTES ||
    icmpv6.type(view, icmp) !== icmpv6.ICMPV6_LISTENER_QUERY
  ) return QueryFault["no-query"];
  if (lengthBytes !== QUERY_V1_BYTES && lengthBytes < QUERY_V2_BYTES) return QueryFault["length"];
  if (lengthBytes < sourcesEnd(view, icmp, end) - icmp) return QueryFault["length"];
  if (!icmpv6.isChecksumRight(view, ip, icmp, end)) return QueryFault["checksum"];
  if (ipv6.hopLimit(view, ip) !== HOP_LIMIT) return QueryFault["hop-limit"];
  if (chain.routerAlert === 0) return QueryFault["router-alert"];
  return isLinkLocal(view.getInt32(ip + ipv6.SOURCE)) ? 0 : QueryFault["not-link-local"];
}

/** Where the sources of a query end; version 1 has none. */
function sourcesEnd(view: DataView, icmp: number, end: number): number {
  if (isVersion1(icmp, end)) return end;
  return icmp + QUERY_V2_BYTES + ADDRESS6_BYTES * view.getUint16(icmp + SOURCE_COUNT);
}

/** A query of version 1 is known by its length (RFC 3810 §8.1). */
export function isVersion1(icmp: number, end: number): boolean {
  return end - icmp === QUERY_V1_BYTES;
}

/** Offset of the group that a query asks for. */
export function groupAt(icmp: number): number {
  return icmp + GROUP;
}

/** True if a query asks for all groups. */
export function isGeneralQuery(view: DataView, icmp: number): boolean {
  const at = icmp + GROUP;
  return isUnspecified(
    view.getInt32(at),
    view.getInt32(at + 4),
    view.getInt32(at + 8),
    view.getInt32(at + 12),
  );
}

/**
 * Time within which listeners answer, in ms (RFC 3810 §5.1.3); in version 1 all 16 bits are the
 * number itself (RFC 2710 §3.4).
 */
export function maxResponseMs(view: DataView, icmp: number, end: number): number {
  const code = view.getUint16(icmp + MAX_RESPONSE);
  return code < 0x8000 || isVersion1(icmp, end)
    ? code
    : ((code & 0xfff) | 0x1000) << (((code >>> 12) & 7) + 3);
}

const HEADER_BYTES = ETHERNET_BYTES + ipv6.IPV6_BYTES + ROUTER_ALERT_BYTES;

/** Length of the frame that `writeReport` writes about so many groups. */
export function reportBytes(groupCount: number): number {
  return HEADER_BYTES + icmpv6.ICMPV6_BYTES + groupCount * RECORD_BYTES;
}

/** Length of the frame that `writeReportV1` writes. */
export const REPORT_V1_BYTES: number = HEADER_BYTES + QUERY_V1_BYTES;

/**
 * Writes a whole frame that reports `groups`, four words each, to all routers (RFC 3810 §5.2). The
 * source is a link-local address, or `::` before there is one (RFC 3590). Returns its length.
 */
export function writeReport(
  view: DataView,
  frame: number,
  sender: { readonly mac: Mac; readonly address: Address6 },
  type: number,
  groups: Int32Array,
): number {
  const groupCount = groups.length / ADDRESS6_WORDS;
  const lengthBytes = reportBytes(groupCount);
  const icmp = writeHeaders(view, frame, sender, ALL_LISTENERS, lengthBytes);
  icmpv6.writeHeader(view, icmp, icmpv6.ICMPV6_LISTENER_REPORT_V2, 0, groupCount);
  for (let i = 0; i < groupCount; i++) {
    const record = icmp + icmpv6.ICMPV6_BYTES + i * RECORD_BYTES;
    view.setInt32(record, type << 24);
    writeAddress6(view, record + 4, groups, i * ADDRESS6_WORDS);
  }
  icmpv6.writeChecksum(view, frame + ETHERNET_BYTES, icmp, frame + lengthBytes);
  return lengthBytes;
}

/**
 * Writes a whole frame that reports a group to itself, as version 1 does (RFC 2710 §3): to a
 * querier that knows only that. Returns its length.
 */
export function writeReportV1(
  view: DataView,
  frame: number,
  sender: { readonly mac: Mac; readonly address: Address6 },
  group: Address6,
): number {
  const icmp = writeHeaders(view, frame, sender, group, REPORT_V1_BYTES);
  icmpv6.writeHeader(view, icmp, icmpv6.ICMPV6_LISTENER_REPORT_V1, 0, 0);
  writeAddress6(view, icmp + GROUP, group, 0);
  icmpv6.writeChecksum(view, frame + ETHERNET_BYTES, icmp, frame + REPORT_V1_BYTES);
  return REPORT_V1_BYTES;
}

/** Writes Ethernet and IPv6 headers with a router alert, and returns where ICMPv6 begins. */
function writeHeaders(
  view: DataView,
  frame: number,
  sender: { readonly mac: Mac; readonly address: Address6 },
  to: Address6,
  lengthBytes: number,
): number {
  setDestination(view, frame, GROUP_MAC_HI, to[3]!);
  setSource(view, frame, sender.mac.hi, sender.mac.lo);
  setEtherType(view, frame, ETHERTYPE_IPV6);
  const ip = frame + ETHERNET_BYTES;
  ipv6.writeHeader(view, ip, {
    trafficClass: 0,
    flowLabel: 0,
    payloadLength: lengthBytes - ETHERNET_BYTES - ipv6.IPV6_BYTES,
    nextHeader: HEADER_HOP_BY_HOP,
    hopLimit: HOP_LIMIT,
    src: sender.address,
    dst: to,
  });
  writeRouterAlert(view, ip + ipv6.IPV6_BYTES, ipv6.PROTOCOL_ICMPV6);
  return ip + ipv6.IPV6_BYTES + ROUTER_ALERT_BYTES;
}
