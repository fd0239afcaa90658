/**
 * Random PDUs: from the constants of a policy and their neighbours, or out of a set of PDUs. Ports
 * are those of TCP and UDP, and identifiers of echo requests and replies, else 0; flags and types
 * of other protocols are what earlier packets left there. All else is independent, which is more
 * than the wire lets through: any state with any flags, for instance.
 */
import { below, type Random } from "../../../src/core/random.ts";
import type { Predicate } from "../../../src/policy/language/ast.ts";
import { ABSENT, type Box, FIELD, OPAQUE, STRAY } from "../../../src/policy/check/box.ts";
import { EVERYTHING } from "../../../src/policy/check/facts.ts";
import type { Interval } from "../../../src/policy/language/ast.ts";
import { intervalsOf } from "../../../src/policy/check/interval_set.ts";
import { intervalsOf as addressesOf, type Plan } from "../../../src/policy/engine/plan.ts";
import { type Pdu, STATE_ESTABLISHED, STATE_INVALID, STATE_NEW } from "../../../src/wire/pdu.ts";
import { REFUSED_AT } from "./environment.ts";

/** Values by field of `box.ts`. */
export type Constants = readonly number[][];

/** What the plan's predicates name. */
export function constantsOf(plan: Plan): Constants {
  const constants: number[][] = EVERYTHING.boxes[0]!.map(() => []);
  const add = (predicate: Predicate): void => {
    switch (predicate.test) {
      case "not":
        return add(predicate.of);
      case "all":
      case "any":
        return predicate.of.forEach(add);
      case "protocol":
        return void constants[FIELD.protocol]!.push(predicate.number);
      case "address":
        for (const { first, last } of addressesOf(predicate.in, plan.lists)) {
          constants[FIELD[predicate.field]]!.push(first, last);
        }
        return;
      case "port": {
        const fields = predicate.field === "srcPort" ? SOURCE_PORTS : DESTINATION_PORTS;
        constants[FIELD.protocol]!.push(predicate.protocol);
        return predicate.in.forEach(({ first, last }) => {
          for (const field of fields) constants[field]!.push(first, last);
        });
      }
      case "number":
        return predicate.in.forEach(({ first, last }) => {
          constants[FIELD[predicate.field]]!.push(first, last);
        });
      case "tcp-flags":
        constants[FIELD.protocol]!.push(6);
        return void constants[FIELD.tcpFlags]!.push(predicate.set, 255 & ~predicate.clear);
      case "icmp":
        constants[FIELD.protocol]!.push(1);
        constants[FIELD.icmp]!.push(predicate.type << 8 | (predicate.code ?? 0));
    }
  };
  for (const { tree } of plan.nodes) {
    if (tree.node === "first-match") tree.arms.forEach(({ when }) => add(when));
    if (tree.node === "filter") add(tree.when);
  }
  return constants;
}

const SOURCE_PORTS = [FIELD.tcpSrc, FIELD.udpSrc];
const DESTINATION_PORTS = [FIELD.tcpDst, FIELD.udpDst];

/** Fills `pdu` with constants, or with constants ± 1; random values where there are none. */
export function fillNear(pdu: Pdu, constants: Constants, random: Random): void {
  fill(pdu, random, (field, first, last) => {
    const values = constants[field]!;
    if (values.length === 0) return first + below(random, last - first + 1);
    const value = values[below(random, values.length)]! + below(random, 3) - 1;
    return value < first || value > last ? value + (value < first ? 1 : -1) : value;
  });
}

/** A box of `box.ts`, ready to draw from: intervals by field. */
export type Ranges = readonly (readonly Interval[])[];

export function rangesOf(box: Box): Ranges {
  return box.slice(0, OPAQUE).map((set) => intervalsOf(set ?? null));
}

/** Fills `pdu` with one of the PDUs in `ranges`, the edges more often than the rest. */
export function fillWithin(pdu: Pdu, ranges: Ranges, random: Random): void {
  fill(pdu, random, (field, least) => {
    const intervals = ranges[field]!;
    const absent = intervals[0]!.last < least ? 1 : 0;
    const { first, last } = intervals[absent + below(random, intervals.length - absent)]!;
    const from = Math.max(first, least);
    switch (below(random, 4)) {
      case 0:
        return from;
      case 1:
        return last;
      default:
        return from + below(random, last - from + 1);
    }
  }, protocolWithin(ranges, random));
}

/** A protocol that PDUs of these ranges can have. */
function protocolWithin(ranges: Ranges, random: Random): number {
  const isPossible = (number: number): boolean =>
    ranges[FIELD.protocol]!.some(({ first, last }) => first <= number && number <= last) &&
    LAYERS.every(([protocol, fields]) =>
      fields.every((field) =>
        protocol === number
          ? ranges[field]!.at(-1)!.last > ABSENT
          : ranges[field]![0]!.first === ABSENT
      )
    );
  const layers = LAYERS.map(([protocol]) => protocol).filter(isPossible);
  const pick = below(random, layers.length + 1);
  if (pick < layers.length) return layers[pick]!;
  for (let tries = 0; tries < 20; tries++) {
    const intervals = ranges[FIELD.protocol]!;
    const { first, last } = intervals[below(random, intervals.length)]!;
    const protocol = first + below(random, last - first + 1);
    if (isPossible(protocol)) return protocol;
  }
  return layers[0] ?? 255;
}

const LAYERS: readonly (readonly [number, readonly number[]])[] = [
  [6, [FIELD.tcpSrc, FIELD.tcpDst, FIELD.tcpFlags]],
  [17, [FIELD.udpSrc, FIELD.udpDst]],
  [1, [FIELD.icmp]],
];

/** Draws a value of the field, from `first` to `last`. */
type Draw = (field: number, first: number, last: number) => number;

function fill(
  pdu: Pdu,
  random: Random,
  draw: Draw,
  protocol: number = draw(FIELD.protocol, 0, 255),
): void {
  pdu.protocol = protocol;
  pdu.src = draw(FIELD.src, 0, 0xffff_ffff) | 0;
  pdu.dst = draw(FIELD.dst, 0, 0xffff_ffff) | 0;
  pdu.totalLength = draw(FIELD.totalLength, 0, 65_535);
  pdu.ttl = draw(FIELD.ttl, 0, 255);
  pdu.fragment = draw(FIELD.fragment, 0, 1);
  const state = draw(FIELD.state, 0, STRAY);
  pdu.state = Math.min(state, STATE_INVALID);
  // One packet in eight is refused by a step, if it comes to as many.
  pdu.seq = below(random, 8) === 0 ? REFUSED_AT * below(random, 5) : 0;
  pdu.side = draw(FIELD.side, 0, 1);
  pdu.ack = random.uint32() | 0;
  pdu.srcPort = 0;
  pdu.dstPort = 0;
  switch (protocol) {
    case 1: {
      const icmp = draw(FIELD.icmp, 0, 65_535);
      pdu.icmpType = icmp >> 8;
      pdu.icmpCode = icmp & 255;
      if (pdu.icmpType === 8) pdu.srcPort = below(random, 65_536);
      if (pdu.icmpType === 0) pdu.dstPort = below(random, 65_536);
      break;
    }
    case 6:
      pdu.tcpFlags = draw(FIELD.tcpFlags, 0, 255);
      pdu.srcPort = draw(FIELD.tcpSrc, 0, 65_535);
      pdu.dstPort = draw(FIELD.tcpDst, 0, 65_535);
      break;
    case 17:
      pdu.srcPort = draw(FIELD.udpSrc, 0, 65_535);
      pdu.dstPort = draw(FIELD.udpDst, 0, 65_535);
  }
  const known = pdu.state === STATE_ESTABLISHED || state === STATE_INVALID ||
    (pdu.state === STATE_NEW && below(random, 4) === 0);
  pdu.flow = known ? below(random, 16) : -1;
}
