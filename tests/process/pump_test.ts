/** When the pump looks for a device that is away, counted without a clock. */
import assert from "node:assert/strict";
import type { Appliance } from "../../src/datapath/appliance.ts";
import type { TapDevice, TapStatus } from "../../src/device/tap.ts";
import { pump } from "../../src/process/pump.ts";

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
}

/** Pumps until a device calls `stop`: log lines, and each time a link went up or down. */
async function pumped(devices: readonly FakeDevice[], prepare: (stop: () => void) => void) {
  const stop = new AbortController();
  const said: string[] = [];
  const links: string[] = [];
  const appliance = {
    nowMs: 0, // stands still: nothing is looked at because a second has passed
    poll: () => 0,
    linkUp: (number: number) => links.push(`${number} up`),
    linkDown: (number: number) => links.push(`${number} down`),
  };
  prepare(() => stop.abort());
  const say = (line: string) => void said.push(line);
  await pump({
    appliance: appliance as unknown as Appliance,
    devices: devices as unknown as TapDevice[],
    log: { info: say, warning: say, error: say },
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
