import assert from "node:assert/strict";
import { below, type Random, SeededRandom } from "../../src/core/random.ts";
import { LinkedLists } from "../../src/core/linked_lists.ts";
import { FINISHED, HALF_OPEN, LIVE, RESET } from "../../src/flow/eviction.ts";
import { type PortRange, Ports } from "../../src/flow/ports.ts";
import { VictimSelector } from "../../src/flow/victim.ts";
import { FlowTable, SIDE_B } from "../../src/flow/table.ts";

const TCP = 6;
const UDP = 17;
const PROXY = 100;
const [BACKEND, OTHER] = [1, 2];
const ALL: PortRange = { first: 1024, last: 65_535 };
const ALL_COUNT = 64_512;

/** Connections towards backends, with their ports; each has a client of its own. */
class Pools {
  readonly table: FlowTable;
  readonly ports: Ports;
  readonly #range: PortRange;
  readonly #victims: VictimSelector;
  readonly #kinds = new Map<number, number>();
  #clients = 1000;

  constructor(range: PortRange, { capacity = 2000, random = new SeededRandom(1) as Random } = {}) {
    this.#range = range;
    this.table = new FlowTable(capacity, new SeededRandom(2));
    this.ports = new Ports(this.table, new LinkedLists(capacity), range, random);
    this.#victims = new VictimSelector(this.table);
  }

  choose(
    preferred: number,
    {
      protocol = TCP,
      backend = BACKEND,
      backendPort = 80,
      successorOf = -1,
      avoid = -1,
    } = {},
  ): number {
    const port = this.ports.choose(
      protocol,
      backend,
      PROXY,
      backendPort,
      preferred,
      successorOf,
      avoid,
    );
    assert.ok(port === -1 || port >= this.#range.first && port <= this.#range.last, `${port}`);
    return port;
  }

  /** Adds a connection that leaves with `port`; returns its entry. */
  add(port: number, kind = LIVE, { protocol = TCP, backend = BACKEND, backendPort = 80 } = {}) {
    const own = (backendPort << 16) | port;
    const entry = this.table.insert(protocol, this.#clients++, PROXY, 5, backend, PROXY, own);
    this.ports.add(entry, kind);
    this.#kinds.set(entry, kind);
    return entry;
  }

  remove(entry: number): void {
    this.ports.remove(entry, this.#kinds.get(entry)!);
    this.table.remove(entry);
  }

  renew(entry: number, to: number): void {
    this.ports.renew(entry, this.#kinds.get(entry)!, to);
    this.#kinds.set(entry, to);
  }

  /** The port of the connection that must go first, or -1. */
  oldest(young = false): number {
    const pool = this.ports.pool(TCP, BACKEND, 80);
    const entry = pool === null ? -1 : this.#victims.select(pool, HALF_OPEN, young ? 0 : 10_000);
    return entry < 0 ? -1 : this.table.dstPort(entry, SIDE_B);
  }
}

function poolsWith(range: PortRange, taken: Iterable<number>, random?: Random): Pools {
  const pools = new Pools(range, random === undefined ? {} : { random });
  for (const port of taken) pools.add(port);
  return pools;
}

Deno.test("Ports keeps the client's own port where it is free and in the range", () => {
  for (const port of [1024, 40_000, 65_535]) assert.equal(new Pools(ALL).choose(port), port);
});

Deno.test("Ports takes another port when the client's own is taken or out of the range", () => {
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
      const pools = poolsWith(range, taken, new SeededRandom(seed));
      assert.equal(pools.choose(preferred), expected);
    }
  }
});

Deno.test("Ports gives one port again to another backend, backend port or protocol", () => {
  const pools = poolsWith({ first: 5000, last: 5000 }, [5000]);
  assert.equal(pools.choose(40_000), -1);
  assert.equal(pools.choose(40_000, { backend: OTHER }), 5000);
  assert.equal(pools.choose(40_000, { backendPort: 81 }), 5000);
  for (const protocol of [1, UDP]) assert.equal(pools.choose(40_000, { protocol }), 5000);
});

Deno.test("Ports gives a SYN the port of the connection that it succeeds", () => {
  const pools = new Pools({ first: 5000, last: 5000 });
  const entry = pools.add(5000);
  assert.equal(pools.choose(5000), -1);
  assert.equal(pools.choose(5000, { successorOf: entry }), 5000);
});

Deno.test("Ports never gives the port to avoid", () => {
  const range = { first: 5000, last: 5003 };
  for (const dense of [false, true]) {
    const pools = poolsWith(range, dense ? [5000, 5001, 5002] : [5000]);
    for (let i = 0; i < 200; i++) {
      const port = pools.choose(5003, { avoid: 5003 });
      if (dense) assert.equal(port, -1);
      else assert.ok(port === 5001 || port === 5002);
    }
    assert.equal(pools.choose(5003), 5003);
  }
});

Deno.test("Ports never gives a port whose tuple a backend uses as a client, however many are taken", () => {
  const range = { first: 5000, last: 5009 };
  for (const taken of [[], [5000, 5001, 5002, 5003, 5004, 5005, 5006, 5007]]) {
    const pools = poolsWith(range, taken);
    // The backend, from its port 80, to port 5008 of the proxy.
    pools.table.insert(TCP, BACKEND, PROXY, (80 << 16) | 5008, OTHER, PROXY, (5008 << 16) | 7);
    for (let i = 0; i < 300; i++) assert.notEqual(pools.choose(5008), 5008);
  }
});

for (const range of [{ first: 2000, last: 2000 }, { first: 2000, last: 2299 }, ALL]) {
  const size = range.last - range.first + 1;
  const name = `Ports reaches each of ${size} ports, random from the range, and none twice`;
  Deno.test(name, () => {
    for (let seed = 0; seed < (size > 1000 ? 1 : 10); seed++) {
      const pools = new Pools(range, { capacity: size, random: new SeededRandom(seed) });
      const seen = new Set<number>();
      for (let i = 0; i < size; i++) {
        const port = pools.choose(7); // out of the range: never the client's own
        assert.ok(port >= 0 && !seen.has(port), `${i + 1}th port ${port}, seed ${seed}`);
        seen.add(port);
        pools.add(port);
      }
      assert.equal(seen.size, size);
      assert.equal(pools.choose(7), -1);
      assert.equal(pools.choose(range.first), -1);
      assert.equal(pools.oldest(), -1, "all are live");
    }
  });
}

Deno.test("Ports has as many ports as there are from 1,024 on", () => {
  assert.equal(ALL.last - ALL.first + 1, ALL_COUNT);
});

Deno.test("Ports draws every port of an empty pool about as often (RFC 6056)", () => {
  const counts = new Uint32Array(100);
  const pools = new Pools({ first: 2000, last: 2099 }, { random: new SeededRandom(99) });
  for (let i = 0; i < 10_000; i++) counts[pools.choose(7) - 2000]!++;
  assert.ok(counts.every((count) => count > 50 && count < 160), `${counts}`);
});

Deno.test("Ports draws from all of the range when few ports are left", () => {
  const range = { first: 2000, last: 2999 };
  const free = [2000, 2123, 2500, 2998, 2999];
  const taken = Array.from({ length: 1000 }, (_, i) => 2000 + i).filter((p) => !free.includes(p));
  const pools = poolsWith(range, taken);
  const seen = new Set<number>();
  for (let i = 0; i < 10_000; i++) seen.add(pools.choose(7));
  assert.deepEqual([...seen].sort(), free, "the one behind a long run of taken ones most often");
});

Deno.test("Ports comes round from the last port to the first", () => {
  const random = { uint32: () => 0xffff_ffff };
  const range = { first: 2000, last: 2003 };
  assert.equal(poolsWith(range, [2000, 2001], random).choose(1), 2003);
  assert.equal(poolsWith(range, [2001, 2002, 2003], random).choose(1), 2000);
  assert.equal(poolsWith(range, [2000, 2001, 2003], random).choose(1), 2002);
});

Deno.test("Ports gives up after a bounded search when randomness is stuck", () => {
  let draws = 0;
  const random = { uint32: () => (draws++, 0) };
  const pools = poolsWith(ALL, [1024], random);
  assert.equal(pools.choose(1), -1);
  assert.equal(draws, 64);
});

Deno.test("Ports has pools that name half-open ones first, then reset, then closed, oldest first, never live", () => {
  const pools = new Pools(ALL);
  const kinds = [LIVE, FINISHED, RESET, HALF_OPEN, FINISHED, RESET, HALF_OPEN, LIVE];
  const entries = new Map(kinds.map((kind, i) => [5000 + i, pools.add(5000 + i, kind)]));
  pools.add(6000, HALF_OPEN, { backend: OTHER });
  pools.add(6001, HALF_OPEN, { backendPort: 81 });
  pools.add(6002, HALF_OPEN, { protocol: UDP });
  const order: number[] = [];
  for (let port = pools.oldest(); port >= 0; port = pools.oldest()) {
    order.push(port);
    pools.remove(entries.get(port)!);
  }
  assert.deepEqual(order, [5003, 5006, 5002, 5005, 5001, 5004]);
});

Deno.test("Ports has pools that name a handshake that may be on its way last", () => {
  const pools = new Pools(ALL);
  const entries = [HALF_OPEN, FINISHED, RESET].map((kind, i) => pools.add(5000 + i, kind));
  assert.equal(pools.oldest(true), 5002);
  pools.remove(entries[2]!);
  assert.equal(pools.oldest(true), 5001);
  pools.remove(entries[1]!);
  assert.equal(pools.oldest(true), 5000);
});

Deno.test("Ports moves a connection between classes, to the newest of the new one", () => {
  const pools = new Pools(ALL);
  const [first, second, third] = [5000, 5001, 5002].map((port) => pools.add(port, HALF_OPEN));
  pools.renew(first!, HALF_OPEN);
  assert.equal(pools.oldest(), 5001);
  pools.renew(second!, LIVE);
  assert.equal(pools.oldest(), 5002);
  pools.renew(third!, FINISHED);
  assert.equal(pools.oldest(), 5000);
  pools.renew(second!, FINISHED);
  pools.remove(first!);
  assert.equal(pools.oldest(), 5002);
});

Deno.test("Ports forgets a pool when its last connection goes", () => {
  const pools = new Pools(ALL);
  assert.equal(pools.oldest(), -1);
  for (let round = 0; round < 3; round++) {
    pools.remove(pools.add(5000, HALF_OPEN));
    assert.equal(pools.oldest(), -1);
    assert.equal(pools.choose(5000), 5000);
  }
});

Deno.test("Ports counts those in use, and those towards the backend's port that has most", () => {
  const pools = new Pools(ALL);
  const counts = () => [pools.ports.inUse, pools.ports.most];
  const [a, b] = [pools.add(5000), pools.add(5001)];
  const other = [5000, 5001, 5002].map((port) => pools.add(port, LIVE, { backend: OTHER }));
  pools.add(5000, LIVE, { protocol: UDP });
  assert.deepEqual(counts(), [6, 3]);
  pools.remove(other[0]!);
  assert.deepEqual(counts(), [5, 2]);
  pools.remove(other[1]!);
  assert.deepEqual(counts(), [4, 2], "the other one has as many");
  pools.remove(a);
  assert.deepEqual(counts(), [3, 1]);
  pools.remove(b);
  pools.remove(other[2]!);
  assert.deepEqual(counts(), [1, 1]);
});

/**
 * Filled and emptied again and again, so that pools become dense and sparse, and ports come back.
 */
for (
  const [range, most] of [[{ first: 3000, last: 3007 }, 8], [{ first: 3000, last: 3099 }, 100], [
    ALL,
    1200,
  ]] as const
) {
  const size = range.last - range.first + 1;
  Deno.test(`Ports never gives a port in use as ${most} of ${size} come and go`, () => {
    const random = new SeededRandom(size);
    const pools = new Pools(range, { random });
    const used = new Map<number, number>();
    let refused = 0;
    for (let i = 0; i < 20_000; i++) {
      const fills = Math.floor(i / (2 * most)) % 2 === 0;
      if (used.size < most && below(random, 10) < (fills ? 9 : 1)) {
        const port = pools.choose(below(random, 2) === 0 ? 7 : range.first + below(random, size));
        if (port < 0) refused++;
        else {
          assert.ok(!used.has(port), `port ${port} at operation ${i}`);
          used.set(port, pools.add(port));
        }
      } else if (used.size > 0) {
        const [port, entry] = [...used][below(random, Math.min(used.size, 4))]!;
        used.delete(port);
        pools.remove(entry);
      }
      if (used.size === size) assert.equal(pools.choose(7), -1);
      assert.deepEqual([pools.ports.inUse, pools.ports.most], [used.size, used.size]);
    }
    assert.equal(refused, 0, "there was always a free one");
  });
}
