/**
 * Which PDUs the console shows. Printing everything would let any sender stop the proxy with a
 * flood, so mode `auto` shows at most 50 PDUs in any second and counts the others, one line a
 * second:
 *
 *     … 1234 more PDUs in the last second: 1000 Forward, 234 Drop
 *
 * `drops` and a filter show and count as many of theirs, and nothing is done for any other.
 *
 * On the packet path, in this order:
 *
 *     wants(nowMs, pdu) ─┬─ true ──► received(view, pdu) … takes(…) … decided(outcome)   one entry
 *                        └─ false ─► skipped(decision, nowMs)      a count; allocates nothing
 *
 * The text of a PDU is made in `src/console/pdu_text.ts`.
 */
import type { TraceMode } from "../datapath/config.ts";
import { type Asked, type Interest, interestIn, type Some } from "../datapath/interest.ts";
import type { Observer, Outcome } from "../datapath/observer.ts";
import { DECISION_NAMES, DROP } from "../policy/language/ast.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { parsePredicate } from "../policy/notation/parse_one_predicate.ts";
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

/** PDUs that are shown within any second, but for mode `all`. */
const PDUS_PER_SECOND = 50;

const SECOND_MS = 1000;

/** Bytes of a PDU that are dumped. */
const SHORT_DUMP_BYTES = 256;
const WHOLE_DUMP_BYTES = 65_535;

/**
 * The trace of that mode; null: nothing is shown. Throws a SyntaxError that says where its filter
 * is wrong, which may name lists of the policy and the user's functions.
 */
export function traceOf(
  mode: TraceMode,
  outlet: Sink,
  asked: Asked,
  customs: Customs,
): Trace | null {
  if (mode === "off") return null;
  if (typeof mode === "string") return new Trace(mode, outlet);
  try {
    const when = parsePredicate(mode.filter, asked.policy, customs);
    return new Trace("filter", outlet, interestIn(when, asked));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new SyntaxError(`--trace: ${error.message}`);
  }
}

/** `auto`, unless told. */
export function formatTraceMode(mode: TraceMode): string {
  return typeof mode === "string" ? mode : mode.filter;
}

export class Trace implements Observer {
  /** Most bytes of one PDU to dump; what is left out shows as `… N more bytes`. */
  readonly dumpLimitBytes: number;

  readonly #mode: Extract<TraceMode, string> | "filter";
  readonly #outlet: Sink;
  /** Of the filter. */
  readonly #interest: Interest | null;

  /** When the last 50 PDUs were shown, a ring; `#next` is the oldest. */
  readonly #shownMs = new Float64Array(PDUS_PER_SECOND).fill(-Infinity);
  #next = 0;

  /** PDUs not shown since `#sinceMs`, per decision. */
  readonly #skipped = new Float64Array(DECISION_NAMES.length);
  #sinceMs = -Infinity;
  /** When the PDU at hand came, and its text; empty: it is made when it is shown. */
  #nowMs = 0;
  #received = "";
  #view: DataView | null = null;

  /** With the `interest` of the filter, if that is the mode. */
  constructor(
    mode: Extract<TraceMode, string> | "filter",
    outlet: Sink,
    interest: Interest | null = null,
  ) {
    this.dumpLimitBytes = mode === "all" ? WHOLE_DUMP_BYTES : SHORT_DUMP_BYTES;
    this.#mode = mode;
    this.#outlet = outlet;
    this.#interest = interest;
  }

  /** It hears of drops afterwards; what its filter is for counts if it is not shown. */
  plain(nowMs: number): Some {
    if (this.#mode === "drops") return "none";
    return this.#interest?.holds ?? (this.#isBusy(nowMs) ? "none" : "all");
  }

  /** Beside `all`, what the kernel carries is too much to be shown anyway, or soon will be. */
  kept(nowMs: number, rate: number): Some {
    switch (this.#mode) {
      case "all":
        return "all";
      case "auto":
        return this.#isBusy(nowMs) || rate > PDUS_PER_SECOND ? "none" : "all";
      default:
        return this.#interest?.mayHoldLater ?? "none";
    }
  }

  get seesDrops(): boolean {
    return this.#mode === "drops";
  }

  /** True while no PDU would be shown. */
  #isBusy(nowMs: number): boolean {
    if (this.#mode === "off") return true;
    const hadEnough = this.#mode !== "all" && nowMs - this.#shownMs[this.#next]! < SECOND_MS;
    return hadEnough || this.#outlet.full;
  }

  /**
   * Whether the PDU at hand may be shown. A true must be followed by `received` and `takes`, and
   * that, if it is true, by `decided`; a false by `skipped`.
   */
  wants(nowMs: number, pdu: Pdu): boolean {
    this.#nowMs = nowMs;
    if (this.#interest !== null) return this.#interest.mayHold(pdu);
    return this.#mode === "drops" || !this.#isBusy(nowMs);
  }

  /** Keeps the text of a PDU until its decision is known. */
  received(view: DataView, pdu: Readonly<Pdu>): void {
    this.#view = view;
    const isShown = this.#mode !== "drops" && !this.#isBusy(this.#nowMs);
    this.#received = isShown ? formatPdu(view, pdu, this.dumpLimitBytes) : "";
  }

  /** Whether the PDU is shown; if so, it takes one of the second's places, else it is counted. */
  takes(pdu: Pdu, decision: number): boolean {
    if (this.#mode === "drops" && decision !== DROP) return false;
    if (this.#interest !== null && !this.#interest.holds(pdu)) return false;
    if (this.#isBusy(this.#nowMs)) {
      this.#count(decision, this.#nowMs, 1);
      return false;
    }
    this.#shownMs[this.#next] = this.#nowMs;
    this.#next = (this.#next + 1) % PDUS_PER_SECOND;
    if (this.#received === "") this.#received = formatPdu(this.#view!, pdu, this.dumpLimitBytes);
    return true;
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
    if (this.#mode === "auto" || this.#mode === "all") this.#count(decision, nowMs, count);
  }

  #count(decision: number, nowMs: number, count: number): void {
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
