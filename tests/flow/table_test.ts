import assert from "node:assert/strict";
import { below, type Random, SeededRandom } from "../../src/core/random.ts";
import { FlowTable, MAX_CAPACITY, SIDE_A, SIDE_B } from "../../src/flow/table.ts";
import { acrossOf } from "../../src/wire/pdu.ts";

interface Tuple {
  readonly protocol: number;
  readonly src: number;
  readonly dst: number;
  readonly ports: number;
}

interface Flow {
  readonly a: Tuple;
  readonly b: Tuple | null;
  state: number;
  lastSeenMs: number;
}

/** The table as nobody would build it: maps of strings, every question answered by looking. */
class Model {
  readonly flows = new Map<number, Flow>();
  readonly #references = new Map<string, number>();

  find(tuple: Tuple): number {
    return this.#references.get(JSON.stringify(tuple)) ?? -1;
  }

  insert(entry: number, a: Tuple, b: Tuple | null): void {
    assert.equal(this.flows.has(entry), false, `entry ${entry} is given twice`);
    this.flows.set(entry, { a, b, state: 0, lastSeenMs: 0 });
    this.#references.set(JSON.stringify(a), 2 * entry);
    if (b !== null) this.#references.set(JSON.stringify(b), 2 * entry + 1);
  }

  remove(entry: number): void {
    const { a, b } = this.flows.get(entry)!;
    this.flows.delete(entry);
    this.#references.delete(JSON.stringify(a));
    if (b !== null) this.#references.delete(JSON.stringify(b));
  }
}

function find(table: FlowTable, tuple: Tuple): number {
  return table.find(tuple.protocol, tuple.src, tuple.dst, tuple.ports);
}

/** What `findAll` and `has` say of 64 tuples agrees with the model: no candidate, no entry. */
function assertFindAll(table: FlowTable, model: Model, tuples: readonly Tuple[]): void {
  const hashes = Int32Array.from(
    tuples,
    ({ protocol, src, dst, ports }) => table.hashOf(protocol, src, dst, ports),
  );
  const found = new Int32Array(64).fill(12_345);
  table.findAll(hashes, tuples.length, found);
  tuples.forEach((tuple, i) => {
    const { protocol, src, dst, ports } = tuple;
    const reference = found[i]!;
    const known = model.find(tuple);
    if (reference < 0) assert.equal(known, -1);
    else assert.equal(table.has(reference, protocol, src, dst, ports), reference === known);
  });
  assert.ok(found.subarray(tuples.length).every((word) => word === 12_345));
}

function insert(table: FlowTable, a: Tuple, b: Tuple | null): number {
  return b === null ? table.insertOneSided(a.protocol, a.src, a.dst, a.ports) : table.insert(
    ...[a.protocol, a.src, a.dst, a.ports, b.src, b.dst, b.ports] as const,
    a.protocol !== b.protocol,
  );
}

/** Everything that the table tells about an entry agrees with the model. */
function assertEntry(table: FlowTable, entry: number, flow: Flow): void {
  assert.equal(table.protocol(entry), flow.a.protocol);
  assert.equal(table.hasSideB(entry), flow.b !== null);
  assert.equal(table.crosses(entry), flow.b !== null && flow.b.protocol !== flow.a.protocol);
  assert.equal(table.state(entry), flow.state);
  for (const [side, tuple] of [[SIDE_A, flow.a], [SIDE_B, flow.b]] as const) {
    if (tuple === null) continue;
    assert.equal(table.protocolOf(2 * entry + side), tuple.protocol);
    assert.equal(find(table, tuple), 2 * entry + side);
    assert.equal(table.src(entry, side), tuple.src);
    assert.equal(table.dst(entry, side), tuple.dst);
    assert.equal(table.srcPort(entry, side), tuple.ports >>> 16);
    assert.equal(table.dstPort(entry, side), tuple.ports & 0xffff);
  }
}

/** Few values a field, edges among them, so that tuples often differ in one field only. */
const ADDRESSES = [0, 1, -1, 0x7fff_ffff, -0x8000_0000, 0xc0a8_0001 | 0, 0xc0a8_00fe | 0];
const PORTS = [0, 1, 80, 0x7fff, 0x8000, 0xffff];

function randomTuple(random: Random, protocol = [1, 6, 17, 255][below(random, 4)]!): Tuple {
  const one = (values: readonly number[]) => values[below(random, values.length)]!;
  return {
    protocol,
    src: one(ADDRESSES),
    dst: one(ADDRESSES),
    ports: (one(PORTS) << 16) | one(PORTS),
  };
}

/**
 * Random operations on a table and the model; the table's own hash may be made as bad as one likes.
 */
function compare(capacity: number, operations: number, seed: number, hash: Random): void {
  const random = new SeededRandom(seed);
  const table = new FlowTable(capacity, hash);
  const model = new Model();
  let full = 0;
  for (let i = 0; i < operations; i++) {
    const where = `operation ${i} with seed ${seed}`;
    const a = randomTuple(random);
    const b = below(random, 4) === 0
      ? null
      : randomTuple(random, below(random, 3) === 0 ? acrossOf(a.protocol) : a.protocol);
    assert.equal(find(table, a), model.find(a), where);
    // Alternates between filling up and emptying.
    const wantsInsert = below(random, 100) < (Math.floor(i / (4 * capacity)) % 2 === 0 ? 70 : 30);
    if (wantsInsert) {
      const known = model.find(a) >= 0 || b !== null &&
          (model.find(b) >= 0 || JSON.stringify(a) === JSON.stringify(b));
      if (known) continue;
      const entry = insert(table, a, b);
      if (model.flows.size === capacity) {
        assert.equal(entry, -1, where);
        full++;
        continue;
      }
      assert.ok(entry >= 0 && entry < capacity, where);
      model.insert(entry, a, b);
      const flow = model.flows.get(entry)!;
      assertEntry(table, entry, flow);
      flow.state = below(random, 64);
      table.setState(entry, flow.state);
    } else if (model.flows.size > 0) {
      const entry = [...model.flows.keys()][below(random, Math.min(model.flows.size, 8))]!;
      const { a: oldA, b: oldB } = model.flows.get(entry)!;
      table.remove(entry);
      model.remove(entry);
      assert.equal(find(table, oldA), -1, where);
      if (oldB !== null) assert.equal(find(table, oldB), -1, where);
    }
    assert.equal(table.count, model.flows.size, where);
    if (i % 64 === 0 || i === operations - 1) {
      assert.deepEqual([...table], [...model.flows.keys()].sort((x, y) => x - y), where);
      for (const [entry, flow] of model.flows) assertEntry(table, entry, flow);
      const known = [...model.flows.values()].flatMap(({ a, b }) => b === null ? [a] : [a, b]);
      const unknown = Array.from({ length: below(random, 32) }, () => randomTuple(random));
      assertFindAll(table, model, [...known.slice(-32), ...unknown]);
    }
  }
  assert.ok(full > 0, "the table was full at times");
}

/** Numbers with `bits` random bits: a hash of 2ᵇⁱᵗˢ different values. */
function weak(bits: number, seed: number): Random {
  const random = new SeededRandom(seed);
  return { uint32: () => random.uint32() & ((1 << bits) - 1) };
}

Deno.test("FlowTable agrees with a Map over 100,000 random operations, at every tight capacity", () => {
  for (const capacity of [1, 2, 3, 4, 5, 7, 8, 16, 33, 64]) {
    compare(capacity, 10_000, capacity, new SeededRandom(capacity));
  }
});

Deno.test("FlowTable agrees with a Map when all tuples meet in a few slots", () => {
  for (const bits of [0, 1, 2, 3]) compare(16, 5_000, 100 + bits, weak(bits, bits));
});

Deno.test("FlowTable agrees with a Map when all tuples meet in the last slots and wrap around", () => {
  for (const capacity of [4, 16, 64]) {
    const last = 4 * capacity - 1;
    const random = new SeededRandom(capacity);
    // Each of the 13 table words is all ones or lacks one low bit: the xor stays near the last
    // slot.
    const hash = { uint32: () => last ^ (random.uint32() & 1) };
    compare(capacity, 5_000, 200 + capacity, hash);
  }
});

Deno.test("FlowTable tells tuples apart that differ in one field only", () => {
  const table = new FlowTable(16, new SeededRandom(1));
  const tuple = { protocol: 6, src: 1, dst: 2, ports: 3 };
  insert(table, tuple, null);
  const others: Partial<Tuple>[] = [{ protocol: 17 }, { src: 3 }, { dst: 1 }, { ports: 3 << 16 }];
  for (const other of others) assert.equal(find(table, { ...tuple, ...other }), -1);
  assert.equal(find(table, tuple), 0);
});

Deno.test("FlowTable makes an entry's state and mark anew when it is used again", () => {
  const table = new FlowTable(1, new SeededRandom(1));
  const entry = table.insertOneSided(1, 1, 2, 3);
  table.setState(entry, 127);
  table.remove(entry);
  assert.equal(table.insert(6, 4, 5, 6, 7, 8, 9), entry);
  assert.equal(table.state(entry), 0);
  assert.equal(table.protocol(entry), 6);
  assert.equal(table.hasSideB(entry), true);
});

Deno.test("FlowTable holds a million connections", () => {
  const table = new FlowTable(MAX_CAPACITY, new SeededRandom(3));
  for (let i = 0; i < MAX_CAPACITY; i++) assert.equal(table.insertOneSided(6, i, 1, 2), i);
  assert.equal(table.insertOneSided(6, -1, 1, 2), -1);
  assert.equal(table.count, MAX_CAPACITY);
  for (let i = 0; i < MAX_CAPACITY; i += 997) assert.equal(table.find(6, i, 1, 2), 2 * i);
  assert.equal(table.find(6, MAX_CAPACITY, 1, 2), -1);
});

Deno.test("FlowTable refuses capacities outside 1 to 1,000,000", () => {
  for (const capacity of [0, -1, MAX_CAPACITY + 1, NaN, Infinity]) {
    assert.throws(() => new FlowTable(capacity, new SeededRandom(1)), {
      name: "RangeError",
      message: `Cannot make a flow table of "${capacity}" entries: expected 1 to 1000000`,
    });
  }
});

const TIMEOUTS_MS = new Int32Array([1000, 60_000, 124 * 60_000]);

/** Ticks until every entry of a table of up to 131,072 has been visited at least once. */
const ROUND_TICKS = 513;

for (const startMs of [0, 2 ** 31 - 90_000, 2 ** 32 - 90_000, 2 ** 41 + 0.75]) {
  Deno.test(`FlowTable.expire agrees with a Map from ${startMs} ms on`, () => {
    const seed = 5;
    const random = new SeededRandom(seed);
    const table = new FlowTable(200, random);
    const model = new Model();
    let nowMs = startMs;
    const removed: number[] = [];
    const remove = (entry: number) => {
      removed.push(entry);
      table.remove(entry);
    };
    for (let round = 0; round < 2_000; round++) {
      nowMs += below(random, 4000);
      for (let i = below(random, 4); i > 0; i--) {
        const a = { ...randomTuple(random), src: random.uint32() | 0 };
        const entry = model.find(a) < 0 ? insert(table, a, null) : -1;
        if (entry < 0) continue;
        model.insert(entry, a, null);
        const flow = model.flows.get(entry)!;
        flow.state = [0, 1, 2][below(random, 3)]!;
        flow.lastSeenMs = nowMs;
        table.setState(entry, flow.state);
        table.touch(entry, nowMs);
      }
      const entries = [...model.flows.keys()];
      if (entries.length > 0) {
        const entry = entries[below(random, entries.length)]!;
        model.flows.get(entry)!.lastSeenMs = nowMs;
        table.touch(entry, nowMs);
      }
      // 200 entries are one slice: one tick visits them all.
      table.expire(nowMs, TIMEOUTS_MS, remove);
      const late = [...model.flows].filter(([, flow]) =>
        Math.floor(nowMs) - Math.floor(flow.lastSeenMs) >= TIMEOUTS_MS[flow.state]!
      ).map(([entry]) => entry);
      assert.deepEqual(removed.sort((x, y) => x - y), late.sort((x, y) => x - y), `round ${round}`);
      for (const entry of late) model.remove(entry);
      removed.length = 0;
      assert.equal(table.count, model.flows.size);
    }
  });
}

Deno.test("FlowTable.expire comes round to every entry, a bounded slice a tick", () => {
  const capacity = 20_000;
  const table = new FlowTable(capacity, new SeededRandom(1));
  for (let i = 0; i < capacity; i++) table.touch(table.insertOneSided(6, i, 1, 2), 0);
  let ticks = 0;
  while (table.count > 0) {
    const before = table.count;
    table.expire(5000, TIMEOUTS_MS, (entry) => table.remove(entry));
    assert.ok(before - table.count <= 256, `${before - table.count} in one tick`);
    assert.ok(++ticks <= ROUND_TICKS);
  }
});

Deno.test("FlowTable.expire leaves an empty and an emptied table alone", () => {
  const table = new FlowTable(8, new SeededRandom(1));
  const never = () => assert.fail("nothing is there to be removed");
  table.expire(1e9, TIMEOUTS_MS, never);
  table.remove(table.insertOneSided(6, 1, 2, 3));
  table.expire(1e9, TIMEOUTS_MS, never);
});

Deno.test("FlowTable keeps eight words for each entry's protocol, 0 in a new one", () => {
  const table = new FlowTable(3, new SeededRandom(1));
  const words = [0, 1, 2, 3, 4, 5, 6, 7];
  const entries = [1, 2, 3].map((src) => table.insertOneSided(6, src, 2, 3));
  const expected = (entry: number) => words.map((word) => 0x7fff_ffff - 100 * entry - word);
  for (const entry of entries) {
    expected(entry).forEach((value, word) => table.setData(entry, word, value));
  }
  table.setState(1, 127);
  table.touch(1, -1);
  for (const entry of entries) {
    assert.deepEqual(words.map((word) => table.data(entry, word)), expected(entry));
    assert.equal(table.find(6, 1 + entry, 2, 3), 2 * entry);
  }
  table.remove(1);
  assert.equal(table.insert(6, 9, 9, 9, 8, 8, 8), 1);
  assert.deepEqual(words.map((word) => table.data(1, word)), words.map(() => 0));
});

Deno.test("FlowTable.idleMs counts across 2³¹ and 2³² ms", () => {
  const table = new FlowTable(1, new SeededRandom(1));
  const entry = table.insertOneSided(6, 1, 2, 3);
  for (const startMs of [0, 2 ** 31 - 5, 2 ** 32 - 5, 2 ** 41]) {
    table.touch(entry, startMs);
    for (const ms of [0, 1, 10, 1e9]) assert.equal(table.idleMs(entry, startMs + ms), ms);
  }
});

Deno.test("has sees through an entry that was given to another connection", () => {
  const table = new FlowTable(1, new SeededRandom(1));
  const entry = table.insert(1, 10, 20, 30, 40, 50, 60);
  assert.ok(table.has(2 * entry, 1, 10, 20, 30));
  assert.ok(table.has(2 * entry + 1, 1, 40, 50, 60));
  assert.ok(!table.has(2 * entry, 1, 40, 50, 60));
  table.remove(entry);
  assert.ok(!table.has(2 * entry, 1, 10, 20, 30));
  assert.ok(!table.has(2 * entry + 1, 1, 40, 50, 60));
  assert.equal(table.insertOneSided(1, 11, 20, 30), entry);
  assert.ok(table.has(2 * entry, 1, 11, 20, 30));
  // The second tuple's words still hold what the earlier connection had there.
  assert.ok(!table.has(2 * entry + 1, 1, 40, 50, 60));
});
