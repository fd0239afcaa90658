/**
 * Duplicate address detection (RFC 4862 §5.4, RFC 7527): which of its own IPv6 addresses on a link
 * the proxy may use. One that another station has is withheld.
 *
 *     WAITING ──▶ PROBING ──(1 s)──▶ USABLE
 *        ▲           │ somebody has it, or wants it, too
 *        └(30-60 s) DUPLICATE
 *
 * One that is usable is announced three times (RFC 4861 §7.2.6, RFC 9131), and defended: who claims
 * it later could be anybody, and would end the service by a single frame.
 */
import type { LimitedLog } from "../core/limited_log.ts";
import { below, type Random } from "../core/random.ts";
import { formatMac, type Mac } from "../wire/address.ts";
import { type Address6, ADDRESS6_WORDS, ALL_NODES, formatAddress6 } from "../wire/address6.ts";
import {
  NEIGHBOR_FRAME_BYTES,
  writeDuplicateCheck,
  writeNeighborAdvertisement,
} from "../wire/neighbor_messages.ts";
import type { OwnAddresses6 } from "./admit6.ts";
import type { OwnState } from "./own_state.ts";

/**
 * Queues a frame that `write` writes, and whose length it returns, at most `mostBytes`; false:
 * there is no room.
 */
export type Emit = (
  mostBytes: number,
  write: (view: DataView, frame: number) => number,
) => boolean;

const WAITING = 0;
const PROBING = 1;
const USABLE = 2;
const DUPLICATE = 3;

/** RetransTimer (RFC 4861 §10): how long an answer to a probe is waited for. */
const PROBE_MS = 1000;
/** Probes after one that the link has sent back, once (RFC 7527 §4.1). */
const PROBES_AFTER_LOOP = 3;
/** When an address that somebody else has is tried again, and as much again at random. */
const RETRY_MS = 30_000;
/** MAX_NEIGHBOR_ADVERTISEMENT (RFC 4861 §10). */
const ANNOUNCE_COUNT = 3;
const ANNOUNCE_INTERVAL_MS = 1000;
/** Between the announcements of two addresses (RFC 4861 §7.2.6). */
const SPREAD_MS = 100;
/** Burst of log lines about addresses that may be used. */
const LINES_AT_ONCE = 100;
/** As in ARP (RFC 5227 §1.1). */
const DEFEND_INTERVAL_MS = 10_000;

export interface DuplicateDetectionOptions {
  readonly own: OwnAddresses6;
  /** Advertisements say that the proxy is a router. */
  readonly isRouter: boolean;
  readonly random: Random;
  readonly log: LimitedLog;
  readonly emit: Emit;
  /** The address of that index can be used from now on. */
  usable(index: number, nowMs: number): void;
}

export class DuplicateDetection {
  readonly #options: DuplicateDetectionOptions;
  readonly #own: OwnAddresses6;
  readonly #states: Uint8Array<ArrayBuffer>;
  /** When the next step is due. */
  readonly #dueMs: Float64Array<ArrayBuffer>;
  readonly #probesLeft: Uint8Array<ArrayBuffer>;
  readonly #announcementsLeft: Uint8Array<ArrayBuffer>;
  /** Whether the link has sent a probe of this trial back. */
  readonly #isLooped: Uint8Array<ArrayBuffer>;
  /** Of the last probe: upper 16 bits, lower 32 bits. */
  readonly #nonces: Int32Array<ArrayBuffer>;
  readonly #defendedMs: Float64Array<ArrayBuffer>;
  /** Whether a conflict was logged that is not over. */
  readonly #isWithheld: Uint8Array<ArrayBuffer>;

  constructor(options: DuplicateDetectionOptions) {
    const { count } = options.own;
    this.#options = options;
    this.#own = options.own;
    this.#states = new Uint8Array(count);
    this.#dueMs = new Float64Array(count);
    this.#probesLeft = new Uint8Array(count);
    this.#announcementsLeft = new Uint8Array(count);
    this.#isLooped = new Uint8Array(count);
    this.#nonces = new Int32Array(2 * count);
    this.#defendedMs = new Float64Array(count).fill(-Infinity);
    this.#isWithheld = new Uint8Array(count);
  }

  /** True while another station has, or wants, that address. */
  isWithheld(index: number): boolean {
    return this.#isWithheld[index] !== 0;
  }

  /** One that was withheld stays so until its trial is over. */
  stateOf(index: number): OwnState {
    if (this.#states[index] === USABLE) return "in-use";
    return this.isWithheld(index) ? "withheld" : "on-trial";
  }

  /** All addresses are tried anew, from `startMs` on. */
  restart(startMs: number): void {
    for (let i = 0; i < this.#own.count; i++) this.#enter(i, WAITING);
    this.#dueMs.fill(startMs);
    this.#announcementsLeft.fill(0);
  }

  /**
   * The run before this one has used all addresses until now: so does this one, and asks even so.
   */
  resume(nowMs: number): void {
    for (let i = 0; i < this.#own.count; i++) {
      if (this.#states[i] === WAITING) this.#probe(i);
      else if (this.#states[i] !== PROBING) continue;
      this.#take(i, "goes on being used", nowMs);
    }
  }

  /**
   * Somebody asks, from `::`, whether anybody has an address that may not be used yet, or no more:
   * both want it, unless the link has sent the proxy's own question back.
   */
  probed(index: number, view: DataView, nonce: number, nonceBytes: number, nowMs: number): void {
    const state = this.#states[index];
    const isOwn = nonceBytes === 6 && view.getUint16(nonce) === this.#nonces[2 * index] &&
      view.getInt32(nonce + 2) === this.#nonces[2 * index + 1];
    if (isOwn) this.#looped(index, nowMs);
    else if (state !== DUPLICATE) this.#withhold(index, null, nowMs);
  }

  /** The station at `mac` claims the address. */
  claimed(index: number, mac: Mac, nowMs: number): void {
    const state = this.#states[index];
    if (state === USABLE) this.#defend(index, mac, nowMs);
    else if (state !== DUPLICATE) this.#withhold(index, formatMac(mac), nowMs);
  }

  /** To be called several times a second. */
  tick(nowMs: number): void {
    for (let i = 0; i < this.#own.count; i++) {
      if (nowMs >= this.#dueMs[i]!) this.#step(i, nowMs);
    }
  }

  #at(index: number): Address6 {
    return this.#own.words.subarray(ADDRESS6_WORDS * index, ADDRESS6_WORDS * (index + 1));
  }

  #enter(index: number, state: number): void {
    this.#states[index] = state;
    this.#own.setUsable(index, state === USABLE);
  }

  #step(index: number, nowMs: number): void {
    if (this.#states[index] === USABLE) return this.#announceAgain(index, nowMs);
    if (this.#states[index] === PROBING && this.#probesLeft[index] === 0) {
      return this.#take(index, "is free, and used from now on", nowMs);
    }
    if (this.#states[index] !== PROBING) {
      this.#probesLeft[index] = 1;
      this.#isLooped[index] = 0;
    }
    if (!this.#probe(index)) return;
    this.#probesLeft[index]!--;
    this.#enter(index, PROBING);
    this.#dueMs[index] = nowMs + PROBE_MS;
  }

  /** A link that always sends back shall not keep the address from being used for ever. */
  #looped(index: number, nowMs: number): void {
    if (this.#isLooped[index] !== 0) return;
    this.#isLooped[index] = 1;
    this.#probesLeft[index] = PROBES_AFTER_LOOP;
    const address = this.#text(index);
    this.#options.log.write(
      "warning",
      "own-looped",
      LINES_AT_ONCE,
      nowMs,
      () => `${address}: the link has sent our own question back: it is asked three times more`,
      () => ({ address }),
    );
  }

  #take(index: number, text: string, nowMs: number): void {
    this.#enter(index, USABLE);
    this.#announcementsLeft[index] = ANNOUNCE_COUNT;
    this.#dueMs[index] = nowMs + SPREAD_MS * index;
    this.#isWithheld[index] = 0;
    const address = this.#text(index);
    this.#options.log.write(
      "info",
      "own-address",
      LINES_AT_ONCE,
      nowMs,
      () => `${address} ${text}`,
      () => ({ address }),
    );
    this.#options.usable(index, nowMs);
  }

  #announceAgain(index: number, nowMs: number): void {
    if (this.#announcementsLeft[index] === 0 || !this.#announce(index)) return;
    this.#announcementsLeft[index]!--;
    this.#dueMs[index] = nowMs + ANNOUNCE_INTERVAL_MS;
  }

  #probe(index: number): boolean {
    const { random, own: { mac }, emit } = this.#options;
    const hi = random.uint32() >>> 16;
    const lo = random.uint32() | 0;
    this.#nonces[2 * index] = hi;
    this.#nonces[2 * index + 1] = lo;
    return emit(
      NEIGHBOR_FRAME_BYTES,
      (view, frame) => writeDuplicateCheck(view, frame, mac, this.#at(index), hi, lo),
    );
  }

  #announce(index: number): boolean {
    const { own: { mac }, isRouter, emit } = this.#options;
    const address = this.#at(index);
    const flags = { router: isRouter, solicited: false, override: true };
    const everybody = { address: ALL_NODES, mac: null };
    return emit(
      NEIGHBOR_FRAME_BYTES,
      (view, frame) =>
        writeNeighborAdvertisement(view, frame, { mac, address }, everybody, address, flags),
    );
  }

  /** Null: nobody has the address, but another station wants it, too. */
  #withhold(index: number, mac: string | null, nowMs: number): void {
    this.#enter(index, DUPLICATE);
    this.#dueMs[index] = nowMs + RETRY_MS + below(this.#options.random, RETRY_MS);
    this.#isWithheld[index] = 1;
    const who = mac === null ? "wanted by another station, too" : `used by ${mac}`;
    const text = `${who}: address conflict, ours is withheld and tried again within a minute; ` +
      "one of the two must be given another address";
    this.#logConflict(index, text, mac, nowMs);
  }

  #defend(index: number, other: Mac, nowMs: number): void {
    if (nowMs - this.#defendedMs[index]! < DEFEND_INTERVAL_MS) return;
    this.#defendedMs[index] = nowMs;
    const mac = formatMac(other);
    const text = `also used by ${mac}: address conflict, defending ours with an advertisement; ` +
      "one of the two must be given another address";
    this.#logConflict(index, text, mac, nowMs);
    this.#announce(index);
  }

  #text(index: number): string {
    return formatAddress6(this.#own.words, ADDRESS6_WORDS * index);
  }

  #logConflict(index: number, text: string, mac: string | null, nowMs: number): void {
    const address = this.#text(index);
    this.#options.log.write(
      "error",
      "own-conflict",
      1,
      nowMs,
      () => `${address}: ${text}`,
      () => mac === null ? { address } : { address, mac },
    );
  }
}
