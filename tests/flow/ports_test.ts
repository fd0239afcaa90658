import assert from "node:assert/strict";
import { type Random, SeededRandom } from "../../src/core/random.ts";
import { choosePort, type PortRange } from "../../src/flow/ports.ts";
import { FlowTable } from "../../src/flow/table.ts";

const TCP = 6;
const PROXY = 100;
const [BACKEND, OTHER] = [1, 2];

function tableWith(taken: readonly number[], backend = BACKEND, backendPort = 80): FlowTable {
  const table = new FlowTable(1000, new SeededRandom(1));
  taken.forEach((port, client) => {
    const own = (backendPort << 16) | port;
    table.insert(TCP, 1000 + client, PROXY, 5, backend, PROXY, own);
  });
  return table;
}

function choose(
  table: FlowTable,
  range: PortRange,
  preferred: number,
  {
    random = new SeededRandom(1) as Random,
    protocol = TCP,
    backend = BACKEND,
    backendPort = 80,
  } = {},
): number {
  return choosePort(table, range, random, protocol, backend, PROXY, backendPort, preferred, -1);
}

Deno.test("choosePort keeps the client's own port where it is free and in the range", () => {
  const range = { first: 1024, last: 65_535 };
  for (const port of [1024, 40_000, 65_535]) assert.equal(choose(tableWith([]), range, port), port);
});

Deno.test("choosePort takes another port when the client's own is taken or out of the range", () => {
  const range = { first: 5000, last: 5001 };
  const cases: [number[], number, number][] = [
    [[5000], 5000, 5001],
    [[5001], 5001, 5000],
    [[5000], 4999, 5001],
    [[5001], 5002, 5000],
    [[5000], 1, 5001],
  ];
  for (const [taken, preferred, expected] of cases) {
    for (let seed = 0; seed < 10; seed++) {
      const random = new SeededRandom(seed);
      assert.equal(choose(tableWith(taken), range, preferred, { random }), expected);
    }
  }
});

Deno.test("choosePort gives one port again to another backend, backend port or protocol", () => {
  const range = { first: 5000, last: 5000 };
  const table = tableWith([5000]);
  assert.equal(choose(table, range, 40_000), -1);
  assert.equal(choose(table, range, 40_000, { backend: OTHER }), 5000);
  assert.equal(choose(table, range, 40_000, { backendPort: 81 }), 5000);
  assert.equal(choose(table, range, 40_000, { protocol: 17 }), 5000);
});

Deno.test("choosePort reaches every port of the range, each about as often, and none twice", () => {
  const range = { first: 2000, last: 2099 };
  for (let seed = 0; seed < 20; seed++) {
    const random = new SeededRandom(seed);
    const table = tableWith([]);
    const chosen = new Set<number>();
    for (let client = 0; client < 100; client++) {
      const port = choose(table, range, 40_000, { random });
      assert.ok(port >= range.first && port <= range.last && !chosen.has(port), `seed ${seed}`);
      chosen.add(port);
      table.insert(TCP, client, PROXY, 5, BACKEND, PROXY, (80 << 16) | port);
    }
    assert.equal(choose(table, range, 40_000, { random }), -1);
  }
  const counts = new Uint32Array(100);
  const random = new SeededRandom(99);
  for (let i = 0; i < 10_000; i++) {
    counts[choose(tableWith([]), range, 40_000, { random }) - range.first]!++;
  }
  assert.ok(counts.every((count) => count > 50 && count < 160), `${counts}`);
});

Deno.test("choosePort comes round from the last port to the first", () => {
  const random = { uint32: () => 0xffff_ffff };
  const range = { first: 2000, last: 2009 };
  assert.equal(choose(tableWith([]), range, 1, { random }), 2009);
  assert.equal(choose(tableWith([2009]), range, 1, { random }), 2000);
  assert.equal(choose(tableWith([2009, 2000, 2001]), range, 1, { random }), 2002);
});

Deno.test("choosePort gives up after a bounded search", () => {
  const range = { first: 1024, last: 65_535 };
  const table = tableWith(Array.from({ length: 128 }, (_, i) => 1024 + i));
  const random = { uint32: () => 0 };
  assert.equal(choose(table, range, 1, { random }), -1);
  table.remove(127);
  assert.equal(choose(table, range, 1, { random }), 1024 + 127);
});
