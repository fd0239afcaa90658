/** Several observers in the place of one: each is told of what it wants, as if it were alone. */
import type { Pdu } from "../wire/pdu.ts";
import { either, type Some } from "./interest.ts";
import type { Observer, Outcome } from "./observer.ts";

/** All of them as one; null: there is none. */
export function together(observers: readonly Observer[]): Observer | null {
  if (observers.length === 0) return null;
  return observers.reduce((first, second) => new Observers(first, second));
}

export class Observers implements Observer {
  readonly seesDrops: boolean;
  readonly #first: Observer;
  readonly #second: Observer;
  readonly #plain = new Either();
  readonly #kept = new Either();
  // Who wants the PDU at hand, and when it came.
  #isFirst = false;
  #isSecond = false;
  #nowMs = 0;

  constructor(first: Observer, second: Observer) {
    this.#first = first;
    this.#second = second;
    this.seesDrops = first.seesDrops || second.seesDrops;
  }

  plain(nowMs: number): Some {
    return this.#plain.of(this.#first.plain(nowMs), this.#second.plain(nowMs));
  }

  kept(nowMs: number, rate: number): Some {
    return this.#kept.of(this.#first.kept(nowMs, rate), this.#second.kept(nowMs, rate));
  }

  wants(nowMs: number, pdu: Pdu): boolean {
    this.#nowMs = nowMs;
    this.#isFirst = this.#first.wants(nowMs, pdu);
    this.#isSecond = this.#second.wants(nowMs, pdu);
    return this.#isFirst || this.#isSecond;
  }

  received(view: DataView, pdu: Readonly<Pdu>, link: number): void {
    if (this.#isFirst) this.#first.received(view, pdu, link);
    if (this.#isSecond) this.#second.received(view, pdu, link);
  }

  takes(pdu: Pdu, decision: number): boolean {
    const nowMs = this.#nowMs;
    if (!this.#isFirst) this.#first.skipped(decision, nowMs);
    if (!this.#isSecond) this.#second.skipped(decision, nowMs);
    this.#isFirst &&= this.#first.takes(pdu, decision);
    this.#isSecond &&= this.#second.takes(pdu, decision);
    return this.#isFirst || this.#isSecond;
  }

  decided(outcome: Outcome): void {
    if (this.#isFirst) this.#first.decided(outcome);
    if (this.#isSecond) this.#second.decided(outcome);
  }

  skipped(decision: number, nowMs: number, count = 1): void {
    this.#first.skipped(decision, nowMs, count);
    this.#second.skipped(decision, nowMs, count);
  }

  refused(pdu: Readonly<Pdu>, reason: number, view: DataView, link: number): void {
    this.#first.refused(pdu, reason, view, link);
    this.#second.refused(pdu, reason, view, link);
  }

  tick(nowMs: number): void {
    this.#first.tick(nowMs);
    this.#second.tick(nowMs);
  }
}

/** `either`, which makes a function only when it is asked for another one. */
class Either {
  #first: Some = "none";
  #second: Some = "none";
  #both: Some = "none";

  of(first: Some, second: Some): Some {
    if (first === this.#first && second === this.#second) return this.#both;
    this.#first = first;
    this.#second = second;
    return this.#both = either(first, second);
  }
}
