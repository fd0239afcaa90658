/**
 * The kernel's way of a simulated run: each frame that reaches the appliance goes to the fast
 * path's program first (`tests/fastpath/kernel.ts`). What the program leaves waits in the device's
 * queue until the proxy reads it, for a time that chance says; what it carries leaves at once, and
 * so overtakes what waits, at times by many windows.
 *
 *     host ──▶ program ──▶ host
 *                 └──▶ queue of the device ──▶ proxy ──▶ host
 *
 * Other processors are played in two ways. A program may stop between any two instructions, while
 * the proxy and other programs go on. And the proxy may be in the middle of a burst when a frame
 * comes, or be stopped there for a time in which many come: after it has read the burst, between
 * the classification of a segment and its commit, and before a connection is promoted.
 *
 * A barrier ends when all programs have that were at work when it began, some time later, or fails.
 */
import { below, type Random } from "../../src/core/random.ts";
import type { Evaluate } from "../../src/policy/engine/environment.ts";
import { compile } from "../../src/policy/engine/compile.ts";
import type { Plan } from "../../src/policy/engine/plan.ts";
import type { FastPath } from "../../src/datapath/promotions.ts";
import type { MemoryDevice } from "../../src/device/memory.ts";
import { isPlain } from "../../src/policy/engine/unknown.ts";
import { isIpv6, STATE_ESTABLISHED } from "../../src/wire/pdu.ts";
import { type Carried, Kernel, type Run } from "../fastpath/kernel.ts";
import type { World } from "../support/world.ts";
import type { Sent } from "./watch.ts";

/** Entries are few, so that they serve again. */
export const CARRIED_MAX_CONN = 512;

/** On the first one programs run to their end; one may be stopped on each of the others. */
const PROCESSORS = 4;
/** Of how many frames one program stops in the middle, and for how long at most. */
const STOPS_EVERY = 24;
const LONGEST_STOP_MS = 40;
/** Of how many frames one comes when the proxy is in the middle of something. */
const MEANWHILE_EVERY = 6;
/** In how many such places one the proxy stops, and for how long at most. */
const PROXY_STOPS_EVERY = 60;
const LONGEST_PROXY_STOP_MS = 80;
/** It has so much time to catch up. */
const BETWEEN_PROXY_STOPS_MS = 100;
/** Likewise at segments of connections that are not plain, such as FINs. */
const PROXY_STOPS_AT_OTHERS_EVERY = 3;
const BEFORE_OTHERS_MS = 20;
const LONGEST_BARRIER_MS = 300;
const BARRIER_FAILS_EVERY = 8;

/** How fast the proxy reads. */
type Pace = "prompt" | "asleep" | "slow";
const LONGEST_PACE_MS: Readonly<Record<Pace, number>> = { prompt: 1000, asleep: 250, slow: 400 };
const MOST_FRAMES = 64;
const FEW_FRAMES = 3;

/** A frame on its way to the proxy. */
export interface Arrival {
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly vnet: Uint8Array | null;
  readonly link: number;
  /** Null: it was damaged on the way. */
  readonly sent: Sent | null;
}

export interface CarrierOptions {
  readonly random: Random;
  readonly isIpv6On: boolean;
  /** The proxy reads only one frame at a time. */
  readonly oneByOne: boolean;
  readonly nowMs: () => number;
  readonly at: (inMs: number, run: () => void) => void;
  /** Has so much time pass, with all that happens then. */
  readonly pass: (ms: number) => void;
  /** The kernel sends a frame. `isLate`: its program has stopped on the way. */
  readonly carried: (arrival: Arrival, carried: Carried, isLate: boolean) => void;
  /** The entry of the connection to which this belongs, or -1. */
  readonly entryOf: (sent: Sent) => number;
  /** A program has stopped that works on this. */
  readonly stopped: (sent: Sent) => void;
  readonly fail: (what: string) => never;
  /** The proxy has read it. */
  readonly read: (sent: Sent) => void;
}

interface Stopped {
  readonly run: Run;
  readonly arrival: Arrival;
  readonly processor: number;
  readonly entry: number;
}

interface Barrier {
  readonly runs: Set<Run>;
  readonly end: () => void;
}

export class Carrier {
  readonly kernel: Kernel;
  /** What the kernel has carried. */
  packets = 0;
  bytes = 0;
  readonly fastPath: FastPath;
  readonly #options: CarrierOptions;
  readonly #arrivals = new WeakMap<Uint8Array, Arrival>();
  /** They come when the proxy is in the middle of something. */
  readonly #meanwhile: Arrival[] = [];
  readonly #stopped: Stopped[] = [];
  readonly #barriers = new Set<Barrier>();
  #world!: World;
  #pace: Pace = "prompt";
  #isEnding = false;
  /** The proxy is in the middle of a burst; what it is to do after it. */
  #isBusy = false;
  readonly #afterwards: (() => void)[] = [];
  /** It has been stopped there; and when it was for the last time. */
  #isPassing = false;
  #stoppedMs = 0;
  /** Is told of the next program that stops. */
  #whenStopped: ((sent: Sent, entry: number) => void) | null = null;
  /** Instructions of the last program that has carried something. */
  #steps = 300;
  /** By link, the most frames of the next burst. */
  readonly #most = [MOST_FRAMES, MOST_FRAMES];

  constructor(options: CarrierOptions) {
    const { isIpv6On, random, nowMs } = options;
    this.#options = options;
    this.kernel = new Kernel({
      connections: CARRIED_MAX_CONN,
      isIpv6On,
      processors: PROCESSORS,
      nowMs,
    });
    // What waits for it may not do so in a microtask: all of a run happens in one.
    const wait = () => ({
      then: (ended: () => void, failed: () => void) => this.#barrier(ended, failed),
    });
    this.fastPath = this.kernel.fastPath(below(random, 4), wait as unknown as () => Promise<void>);
  }

  /** For the appliance: the compiled policy, and what comes between classify and commit. */
  readonly evaluator = (plan: Plan): Evaluate => {
    const evaluate = compile(plan, 4);
    const evaluate6 = this.#options.isIpv6On ? compile(plan, 6) : evaluate;
    return (pdu) => {
      if (pdu.state !== STATE_ESTABLISHED || isPlain(pdu)) this.#others();
      else this.#others(PROXY_STOPS_AT_OTHERS_EVERY, BEFORE_OTHERS_MS);
      return isIpv6(pdu.protocol) ? evaluate6(pdu) : evaluate(pdu);
    };
  };

  start(world: World): void {
    this.#world = world;
    world.devices.forEach((device, link) => this.#hook(device, link));
    const { memory } = this.kernel;
    const promote = memory.promote.bind(memory);
    memory.promote = (...args) => {
      this.#others();
      return promote(...args);
    };
    const { table } = world.appliance.connections;
    const release = table.release.bind(table);
    table.release = (entry) => {
      if (this.#stopped.some((one) => one.entry === entry)) {
        this.#options.fail(`entry ${entry} may serve again, and a program is at work on it`);
      }
      release(entry);
    };
    this.#nextPace();
  }

  /** Has `run` called when a program has stopped, between two bursts: with its frame and entry. */
  whenStopped(run: (sent: Sent, entry: number) => void): void {
    this.#whenStopped = run;
  }

  /** A frame has come. */
  arrive(arrival: Arrival): void {
    const { random, at } = this.#options;
    // Those of one link stay in order.
    const isBehind = this.#meanwhile.some(({ link }) => link === arrival.link);
    if (!this.#isEnding && (isBehind || below(random, MEANWHILE_EVERY) === 0)) {
      this.#meanwhile.push(arrival);
      at(1, () => this.#finishMeanwhile());
    } else this.#run(arrival);
  }

  /**
   * Whether the proxy reads now some of what waits; `isTick`: or would look at its timers in any
   * case.
   */
  mayPoll(isTick: boolean): boolean {
    const { random, oneByOne } = this.#options;
    if (this.#pace === "asleep" || this.#isBusy) return false;
    const waiting = this.#world.devices.filter(({ inbox }) => inbox.length > 0);
    if (waiting.length === 0) return isTick;
    const most = this.#pace === "slow" ? FEW_FRAMES : MOST_FRAMES;
    const turn = waiting[below(random, waiting.length)];
    this.#world.devices.forEach((device, link) => {
      this.#most[link] = oneByOne ? Number(device === turn) : 1 + below(random, most);
    });
    return true;
  }

  /** Has the proxy handle one burst; what it sends. */
  poll(): Uint8Array<ArrayBuffer>[] {
    this.#isBusy = true;
    const sent = this.#world.pollOnce();
    this.#isBusy = false;
    return sent;
  }

  /** Has the proxy do that, between two bursts. */
  whenFree(run: () => void): void {
    if (this.#isBusy) this.#afterwards.push(run);
    else run();
  }

  /** After a burst: whether it goes on with the next one, or does so later. */
  goesOn(): boolean {
    for (let next = this.#afterwards.shift(); next !== undefined; next = this.#afterwards.shift()) {
      next();
    }
    if (this.#world.devices.every(({ inbox }) => inbox.length === 0)) return false;
    if (this.#pace === "prompt") return this.mayPoll(false);
    this.#options.at(1, () => {});
    return false;
  }

  /** From now on the proxy reads at once what comes, and no program stops. */
  end(): void {
    this.#isEnding = true;
    this.#pace = "prompt";
    this.#most.fill(MOST_FRAMES);
    this.#finishMeanwhile();
    for (const stopped of [...this.#stopped]) this.#resume(stopped, Infinity);
  }

  #nextPace(): void {
    const { random, at } = this.#options;
    if (this.#isEnding) return;
    const slow: readonly Pace[] = ["asleep", "slow"];
    this.#pace = this.#pace === "prompt" ? slow[below(random, slow.length)]! : "prompt";
    at(1 + below(random, LONGEST_PACE_MS[this.#pace]), () => this.#nextPace());
  }

  #hook(device: MemoryDevice, link: number): void {
    const read = device.read.bind(device);
    device.read = (arena, waitMs) => {
      const later = device.inbox.splice(this.#most[link]!);
      const frames = [...device.inbox];
      const count = read(arena, waitMs);
      device.inbox.push(...later);
      for (const frame of frames.slice(0, count)) {
        const sent = this.#arrivals.get(frame)?.sent;
        if (sent) this.#options.read(sent);
      }
      this.#others();
      return count;
    };
  }

  // Programs

  /** What other processors do while the proxy is in the middle of something. */
  #others(stopsEvery = PROXY_STOPS_EVERY, betweenMs = BETWEEN_PROXY_STOPS_MS): void {
    const { random, nowMs, pass } = this.#options;
    if (!this.#isBusy || this.#isPassing) return;
    const isReady = nowMs() >= this.#stoppedMs + betweenMs;
    if (!this.#isEnding && isReady && below(random, stopsEvery) === 0) {
      this.#isPassing = true;
      pass(1 + below(random, LONGEST_PROXY_STOP_MS));
      this.#isPassing = false;
      this.#stoppedMs = nowMs();
    }
    if (this.#meanwhile.length > 0 && below(random, 2) === 0) this.#run(this.#meanwhile.shift()!);
    if (this.#stopped.length === 0 || below(random, 4) !== 0) return;
    const stopped = this.#stopped[below(random, this.#stopped.length)]!;
    this.#resume(stopped, 1 + below(random, this.#steps));
  }

  #finishMeanwhile(): void {
    for (let next = this.#meanwhile.shift(); next !== undefined; next = this.#meanwhile.shift()) {
      this.#run(next);
    }
  }

  #run(arrival: Arrival): void {
    const { random, at } = this.#options;
    const { frame, vnet, link, sent } = arrival;
    if (!this.#world.appliance.links[link]!.isUp) return;
    this.#arrivals.set(frame, arrival);
    const busy = new Set(this.#stopped.map(({ processor }) => processor));
    let free = 1;
    while (busy.has(free)) free++;
    const mayStop = free < PROCESSORS && !this.#isEnding && sent !== null;
    const isChosen = mayStop && below(random, STOPS_EVERY) === 0;
    // Any other would only leave its frame late.
    const entry = isChosen ? this.#options.entryOf(sent) : -1;
    const stops = entry >= 0 && this.kernel.memory.isPromoted(entry);
    const processor = stops ? free : 0;
    const run = this.kernel.begin(frame, vnet, link, processor);
    if (run === null) return this.#leave(arrival);
    if (!stops || run.advance(1 + below(random, this.#steps))) {
      return this.#finish(arrival, run, false);
    }
    const stopped = { run, arrival, processor, entry };
    this.#stopped.push(stopped);
    this.#options.stopped(sent!);
    at(1 + below(random, LONGEST_STOP_MS), () => this.#resume(stopped, Infinity));
    const tell = this.#whenStopped;
    this.#whenStopped = null;
    if (tell === null) return;
    at(0, () =>
      this.whenFree(() => {
        if (this.#stopped.includes(stopped)) tell(sent!, entry);
      }));
  }

  #resume(stopped: Stopped, instructions: number): void {
    const at = this.#stopped.indexOf(stopped);
    if (at < 0 || !stopped.run.advance(instructions)) return;
    this.#stopped.splice(at, 1);
    this.#finish(stopped.arrival, stopped.run, true);
    for (const barrier of this.#barriers) {
      if (barrier.runs.delete(stopped.run) && barrier.runs.size === 0) this.#endLater(barrier);
    }
  }

  #finish(arrival: Arrival, run: Run, isLate: boolean): void {
    const carried = run.finish();
    if (carried === null) return this.#leave(arrival);
    this.#steps = run.steps;
    this.packets++;
    this.bytes += carried.packetBytes;
    this.#options.carried(arrival, carried, isLate);
  }

  /** The frame waits for the proxy. */
  #leave({ frame, vnet, link }: Arrival): void {
    if (!this.#world.appliance.links[link]!.isUp) return;
    const device = this.#world.devices[link]!;
    if (vnet !== null) device.vnet.set(frame, vnet);
    device.inbox.push(frame);
  }

  // Barriers

  #barrier(ended: () => void, failed: () => void): void {
    const fails = !this.#isEnding && below(this.#options.random, BARRIER_FAILS_EVERY) === 0;
    const runs = new Set(this.#stopped.map(({ run }) => run));
    const barrier = { runs, end: fails ? failed : ended };
    if (runs.size === 0) this.#endLater(barrier);
    else this.#barriers.add(barrier);
  }

  #endLater(barrier: Barrier): void {
    this.#barriers.delete(barrier);
    this.#options.at(
      below(this.#options.random, LONGEST_BARRIER_MS),
      () => this.whenFree(barrier.end),
    );
  }
}
