/**
 * The first arm that holds, out of a run of arms that each ask for one address or one port: a
 * look-up or two for each field that they ask for, however many arms there are.
 */
import type { Slices } from "../../core/slices.ts";
import type { Pdu } from "../../wire/pdu.ts";
import type { Predicate } from "../language/ast.ts";
import { IntervalMap, NOWHERE } from "./interval_map.ts";
import type { Interval } from "../language/ast.ts";
import { intervalsInSlices } from "./plan.ts";
import { PointMap } from "./point_map.ts";

type Indexable = Extract<Predicate, { test: "address" | "port" }>;

export function indexable(predicate: Predicate): predicate is Indexable {
  return predicate.test === "address" || predicate.test === "port";
}

interface PortFields {
  readonly protocol: number;
  readonly src: FieldIndex;
  readonly dst: FieldIndex;
}

export class ArmIndex {
  readonly #src: FieldIndex;
  readonly #dst: FieldIndex;
  readonly #ports: readonly PortFields[];

  private constructor(src: FieldIndex, dst: FieldIndex, ports: readonly PortFields[]) {
    this.#src = src;
    this.#dst = dst;
    this.#ports = ports;
  }

  /** `predicates` are all `indexable`; an arm's number is its place among them. */
  static *of(
    predicates: Iterable<Predicate>,
    lists: ReadonlyMap<string, readonly Interval[]>,
  ): Slices<ArmIndex> {
    const src = new FieldRanges();
    const dst = new FieldRanges();
    const ports = new Map<number, { srcPort: FieldRanges; dstPort: FieldRanges }>();
    let id = -1;
    for (const predicate of predicates) {
      yield;
      id++;
      if (!indexable(predicate)) continue;
      if (predicate.test === "address") {
        const intervals = yield* intervalsInSlices(predicate.in, lists);
        yield* (predicate.field === "src" ? src : dst).add(intervals, id);
      } else {
        const { protocol, field } = predicate;
        const fields = ports.get(protocol) ??
          { srcPort: new FieldRanges(), dstPort: new FieldRanges() };
        ports.set(protocol, fields);
        yield* fields[field].add(predicate.in, id);
      }
    }
    const portFields: PortFields[] = [];
    for (const [protocol, { srcPort, dstPort }] of ports) {
      portFields.push({ protocol, src: yield* srcPort.index(), dst: yield* dstPort.index() });
    }
    return new ArmIndex(yield* src.index(), yield* dst.index(), portFields);
  }

  /** Number of the first arm that holds, or NOWHERE. */
  find(pdu: Readonly<Pdu>): number {
    let first = Math.min(this.#src.find(pdu.src), this.#dst.find(pdu.dst));
    for (let i = 0; i < this.#ports.length; i++) {
      const fields = this.#ports[i]!;
      if (fields.protocol !== pdu.protocol) continue;
      first = Math.min(first, fields.src.find(pdu.srcPort), fields.dst.find(pdu.dstPort));
    }
    return first;
  }
}

/** What arms ask of one field. */
class FieldRanges {
  readonly #single: { readonly value: number; readonly id: number }[] = [];
  readonly #wide: { readonly interval: Interval; readonly id: number }[] = [];

  *add(intervals: readonly Interval[], id: number): Slices<void> {
    for (const interval of intervals) {
      yield;
      const { first, last } = interval;
      if (first === last) this.#single.push({ value: first, id });
      else this.#wide.push({ interval, id });
    }
  }

  *index(): Slices<FieldIndex> {
    return new FieldIndex(
      this.#single.length === 0 ? null : yield* PointMap.of(this.#single),
      this.#wide.length === 0 ? null : yield* IntervalMap.of(this.#wide),
    );
  }
}

/** One field's values → arms: single values by hash, ranges by binary search. */
class FieldIndex {
  readonly #points: PointMap | null;
  readonly #ranges: IntervalMap | null;

  constructor(points: PointMap | null, ranges: IntervalMap | null) {
    this.#points = points;
    this.#ranges = ranges;
  }

  find(value: number): number {
    const point = this.#points === null ? NOWHERE : this.#points.find(value);
    return this.#ranges === null ? point : Math.min(point, this.#ranges.find(value));
  }
}
