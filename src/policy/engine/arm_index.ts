/**
 * The first arm that holds, out of a run of arms that each ask for one address or one port: a
 * look-up or two for each field that they ask for, however many arms there are.
 */
import type { Slices } from "../../core/slices.ts";
import type { Pdu } from "../../wire/pdu.ts";
import type { Predicate } from "../language/ast.ts";
import { findRange, findRange6, NOWHERE, writeRanges, writeRanges6 } from "./interval_map.ts";
import type { Family, Interval } from "../language/ast.ts";
import { protocolIn } from "./family.ts";
import { type Interval6, intervals6InSlices, intervalsInSlices } from "./address_ranges.ts";
import type { Plan } from "./plan.ts";
import type { NumberWriter } from "./number_writer.ts";
import { findPoint, writePoints } from "./point_map.ts";

type Indexable = Extract<Predicate, { test: "address" | "port" }>;

export function indexable(predicate: Predicate): predicate is Indexable {
  return predicate.test === "address" || predicate.test === "port";
}

/** Where no map is. */
const NONE = -1;

/**
 * Places: maps of points and of ranges of each field, and where the count of protocols is. IPv6
 * addresses are in maps of ranges alone.
 */
const SRC = 0;
const DST = 2;
const PROTOCOLS = 4;

/** Of each protocol: its number, and maps of both fields. */
const PROTOCOL_ROW = 5;

/**
 * Writes an index of these predicates, all `indexable`; where it is. An arm's number is its place
 * among them.
 */
export function* writeArms(
  writer: NumberWriter,
  predicates: Iterable<Predicate>,
  { lists, lists6 }: Pick<Plan, "lists" | "lists6">,
  family: Family,
): Slices<number> {
  const src = new FieldRanges();
  const dst = new FieldRanges();
  const ports = new Map<number, { srcPort: FieldRanges; dstPort: FieldRanges }>();
  let id = -1;
  for (const predicate of predicates) {
    yield;
    id++;
    if (!indexable(predicate)) continue;
    if (predicate.test === "address") {
      const ranges = predicate.field === "src" ? src : dst;
      if (family === 6) yield* ranges.add6(yield* intervals6InSlices(predicate.in, lists6), id);
      else yield* ranges.add(yield* intervalsInSlices(predicate.in, lists), id);
    } else {
      const { field } = predicate;
      const protocol = protocolIn(family, predicate.protocol);
      const fields = ports.get(protocol) ??
        { srcPort: new FieldRanges(), dstPort: new FieldRanges() };
      ports.set(protocol, fields);
      yield* fields[field].add(predicate.in, id);
    }
  }
  const row = [...yield* src.write(writer), ...yield* dst.write(writer), ports.size];
  for (const [protocol, { srcPort, dstPort }] of ports) {
    row.push(protocol, ...yield* srcPort.write(writer), ...yield* dstPort.write(writer));
  }
  return writer.put(row);
}

/** Number of the first arm that holds, in the index at `at`, or NOWHERE. */
export function findArm(numbers: Int32Array, at: number, pdu: Readonly<Pdu>): number {
  return findPort(
    numbers,
    at,
    pdu,
    Math.min(findIn(numbers, at + SRC, pdu.src), findIn(numbers, at + DST, pdu.dst)),
  );
}

/** The same for a packet of IPv6. */
export function findArm6(numbers: Int32Array, at: number, pdu: Readonly<Pdu>): number {
  const { addresses } = pdu;
  return findPort(
    numbers,
    at,
    pdu,
    Math.min(findIn6(numbers, at + SRC, addresses, 0), findIn6(numbers, at + DST, addresses, 4)),
  );
}

/** The first that asks for one of the PDU's ports, if it is before `first`. */
function findPort(numbers: Int32Array, at: number, pdu: Readonly<Pdu>, first: number): number {
  const end = at + PROTOCOLS + 1 + PROTOCOL_ROW * numbers[at + PROTOCOLS]!;
  for (let row = at + PROTOCOLS + 1; row < end; row += PROTOCOL_ROW) {
    if (numbers[row] !== pdu.protocol) continue;
    first = Math.min(
      first,
      findIn(numbers, row + 1, pdu.srcPort),
      findIn(numbers, row + 3, pdu.dstPort),
    );
  }
  return first;
}

/** One field's values → arms: single values by hash, ranges by binary search. */
function findIn(numbers: Int32Array, at: number, value: number): number {
  const points = numbers[at]!;
  const ranges = numbers[at + 1]!;
  const point = points === NONE ? NOWHERE : findPoint(numbers, points, value);
  return ranges === NONE ? point : Math.min(point, findRange(numbers, ranges, value));
}

/** An address's ranges → arms. */
function findIn6(numbers: Int32Array, at: number, words: Int32Array, from: number): number {
  const ranges = numbers[at + 1]!;
  return ranges === NONE ? NOWHERE : findRange6(numbers, ranges, words, from);
}

/** What arms ask of one field. */
class FieldRanges {
  readonly #single: { readonly value: number; readonly id: number }[] = [];
  readonly #wide: { readonly interval: Interval; readonly id: number }[] = [];
  readonly #wide6: { readonly interval: Interval6; readonly id: number }[] = [];

  *add(intervals: readonly Interval[], id: number): Slices<void> {
    for (const interval of intervals) {
      yield;
      const { first, last } = interval;
      if (first === last) this.#single.push({ value: first, id });
      else this.#wide.push({ interval, id });
    }
  }

  *add6(intervals: readonly Interval6[], id: number): Slices<void> {
    for (const interval of intervals) {
      yield;
      this.#wide6.push({ interval, id });
    }
  }

  /** Where its maps are. */
  *write(writer: NumberWriter): Slices<[points: number, ranges: number]> {
    return [
      this.#single.length === 0 ? NONE : yield* writePoints(writer, this.#single),
      this.#wide.length > 0
        ? yield* writeRanges(writer, this.#wide)
        : this.#wide6.length > 0
        ? yield* writeRanges6(writer, this.#wide6)
        : NONE,
    ];
  }
}
