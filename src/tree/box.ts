/**
 * A set of PDUs as a product of sets, one for each field:
 *
 *     tcp and not tcp.dport in {22, 80}   is the one box   protocol {6} × tcp.dport {0-21, 23-79, 81-65535} × …
 *
 * TCP ports and flags, UDP ports and ICMP type and code are fields of every PDU, with the value ABSENT
 * where the protocol is another. So each simple test, and its opposite, is about one field, and a box
 * stays a box.
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/ipv4.ts";
import { STATE_INVALID, STATE_NEW } from "../wire/pdu.ts";
import {
  difference,
  has,
  intersection,
  intersects,
  interval,
  type IntervalSet,
  onlyOf,
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

/** Protocols with fields of their own. */
const LAYERS = [
  { protocol: PROTOCOL_TCP, fields: [FIELD.tcpSrc, FIELD.tcpDst, FIELD.tcpFlags] },
  { protocol: PROTOCOL_UDP, fields: [FIELD.udpSrc, FIELD.udpDst] },
  { protocol: PROTOCOL_ICMP, fields: [FIELD.icmp] },
] as const;

/** Not empty; by field. An opaque field that is not there may be 0 or 1. */
export type Box = readonly (IntervalSet | undefined)[];

/** True if the field may have any value. */
export function isWhole(box: Box, field: number): boolean {
  return box[field] === undefined || box[field] === domainOf(field);
}

export function domainOf(field: number): IntervalSet {
  return DOMAINS[field] ?? BIT;
}

/** The box with another set for one field; null: empty. */
export function withField(box: Box, field: number, set: IntervalSet): Box | null {
  if (set === null) return null;
  const made = [...box];
  made[field] = set;
  return field === FIELD.protocol || (field >= FIELD.tcpSrc && field <= FIELD.icmp)
    ? consistent(made)
    : made;
}

/** Takes out what protocol and the fields of protocols forbid each other; null: nothing is left. */
function consistent(box: (IntervalSet | undefined)[]): Box | null {
  for (let again = true; again;) {
    again = false;
    for (const { protocol, fields } of LAYERS) {
      const protocols = box[FIELD.protocol]!;
      const possible = has(protocols, protocol) &&
        fields.every((field) => onlyOf(box[field]!) !== ABSENT);
      const avoidable = onlyOf(protocols) !== protocol &&
        fields.every((field) => has(box[field]!, ABSENT));
      if (!possible && !avoidable) return null;
      if (possible && avoidable) continue;
      if (possible ? onlyOf(protocols) !== protocol : has(protocols, protocol)) {
        const own = interval(protocol, protocol);
        const narrowed = possible ? own : difference(protocols, own);
        if (narrowed === null) return null;
        box[FIELD.protocol] = narrowed;
        again = true;
      }
      for (const field of fields) {
        const old = box[field]!;
        box[field] = possible ? has(old, ABSENT) ? difference(old, ABSENT_ONLY) : old : ABSENT_ONLY;
      }
    }
  }
  return box;
}

const ABSENT_ONLY: IntervalSet = interval(ABSENT, ABSENT);

/** `box` without the PDUs of `other`, in disjoint boxes. */
export function minus(box: Box, other: Box): readonly Box[] {
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
    const piece = withField(rest, field, outside);
    if (piece !== null) pieces.push(piece);
    rest = withField(rest, field, intersection(old, other[field]!));
  }
  return pieces;
}
