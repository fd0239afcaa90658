/** What it takes to evaluate a policy, and what comes out: shared by the walker and the compiler. */
import type { Pdu } from "../wire/pdu.ts";
import type { ListName } from "./ast.ts";

/**
 * What a scanner or modifier asks of the flow layer. A step checks that it can be done and notes it; it
 * changes nothing until the whole tree has decided. Returns 0 or the reason to drop the PDU.
 */
export type Step = (pdu: Pdu) => number;

export interface Steps {
  readonly track: Step;
  readonly translateAToB: Step;
  readonly translateBToA: Step;
}

export interface Bindings {
  readonly lists: Readonly<Record<ListName, readonly number[]>>;
  readonly steps: Steps;
  /** Each balancer's next branch, by node number: as long as the policy has nodes. */
  readonly positions: Int32Array;
}

/** The decision's number, or the negative of the reason for which a step refused the PDU. */
export type Evaluate = (pdu: Pdu) => number;
