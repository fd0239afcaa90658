import assert from "node:assert/strict";
import { SeededRandom } from "../../../src/core/random.ts";
import { Backends, type BackendStatus } from "../../../src/flow/backends/backends.ts";
import { Pdu } from "../../../src/wire/pdu.ts";
import { stableHash } from "../../../src/wire/stable_hash.ts";

const PDU = new Pdu();

/** Which backends are picked in 200 draws, by their number. */
function picked(backends: Backends): number[] {
  const random = new SeededRandom(1);
  const seen = new Set<number>();
  for (let i = 0; i < 200; i++) {
    const backend = backends.pick("at random", PDU, random);
    if (backend !== null) seen.add(backend.address);
  }
  return [...seen].sort();
}

Deno.test("Backends.pick chooses among those that answer, else among those not yet heard of", () => {
  const cases: [BackendStatus[], number[]][] = [
    [["resolving", "resolving", "resolving"], [1, 2, 3]],
    [["up", "resolving", "resolving"], [1]],
    [["up", "up", "resolving"], [1, 2]],
    [["up", "up", "up"], [1, 2, 3]],
    [["up", "unanswered", "up"], [1, 3]],
    [["unanswered", "resolving", "resolving"], [2, 3]],
    [["unanswered", "unanswered", "resolving"], [3]],
    [["unanswered", "unanswered", "unanswered"], []],
  ];
  for (const [statuses, expected] of cases) {
    const backends = new Backends([1, 2, 3]);
    statuses.forEach((status, i) => backends.setStatus(backends.all[i]!, status));
    assert.deepEqual(picked(backends), expected, statuses.join(" "));
  }
});

Deno.test("Backends.pick gives a backend that answers again new connections", () => {
  const backends = new Backends([1, 2]);
  for (const backend of backends.all) backends.setStatus(backend, "unanswered");
  assert.equal(backends.pick("at random", PDU, new SeededRandom(1)), null);
  backends.setStatus(backends.all[1]!, "up");
  assert.deepEqual(picked(backends), [2]);
  backends.setStatus(backends.all[0]!, "up");
  assert.deepEqual(picked(backends), [1, 2]);
});

Deno.test("Backends.pick chooses each about as often", () => {
  const backends = new Backends([1, 2, 3]);
  const random = new SeededRandom(2);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 9000; i++) counts[backends.pick("at random", PDU, random)!.address]!++;
  for (const count of counts.slice(1)) assert.ok(Math.abs(count - 3000) < 300, `${counts}`);
});

Deno.test("Backends.get finds a backend by its address", () => {
  const backends = new Backends([5, -6]);
  assert.deepEqual(backends.get(-6), { address: -6, status: "resolving", active: 0, opened: 0 });
  assert.equal(backends.get(-6), backends.all[1]);
  assert.equal(backends.get(6), undefined);
});

Deno.test("Backends.pick in turn goes round all that are eligible", () => {
  const backends = new Backends([1, 2, 3]);
  const random = new SeededRandom(3);
  const next = () => backends.pick("in turn", PDU, random)!.address;
  assert.deepEqual([next(), next(), next(), next()], [1, 2, 3, 1]);
  backends.setStatus(backends.all[0]!, "up");
  backends.setStatus(backends.all[2]!, "up");
  assert.deepEqual(new Set([next(), next()]), new Set([1, 3]));
  assert.deepEqual(new Set([next(), next()]), new Set([1, 3]));
});

Deno.test("Backends.pick by hash gives a tuple the same backend each time, and uses all", () => {
  const random = new SeededRandom(4);
  const counts = [0, 0, 0, 0];
  for (let srcPort = 1; srcPort <= 3000; srcPort++) {
    const pdu = Object.assign(new Pdu(), { src: 7, dst: 9, protocol: 6, srcPort, dstPort: 80 });
    const [one, other] = [new Backends([1, 2, 3]), new Backends([1, 2, 3])];
    const { address } = one.pick("by hash", pdu, random)!;
    assert.equal(other.pick("by hash", pdu, random)!.address, address);
    assert.equal(one.pick("by hash", pdu, random)!.address, address);
    counts[address]!++;
  }
  for (const count of counts.slice(1)) assert.ok(Math.abs(count - 1000) < 150, `${counts}`);
});

Deno.test("Backends.pick, whatever the method, gives none when none has answered", () => {
  for (const method of ["at random", "in turn", "by hash"] as const) {
    const backends = new Backends([1, 2]);
    for (const backend of backends.all) backends.setStatus(backend, "unanswered");
    assert.equal(backends.pick(method, PDU, new SeededRandom(1)), null);
    backends.setStatus(backends.all[1]!, "up");
    assert.equal(backends.pick(method, PDU, new SeededRandom(1)), backends.all[1]);
  }
});

Deno.test("Backends.pick goes by the order given, in whatever order backends come and go", () => {
  const count = 50;
  const backends = new Backends(Array.from({ length: count }, (_, i) => 1000 - i));
  const random = new SeededRandom(5);
  const statuses: BackendStatus[] = ["up", "unanswered", "resolving"];
  const pdu = Object.assign(new Pdu(), { src: 7, dst: 9, protocol: 6, srcPort: 11, dstPort: 80 });
  for (let step = 0; step < 2000; step++) {
    const backend = backends.all[random.uint32() % count]!;
    backends.setStatus(backend, statuses[random.uint32() % 3]!);
    const withStatus = (status: BackendStatus) => backends.all.filter((b) => b.status === status);
    const eligible = withStatus("up").length > 0 ? withStatus("up") : withStatus("resolving");
    const expected = eligible[(stableHash(pdu) >>> 0) % eligible.length] ?? null;
    assert.equal(backends.pick("by hash", pdu, random), expected);
  }
});
