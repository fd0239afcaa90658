import assert from "node:assert/strict";
import { Arena } from "../../src/core/arena.ts";
import { reasonName } from "../../src/core/reason.ts";
import { Neighbors } from "../../src/stack/neighbors.ts";
import { Openers } from "../../src/stack/openers.ts";

const OWN = { hi: 2, lo: 1 };
const FRAME_BYTES = 60;
const TICK_MS = 100;

interface Question {
  readonly atMs: number;
  readonly address: number;
  readonly toAll: boolean;
}

/** Neighbours beside a clock; their MAC addresses are 3 and their address. */
class World {
  readonly arena = new Arena();
  readonly openers = new Openers(1000);
  readonly asked: Question[] = [];
  readonly events: string[] = [];
  readonly neighbors: Neighbors;
  hasRoom = true;
  nowMs = 5000.25;

  constructor(maxNeighbors = 100_000, watched: readonly number[] = []) {
    this.neighbors = new Neighbors({
      arena: this.arena,
      mac: OWN,
      watched,
      maxNeighbors,
      openers: this.openers,
      nowMs: this.nowMs,
      ask: (address, mac) => {
        if (!this.hasRoom) return false;
        this.asked.push({ atMs: this.nowMs, address, toAll: mac === null });
        return true;
      },
      resolved: (address) => this.events.push(`${address} resolved`),
      unanswered: (address) => this.events.push(`${address} unanswered`),
      dropped: (reason, count) => this.events.push(`${reasonName(reason)} ${count}`),
    });
  }

  /** Sends a packet; the lower part of the MAC address that it leaves for, or why it does not. */
  send(address: number, entry = -1): number | string {
    const { arena } = this;
    const frame = arena.rxStart + 16;
    arena.sent();
    const reason = this.neighbors.send(frame, FRAME_BYTES, address, this.nowMs, entry);
    if (reason !== 0) return reasonName(reason);
    return arena.tx.at(0) === frame && arena.txCount > 0 ? arena.view.getInt32(frame + 2) : "held";
  }

  answer(address: number, lo = address): void {
    this.neighbors.learn(address, { hi: 3, lo }, this.nowMs, true);
  }

  /** Ticks for so long; who is `alive` answers what it has been asked at the end of the tick. */
  run(ms: number, alive: (address: number) => boolean = () => false): void {
    for (const endMs = this.nowMs + ms; this.nowMs < endMs;) {
      this.nowMs += TICK_MS;
      const before = this.asked.length;
      this.neighbors.tick(this.nowMs);
      this.#answers(before, alive);
    }
  }

  /** Everybody who is `alive` and has been asked since answers, and so on until nobody is asked. */
  #answers(before: number, alive: (address: number) => boolean): void {
    for (let i = before; i < this.asked.length; i++) {
      const { address } = this.asked[i]!;
      if (alive(address)) this.answer(address);
    }
  }

  answerAll(): void {
    this.#answers(0, () => true);
  }

  askedFor(address: number): number[] {
    return this.asked.filter((one) => one.address === address).map(({ atMs }) => atMs);
  }
}

Deno.test("Neighbors keeps an eye on one that it is told of later, and lets go of it again", () => {
  const world = new World(3, [90]);
  world.answer(90);
  for (const address of [1, 2, 3]) world.answer(address);
  world.send(4); // takes the place of another
  world.events.length = 0;
  world.neighbors.watch(5, world.nowMs);
  world.neighbors.watch(2, world.nowMs); // known, but not as one to be watched
  assert.equal(world.askedFor(5).length, 1);
  world.run(1000, (address) => address === 5 || address === 2);
  assert.deepEqual(world.events.filter((event) => event.endsWith("d")).sort(), [
    "2 resolved",
    "5 resolved",
  ]);
  world.run(60_000, (address) => address !== 5);
  assert.ok(world.events.includes("5 unanswered"));
  world.neighbors.unwatch(5);
  world.neighbors.unwatch(5);
  const asked = world.askedFor(5).length;
  world.run(60_000, () => true);
  assert.equal(world.askedFor(5).length, asked);
  assert.equal(world.send(5), "held");
});

Deno.test("Neighbors watches no more than it has places, and never takes one from a watched one", () => {
  const world = new World(2, [90]);
  for (const address of [1, 2, 3, 4]) world.neighbors.watch(address, world.nowMs);
  assert.equal(world.neighbors.count, 3);
  world.run(1000, () => true);
  assert.deepEqual(world.events.toSorted(), ["1 resolved", "2 resolved", "90 resolved"]);
  world.neighbors.unwatch(1);
  assert.equal(world.send(7), "held");
});

Deno.test("Neighbors makes room by the oldest unresolved one first", () => {
  const world = new World(3, [90]);
  world.answer(90);
  world.answer(1);
  world.send(2);
  world.send(3);
  world.send(4);
  assert.deepEqual(world.events, ["90 resolved", "arp-unanswered 1"]);
  for (const address of [3, 4, 2]) world.answer(address);
  assert.deepEqual([world.send(1), world.send(90)], ["held", 90], "resolved ones go next");
  assert.equal(world.neighbors.count, 4);
});

Deno.test("Neighbors makes room by the one used longest ago, however early it came", () => {
  const world = new World(5000);
  for (let address = 0; address < 5000; address++) world.answer(address);
  // All but 3,000 and 4,000 are used again, in the opposite order.
  for (let address = 4999; address >= 0; address--) {
    world.nowMs += 2;
    if (address !== 3000 && address !== 4000) world.send(address);
  }
  for (const address of [7000, 7001]) world.answer(address);
  const gone = [0, 3000, 4000, 4999].map((address) => world.send(address));
  assert.deepEqual(gone, [0, "held", "held", 4999]);
});

Deno.test("Neighbors never removes a watched one", () => {
  const world = new World(10, [-1, -2]);
  for (const address of [-1, -2]) world.answer(address);
  for (let address = 1; address < 500; address++) world.answer(address);
  assert.deepEqual([world.send(-1), world.send(-2)], [-1, -2]);
  assert.equal(world.neighbors.count, 12);
});

Deno.test("Neighbors finds 5,000 hosts as fast as they answer, 256 questions at a time", () => {
  const world = new World();
  for (let address = 0; address < 5000; address++) assert.equal(world.send(address), "held");
  assert.equal(world.asked.length, 256);
  world.answerAll();
  assert.equal(world.asked.length, 5000, "each was asked for once");
  assert.ok(world.asked.every(({ atMs }) => atMs === world.nowMs));
  for (let address = 0; address < 5000; address++) assert.equal(world.send(address), address);
});

Deno.test("Neighbors asks 256 and 100 a second for those that are not there, each once a second", () => {
  const world = new World();
  const startMs = world.nowMs;
  // A new address every tenth of a millisecond, and each of the old ones now and then.
  for (let i = 0; i < 40_000; i++) {
    world.nowMs += 0.1;
    world.send(i);
    world.send(i >> 3);
    if (i % 1000 === 0) world.neighbors.tick(world.nowMs);
  }
  const seconds = (world.nowMs - startMs) / 1000;
  assert.ok(world.asked.length <= 256 + 100 * seconds + 1, `${world.asked.length}`);
  assert.ok(world.asked.length >= 256 + 100 * (seconds - 1), `${world.asked.length}`);
  const last = new Map<number, number>();
  for (const { address, atMs } of world.asked) {
    assert.ok(atMs - (last.get(address) ?? -Infinity) >= 1000);
    last.set(address, atMs);
  }
});

Deno.test("Neighbors asks those that it knows whether they are there, whoever else is asked for", () => {
  const world = new World();
  world.answer(-5);
  world.nowMs += 31_000;
  for (let address = 0; address < 1000; address++) world.send(address);
  assert.equal(world.send(-5), -5);
  assert.deepEqual(world.asked.at(-1), { atMs: world.nowMs, address: -5, toAll: false });
});

Deno.test("Neighbors gives up what waits three seconds for its first question", () => {
  const world = new World();
  for (let address = 0; address < 2000; address++) world.send(address);
  world.run(10_000);
  const lost = world.events.reduce((sum, event) => sum + Number(event.split(" ")[1]), 0);
  assert.equal(lost, 2000);
  assert.equal(world.neighbors.count, 0);
});

Deno.test("Neighbors counts no question that could not be sent", () => {
  const world = new World(100, [7]);
  world.send(1);
  world.answer(7);
  world.hasRoom = false;
  world.run(40_000);
  world.send(2);
  assert.deepEqual(world.events.filter((event) => event.includes("unanswered")), [
    "arp-unanswered 1",
  ]);
  world.hasRoom = true;
  world.run(2950, () => false);
  assert.equal(world.askedFor(7).length, 3);
  assert.deepEqual(world.events.filter((event) => event === "7 unanswered"), []);
  assert.ok(world.askedFor(2).length >= 1);
});

Deno.test("Neighbors asks for 10,000 watched ones in bursts of 256, and loses none that answers", () => {
  const watched = Array.from({ length: 10_000 }, (_, i) => i);
  const world = new World(100, watched);
  let before = 0;
  while (before < 10_000) {
    world.run(TICK_MS);
    const burst = world.asked.length - before;
    assert.ok(burst > 0 && burst <= 256, `${burst} at once`);
    for (const { address } of world.asked.slice(before)) world.answer(address);
    before = world.asked.length;
  }
  assert.equal(world.asked.length, 10_000);
  assert.equal(world.nowMs, 5000.25 + 40 * TICK_MS);
  world.run(100_000, () => true);
  assert.deepEqual(world.events.filter((event) => event.endsWith("unanswered")), []);
});

// What a connection sends to the station that opened it

Deno.test("Neighbors sends what a connection's opener is sent to its station until ARP answers", () => {
  const world = new World();
  world.openers.note(5, 3, 777);
  assert.equal(world.send(1, 5), 777);
  assert.deepEqual(world.asked.map(({ address, toAll }) => [address, toAll]), [[1, true]]);
  assert.equal(world.send(1, 5), 777);
  world.answer(1, 888);
  assert.equal(world.send(1, 5), 888);
  assert.equal(world.send(1, 6), 888);
});

Deno.test("Neighbors holds other connections' packets to an unconfirmed one, until ARP answers", () => {
  const world = new World();
  world.openers.note(5, 3, 777);
  world.send(1, 5);
  for (const entry of [6, -1]) assert.equal(world.send(1, entry), "held");
  world.openers.note(7, 3, 778);
  assert.deepEqual([world.send(1, 7), world.send(1, 5)], [778, 777], "to each its own");
  world.arena.sent();
  world.answer(1);
  assert.equal(world.arena.txCount, 2);
});

Deno.test("Neighbors trusts the station that opened a connection no longer when nobody answers", () => {
  const world = new World();
  world.openers.note(5, 3, 777);
  world.send(1, 5);
  world.run(2900);
  assert.equal(world.send(1, 5), 777);
  world.run(200);
  assert.equal(world.askedFor(1).length, 3);
  assert.equal(world.send(1, 5), "held", "asked for anew, as for anybody");
});

Deno.test("Neighbors keeps an unconfirmed one that waits for its turn to be asked for", () => {
  const world = new World();
  for (let address = 1000; address < 1400; address++) {
    world.openers.note(address - 1000, 3, 666);
    assert.equal(world.send(address, address - 1000), 666);
  }
  world.openers.note(500, 3, 777);
  world.send(1, 500);
  assert.deepEqual(world.askedFor(1), []);
  for (let second = 0; second < 20; second++) {
    world.run(1000, (address) => address === 1);
    assert.equal(typeof world.send(1, 500), "number");
  }
  assert.equal(world.send(1, 500), 1);
  assert.equal(world.asked.filter(({ address }) => address === 1).length, 1);
});

Deno.test("Neighbors never sends what is for a watched one to a station that nobody has confirmed", () => {
  const world = new World(100, [1]);
  world.openers.note(5, 3, 777);
  assert.equal(world.send(1, 5), "held");
  world.run(5000);
  assert.equal(world.send(1, 5), "arp-unanswered");
});

// Answers that are owed

Deno.test("Neighbors gives up a watched one that owes an answer within five seconds", () => {
  for (const quietMs of [0, 500, 999, 5000, 29_000]) {
    const world = new World(100, [1]);
    world.run(TICK_MS, () => true);
    world.nowMs += quietMs;
    const startMs = world.nowMs;
    while (!world.events.includes("1 unanswered")) {
      world.neighbors.expectAnswer(1, world.nowMs); // a SYN every 50 ms
      world.nowMs += 50;
      if (Math.round(world.nowMs - startMs) % TICK_MS === 0) world.neighbors.tick(world.nowMs);
    }
    const tookMs = world.nowMs - startMs;
    assert.ok(tookMs >= 3500 && tookMs <= 5500, `${tookMs} ms after ${quietMs} ms of quiet`);
    const gaps = world.askedFor(1).slice(1).map((ms, i) => ms - world.askedFor(1)[i]!);
    assert.ok(gaps.every((ms) => ms >= 1000), `${gaps}`);
  }
});

Deno.test("Neighbors does not ask a watched one that has sent the answer it owed", () => {
  const world = new World(100, [1]);
  world.run(2000, () => true);
  const asked = world.asked.length;
  for (let i = 0; i < 250; i++) {
    world.neighbors.expectAnswer(1, world.nowMs);
    world.run(TICK_MS);
    world.neighbors.answered(1);
  }
  assert.equal(world.asked.length, asked);
});

Deno.test("Neighbors keeps a watched one that owes answers for ever and answers ARP", () => {
  const world = new World(100, [1, 2]);
  world.run(2000, () => true);
  for (let i = 0; i < 600; i++) {
    world.neighbors.expectAnswer(1, world.nowMs);
    world.run(TICK_MS, () => true);
  }
  assert.deepEqual(world.events, ["1 resolved", "2 resolved"]);
  const asked = world.askedFor(1).length;
  assert.ok(asked >= 20 && asked <= 61, `${asked} in a minute: at most one a second`);
});

Deno.test("Neighbors keeps one that it knows as long as there is no room to ask it again", () => {
  const world = new World();
  world.answer(1);
  world.nowMs += 31_000;
  world.send(1);
  world.hasRoom = false;
  for (let second = 0; second < 20; second++) {
    world.run(1000);
    assert.equal(world.send(1), 1);
  }
  world.hasRoom = true;
  world.run(1950);
  assert.equal(world.send(1), 1, "asked twice more");
  world.run(1100);
  assert.deepEqual([world.askedFor(1).length, world.send(1)], [3, "held"]);
});
