/** Entries of the flow table that rest while a program may be at work on them. */
import assert from "node:assert/strict";
import { layoutOf } from "../../src/fastpath/layout.ts";
import { Limbo } from "../../src/fastpath/limbo.ts";
import { SharedMemory, type Way } from "../../src/fastpath/shared_memory.ts";

const SIZES = { connections: 8, neighbors: 1, counters: 1, processors: 1 };
const WAY: Way = { neighbor: 0, counter: 0, fromLink: 0, toLink: 0, newTtl: 0 };

class Fixture {
  readonly memory: SharedMemory;
  readonly limbo: Limbo;
  readonly released: number[] = [];
  /** Ends the barrier under way, well or not. */
  end: (fails?: boolean) => Promise<void> = () => Promise.resolve();
  barriers = 0;

  constructor() {
    const layout = layoutOf(SIZES);
    this.memory = new SharedMemory(layout, new ArrayBuffer(layout.bytes));
    this.limbo = new Limbo(this.memory, () => {
      this.barriers++;
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.end = async (fails = false) => {
        if (fails) reject(new Error("no"));
        else resolve();
        await promise.catch(() => {});
        await Promise.resolve();
      };
      return promise;
    });
  }

  promote(entry: number): void {
    assert.ok(this.memory.promote(entry, WAY, WAY));
  }

  tick(): void {
    this.limbo.tick((entry) => void this.released.push(entry));
  }
}

Deno.test("Limbo: what was never promoted does not rest, and asks for no barrier", () => {
  const { limbo, barriers } = new Fixture();
  assert.equal(limbo.rests(3), false);
  assert.equal(barriers, 0);
});

Deno.test("Limbo: a removed entry that was promoted rests until the end of a barrier", async () => {
  const world = new Fixture();
  world.promote(3);
  assert.equal(world.limbo.rests(3), true);
  assert.equal(world.memory.isPromoted(3), false);
  world.tick();
  assert.deepEqual([world.released, world.limbo.count], [[], 1]);
  await world.end();
  assert.deepEqual([world.released, world.limbo.count], [[3], 0]);
  assert.equal(world.limbo.rests(3), false, "the next connection there was not promoted");
});

Deno.test("Limbo: one that was demoted before a barrier does not rest after it", async () => {
  const world = new Fixture();
  for (const entry of [1, 2]) world.promote(entry);
  world.limbo.demote(1);
  assert.equal(world.limbo.rests(2), true);
  world.tick();
  assert.equal(world.limbo.rests(1), true, "the barrier has not ended");
  await world.end();
  world.promote(3);
  world.limbo.demote(3);
  assert.equal(world.limbo.rests(3), true, "it has ended before");
});

Deno.test("Limbo: what comes while a barrier is under way waits for the next one", async () => {
  const world = new Fixture();
  for (const entry of [1, 2]) world.promote(entry);
  world.limbo.rests(1);
  world.tick();
  world.limbo.rests(2);
  world.tick();
  assert.equal(world.barriers, 1);
  await world.end();
  assert.deepEqual(world.released, [1]);
  world.tick();
  await world.end();
  assert.deepEqual(world.released, [1, 2]);
});

Deno.test("Limbo: tickets of an earlier epoch count, also when epochs are numbered anew", async () => {
  const world = new Fixture();
  for (const entry of [1, 2]) world.promote(entry);
  world.limbo.demoteAll();
  assert.equal(world.memory.isPromoted(1), false);
  assert.equal(world.limbo.rests(1), true);
  for (let i = 0; i < 0x1_0000; i++) world.limbo.demoteAll();
  assert.equal(world.limbo.rests(2), true);
  world.tick();
  await world.end();
  assert.deepEqual(world.released, [1, 2]);
  world.promote(4);
  world.limbo.demoteAll();
  world.limbo.rests(4);
  world.tick();
  await world.end();
  assert.deepEqual(world.released, [1, 2, 4]);
});

Deno.test("Limbo: a barrier that fails is tried again", async () => {
  const world = new Fixture();
  world.promote(1);
  world.limbo.rests(1);
  world.tick();
  await world.end(true);
  assert.deepEqual([world.released, world.limbo.count], [[], 1]);
  world.tick();
  await world.end();
  assert.deepEqual(world.released, [1]);
});
