/** What the appliance counts. */
import { REASON_COUNT } from "../core/reason.ts";
import { DECISION_NAMES } from "../policy/language/ast.ts";

/** Places in `Metrics.counts`. */
export const Count = {
  /** Frames that the device delivered. */
  framesIn: 0,
  arpIn: 1,
  /** PDUs that entered the tree. */
  pdusIn: 2,
  pduBytesIn: 3,
  /** Frames that the device took. */
  framesOut: 4,
  /** PDUs that left: forwarded packets, and replies to PDUs. */
  pdusOut: 5,
  pduBytesOut: 6,
  /** Of both, those that the kernel has carried. */
  pdusCarried: 7,
  pduBytesCarried: 8,
} as const;

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
