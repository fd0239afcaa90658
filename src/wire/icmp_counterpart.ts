/**
 * Which error of one family's ICMP stands for which of the other's (RFC 7915 §4.2, §5.2). A message
 * is its type times 256 and its code; a negative number says that there is none: the error is to be
 * dropped in silence.
 */
import * as icmpv4 from "./icmpv4.ts";
import * as icmpv6 from "./icmpv6.ts";

const NONE = -1;

const NO_ROUTE = icmpv6.ICMPV6_UNREACHABLE << 8 | icmpv6.CODE_NO_ROUTE;
const PROHIBITED = icmpv6.ICMPV6_UNREACHABLE << 8 | icmpv6.CODE_PROHIBITED;

/** By the code of an unreachable message; 14, a precedence, means nothing in IPv6. */
const UNREACHABLE_TO_6: readonly number[] = [
  NO_ROUTE,
  NO_ROUTE,
  icmpv6.ICMPV6_PARAMETER_PROBLEM << 8 | icmpv6.CODE_UNKNOWN_NEXT_HEADER,
  icmpv6.ICMPV6_UNREACHABLE << 8 | icmpv6.CODE_PORT_UNREACHABLE6,
  icmpv6.ICMPV6_PACKET_TOO_BIG << 8,
  NO_ROUTE,
  NO_ROUTE,
  NO_ROUTE,
  NO_ROUTE,
  PROHIBITED,
  PROHIBITED,
  NO_ROUTE,
  NO_ROUTE,
  PROHIBITED,
  NONE,
  PROHIBITED,
];

const HOST_UNREACHABLE = icmpv4.ICMP_UNREACHABLE << 8 | icmpv4.CODE_HOST_UNREACHABLE;

/** Likewise of ICMPv6. */
const UNREACHABLE_TO_4: readonly number[] = [
  HOST_UNREACHABLE,
  icmpv4.ICMP_UNREACHABLE << 8 | icmpv4.CODE_HOST_PROHIBITED,
  HOST_UNREACHABLE,
  HOST_UNREACHABLE,
  icmpv4.ICMP_UNREACHABLE << 8 | icmpv4.CODE_PORT_UNREACHABLE,
];

/** By what an IPv4 header has there: where that is in IPv6's. */
const POINTER_TO_6: readonly number[] = [
  ...[0, 1, 4, 4],
  ...[NONE, NONE, NONE, NONE],
  ...[7, 6, NONE, NONE],
  ...[8, 8, 8, 8],
  ...[24, 24, 24, 24],
];

/** By what an IPv6 header has there: where that is in IPv4's. */
const POINTER_TO_4: readonly number[] = [
  ...[0, 1, NONE, NONE, 2, 2, 9, 8],
  ...new Array<number>(16).fill(12),
  ...new Array<number>(16).fill(16),
];

/** Usual MTUs (RFC 1191 §7.1). */
const PLATEAUS: readonly number[] = [
  ...[65_535, 32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68],
];

/** The message of ICMPv6 for an error of ICMP. */
export function messageTo6(type: number, code: number): number {
  switch (type) {
    case icmpv4.ICMP_UNREACHABLE:
      return UNREACHABLE_TO_6[code] ?? NONE;
    case icmpv4.ICMP_TIME_EXCEEDED:
      return code > icmpv4.CODE_REASSEMBLY_TIME_EXCEEDED
        ? NONE
        : icmpv6.ICMPV6_TIME_EXCEEDED << 8 | code;
    case icmpv4.ICMP_PARAMETER_PROBLEM:
      return code === icmpv4.CODE_POINTER || code === icmpv4.CODE_BAD_LENGTH
        ? icmpv6.ICMPV6_PARAMETER_PROBLEM << 8 | icmpv6.CODE_ERRONEOUS_FIELD
        : NONE;
    default:
      return NONE;
  }
}

/** The message of ICMP for an error of ICMPv6. */
export function messageTo4(type: number, code: number): number {
  switch (type) {
    case icmpv6.ICMPV6_UNREACHABLE:
      return UNREACHABLE_TO_4[code] ?? NONE;
    case icmpv6.ICMPV6_PACKET_TOO_BIG:
      return icmpv4.ICMP_UNREACHABLE << 8 | icmpv4.CODE_FRAGMENTATION_NEEDED;
    case icmpv6.ICMPV6_TIME_EXCEEDED:
      return code > icmpv6.CODE_REASSEMBLY_TIME_EXCEEDED6
        ? NONE
        : icmpv4.ICMP_TIME_EXCEEDED << 8 | code;
    case icmpv6.ICMPV6_PARAMETER_PROBLEM:
      if (code === icmpv6.CODE_ERRONEOUS_FIELD) return icmpv4.ICMP_PARAMETER_PROBLEM << 8;
      return code === icmpv6.CODE_UNKNOWN_NEXT_HEADER
        ? icmpv4.ICMP_UNREACHABLE << 8 | icmpv4.CODE_PROTOCOL_UNREACHABLE
        : NONE;
    default:
      return NONE;
  }
}

/** Where the field of an IPv4 header at `pointer` is in an IPv6 header; negative: nowhere. */
export function pointerTo6(pointer: number): number {
  return POINTER_TO_6[pointer] ?? NONE;
}

/** Likewise the other way round. */
export function pointerTo4(pointer: number): number {
  return POINTER_TO_4[pointer] ?? NONE;
}

/**
 * The likely MTU of a router that does not say which it is, about a packet of that length: the
 * greatest usual one below it.
 */
export function plateauBelow(totalLength: number): number {
  for (let i = 0; i < PLATEAUS.length; i++) {
    if (PLATEAUS[i]! < totalLength) return PLATEAUS[i]!;
  }
  return PLATEAUS[PLATEAUS.length - 1]!;
}
