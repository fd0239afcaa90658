/** Which events listeners get, counted without a clock. */
import assert from "node:assert/strict";
import { EventEmitter } from "node:events";
import { drop, firstMatch, otherwise, policy } from "../../../src/policy/language/build.ts";
import { finish } from "../../../src/core/slices.ts";
import { Feed, type Stream } from "../../../src/process/admin/feed.ts";
import { NoAnswer } from "../../../src/process/admin/readings.ts";
import { buildIcmp } from "../../support/frames.ts";
import { ABOUT, Watched } from "./watched.ts";

/** A response, and whether it is read. */
class Listener extends EventEmitter {
  readonly events: string[] = [];
  /** Data of the last event. */
  data: { in: { packets: number } } | null = null;
  writableNeedDrain = false;
  isDestroyed = false;

  writeHead(): void {}

  write(text: string): void {
    const [, name, data] = /^event: (\w+)\ndata: (.*)\n\n$/.exec(text)!;
    this.events.push(name!);
    this.data = JSON.parse(data!);
  }

  destroy(): void {
    this.isDestroyed = true;
    this.emit("close");
  }
}

class Fed {
  readonly watched = new Watched();
  isAlive = true;
  /** The clock ticks. */
  isTicking = false;
  #call: () => void = () => {};
  readonly #feed = new Feed({
    readings: {
      now: () =>
        this.isAlive ? this.watched.read() : Promise.reject(new NoAnswer("it does not answer")),
    },
    about: ABOUT,
    every: (_ms, call) => {
      this.#call = call;
      this.isTicking = true;
      return () => void (this.isTicking = false);
    },
  });

  async listen(): Promise<Listener> {
    const listener = this.begin();
    await this.#settle();
    return listener;
  }

  /** As `listen`, before anything has been read for it. */
  begin(): Listener {
    const listener = new Listener();
    this.#feed.listen(listener as unknown as Stream);
    return listener;
  }

  /** So many seconds. */
  async pass(seconds: number): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      this.#call();
      await this.#settle();
    }
  }

  async #settle(): Promise<void> {
    for (let turns = 0; turns < 100; turns++) await Promise.resolve();
  }
}

Deno.test("Feed gives everything first, then changes, and everything again every 31st time", async () => {
  const fed = new Fed();
  const listener = await fed.listen();
  await fed.pass(32);
  const deltas = (count: number) => Array(count).fill("delta");
  assert.deepEqual(listener.events, ["full", ...deltas(30), "full", "delta"]);
  listener.destroy();
  assert.equal(fed.isTicking, false, "nobody listens");
});

Deno.test("Feed gives a second listener everything, and the first one changes", async () => {
  const fed = new Fed();
  const first = await fed.listen();
  const second = await fed.listen();
  await fed.pass(1);
  assert.deepEqual([first.events, second.events], [["full", "delta"], ["full", "delta"]]);
  first.destroy();
  assert.equal(fed.isTicking, true);
});

Deno.test("Feed gives everything after a change of the policy", async () => {
  const fed = new Fed();
  const listener = await fed.listen();
  const { world } = fed.watched;
  finish(world.appliance.prepare({ policy: policy("drop", firstMatch([[otherwise, drop]])) }))();
  world.send(buildIcmp({}));
  await fed.pass(2);
  assert.deepEqual(listener.events, ["full", "full", "delta"]);
});

Deno.test("Feed has nothing wait for a listener that does not read, and cuts it off after 30 events", async () => {
  const fed = new Fed();
  const slow = await fed.listen();
  const other = await fed.listen();
  slow.writableNeedDrain = true;
  await fed.pass(30);
  assert.deepEqual([slow.events, slow.isDestroyed], [["full"], false]);
  slow.writableNeedDrain = false;
  await fed.pass(1);
  assert.deepEqual(slow.events, ["full", "full"]);
  slow.writableNeedDrain = true;
  await fed.pass(31);
  assert.deepEqual([slow.events.length, slow.isDestroyed], [2, true]);
  assert.ok(other.events.length > 60 && !other.isDestroyed);
});

Deno.test("Feed says nothing while the packet thread does not answer, and goes on when it does", async () => {
  const fed = new Fed();
  const listener = await fed.listen();
  fed.isAlive = false;
  await fed.pass(3);
  assert.deepEqual(listener.events, ["full"]);
  fed.isAlive = true;
  await fed.pass(1);
  assert.deepEqual(listener.events, ["full", "delta"]);
});

Deno.test("Feed gives a listener nothing that was read for those who have gone", async () => {
  const fed = new Fed();
  fed.begin().destroy();
  await fed.pass(1);
  fed.watched.world.send(buildIcmp({}));
  const { data } = await fed.listen();
  assert.equal(data!.in.packets, 1);
});
