/**
 * What became of a PDU, as data, for those who watch: the console's trace, `explain`, a capture.
 * The appliance has observers or none; with none the packet path does nothing for them.
 *
 *     plain(nowMs)              which plain segments of this burst don't take header prediction
 *     wants(nowMs, pdu) ─┬─ true ──▶ received(view, pdu) … takes(…) ─ true ──▶ decided(outcome)
 *                        └─ false ─▶ skipped(decision, nowMs)          allocates nothing
 *     refused(pdu, reason)      a frame that was dropped before it became a PDU
 *     tick(nowMs)               ten times a second
 */
import type { HostAddress } from "../wire/host_address.ts";
import type { Pdu } from "../wire/pdu.ts";
import type { Some } from "./interest.ts";

export interface Observer {
  /** Which plain PDUs it wants; a whole burst is asked about at once. */
  plain(nowMs: number): Some;
  /**
   * Connections of which it wants to see all plain PDUs, told by one of them, while the kernel
   * carries `rate` PDUs a second of others.
   */
  kept(nowMs: number, rate: number): Some;
  /** It wants plain PDUs that were dropped, too, whatever `plain` says. */
  readonly seesDrops: boolean;
  /** Whether the PDU at hand may be wanted: its headers are known, its state and side are not. */
  wants(nowMs: number, pdu: Pdu): boolean;
  /**
   * A PDU, before anything has been decided: its headers in `view` are still those that came in,
   * by the link of that number.
   */
  received(view: DataView, pdu: Readonly<Pdu>, link: number): void;
  /** Whether it wants the PDU last `received`, now that all is known of it. */
  takes(pdu: Pdu, decision: number): boolean;
  /** What became of it. */
  decided(outcome: Outcome): void;
  /** PDUs that were not wanted ended in this decision; default one. */
  skipped(decision: number, nowMs: number, count?: number): void;
  /**
   * A frame was dropped before it became a PDU; of `pdu`, what was read before the fault is set.
   */
  refused(pdu: Readonly<Pdu>, reason: number, view: DataView, link: number): void;
  tick(nowMs: number): void;
  /** Default: it wants no frames but those of PDUs. With it `plain` is "all". */
  readonly frames?: FrameWatcher | null;
}

/** Is handed every frame, whatever it is and becomes: `frameBytes` bytes at `frame` in `view`. */
export interface FrameWatcher {
  /** It came in by that link, and nothing has been done with it. */
  arrived(link: number, view: DataView, frame: number, frameBytes: number, nowMs: number): void;
  /** It has left. */
  left(link: number, view: DataView, frame: number, frameBytes: number, nowMs: number): void;
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
  readonly backend: HostAddress | null;
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
