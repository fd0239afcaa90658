import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import { PortSet } from "../../src/flow/port_set.ts";

const PORTS = 65_536;

function naiveFirstFree(taken: ReadonlySet<number>, first: number, last: number): number {
  for (let port = first; port <= last; port++) if (!taken.has(port)) return port;
  return -1;
}

function setOf(ports: Iterable<number>): PortSet {
  const set = new PortSet();
  for (const port of ports) set.take(port);
  return set;
}

function* range(first: number, last: number): Generator<number> {
  for (let port = first; port <= last; port++) yield port;
}

Deno.test("PortSet agrees with a Set over 100,000 random operations, from empty to full words", () => {
  const random = new SeededRandom(1);
  // Windows across words, across full-word words, and at the ends of all ports.
  for (const base of [0, 1000, 31 * 32, 1024 * 32 - 100, PORTS - 200]) {
    const set = new PortSet();
    const naive = new Set<number>();
    for (let i = 0; i < 20_000; i++) {
      const filling = Math.floor(i / 2000) % 2 === 0;
      const port = base + below(random, 200);
      if (below(random, 10) < (filling ? 9 : 2)) {
        set.take(port);
        naive.add(port);
      } else {
        set.release(port);
        naive.delete(port);
      }
      assert.equal(set.isTaken(port), naive.has(port));
      const first = base + below(random, 200);
      const last = first + below(random, base + 200 - first);
      assert.equal(
        set.firstFree(first, last),
        naiveFirstFree(naive, first, last),
        `${first}–${last} at operation ${i}, base ${base}`,
      );
    }
  }
});

Deno.test("PortSet finds the one free port wherever it is, from every place before it", () => {
  const edges = [1, 31, 32, 33, 63, 64, 1023, 1024, 1055, 32_767, 32_768, 65_503, 65_504, 65_535];
  for (const free of edges) {
    const set = setOf(range(0, PORTS - 1));
    set.release(free);
    for (const first of [0, 1, free - 33, free - 32, free - 31, free - 1, free]) {
      if (first < 0) continue;
      assert.equal(set.firstFree(first, PORTS - 1), free, `${free} from ${first}`);
      assert.equal(set.firstFree(first, free), free);
      if (first < free) assert.equal(set.firstFree(first, free - 1), -1);
    }
    if (free < PORTS - 1) assert.equal(set.firstFree(free + 1, PORTS - 1), -1);
  }
});

Deno.test("PortSet has no free port when all are taken", () => {
  const set = setOf(range(0, PORTS - 1));
  for (const first of [0, 1, 31, 32, 1024, 65_504, 65_535]) {
    assert.equal(set.firstFree(first, PORTS - 1), -1);
  }
});

Deno.test("PortSet stays in the range that it is asked about", () => {
  const set = setOf(range(100, 199));
  assert.equal(set.firstFree(100, 199), -1);
  assert.equal(set.firstFree(100, 200), 200);
  assert.equal(set.firstFree(99, 199), 99);
  assert.equal(set.firstFree(150, 150), -1);
  assert.equal(set.firstFree(200, 200), 200);
});

Deno.test("PortSet gives every port of 1,024 to 65,535 once, taken one after the other", () => {
  const random = new SeededRandom(7);
  const [first, last] = [1024, PORTS - 1];
  const set = new PortSet();
  const seen = new Uint8Array(PORTS);
  for (let i = first; i <= last; i++) {
    const start = first + below(random, last - first + 1);
    let port = set.firstFree(start, last);
    if (port < 0) port = set.firstFree(first, start);
    assert.ok(port >= first && port <= last && seen[port] === 0, `port ${port}`);
    seen[port] = 1;
    set.take(port);
  }
  assert.equal(set.firstFree(first, last), -1);
  assert.equal(set.firstFree(0, last), 0, "below the range nothing was taken");
});

Deno.test("PortSet is not changed by taking or releasing twice", () => {
  const set = new PortSet();
  for (let i = 0; i < 2; i++) for (const port of range(64, 95)) set.take(port);
  assert.equal(set.firstFree(64, 200), 96);
  for (let i = 0; i < 2; i++) set.release(80);
  assert.equal(set.firstFree(64, 200), 80);
});
