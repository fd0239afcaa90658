/**
 * A set of PDUs as a product of sets, one for each field:
 *
 *     tcp and not tcp.dport in {22, 80}   is the one box
 *     protocol {6} × tcp.dport {0-21, 23-79, 81-65535} × …
 *
 * TCP ports and flags, UDP ports and ICMP type and code are fields of every PDU, with the value
 * ABSENT where the protocol is another. So each simple test, and its opposite, is about one field,
 * and a box stays a box. What fields forbid each other say the _kinds_ of PDUs: a box in which
 * there is none of any kind is empty.
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { STATE_INVALID, STATE_NEW } from "../../wire/pdu.ts";
import type { Interval } from "../language/ast.ts";
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
  protocol: 0,
  src: 1,
  dst: 2,
  tcpSrc: 3,
  tcpDst: 4,
  tcpFlags: 5,
  udpSrc: 6,
  udpDst: 7,
  /** Type · 256 + code. */
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

/** All values of each field. */
export const DOMAINS: readonly IntervalSet[] = [
  interval(0, 255),
  interval(0, 0xffff_ffff),
  interval(0, 0xffff_ffff),
  interval(ABSENT, 65_535),
  interval(ABSENT, 65_535),
  interval(ABSENT, 255),
  interval(ABSENT, 65_535),
  interval(ABSENT, 65_535),
  interval(ABSENT, 65_535),
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

/** Fields of protocols. */
const OWN_FIELDS: ReadonlyMap<number | null, readonly number[]> = new Map([
  [PROTOCOL_TCP, [FIELD.tcpSrc, FIELD.tcpDst, FIELD.tcpFlags]],
  [PROTOCOL_UDP, [FIELD.udpSrc, FIELD.udpDst]],
  [PROTOCOL_ICMP, [FIELD.icmp]],
  [null, []],
]);

/** The protocols that have fields of their own, and last, as null, those that do not. */
export const LAYERS: readonly { readonly protocol: number | null; readonly kind: Kind }[] = [
  ...OWN_FIELDS.keys(),
].map((protocol) => ({ protocol, kind: layerOf(protocol) }));

/** What protocols and their fields forbid each other. */
export const SHAPES: readonly Kind[] = LAYERS.map(({ kind }) => kind);

function layerOf(protocol: number | null): Kind {
  const others = unionOf([...OWN_FIELDS.keys()].flatMap((n) => n === null ? [] : point(n)));
  const present = (
    field: number,
  ): Kind[number] => [field, difference(DOMAINS[field]!, ABSENT_ONLY)];
  const absent = (field: number): Kind[number] => [field, ABSENT_ONLY];
  return [
    [
      FIELD.protocol,
      protocol === null
        ? difference(DOMAINS[FIELD.protocol]!, others)
        : interval(protocol, protocol),
    ],
    ...[...OWN_FIELDS].flatMap(([owner, fields]) =>
      fields.map(owner === protocol ? present : absent)
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
