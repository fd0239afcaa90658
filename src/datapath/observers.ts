/** Two observers in the place of one: each is told of what it wants, as if it were alone. */
import type { Pdu } from "../wire/pdu.ts";
import type { Observer, Outcome } from "./observer.ts";

export class Observers implements Observer {
  readonly #first: Observer;
  readonly #second: Observer;
  // Who wants the PDU at hand, and when it came.
  #isFirst = false;
  #isSecond = false;
  #nowMs = 0;

  constructor(first: Observer, second: Observer) {
    this.#first = first;
    this.#second = second;
  }

  get mostPerSecond(): number {
    const [first, second] = [this.#first, this.#second];
    return Math.max(first.mostPerSecond ?? Infinity, second.mostPerSecond ?? Infinity);
  }

  isBusy(nowMs: number): boolean {
    return this.#first.isBusy(nowMs) && this.#second.isBusy(nowMs);
  }

  wants(nowMs: number): boolean {
    this.#nowMs = nowMs;
    this.#isFirst = this.#first.wants(nowMs);
    this.#isSecond = this.#second.wants(nowMs);
    return this.#isFirst || this.#isSecond;
  }

  received(view: DataView, pdu: Readonly<Pdu>): void {
    if (this.#isFirst) this.#first.received(view, pdu);
    if (this.#isSecond) this.#second.received(view, pdu);
  }

  decided(outcome: Outcome): void {
    if (this.#isFirst) this.#first.decided(outcome);
    else this.#first.skipped(outcome.decision, this.#nowMs);
    if (this.#isSecond) this.#second.decided(outcome);
    else this.#second.skipped(outcome.decision, this.#nowMs);
  }

  skipped(decision: number, nowMs: number, count = 1): void {
    this.#first.skipped(decision, nowMs, count);
    this.#second.skipped(decision, nowMs, count);
  }

  refused(pdu: Readonly<Pdu>, reason: number): void {
    this.#first.refused(pdu, reason);
    this.#second.refused(pdu, reason);
  }

  tick(nowMs: number): void {
    this.#first.tick(nowMs);
    this.#second.tick(nowMs);
  }
}
