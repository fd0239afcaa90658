/** The filter in front of the flow table: no bit of it is ever left over, and none is missing. */
import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import { BUCKETS, layoutOf } from "../../src/fastpath/layout.ts";
import { Limbo } from "../../src/fastpath/limbo.ts";
import { SharedMemory, type Way } from "../../src/fastpath/shared_memory.ts";
import { FlowTable, SIDE_A, SIDE_B } from "../../src/flow/table.ts";

const CONNECTIONS = 64;
const WAY: Way = { neighbor: 0, counter: 0, fromLink: 1, toLink: 1, newTtl: 0x1ff };
/** So few ports that many connections share a bucket. */
const PORTS = [0, 1, 2000, 2001, 2002, 40_000, 40_001, 65_535];

class World {
  readonly memory: SharedMemory;
  readonly limbo: Limbo;
  readonly open: number[] = [];
  readonly #filter: Uint8Array;
  readonly #table: FlowTable;
  readonly #random: SeededRandom;
  #end: () => void = () => {};

  constructor(seed: number) {
    const layout = layoutOf({ connections: CONNECTIONS, neighbors: 1, counters: 1, processors: 1 });
    const buffer = new ArrayBuffer(layout.bytes);
    this.memory = new SharedMemory(layout, buffer);
    this.limbo = new Limbo(this.memory, () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#end = resolve;
      return promise;
    });
    this.#filter = new Uint8Array(buffer, layout.at.filter, BUCKETS / 8);
    this.#random = new SeededRandom(seed);
    this.#table = new FlowTable(CONNECTIONS, this.#random, this.memory.table);
  }

  below(count: number): number {
    return below(this.#random, count);
  }

  #ports(): number {
    return (PORTS[this.below(PORTS.length)]! << 16) | PORTS[this.below(PORTS.length)]!;
  }

  /** Opens a connection whose addresses no other one has. */
  insert(number: number): void {
    const [a, b] = [this.#ports(), this.#ports()];
    const entry = this.#table.insert(6, number, 1, a, number, 2, b);
    if (entry >= 0) this.open.push(entry);
  }

  move(entry: number, number: number): void {
    this.limbo.demote(entry);
    this.#table.moveSideB(entry, number, 3, this.#ports());
  }

  remove(entry: number): void {
    this.#table.remove(entry, this.limbo.rests(entry));
    this.open.splice(this.open.indexOf(entry), 1);
  }

  tick(): void {
    this.limbo.tick((entry) => this.#table.release(entry));
  }

  async end(): Promise<void> {
    this.#end();
    await Promise.resolve();
    await Promise.resolve();
  }

  set(): number[] {
    const buckets = [];
    for (let i = 0; i < BUCKETS; i++) {
      if (((this.#filter[i >>> 3]! >>> (i & 7)) & 1) === 1) buckets.push(i);
    }
    return buckets;
  }

  /** The buckets of all promoted connections, in order. */
  expected(): number[] {
    const buckets = new Set<number>();
    for (const entry of this.open.filter((entry) => this.memory.isPromoted(entry))) {
      for (const side of [SIDE_A, SIDE_B]) {
        buckets.add(this.#table.srcPort(entry, side) ^ this.#table.dstPort(entry, side));
      }
    }
    return [...buckets].sort((a, b) => a - b);
  }
}

const STEPS = 3000;

Deno.test("SharedMemory: the filter has the promoted connections' buckets, whatever happens", async () => {
  let most = 0;
  for (let seed = 1; seed <= 5; seed++) {
    const world = new World(seed);
    const { limbo, memory, open } = world;
    for (let step = 0; step < STEPS; step++) {
      const entry = open[world.below(Math.max(1, open.length))];
      const what = world.below(100);
      if (entry === undefined || what < 20) world.insert(step);
      else if (what < 60) assert.ok(memory.promote(entry, WAY, WAY));
      else if (what < 75) limbo.demote(entry);
      else if (what < 80) world.move(entry, STEPS + step);
      else if (what < 93) world.remove(entry);
      else if (what < 96) world.tick();
      else if (what < 99) await world.end();
      else if (world.below(3) === 0) limbo.demoteAll();
      const expected = world.expected();
      assert.deepEqual(world.set(), expected, `seed ${seed}, step ${step}`);
      most = Math.max(most, expected.length);
    }
    while (open.length > 0) world.remove(open[0]!);
    assert.deepEqual(world.set(), [], `seed ${seed}, at the end`);
  }
  assert.ok(most > 20, `${most} buckets at most`);
});

Deno.test("SharedMemory: the filter is empty when epochs are numbered anew", () => {
  const world = new World(1);
  world.insert(1);
  world.memory.promote(world.open[0]!, WAY, WAY);
  for (let i = 0; i < 0xffff; i++) world.memory.demoteAll();
  assert.equal(world.memory.epoch, 1);
  assert.deepEqual(world.set(), []);
  world.memory.promote(world.open[0]!, WAY, WAY);
  assert.deepEqual(world.set(), world.expected());
  world.memory.demote(world.open[0]!);
  assert.deepEqual(world.set(), []);
});
