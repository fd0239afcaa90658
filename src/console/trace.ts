/**
 * Which PDUs the console shows. Printing everything would let any sender stop the proxy with a
 * flood, so mode `auto` shows at most 50 PDUs in any second and counts the others, one line a
 * second:
 *
 *     … 1234 more PDUs in the last second: 1000 Forward, 234 Drop
 *
 * On the packet path, in this order:
 *
 *     wants(nowMs) ─┬─ true ──► received(view, pdu) … decided(outcome)   one entry
 *                   └─ false ─► skipped(decision, nowMs)                 a count; allocates nothing
 *
 * The text of a PDU is made in `src/console/pdu_text.ts`.
 */
import type { TraceMode } from "../datapath/config.ts";
import type { Observer, Outcome } from "../datapath/observer.ts";
import { DECISION_NAMES } from "../policy/language/ast.ts";
import type { Pdu } from "../wire/pdu.ts";
import { formatPdu } from "./pdu_text.ts";
import { formatDecision } from "./summary.ts";

/** Where the text goes. Nothing here waits for it. */
export interface Sink {
  /** True while it takes nothing more. */
  readonly full: boolean;
  /** Takes the text whole, or false. */
  offer(text: string): boolean;
}

/** PDUs that mode `auto` shows within any second. */
const PDUS_PER_SECOND = 50;

const SECOND_MS = 1000;

/** Bytes of a PDU that are dumped. */
const SHORT_DUMP_BYTES = 256;
const WHOLE_DUMP_BYTES = 65_535;

export class Trace implements Observer {
  /** Most bytes of one PDU to dump; what is left out shows as `… N more bytes`. */
  readonly dumpLimitBytes: number;

  readonly mostPerSecond: number;

  readonly #mode: TraceMode;
  readonly #outlet: Sink;

  /** When the last 50 PDUs were shown, a ring; `#next` is the oldest. */
  readonly #shownMs = new Float64Array(PDUS_PER_SECOND).fill(-Infinity);
  #next = 0;

  /** PDUs not shown since `#sinceMs`, per decision. */
  readonly #skipped = new Float64Array(DECISION_NAMES.length);
  #sinceMs = -Infinity;
  #received = "";

  constructor(mode: TraceMode, outlet: Sink) {
    this.dumpLimitBytes = mode === "all" ? WHOLE_DUMP_BYTES : SHORT_DUMP_BYTES;
    this.mostPerSecond = mode === "all" ? Infinity : mode === "auto" ? PDUS_PER_SECOND : 0;
    this.#mode = mode;
    this.#outlet = outlet;
  }

  /** True while no PDU would be shown. */
  isBusy(nowMs: number): boolean {
    if (this.#mode === "off") return true;
    const hadEnough = this.#mode === "auto" && nowMs - this.#shownMs[this.#next]! < SECOND_MS;
    return hadEnough || this.#outlet.full;
  }

  /**
   * Whether the PDU at hand is to be shown; if so, it takes one of the second's places. Never true
   * while the console has no room. A true must be followed by `received` and `decided`, a false by
   * `skipped`.
   */
  wants(nowMs: number): boolean {
    if (this.isBusy(nowMs)) return false;
    this.#shownMs[this.#next] = nowMs;
    this.#next = (this.#next + 1) % PDUS_PER_SECOND;
    return true;
  }

  /** Keeps the text of a PDU until its decision is known. */
  received(view: DataView, pdu: Readonly<Pdu>): void {
    this.#received = formatPdu(view, pdu, this.dumpLimitBytes);
  }

  /**
   * Shows the PDU kept by `received` and its decision line, e.g. `Decision : Drop (no-mapping)`.
   */
  decided(outcome: Outcome): void {
    this.#outlet.offer(`${this.#received}${formatDecision(outcome)}\n\n`);
    this.#received = "";
  }

  /** Counts PDUs that are not shown by the number of their decision. */
  skipped(decision: number, nowMs: number, count = 1): void {
    if (this.#mode === "off") return;
    if (this.#sinceMs === -Infinity) this.#sinceMs = nowMs;
    this.#skipped[decision]! += count;
  }

  /** What never became a PDU is counted in the summary only. */
  refused(): void {}

  /** Shows the counting line when it is due; to be called a few times a second or more often. */
  tick(nowMs: number): void {
    const elapsedMs = nowMs - this.#sinceMs;
    if (elapsedMs === Infinity || elapsedMs < SECOND_MS || this.#outlet.full) return;
    this.#outlet.offer(`${this.#countingLine(elapsedMs)}\n\n`);
    this.#skipped.fill(0);
    this.#sinceMs = -Infinity;
  }

  #countingLine(elapsedMs: number): string {
    const counts = DECISION_NAMES
      .map((name, i) => ({ name, count: this.#skipped[i]! }))
      .filter(({ count }) => count > 0)
      .sort((a, b) => b.count - a.count);
    const total = counts.reduce((sum, { count }) => sum + count, 0);
    const seconds = Math.round(elapsedMs / SECOND_MS);
    const when = seconds === 1 ? "in the last second" : `in the last ${seconds} seconds`;
    const list = counts.map(({ name, count }) => `${count} ${name}`).join(", ");
    return `… ${total} more ${total === 1 ? "PDU" : "PDUs"} ${when}: ${list}`;
  }
}
