/**
 * The chain of extension headers between an IPv6 header and what it carries (RFC 8200 §4):
 *
 *   | IPv6 | hop-by-hop options | destination options | routing | fragment | … | TCP, UDP, ICMPv6 |
 *     ip     first, if at all                                   chain.fragment   chain.l4
 *
 * The walk judges as the packet's destination does, which the proxy is. It reads each header once
 * and strictly in order; a chain has at most 8 headers and 256 bytes. It doesn't reassemble, and
 * doesn't check what it finds behind the chain beyond its being there.
 */
import { isMulticast6 } from "./address6.ts";
import {
  CODE_CHAIN_TOO_LONG,
  CODE_ERRONEOUS_FIELD,
  CODE_INCOMPLETE_CHAIN,
  CODE_TOO_MANY_HEADERS,
  CODE_UNKNOWN_NEXT_HEADER,
  CODE_UNKNOWN_OPTION,
} from "./icmpv6.ts";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "./ipv4.ts";
import {
  DESTINATION,
  IPV6_BYTES,
  NEXT_HEADER,
  nextHeader,
  PAYLOAD_LENGTH,
  PROTOCOL_ICMPV6,
} from "./ipv6.ts";
import { TCP_MIN_BYTES } from "./tcp.ts";
import { UDP_BYTES } from "./udp.ts";

/** Most extension headers, and most bytes of them, that are read; RFC 8883 has codes for more. */
export const MAX_HEADERS = 8;
export const MAX_CHAIN_BYTES = 256;

export const HEADER_HOP_BY_HOP = 0;
export const HEADER_ROUTING = 43;
export const HEADER_FRAGMENT = 44;
/** Nothing follows (RFC 8200 §4.7). */
export const HEADER_NONE = 59;
export const HEADER_DESTINATION = 60;

export const FRAGMENT_BYTES = 8;

/** In the flags-and-offset word of a fragment header: more fragments, offset in bytes. */
export const MORE_FRAGMENTS6 = 1;
export const FRAGMENT_OFFSET6 = 0xfff8;

/** Every header's length is a multiple of this, and at least this (RFC 8200 §4). */
const UNIT_BYTES = 8;

const LENGTH = 1;
const FIRST_OPTION = 2;
const ROUTING_TYPE = 2;
const SEGMENTS_LEFT = 3;
const FRAGMENT_FLAGS_OFFSET = 2;
const FRAGMENT_IDENTIFICATION = 4;
const MAX_PAYLOAD_BYTES = 65_535;

const OPTION_PAD1 = 0;
const OPTION_PADN = 1;
const OPTION_ROUTER_ALERT = 5;
/** The two upper bits of an option: what to do if it is unknown (RFC 8200 §4.2). */
const ACTION_SHIFT = 6;
const ACTION_SKIP = 0;
const ACTION_DROP = 1;
const ACTION_TELL_ALWAYS = 2;

/** Bytes of an upper-layer header that a first fragment must have, where they are fixed. */
const ICMPV6_HEADER_BYTES = 4;

/** Offset of a TCP header's length, in words, in its upper four bits. */
const TCP_DATA_OFFSET = 12;

/** What can be wrong with a chain. Each fault is told with the ICMPv6 code in `Chain.code`. */
export const ChainFault = {
  /** A header ends beyond the packet. */
  "truncated": 1,
  /** Hop-by-hop options anywhere but first. */
  "hop-by-hop-not-first": 2,
  /** Stations left to visit: no type of routing header is known, type 0 least (RFC 5095). */
  "routing-header": 3,
  "unknown-option": 4,
  /** An option ends beyond its header. */
  "option-length": 5,
  "unknown-next-header": 6,
  "too-many-headers": 7,
  "chain-too-long": 8,
  /** A first fragment without the whole chain (RFC 7112). */
  "incomplete-chain": 9,
  /** A fragment of a fragment. */
  "fragment-twice": 10,
  /** A fragment that is not the last one, and no multiple of 8 bytes long. */
  "fragment-length": 11,
  /** A fragment that ends beyond 65,535 bytes. */
  "fragment-end": 12,
} as const;

/** Instead of an ICMPv6 code: the sender must not be told. */
export const SILENT = -1;

/** What a walk has found: offsets in the packet, or a fault and how it is told. */
export class Chain {
  /** The upper-layer header; in a later fragment its part of the datagram. */
  l4 = 0;
  /** Protocol at `l4`, or `HEADER_NONE`; in a later fragment what its fragment header says. */
  protocol = 0;
  /** The byte that names `protocol`. */
  protocolAt = 0;
  /** The fragment header, or 0. */
  fragment = 0;
  /** 1 if the hop-by-hop options have a router alert (RFC 2711). */
  routerAlert = 0;
  /** 1 for any header or option beside fragment, padding and router alert. */
  unusual = 0;
  /** After a fault: code of the parameter problem that tells it (RFC 4443 §3.4), or `SILENT`. */
  code = SILENT;
  /** Where the problem is, from the IPv6 header's first byte. */
  pointer = 0;
}

/** The fragment header's flags and offset: `MORE_FRAGMENTS6`, `FRAGMENT_OFFSET6`. */
export function fragmentFlagsAndOffset(view: DataView, fragment: number): number {
  return view.getUint16(fragment + FRAGMENT_FLAGS_OFFSET);
}

export function fragmentIdentification(view: DataView, fragment: number): number {
  return view.getInt32(fragment + FRAGMENT_IDENTIFICATION);
}

/** True for a fragment header that has the whole datagram behind it (RFC 6946). */
export function isAtomic(view: DataView, fragment: number): boolean {
  return (fragmentFlagsAndOffset(view, fragment) & (FRAGMENT_OFFSET6 | MORE_FRAGMENTS6)) === 0;
}

/** Writes a fragment header; `flagsAndOffset` is the offset in bytes, and `MORE_FRAGMENTS6`. */
export function writeFragmentHeader(
  view: DataView,
  fragment: number,
  nextHeader: number,
  flagsAndOffset: number,
  identification: number,
): void {
  view.setUint16(fragment, nextHeader << 8);
  view.setUint16(fragment + FRAGMENT_FLAGS_OFFSET, flagsAndOffset);
  view.setInt32(fragment + FRAGMENT_IDENTIFICATION, identification);
}

/** Writes hop-by-hop options of 8 bytes: a router alert for MLD (RFC 2711 §2.1) and padding. */
export function writeRouterAlert(view: DataView, header: number, nextHeader: number): void {
  view.setUint16(header, nextHeader << 8);
  view.setInt32(header + FIRST_OPTION, (OPTION_ROUTER_ALERT << 24) | (2 << 16));
  view.setUint16(header + 6, OPTION_PADN << 8);
}

/**
 * Walks the chain of the packet at `ip`, which has a whole IPv6 header and ends at `end`. Returns
 * 0, or a `ChainFault`.
 */
export function walkChain(view: DataView, ip: number, end: number, chain: Chain): number {
  chain.l4 = ip + IPV6_BYTES;
  chain.protocol = nextHeader(view, ip);
  chain.protocolAt = ip + NEXT_HEADER;
  chain.fragment = 0;
  chain.routerAlert = 0;
  chain.unusual = 0;
  chain.code = SILENT;
  chain.pointer = 0;
  for (let count = 0; isExtension(chain.protocol); count++) {
    const fault = enterHeader(view, ip, end, chain, count) || readHeader(view, ip, end, chain);
    if (fault !== 0) return fault;
    if (isLaterFragment(view, chain)) return 0;
  }
  return checkUpperLayer(view, ip, end, chain);
}

/** True for a header of which the length is known, whatever it says. */
export function isExtension(protocol: number): boolean {
  return protocol === HEADER_HOP_BY_HOP || protocol === HEADER_ROUTING ||
    protocol === HEADER_FRAGMENT || protocol === HEADER_DESTINATION;
}

/** True behind the fragment header of any fragment but the first: the datagram's middle follows. */
function isLaterFragment(view: DataView, chain: Chain): boolean {
  return chain.fragment !== 0 &&
    (fragmentFlagsAndOffset(view, chain.fragment) & FRAGMENT_OFFSET6) !== 0;
}

/** Is there a header at `chain.l4`, and may one be? */
function enterHeader(
  view: DataView,
  ip: number,
  end: number,
  chain: Chain,
  count: number,
): number {
  const { l4 } = chain;
  if (chain.protocol === HEADER_HOP_BY_HOP && chain.protocolAt !== ip + NEXT_HEADER) {
    const at = chain.protocolAt;
    return fault(view, ip, chain, "hop-by-hop-not-first", CODE_UNKNOWN_NEXT_HEADER, at);
  }
  if (count === MAX_HEADERS) {
    return fault(view, ip, chain, "too-many-headers", CODE_TOO_MANY_HEADERS, l4);
  }
  if (end - l4 < UNIT_BYTES) return truncated(view, ip, chain, ip + PAYLOAD_LENGTH);
  const lengthBytes = lengthOf(view, chain);
  if (l4 + lengthBytes > end) return truncated(view, ip, chain, l4 + LENGTH);
  const limit = ip + IPV6_BYTES + MAX_CHAIN_BYTES;
  if (l4 + lengthBytes <= limit) return 0;
  return fault(view, ip, chain, "chain-too-long", CODE_CHAIN_TOO_LONG, limit);
}

/** Reads the whole header at `chain.l4`, and goes on to what follows it. */
function readHeader(view: DataView, ip: number, end: number, chain: Chain): number {
  const { l4 } = chain;
  const after = l4 + lengthOf(view, chain);
  let found = 0;
  if (chain.protocol === HEADER_FRAGMENT) {
    found = readFragment(view, ip, end, chain);
  } else if (chain.protocol === HEADER_ROUTING) {
    found = readRouting(view, ip, chain);
  } else {
    found = readOptions(view, ip, after, chain);
  }
  chain.protocol = view.getUint8(l4);
  chain.protocolAt = l4;
  chain.l4 = after;
  return found;
}

function lengthOf(view: DataView, chain: Chain): number {
  return extensionBytes(view, chain.l4, chain.protocol);
}

/** Length of the extension header at `header`; a fragment header has no field for it. */
export function extensionBytes(view: DataView, header: number, protocol: number): number {
  if (protocol === HEADER_FRAGMENT) return FRAGMENT_BYTES;
  return (view.getUint8(header + LENGTH) + 1) * UNIT_BYTES;
}

function readFragment(view: DataView, ip: number, end: number, chain: Chain): number {
  const header = chain.l4;
  if (chain.fragment !== 0) {
    return fault(view, ip, chain, "fragment-twice", CODE_ERRONEOUS_FIELD, chain.protocolAt);
  }
  chain.fragment = header;
  const flagsAndOffset = fragmentFlagsAndOffset(view, header);
  const lengthBytes = end - header - FRAGMENT_BYTES;
  if ((flagsAndOffset & MORE_FRAGMENTS6) !== 0 && (lengthBytes & 7) !== 0) {
    const at = ip + PAYLOAD_LENGTH;
    return fault(view, ip, chain, "fragment-length", CODE_ERRONEOUS_FIELD, at);
  }
  const before = header - ip - IPV6_BYTES;
  if (before + (flagsAndOffset & FRAGMENT_OFFSET6) + lengthBytes > MAX_PAYLOAD_BYTES) {
    const at = header + FRAGMENT_FLAGS_OFFSET;
    return fault(view, ip, chain, "fragment-end", CODE_ERRONEOUS_FIELD, at);
  }
  return 0;
}

/** A header of an unknown type that has been to all its stations is ignored (RFC 8200 §4.4). */
function readRouting(view: DataView, ip: number, chain: Chain): number {
  chain.unusual = 1;
  if (view.getUint8(chain.l4 + SEGMENTS_LEFT) === 0) return 0;
  const at = chain.l4 + ROUTING_TYPE;
  return fault(view, ip, chain, "routing-header", CODE_ERRONEOUS_FIELD, at);
}

function readOptions(view: DataView, ip: number, after: number, chain: Chain): number {
  const isHopByHop = chain.protocol === HEADER_HOP_BY_HOP;
  if (!isHopByHop) chain.unusual = 1;
  for (let at = chain.l4 + FIRST_OPTION; at < after;) {
    const option = view.getUint8(at);
    if (option === OPTION_PAD1) {
      at++;
      continue;
    }
    // The length is missing, or the data, or a part of it.
    const next = at + 1 < after ? at + 2 + view.getUint8(at + 1) : after + 1;
    if (next > after) {
      return fault(view, ip, chain, "option-length", CODE_ERRONEOUS_FIELD, at);
    }
    if (isHopByHop && option === OPTION_ROUTER_ALERT && next === at + 4) chain.routerAlert = 1;
    else if (option !== OPTION_PADN) {
      chain.unusual = 1;
      const action = option >>> ACTION_SHIFT;
      if (action !== ACTION_SKIP) return unknownOption(view, ip, chain, action, at);
    }
    at = next;
  }
  return 0;
}

function unknownOption(
  view: DataView,
  ip: number,
  chain: Chain,
  action: number,
  at: number,
): number {
  const found = fault(view, ip, chain, "unknown-option", CODE_UNKNOWN_OPTION, at);
  if (action === ACTION_DROP) chain.code = SILENT;
  else if (action === ACTION_TELL_ALWAYS) chain.code = CODE_UNKNOWN_OPTION;
  return found;
}

/** What the chain ends in must be known, and in a first fragment have its header with it. */
function checkUpperLayer(view: DataView, ip: number, end: number, chain: Chain): number {
  const { protocol, l4 } = chain;
  if (
    protocol !== PROTOCOL_TCP && protocol !== PROTOCOL_UDP && protocol !== PROTOCOL_ICMPV6 &&
    protocol !== HEADER_NONE
  ) {
    const at = chain.protocolAt;
    return fault(view, ip, chain, "unknown-next-header", CODE_UNKNOWN_NEXT_HEADER, at);
  }
  if (chain.fragment === 0 || isAtomic(view, chain.fragment)) return 0;
  return hasUpperLayer(view, protocol, l4, end) ? 0 : truncated(view, ip, chain, ip);
}

function hasUpperLayer(view: DataView, protocol: number, l4: number, end: number): boolean {
  const available = end - l4;
  if (protocol === PROTOCOL_UDP) return available >= UDP_BYTES;
  if (protocol === PROTOCOL_ICMPV6) return available >= ICMPV6_HEADER_BYTES;
  if (protocol !== PROTOCOL_TCP) return true;
  return available >= TCP_MIN_BYTES &&
    available >= (view.getUint8(l4 + TCP_DATA_OFFSET) >>> 4) * 4;
}

/** The chain goes on beyond the packet; in a first fragment that has a code of its own. */
function truncated(view: DataView, ip: number, chain: Chain, at: number): number {
  if (chain.fragment !== 0 && !isAtomic(view, chain.fragment)) {
    return fault(view, ip, chain, "incomplete-chain", CODE_INCOMPLETE_CHAIN, ip);
  }
  return fault(view, ip, chain, "truncated", CODE_ERRONEOUS_FIELD, at);
}

/** Takes a note of the fault and of how it is told: about a packet to a group, not at all. */
function fault(
  view: DataView,
  ip: number,
  chain: Chain,
  name: keyof typeof ChainFault,
  code: number,
  at: number,
): number {
  chain.code = isMulticast6(view.getInt32(ip + DESTINATION)) ? SILENT : code;
  chain.pointer = at - ip;
  return ChainFault[name];
}
