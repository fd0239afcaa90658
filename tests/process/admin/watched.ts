/** The appliance in memory, watched as the admin thread does it, without threads. */
import type { Slices } from "../../../src/core/slices.ts";
import { Filler } from "../../../src/process/admin/filler.ts";
import type { About } from "../../../src/process/admin/messages.ts";
import { type Reading, Readings } from "../../../src/process/admin/readings.ts";
import { PumpCounts } from "../../../src/process/pump.ts";
import { World, type WorldOptions } from "../../support/world.ts";

export const ABOUT: About = {
  version: "1.2.3",
  build: "source",
  name: "here",
  links: [{ net: "memory", side: "both", address: "192.168.0.100/24" }],
  hasFastPath: false,
  hasIpv6: false,
  connections: 1000,
  ports: 64_512,
  startMs: 1_700_000_000_000,
  epochMs: 1_699_999_000_000,
};

export class Watched {
  readonly world: World;
  readonly pump = new PumpCounts();
  readonly reloads = { done: 0, failed: 0, hasFailed: false, doneMs: -1, tookMs: 0 };
  readonly readings: Readings;
  readonly filler: Filler;
  /** How often the numbers were filled in, and turns that the last time took. */
  fills = 0;
  slices = 0;
  /** The packet thread answers. */
  isAlive = true;
  /** Of the admin thread. */
  nowMs = 0;
  readonly #delays = new Set<{ readonly endMs: number; readonly over: () => void }>();

  constructor(options: WorldOptions = {}) {
    this.world = World.settled(options);
    this.filler = new Filler({
      appliance: this.world.appliance,
      nowMs: () => this.world.clock.nowMs(),
      pump: this.pump,
      reloads: this.reloads,
      trace: { lost: 3 },
      log: { lost: 4 },
      captures: { lost: 5 },
      post: (message) => this.readings.hear(message),
    });
    this.readings = new Readings({
      about: ABOUT,
      fill: () => {
        this.fills++;
        if (!this.isAlive) return;
        this.slices = slicesOf(this.filler.fill());
        this.readings.hear({ to: "filled", tookMs: 1 });
      },
      delay: (ms) => new Promise((over) => void this.#delays.add({ endMs: this.nowMs + ms, over })),
      nowMs: () => this.nowMs,
      wallMs: () => ABOUT.startMs + this.nowMs,
    });
  }

  /** Time passes for the admin thread. */
  async pass(ms: number): Promise<void> {
    this.nowMs += ms;
    for (const delay of this.#delays) {
      if (delay.endMs > this.nowMs) continue;
      this.#delays.delete(delay);
      delay.over();
    }
    for (let turns = 0; turns < 20; turns++) await Promise.resolve();
  }

  /** A reading of what is counted by now. */
  async read(): Promise<Reading> {
    await this.pass(1000);
    return await this.readings.now();
  }
}

function slicesOf(work: Slices<void>): number {
  let slices = 0;
  while (!work.next().done) slices++;
  return slices;
}
