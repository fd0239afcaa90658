/**
 * What became of a PDU, as data, for those who watch: the console's trace, `explain`, a capture.
 * The appliance has one observer or none; with none the packet path does nothing for it.
 *
 *     isBusy(nowMs) ─ true ──▶ plain segments of this burst take header prediction
 *     wants(nowMs) ─┬─ true ──▶ received(view, pdu) … decided(outcome)
 *                   └─ false ─▶ skipped(decision, nowMs)                 allocates nothing
 *     refused(pdu, reason)      a frame that was dropped before it became a PDU
 *     tick(nowMs)               ten times a second
 */
import type { Address } from "../wire/address.ts";
import type { Pdu } from "../wire/pdu.ts";

export interface Observer {
  /** Most PDUs that it wants in a second; default: as many as come. */
  readonly mostPerSecond?: number;
  /** True while `wants` would say no: a whole burst is asked about at once. */
  isBusy(nowMs: number): boolean;
  /** Whether the PDU at hand is to be observed. */
  wants(nowMs: number): boolean;
  /**
   * A PDU, before anything has been decided: its headers in `view` are still those that came in.
   */
  received(view: DataView, pdu: Readonly<Pdu>): void;
  /** What became of the PDU last `received`. */
  decided(outcome: Outcome): void;
  /** PDUs that were not wanted ended in this decision; default one. */
  skipped(decision: number, nowMs: number, count?: number): void;
  /**
   * A frame was dropped before it became a PDU; of `pdu`, what was read before the fault is set.
   */
  refused(pdu: Readonly<Pdu>, reason: number): void;
  tick(nowMs: number): void;
}

/**
 * What became of a PDU. `pdu` and the frames are the appliance's own: valid during the call only.
 */
export interface Outcome {
  readonly pdu: Readonly<Pdu>;
  /** What was done, by number: DROP where it could not be done. */
  readonly decision: number;
  /** Why it was dropped (`core/reason.ts`), `policy` where the policy decided it; 0: it was not. */
  readonly reason: number;
  /**
   * Number of the tree's node at which it ended; null: an ICMP error about a connection, no tree is
   * asked.
   */
  readonly node: number | null;
  /** Of the decision at that node, if it has one. */
  readonly label: string | null;
  /** True for an ICMP error about a tracked connection. */
  readonly isRelated: boolean;
  /** Backend of the connection by which it was forwarded; null: it was not forwarded. */
  readonly backend: Address | null;
  /** Frames queued because of it, ARP requests included; none for a packet that waits for ARP. */
  readonly sent: readonly SentFrame[];
}

/** A frame that leaves: offset and length in `view`. */
export interface SentFrame {
  /** Number of the link. */
  readonly link: number;
  readonly view: DataView;
  readonly frame: number;
  readonly frameBytes: number;
}
