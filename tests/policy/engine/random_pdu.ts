/**
 * Random PDUs: from the constants of a policy and their neighbours, or out of a set of PDUs. Ports
 * are those of TCP and UDP, and identifiers of echo requests and replies, else 0; flags and types
 * of other protocols are what earlier packets left there. All else is independent, which is more
 * than the wire lets through: any state with any flags, for instance.
 */
import { below, type Random } from "../../../src/core/random.ts";
import type { Predicate } from "../../../src/policy/language/ast.ts";
import type { AddressSpace } from "../../../src/policy/check/address_space.ts";
import {
  ABSENT,
  type Box,
  FIELD,
  icmpValue,
  OPAQUE,
  protocolValue,
  STRAY,
} from "../../../src/policy/check/box.ts";
import { EVERYTHING } from "../../../src/policy/check/facts.ts";
import type { Family, Interval } from "../../../src/policy/language/ast.ts";
import { icmpKindIn } from "../../../src/policy/language/icmp_words.ts";
import { intervalsOf } from "../../../src/policy/check/interval_set.ts";
import {
  intervals6Of,
  intervalsOf as addressesOf,
} from "../../../src/policy/engine/address_ranges.ts";
import type { Plan } from "../../../src/policy/engine/plan.ts";
import { addressOfWords, wordsOf } from "../../../src/wire/host_address.ts";
import {
  OVER_IPV6,
  type Pdu,
  STATE_ESTABLISHED,
  STATE_INVALID,
  STATE_NEW,
} from "../../../src/wire/pdu.ts";
import { REFUSED_AT } from "./environment.ts";

/** What a plan's predicates name: values by field of `box.ts`, and IPv6 addresses. */
export interface Constants {
  readonly values: readonly number[][];
  readonly addresses6: { readonly src: bigint[]; readonly dst: bigint[] };
}

/** What the plan's predicates name. */
export function constantsOf(plan: Plan): Constants {
  const values: number[][] = EVERYTHING.boxes[0]!.map(() => []);
  const addresses6 = { src: [] as bigint[], dst: [] as bigint[] };
  const addProtocol = (number: number): void => {
    values[FIELD.protocol]!.push(number, protocolValue(6, number === 1 ? 58 : number));
  };
  const add = (predicate: Predicate): void => {
    switch (predicate.test) {
      case "not":
        return add(predicate.of);
      case "all":
      case "any":
        return predicate.of.forEach(add);
      case "protocol":
        return addProtocol(predicate.number);
      case "address":
        for (const { first, last } of addressesOf(predicate.in, plan.lists)) {
          values[FIELD[predicate.field]]!.push(first, last);
        }
        if (!plan.environment.isIpv6On) return;
        for (const { first, last } of intervals6Of(predicate.in, plan.lists6)) {
          addresses6[predicate.field].push(first, last);
        }
        return;
      case "port": {
        const fields = predicate.field === "srcPort" ? SOURCE_PORTS : DESTINATION_PORTS;
        addProtocol(predicate.protocol);
        return predicate.in.forEach(({ first, last }) => {
          for (const field of fields) values[field]!.push(first, last);
        });
      }
      case "number":
        return predicate.in.forEach(({ first, last }) => {
          values[FIELD[predicate.field]]!.push(first, last);
        });
      case "tcp-flags":
        addProtocol(6);
        return void values[FIELD.tcpFlags]!.push(predicate.set, 255 & ~predicate.clear);
      case "icmp":
      case "icmpv6":
        addProtocol(1);
        for (const family of [4, 6] as const) {
          const kind = icmpKindIn(predicate, family);
          if (kind !== null) values[FIELD.icmp]!.push(icmpValue(family, kind.type, kind.code ?? 0));
        }
    }
  };
  for (const { tree } of plan.nodes) {
    if (tree.node === "first-match") tree.arms.forEach(({ when }) => add(when));
    if (tree.node === "filter") add(tree.when);
  }
  return { values, addresses6 };
}

const SOURCE_PORTS = [FIELD.tcpSrc, FIELD.udpSrc];
const DESTINATION_PORTS = [FIELD.tcpDst, FIELD.udpDst];

/**
 * Fills `pdu`, of this family, with constants, or with constants ± 1; random values where there are
 * none.
 */
export function fillNear(
  pdu: Pdu,
  { values, addresses6 }: Constants,
  random: Random,
  family: Family = 4,
): void {
  const draw: Draw = (field, first, last) => {
    const own = values[field]!.filter((value) => first <= value && value <= last);
    if (own.length === 0) return first + below(random, last - first + 1);
    const value = own[below(random, own.length)]! + below(random, 3) - 1;
    return value < first || value > last ? value + (value < first ? 1 : -1) : value;
  };
  const address6 = (field: "src" | "dst"): bigint => {
    const own = addresses6[field];
    if (own.length === 0) return randomAddress6(random, 0n, MAX_ADDRESS6);
    return BigInt.asUintN(128, own[below(random, own.length)]! + BigInt(below(random, 3) - 1));
  };
  const protocol = draw(FIELD.protocol, protocolValue(family, 0), protocolValue(family, 255));
  fill(pdu, random, draw, address6, protocol);
}

/** A box of `box.ts`, ready to draw from: intervals by field. */
export type Ranges = readonly (readonly Interval[])[];

export function rangesOf(box: Box): Ranges {
  return box.slice(0, OPAQUE).map((set) => intervalsOf(set ?? null));
}

/**
 * Fills `pdu` with one of the PDUs in `ranges`, the edges more often than the rest; `space` says
 * which address a number of IPv6 is.
 */
export function fillWithin(
  pdu: Pdu,
  ranges: Ranges,
  random: Random,
  space: AddressSpace,
): void {
  const draw: Draw = (field, least, most) => {
    const intervals = within(ranges[field]!, least, most);
    const { first, last } = intervals[below(random, intervals.length)]!;
    switch (below(random, 4)) {
      case 0:
        return first;
      case 1:
        return last;
      default:
        return first + below(random, Math.min(0x1_0000_0000, last - first + 1));
    }
  };
  const address6 = (field: "src" | "dst"): bigint => {
    const { first, last } = space.stretchAt(draw(FIELD[field], 0x1_0000_0000, Infinity));
    return [first, last, randomAddress6(random, first, last)][below(random, 3)]!;
  };
  fill(pdu, random, draw, address6, protocolWithin(ranges, random));
}

/** The intervals as far as they are from `least` to `most`. */
function within(intervals: readonly Interval[], least: number, most: number): Interval[] {
  return intervals.filter(({ first, last }) => last >= least && first <= most)
    .map(({ first, last }) => ({ first: Math.max(first, least), last: Math.min(last, most) }));
}

const MAX_ADDRESS6 = (1n << 128n) - 1n;

function randomAddress6(random: Random, first: bigint, last: bigint): bigint {
  const words = Int32Array.from({ length: 4 }, () => random.uint32());
  return first + addressOfWords(words) % (last - first + 1n);
}

/** Value of a protocol that PDUs of these ranges can have. */
function protocolWithin(ranges: Ranges, random: Random): number {
  const isPossible = (value: number): boolean => {
    const isOfIpv6 = value >= protocolValue(6, 0);
    const [least, most] = isOfIpv6 ? [0x1_0000_0000, Infinity] : [0, 0xffff_ffff];
    const [leastIcmp, mostIcmp] = isOfIpv6
      ? [icmpValue(6, 0, 0), icmpValue(6, 255, 255)]
      : [0, icmpValue(4, 255, 255)];
    return within(ranges[FIELD.protocol]!, value, value).length > 0 &&
      within(ranges[FIELD.src]!, least, most).length > 0 &&
      within(ranges[FIELD.dst]!, least, most).length > 0 &&
      LAYERS.every(([protocols, fields]) =>
        fields.every((field) =>
          !protocols.includes(value)
            ? ranges[field]![0]!.first === ABSENT
            : field === FIELD.icmp
            ? within(ranges[field]!, leastIcmp, mostIcmp).length > 0
            : ranges[field]!.at(-1)!.last > ABSENT
        )
      );
  };
  const layers = LAYERS.flatMap(([protocols]) => protocols).filter(isPossible);
  const pick = below(random, layers.length + 1);
  if (pick < layers.length) return layers[pick]!;
  for (let tries = 0; tries < 20; tries++) {
    const intervals = ranges[FIELD.protocol]!;
    const { first, last } = intervals[below(random, intervals.length)]!;
    const protocol = first + below(random, last - first + 1);
    if (isPossible(protocol)) return protocol;
  }
  return layers[0] ?? (isPossible(protocolValue(6, 255)) ? protocolValue(6, 255) : 255);
}

const LAYERS: readonly (readonly [readonly number[], readonly number[]])[] = [
  [[6, protocolValue(6, 6)], [FIELD.tcpSrc, FIELD.tcpDst, FIELD.tcpFlags]],
  [[17, protocolValue(6, 17)], [FIELD.udpSrc, FIELD.udpDst]],
  [[1, protocolValue(6, 58)], [FIELD.icmp]],
];

/** Draws a value of the field, from `first` to `last`. */
type Draw = (field: number, first: number, last: number) => number;

function fill(
  pdu: Pdu,
  random: Random,
  draw: Draw,
  address6: (field: "src" | "dst") => bigint,
  protocol: number,
): void {
  const isOfIpv6 = protocol >= protocolValue(6, 0);
  const number = protocol & 255;
  if (isOfIpv6) {
    pdu.protocol = OVER_IPV6 | number;
    pdu.addresses.set(wordsOf(address6("src")), 0);
    pdu.addresses.set(wordsOf(address6("dst")), 4);
    pdu.src = random.uint32() | 0; // a digest, for which nothing may ask
    pdu.dst = random.uint32() | 0;
  } else {
    pdu.protocol = number;
    pdu.src = draw(FIELD.src, 0, 0xffff_ffff) | 0;
    pdu.dst = draw(FIELD.dst, 0, 0xffff_ffff) | 0;
  }
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
  switch (number) {
    case isOfIpv6 ? 58 : 1: {
      const family = isOfIpv6 ? 6 : 4;
      const icmp = draw(FIELD.icmp, icmpValue(family, 0, 0), icmpValue(family, 255, 255));
      pdu.icmpType = (icmp >> 8) & 255;
      pdu.icmpCode = icmp & 255;
      if (pdu.icmpType === (isOfIpv6 ? 128 : 8)) pdu.srcPort = below(random, 65_536);
      if (pdu.icmpType === (isOfIpv6 ? 129 : 0)) pdu.dstPort = below(random, 65_536);
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
