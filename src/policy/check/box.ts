/**
 * A set of PDUs as a product of sets, one for each field:
 *
 *     tcp and not tcp.dport in {22, 80}   is the one box
 *     protocol {6} × tcp.dport {0-21, 23-79, 81-65535} × …
 *
 * Protocols, addresses and ICMP messages of IPv4 and of IPv6 are different values of one field. TCP
 * ports and flags, UDP ports and ICMP type and code are fields of every PDU, with the value ABSENT
 * where the protocol is another. So each simple test, and its opposite, is about one field,
 * and a box stays a box. What fields forbid each other say the _kinds_ of PDUs: a box in which
 * there is none of any kind is empty.
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { STATE_INVALID, STATE_NEW } from "../../wire/pdu.ts";
import { PROTOCOL_ICMPV6 } from "../../wire/ipv6.ts";
import type { Family, Interval } from "../language/ast.ts";
import { ALL_ADDRESSES, ALL_IPV4, ALL_IPV6 } from "./address_space.ts";
import {
  difference,
  intersection,
  intersects,
  interval,
  type IntervalSet,
  unionOf,
} from "./interval_set.ts";

/** Value of a field that the PDU does not have. */
export const ABSENT = -1;

/** State of an invalid PDU that is stray; STATE_INVALID is that of one which is not. */
export const STRAY = STATE_INVALID + 1;

export const FIELD = {
  /** By `protocolValue`. */
  protocol: 0,
  /** By `AddressSpace`, as `dst`. */
  src: 1,
  dst: 2,
  tcpSrc: 3,
  tcpDst: 4,
  tcpFlags: 5,
  udpSrc: 6,
  udpDst: 7,
  /** Type · 256 + code, by `icmpValue`. */
  icmp: 8,
  totalLength: 9,
  ttl: 10,
  fragment: 11,
  /** As `Pdu.state`, or STRAY. */
  state: 12,
  side: 13,
  /** 1: the address is a backend's; where the backends are not known. */
  srcIsBackend: 14,
  dstIsBackend: 15,
} as const;

/** Fields from here on are users' predicates and the like: 1 where they hold. */
export const OPAQUE = 16;

/** Both values of a field that says yes or no. */
export const BIT: IntervalSet = interval(0, 1);

/** What IPv6 adds to protocol numbers, and to types and codes of ICMP. */
const IPV6_PROTOCOLS = 256;
const IPV6_MESSAGES = 65_536;

/** Value of a protocol number in a packet of a family. */
export function protocolValue(family: Family, number: number): number {
  return family === 4 ? number : IPV6_PROTOCOLS + number;
}

/** Value of an ICMP message with its type and code there. */
export function icmpValue(family: Family, type: number, code: number): number {
  return (family === 4 ? 0 : IPV6_MESSAGES) + (type << 8 | code);
}

/** All values of each field. */
export const DOMAINS: readonly IntervalSet[] = [
  interval(0, protocolValue(6, 255)),
  ALL_ADDRESSES,
  ALL_ADDRESSES,
  interval(ABSENT, 65_535),
  interval(ABSENT, 65_535),
  interval(ABSENT, 255),
  interval(ABSENT, 65_535),
  interval(ABSENT, 65_535),
  interval(ABSENT, icmpValue(6, 255, 255)),
  interval(0, 65_535),
  interval(0, 255),
  BIT,
  interval(STATE_NEW, STRAY),
  BIT,
  BIT,
  BIT,
];

/** One kind of PDU: what it has in some fields. */
export type Kind = readonly (readonly [field: number, set: IntervalSet])[];

const ABSENT_ONLY: IntervalSet = interval(ABSENT, ABSENT);

/** What has fields of its own, and last what does not. */
export type Layer = "tcp" | "udp" | "icmp" | "other";

const OWN_FIELDS: Readonly<Record<Layer, readonly number[]>> = {
  tcp: [FIELD.tcpSrc, FIELD.tcpDst, FIELD.tcpFlags],
  udp: [FIELD.udpSrc, FIELD.udpDst],
  icmp: [FIELD.icmp],
  other: [],
};
const LAYERS = Object.keys(OWN_FIELDS) as readonly Layer[];

/** What a family has in fields. */
const FAMILIES = {
  4: {
    protocols: interval(0, protocolValue(4, 255)),
    addresses: ALL_IPV4,
    messages: interval(0, icmpValue(4, 255, 255)),
    numbers: { tcp: PROTOCOL_TCP, udp: PROTOCOL_UDP, icmp: PROTOCOL_ICMP },
  },
  6: {
    protocols: interval(protocolValue(6, 0), protocolValue(6, 255)),
    addresses: ALL_IPV6,
    messages: interval(icmpValue(6, 0, 0), icmpValue(6, 255, 255)),
    numbers: { tcp: PROTOCOL_TCP, udp: PROTOCOL_UDP, icmp: PROTOCOL_ICMPV6 },
  },
} as const;

/** All protocols of a family: PDUs of it have these and no others. */
export function protocolsOf(family: Family): IntervalSet {
  return FAMILIES[family].protocols;
}

/** What families, protocols and their fields forbid each other. */
export const SHAPES: readonly Kind[] = ([4, 6] as const).flatMap((family) =>
  LAYERS.map((layer) => shapeOf(family, layer))
);

/** PDUs of this protocol over this family. */
export function shapeOf(family: Family, layer: Layer): Kind {
  const { protocols, addresses, messages, numbers } = FAMILIES[family];
  const values = Object.values(numbers).map((number) => protocolValue(family, number));
  const own = layer === "other" ? null : protocolValue(family, numbers[layer]);
  return [
    [
      FIELD.protocol,
      own === null ? difference(protocols, unionOf(values.flatMap(point))) : interval(own, own),
    ],
    [FIELD.src, addresses],
    [FIELD.dst, addresses],
    ...LAYERS.flatMap((owner) =>
      OWN_FIELDS[owner].map((field): Kind[number] => {
        if (owner !== layer) return [field, ABSENT_ONLY];
        return [field, layer === "icmp" ? messages : difference(DOMAINS[field]!, ABSENT_ONLY)];
      })
    ),
  ];
}

function point(value: number): readonly Interval[] {
  return [{ first: value, last: value }];
}

/** Not empty; by field. An opaque field that is not there may be 0 or 1. */
export type Box = readonly (IntervalSet | undefined)[];

/** True if the field may have any value. */
export function isWhole(box: Box, field: number): boolean {
  return box[field] === undefined || box[field] === domainOf(field);
}

export function domainOf(field: number): IntervalSet {
  return DOMAINS[field] ?? BIT;
}

/** The box with another set for one field; null: no PDU of `kinds` is in it. */
export function withField(
  box: Box,
  field: number,
  set: IntervalSet,
  kinds: readonly Kind[],
): Box | null {
  if (set === null) return null;
  const made = [...box];
  made[field] = set;
  return holdsSome(made, kinds) ? made : null;
}

/** True if a PDU of one of the kinds is in the box. */
export function holdsSome(box: Box, kinds: readonly Kind[]): boolean {
  return kinds.some((kind) =>
    kind.every(([field, set]) => isWhole(box, field) || intersects(box[field]!, set))
  );
}

/** `box` without the PDUs of `other`, in disjoint boxes, as far as they are of one of `kinds`. */
export function minus(box: Box, other: Box, kinds: readonly Kind[]): readonly Box[] {
  const fields: number[] = [];
  for (let field = 0; field < other.length; field++) {
    if (isWhole(other, field)) continue;
    if (!intersects(box[field] ?? domainOf(field), other[field]!)) return [box];
    fields.push(field);
  }
  const pieces: Box[] = [];
  let rest: Box | null = box;
  for (const field of fields) {
    if (rest === null) break;
    const old: IntervalSet = rest[field] ?? domainOf(field);
    const outside = difference(old, other[field]!);
    if (outside === null) continue;
    const piece = withField(rest, field, outside, kinds);
    if (piece !== null) pieces.push(piece);
    rest = withField(rest, field, intersection(old, other[field]!), kinds);
  }
  return pieces;
}
