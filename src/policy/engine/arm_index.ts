/**
 * The first arm that holds, out of a run of arms that each ask for one address or one port: a
 * look-up or two for each field that they ask for, however many arms there are.
 */
import type { Pdu } from "../../wire/pdu.ts";
import type { Predicate } from "../language/ast.ts";
import { IntervalMap, NOWHERE } from "./interval_map.ts";
import type { Interval } from "../language/ast.ts";
import { intervalsOf } from "./plan.ts";
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

  /** `predicates` are all `indexable`; an arm's number is its place among them. */
  constructor(
    predicates: readonly Predicate[],
    lists: ReadonlyMap<string, readonly Interval[]>,
  ) {
    const index = (wanted: (predicate: Indexable) => boolean): FieldIndex =>
      new FieldIndex(predicates.flatMap((predicate, id) => {
        if (!indexable(predicate) || !wanted(predicate)) return [];
        const intervals = predicate.test === "port"
          ? predicate.in
          : intervalsOf(predicate.in, lists);
        return intervals.map((interval) => ({ interval, id }));
      }));
    const ports = (protocol: number, field: "srcPort" | "dstPort"): FieldIndex =>
      index((p) => p.test === "port" && p.protocol === protocol && p.field === field);
    this.#src = index((p) => p.test === "address" && p.field === "src");
    this.#dst = index((p) => p.test === "address" && p.field === "dst");
    const protocols = new Set(predicates.flatMap((p) => p.test === "port" ? [p.protocol] : []));
    this.#ports = [...protocols].map((protocol) => ({
      protocol,
      src: ports(protocol, "srcPort"),
      dst: ports(protocol, "dstPort"),
    }));
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

/** One field's values → arms: single values by hash, ranges by binary search. */
class FieldIndex {
  readonly #points: PointMap | null;
  readonly #ranges: IntervalMap | null;

  constructor(ranges: readonly { readonly interval: Interval; readonly id: number }[]) {
    const single = ranges.filter(({ interval: { first, last } }) => first === last);
    const wide = ranges.filter(({ interval: { first, last } }) => first !== last);
    this.#points = single.length === 0
      ? null
      : new PointMap(single.map(({ interval, id }) => ({ value: interval.first, id })));
    this.#ranges = wide.length === 0 ? null : new IntervalMap(wide);
  }

  find(value: number): number {
    const point = this.#points === null ? NOWHERE : this.#points.find(value);
    return this.#ranges === null ? point : Math.min(point, this.#ranges.find(value));
  }
}
