/**
 * Multicast Listener Discovery, a listener's part (RFC 3810, RFC 9777): tells routers and switches
 * which groups the proxy listens to, so that solicitations come through. To a querier that knows
 * only version 1 it answers in that (RFC 3810 §8.2).
 */
import { below, type Random } from "../core/random.ts";
import { Reason } from "../core/reason.ts";
import type { Mac } from "../wire/address.ts";
import { type Address6, ADDRESS6_WORDS, isAddress6, UNSPECIFIED } from "../wire/address6.ts";
import type { Chain } from "../wire/extension_headers.ts";
import * as mld from "../wire/mld.ts";
import type { Emit } from "./duplicate_detection.ts";

/** Robustness variable (RFC 3810 §9.1): how often a change is told. */
const ROBUSTNESS = 2;
/** Unsolicited report interval (RFC 3810 §9.11). */
const REPORT_INTERVAL_MS = 1000;
/** Older version querier present timeout, of the default intervals (RFC 3810 §9.12). */
const VERSION1_MS = (ROBUSTNESS * 125 + 10) * 1000;
/** Records of one report, with which it fits into 1,280 bytes. */
const MAX_RECORDS = 60;

export interface ListenerOptions {
  readonly mac: Mac;
  /** Four words each, no two alike. */
  readonly groups: Int32Array;
  readonly random: Random;
  readonly emit: Emit;
  /** The link-local address, or null while it may not be used. */
  source(): Address6 | null;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #count: number;
  #changesLeft = 0;
  #nextChangeMs = 0;
  /** When a query about all groups is answered. */
  #answerMs = Infinity;
  /** And one about each. */
  readonly #answersMs: Float64Array<ArrayBuffer>;
  /** Until then the querier is taken for one of version 1. */
  #version1Ms = -Infinity;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#count = options.groups.length / ADDRESS6_WORDS;
    this.#answersMs = new Float64Array(this.#count).fill(Infinity);
  }

  /**
   * Tells of all groups from `startMs` on: the link has come up; or the link-local address may be
   * used, without which a router ignores what it is told (RFC 3590).
   */
  restart(startMs: number): void {
    this.#changesLeft = ROBUSTNESS;
    this.#nextChangeMs = startMs;
  }

  /** Takes a query: it is answered after a random time (RFC 3810 §6.2). Returns 0 or a reason. */
  receive(view: DataView, ip: number, end: number, chain: Chain, nowMs: number): number {
    if (mld.checkQuery(view, ip, end, chain) !== 0) return Reason["listener-malformed"];
    const icmp = chain.l4;
    if (mld.isVersion1(icmp, end)) this.#version1Ms = nowMs + VERSION1_MS;
    const withinMs = mld.maxResponseMs(view, icmp, end);
    const atMs = nowMs + below(this.#options.random, withinMs + 1);
    if (this.#answerMs <= atMs) return 0;
    if (mld.isGeneralQuery(view, icmp)) {
      this.#answerMs = atMs;
      return 0;
    }
    const group = mld.groupAt(icmp);
    for (let i = 0; i < this.#count; i++) {
      if (!isAddress6(view, group, this.#options.groups, ADDRESS6_WORDS * i)) continue;
      this.#answersMs[i] = Math.min(this.#answersMs[i]!, atMs);
    }
    return 0;
  }

  /** To be called several times a second. */
  tick(nowMs: number): void {
    const { groups, random } = this.#options;
    if (this.#changesLeft > 0 && nowMs >= this.#nextChangeMs) {
      if (!this.#report(mld.RecordType["to-exclude"], groups, nowMs)) return;
      this.#changesLeft--;
      this.#nextChangeMs = nowMs + 1 + below(random, REPORT_INTERVAL_MS);
    }
    const isExclude = mld.RecordType["is-exclude"];
    if (nowMs >= this.#answerMs && this.#report(isExclude, groups, nowMs)) {
      this.#answerMs = Infinity;
    }
    for (let i = 0; i < this.#count; i++) {
      if (nowMs < this.#answersMs[i]!) continue;
      if (this.#report(isExclude, this.#group(i), nowMs)) this.#answersMs[i] = Infinity;
    }
  }

  #group(index: number): Int32Array {
    return this.#options.groups.subarray(ADDRESS6_WORDS * index, ADDRESS6_WORDS * (index + 1));
  }

  /** Reports these groups, in as many messages as it takes; false: there was no room. */
  #report(type: number, groups: Int32Array, nowMs: number): boolean {
    const { mac, emit, source } = this.#options;
    const sender = { mac, address: source() ?? UNSPECIFIED };
    const isVersion1 = nowMs < this.#version1Ms;
    const most = ADDRESS6_WORDS * (isVersion1 ? 1 : MAX_RECORDS);
    for (let from = 0; from < groups.length; from += most) {
      const part = groups.subarray(from, from + most);
      const isQueued = emit(
        mld.reportBytes(part.length / ADDRESS6_WORDS),
        (view, frame) =>
          isVersion1
            ? mld.writeReportV1(view, frame, sender, part)
            : mld.writeReport(view, frame, sender, type, part),
      );
      if (!isQueued) return false;
    }
    return true;
  }
}
