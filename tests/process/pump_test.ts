/** When the pump looks for a device that is away, counted without a clock. */
import assert from "node:assert/strict";
import type { Appliance } from "../../src/datapath/appliance.ts";
import type { TapDevice, TapStatus } from "../../src/device/tap.ts";
import { pump, PumpCounts } from "../../src/process/pump.ts";

/** A device whose status tests set, and what was asked of it. */
class FakeDevice {
  readonly name: string;
  looks = 0;
  status_: TapStatus;
  /** Links have changed since they were asked about. */
  changed = false;
  /** What happens while the pump sleeps. */
  onSleep: (how: string) => void = () => {};
  /** Why it can't be attached to; null: it is not there. */
  refusal: string | null = null;

  constructor(name: string, status: TapStatus) {
    this.name = name;
    this.status_ = status;
  }

  status(): TapStatus {
    this.looks++;
    return this.status_;
  }

  reopen(): Error | null {
    if (this.refusal === null) return new Error("not there", { cause: "ENODEV" });
    return new Error(this.refusal, { cause: "EBUSY" });
  }

  linksChanged(): boolean {
    const { changed } = this;
    this.changed = false;
    return changed;
  }

  waitForLinks(_waitMs: number, other: FakeDevice = this): Promise<number> {
    this.onSleep(other === this ? "for links" : `for links and ${other.name}`);
    return Promise.resolve(0);
  }

  wait(_waitMs: number, other?: FakeDevice): Promise<number> {
    this.onSleep(other === undefined ? "for frames" : `for frames and ${other.name}`);
    return Promise.resolve(0);
  }

  waitSpinning(): number {
    return 0;
  }

  nowMs(): number {
    return 0;
  }
}

/** Pumps until a device calls `stop`: log lines, and each time a link went up or down. */
async function pumped(
  devices: readonly FakeDevice[],
  prepare: (stop: () => void, beSaid: (line: string) => void) => void,
  { aliveEveryMs = Infinity, pollMs = 0 } = {},
) {
  const stop = new AbortController();
  const said: string[] = [];
  const links: string[] = [];
  const appliance = {
    nowMs: 0, // stands still, unless told: nothing is looked at because a second has passed
    poll() {
      this.nowMs += pollMs;
      return 0;
    },
    linkUp: (number: number) => links.push(`${number} up`),
    linkDown: (number: number) => links.push(`${number} down`),
  };
  const say = (line: string) => void said.push(line);
  prepare(() => stop.abort(), say);
  await pump({
    counts: new PumpCounts(),
    appliance: appliance as unknown as Appliance,
    devices: devices as unknown as TapDevice[],
    log: { info: say, warning: say, error: say },
    supervisor: { aliveEveryMs, alive: () => say(`alive at ${appliance.nowMs}`) },
    stop: stop.signal,
  });
  return { said, links };
}

Deno.test("pump sees a device that comes up as soon as a link has changed, and looks at no other time", async () => {
  const tap = new FakeDevice("tap", "down");
  const sleeps: string[] = [];
  const { said, links } = await pumped([tap], (stop) => {
    tap.onSleep = (how) => {
      sleeps.push(how);
      if (sleeps.length === 100) {
        assert.ok(tap.looks < 5, `${tap.looks} looks, and nothing has changed`);
        tap.status_ = "up";
        tap.changed = true;
      }
      if (how === "for frames") stop();
    };
  });
  assert.deepEqual(links, ["0 down", "0 up"]);
  assert.equal(said.at(-1), "tap is up");
  assert.deepEqual(sleeps, [...Array(100).fill("for links"), "for frames"]);
});

Deno.test("pump sees it beside a device that goes on, whose frames it does not miss meanwhile", async () => {
  const a = new FakeDevice("a", "up");
  const b = new FakeDevice("b", "down");
  const sleeps: string[] = [];
  const { links } = await pumped([a, b], (stop) => {
    a.onSleep = b.onSleep = (how) => {
      sleeps.push(how);
      if (sleeps.length === 3) {
        b.status_ = "up";
        b.changed = true;
      }
      if (how === "for frames and b") stop();
    };
  });
  assert.deepEqual(links, ["1 down", "1 up"]);
  assert.deepEqual(sleeps, [...Array(3).fill("for links and a"), "for frames and b"]);
});

Deno.test("pump says that a device refuses when it does so at two looks, not while it is being made", async () => {
  const tap = new FakeDevice("tap", "gone");
  const refusals = [null, "held by ip", null, "held by a proxy", "held by a proxy"];
  const { said } = await pumped([tap], (stop) => {
    tap.onSleep = () => {
      if (refusals.length === 0) return stop();
      tap.refusal = refusals.shift()!;
      tap.changed = true;
    };
  });
  assert.deepEqual(said, ["tap is gone: waiting for a TAP device of that name", "held by a proxy"]);
});

for (const status of ["up", "down", "gone"] as const) {
  Deno.test(`pump tells the supervisor that it is alive, as often as it wants, while the device is ${status}`, async () => {
    const tap = new FakeDevice("tap", status);
    let sleeps = 0;
    const { said } = await pumped([tap], (stop) => {
      tap.onSleep = () => ++sleeps === 50 && stop();
    }, { aliveEveryMs: 1000, pollMs: 100 });
    const beats = said.filter((line) => line.startsWith("alive"));
    assert.deepEqual(beats.slice(0, 4), [1000, 2000, 3000, 4000].map((ms) => `alive at ${ms}`));
  });
}

Deno.test("pump says that it is alive only while it goes round: not while a device holds it up", async () => {
  const tap = new FakeDevice("tap", "up");
  const { said } = await pumped([tap], (stop, beSaid) => {
    let sleeps = 0;
    tap.onSleep = () => {
      if (++sleeps === 40) beSaid("held up");
      if (sleeps === 40) stop();
    };
  }, { aliveEveryMs: 1000, pollMs: 100 });
  assert.equal(said.at(-1), "held up");
});

Deno.test("pump counts the frames that it reads at a time, and turns of the event loop", async () => {
  const counts = new PumpCounts();
  const stop = new AbortController();
  const reads = [3, 200, 0, 1];
  let nowMs = 0;
  const appliance = {
    get nowMs() {
      return nowMs++; // more than half a millisecond between two polls: a turn after each
    },
    poll: () => {
      if (reads.length === 1) stop.abort();
      return reads.shift();
    },
  };
  const device = { status: () => "up", linksChanged: () => false, nowMs: () => nowMs += 2 };
  await pump({
    counts,
    appliance: appliance as unknown as Appliance,
    devices: [device] as unknown as TapDevice[],
    log: { info: () => {}, warning: () => {}, error: () => {} },
    supervisor: { aliveEveryMs: Infinity, alive: () => {} },
    stop: stop.signal,
  });
  assert.deepEqual([...counts.bursts.numbers], [1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 204]);
  assert.equal(counts.turns.numbers.slice(0, -1).reduce((sum, count) => sum + count), 4);
  assert.equal(counts.turns.numbers[3], 4, "of 2 ms each");
});
