/**
 * The health of members: who is checked when, and what the results mean.
 *
 *     unknown ──first result──▶ up ──`fall` failures in a row──▶ down ──`rise` successes──▶ up
 *
 * Checks are a round trip each, `interval` apart (`fastinter` while the state is changing), each
 * time ± 10 %, the first one at a random moment of the first interval. Who makes them is told by
 * `start`, and tells the result.
 *
 * A member that goes down may lose its connections, but not through a fault of the proxy's own
 * link, or of its family's way there: neighbours, routers and the proxy's address are the family's
 * own. As long as only silence speaks against it, that may be so: an answer of any member of the
 * family, be it a refusal, after the first failure shows that it is not. Without one an interval
 * passes first, and if all of the family that were up fall meanwhile, nobody's connections are
 * reset.
 */
import { below, type Random } from "../../core/random.ts";
import { type Health, isActive } from "../../policy/language/health.ts";

/** Of a member: 0 is IPv4, 1 IPv6. */
export type Family = 0 | 1;

/** Checks begun in one tick: their frames fit into the buffer, beside those of others. */
const STARTS_PER_TICK = 256;

/** The share of a member that comes back grows in so many steps. */
const RAMP_STEPS = 20;

/** What is known of one member. `M` is the member itself. */
export interface Checked<M> {
  readonly member: M;
  readonly health: Health;
  state: "unknown" | "up" | "down";
  /** Results in a row that speak against the state. */
  streak: number;
  /** Why the last check failed, or null. */
  failure: string | null;
  /** How long the last check took. */
  tookMs: number;
  /** Checks that have ended so far, by how. */
  readonly succeeded: number;
  readonly failed: number;
}

/** A change of a member's state. */
export interface Change<M> {
  readonly checked: Readonly<Checked<M>>;
  readonly from: "unknown" | "up" | "down";
  /** Failures or successes in a row that made it. */
  readonly checks: number;
  /** It went down, and that may be our way there: `lost` or `allSilent` will tell. */
  readonly isDoubtful: boolean;
}

export interface HealthOptions<M> {
  readonly random: Random;
  familyOf(member: M): Family;
  /**
   * Begins a check; its end is told by `result`. False: it can't be begun now, and not because of
   * the member.
   */
  start(checked: Readonly<Checked<M>>, nowMs: number): boolean;
  /** Gives up the check that is under way. */
  stop(checked: Readonly<Checked<M>>, nowMs: number): void;
  changed(change: Change<M>, nowMs: number): void;
  /** Part of its weight that a member has from now on, above 0, at most 1. */
  share(member: M, share: number): void;
  /** The member's connections are of no use any more, and it is not our way there. */
  lost(checked: Readonly<Checked<M>>, nowMs: number): void;
  /** All members of the family have fallen silent within an interval. */
  allSilent(family: Family, count: number, nowMs: number): void;
}

class Entry<M> implements Checked<M> {
  streak = 0;
  failure: string | null = null;
  tookMs = 0;
  succeeded = 0;
  failed = 0;
  nextMs: number;
  /** When the last check began. */
  begunMs = -Infinity;
  isUnderWay = false;
  /** When the first failure of a row was known. */
  failedMs = 0;
  /** All failures of the row were silence. */
  isSilent = true;
  /** It went down then, and that may be our way there; -1: no question. */
  doubtfulMs = -1;
  /** Since when its share grows; -1: it has its whole share. */
  rampMs = -1;
  rampStep = 0;

  constructor(
    readonly member: M,
    readonly family: Family,
    readonly health: Health,
    public state: Checked<M>["state"],
    nextMs: number,
  ) {
    this.nextMs = nextMs;
  }
}

export class MemberHealth<M> {
  readonly #options: HealthOptions<M>;
  readonly #entries = new Map<M, Entry<M>>();
  /**
   * The member that is looked at first in the next tick: all get their turn, however many there
   * are.
   */
  #first = 0;
  #isLinkUp = true;
  /** When a member of each family last answered, in whatever way. */
  readonly #answeredMs: [number, number] = [-Infinity, -Infinity];

  constructor(options: HealthOptions<M>) {
    this.#options = options;
  }

  /** Members that are checked. */
  get count(): number {
    return this.#entries.size;
  }

  /**
   * Checks `member` from now on, if there is something to check; `state` is what is known of it.
   */
  add(member: M, health: Health, nowMs: number, state: Checked<M>["state"] = "unknown"): void {
    if (!isActive(health.check)) return;
    const { random, familyOf } = this.#options;
    const firstMs = nowMs + random.uint32() / 2 ** 32 * health.intervalMs;
    this.#entries.set(member, new Entry(member, familyOf(member), health, state, firstMs));
  }

  remove(member: M, nowMs: number): void {
    const entry = this.#entries.get(member);
    if (entry === undefined) return;
    if (entry.isUnderWay) this.#options.stop(entry, nowMs);
    this.#entries.delete(member);
  }

  /** What is known of the member, if it is checked. */
  of(member: M): Readonly<Checked<M>> | undefined {
    return this.#entries.get(member);
  }

  /** An earlier run has found the member so. */
  resume(member: M, state: "up" | "down"): void {
    const entry = this.#entries.get(member);
    if (entry !== undefined) entry.state = state;
  }

  /** Something speaks against the member: it is checked at once, but at most every `fastinter`. */
  hurry(member: M, nowMs: number): void {
    const entry = this.#entries.get(member);
    if (entry === undefined || entry.isUnderWay) return;
    const soonestMs = Math.max(nowMs, entry.begunMs + entry.health.fastinterMs);
    entry.nextMs = Math.min(entry.nextMs, soonestMs);
  }

  /** The link towards the members is down: nothing that happens now says anything about them. */
  linkDown(nowMs: number): void {
    this.#isLinkUp = false;
    for (const entry of this.#entries.values()) {
      if (entry.isUnderWay) this.#options.stop(entry, nowMs);
      entry.isUnderWay = false;
      entry.streak = 0;
      entry.doubtfulMs = -1;
    }
  }

  /** It is up again; checks begin one interval later. */
  linkUp(nowMs: number): void {
    this.#isLinkUp = true;
    for (const entry of this.#entries.values()) {
      const { intervalMs } = entry.health;
      entry.nextMs = nowMs + intervalMs +
        this.#options.random.uint32() / 2 ** 32 * intervalMs;
    }
  }

  /**
   * The check of `member` that was under way has ended: `failure` null is success. `isSilent`:
   * nothing came back at all.
   */
  result(member: M, failure: string | null, isSilent: boolean, nowMs: number): void {
    const entry = this.#entries.get(member);
    if (entry === undefined || !entry.isUnderWay) return;
    this.#ended(entry, failure, isSilent, nowMs);
  }

  /** To be called some times a second. */
  tick(nowMs: number): void {
    if (!this.#isLinkUp) return;
    const entries = [...this.#entries.values()];
    let starts = 0;
    let next = this.#first;
    for (let i = 0; i < entries.length; i++) {
      const number = (this.#first + i) % entries.length;
      const entry = entries[number]!;
      if (entry.isUnderWay) this.#timeOut(entry, nowMs);
      else if (nowMs >= entry.nextMs && starts < STARTS_PER_TICK) {
        starts++;
        next = number + 1;
        this.#start(entry, nowMs);
      }
      if (entry.rampMs >= 0) this.#ramp(entry, nowMs);
    }
    this.#first = next;
    this.#decideDoubtful(nowMs);
  }

  #timeOut(entry: Entry<M>, nowMs: number): void {
    const { timeoutMs } = entry.health;
    if (nowMs - entry.begunMs < timeoutMs) return;
    this.#options.stop(entry, nowMs);
    this.#ended(entry, `no answer within ${timeoutMs} ms`, true, nowMs);
  }

  #start(entry: Entry<M>, nowMs: number): void {
    entry.begunMs = nowMs;
    entry.isUnderWay = true;
    if (this.#options.start(entry, nowMs)) return;
    entry.isUnderWay = false;
    entry.nextMs = nowMs + entry.health.fastinterMs;
  }

  #ended(entry: Entry<M>, failure: string | null, isSilent: boolean, nowMs: number): void {
    const { health } = entry;
    entry.isUnderWay = false;
    entry.failure = failure;
    entry.tookMs = nowMs - entry.begunMs;
    if (failure === null) entry.succeeded++;
    else entry.failed++;
    if (!isSilent) this.#answeredMs[entry.family] = nowMs;
    const speaksFor = failure === null ? "up" : "down";
    if (entry.state === speaksFor) {
      entry.streak = 0;
    } else {
      if (entry.streak === 0) {
        entry.failedMs = nowMs;
        entry.isSilent = true;
      }
      entry.streak++;
      if (!isSilent) entry.isSilent = false;
      const needed = entry.state === "unknown" ? 1 : failure === null ? health.rise : health.fall;
      if (entry.streak >= needed) this.#change(entry, speaksFor, nowMs);
    }
    const delayMs = entry.streak > 0 ? health.fastinterMs : health.intervalMs;
    const jitter = (900 + below(this.#options.random, 201)) / 1000;
    entry.nextMs = Math.max(nowMs, entry.begunMs + delayMs * jitter);
  }

  #change(entry: Entry<M>, to: "up" | "down", nowMs: number): void {
    const { state: from, streak: checks } = entry;
    entry.state = to;
    entry.streak = 0;
    if (to === "up" && from === "down" && entry.health.slowStartMs > 0) {
      entry.rampMs = nowMs;
      entry.rampStep = 0;
      this.#ramp(entry, nowMs);
    }
    if (to === "down" && entry.rampMs >= 0) this.#endRamp(entry);
    entry.doubtfulMs = to === "down" ? nowMs : -1;
    const isDoubtful = to === "down" && !this.#isProven(entry, nowMs);
    this.#options.changed({ checked: entry, from, checks, isDoubtful }, nowMs);
    if (to === "down") this.#decideDoubtful(nowMs);
  }

  #ramp(entry: Entry<M>, nowMs: number): void {
    const grown = Math.floor((nowMs - entry.rampMs) / entry.health.slowStartMs * RAMP_STEPS);
    const step = Math.max(1, grown);
    if (step === entry.rampStep) return;
    if (step >= RAMP_STEPS) return this.#endRamp(entry);
    entry.rampStep = step;
    this.#options.share(entry.member, step / RAMP_STEPS);
  }

  #endRamp(entry: Entry<M>): void {
    entry.rampMs = -1;
    this.#options.share(entry.member, 1);
  }

  /** True if it was not our way there that took the member down. */
  #isProven(entry: Entry<M>, nowMs: number): boolean {
    return !entry.isSilent || this.#answeredMs[entry.family] > entry.failedMs ||
      nowMs - entry.doubtfulMs > entry.health.intervalMs;
  }

  #decideDoubtful(nowMs: number): void {
    const doubtful: [number, number] = [0, 0];
    const up: [number, number] = [0, 0];
    for (const entry of this.#entries.values()) {
      if (entry.state !== "down") up[entry.family]++;
      if (entry.doubtfulMs < 0) continue;
      if (this.#isProven(entry, nowMs)) {
        entry.doubtfulMs = -1;
        this.#options.lost(entry, nowMs);
      } else doubtful[entry.family]++;
    }
    for (const family of [0, 1] as const) {
      if (doubtful[family] === 0 || up[family] > 0) continue;
      for (const entry of this.#entries.values()) {
        if (entry.family === family) entry.doubtfulMs = -1;
      }
      this.#options.allSilent(family, doubtful[family], nowMs);
    }
  }
}
