/** What the appliance counts. */
import { REASON_COUNT } from "../core/reason.ts";
import { DECISION_NAMES } from "../policy/language/ast.ts";

/**
 * Places in `Metrics.counts`, in this order. What is counted by link has two: that of link 0, side
 * A or both, and the next one of link 1.
 */
export const Count = {
  /** Frames that the device delivered. */
  framesIn: 0,
  framesInB: 1,
  /** PDUs that came in there and entered the tree. */
  pdusIn: 2,
  pdusInB: 3,
  pduBytesIn: 4,
  pduBytesInB: 5,
  /** Frames that the device took. */
  framesOut: 6,
  framesOutB: 7,
  /** PDUs that left there: forwarded packets, and replies to PDUs. */
  pdusOut: 8,
  pdusOutB: 9,
  pduBytesOut: 10,
  pduBytesOutB: 11,
  arpIn: 12,
  /** Of the PDUs in and out, those that the kernel has carried. */
  pdusCarried: 13,
  pduBytesCarried: 14,
  /** Messages of Neighbor Discovery and of multicast listeners. */
  neighborIn: 15,
} as const;

/** What is counted by link, of all of them. */
export function ofLinks(counts: Float64Array, place: number): number {
  return counts[place]! + counts[place + 1]!;
}

/**
 * Counts, as doubles from the start: when a field outgrows 31 bits, which in bulk takes two
 * seconds, V8 throws the code away that it has compiled for adding to it.
 */
export class Metrics {
  readonly counts: Float64Array = new Float64Array(Object.keys(Count).length);
  /** By number of the decision. */
  readonly decisions: Float64Array = new Float64Array(DECISION_NAMES.length);
  /** By reason, in the order of `core/reason.ts`. */
  readonly drops: Float64Array = new Float64Array(REASON_COUNT);

  drop(reason: number, count = 1): void {
    this.drops[-reason]! += count;
  }
}
