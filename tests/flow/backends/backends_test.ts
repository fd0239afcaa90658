import assert from "node:assert/strict";
import { SeededRandom } from "../../../src/core/random.ts";
import { Backends } from "../../../src/flow/backends/backends.ts";
import { type MemberStatus, nameOf, plainMember } from "../../../src/flow/backends/member.ts";
import type { PoolMember } from "../../../src/policy/language/ast.ts";
import { AddressDigest } from "../../../src/wire/address_digest.ts";
import { parseHostAddress } from "../../../src/wire/host_address.ts";
import { Pdu } from "../../../src/wire/pdu.ts";
import { stableHash } from "../../../src/wire/stable_hash.ts";

const PDU = new Pdu();

/** Which backends are picked in 200 draws, by their number. */
function picked(backends: Backends): number[] {
  const random = new SeededRandom(1);
  const seen = new Set<number>();
  for (let i = 0; i < 200; i++) {
    const backend = backends.pools[0]!.pick("at random", PDU, random);
    if (backend !== null) seen.add(backend.key);
  }
  return [...seen].sort();
}

Deno.test("Pool.pick chooses among those that answer, else among those not yet heard of", () => {
  const cases: [MemberStatus[], number[]][] = [
    [["unknown", "unknown", "unknown"], [1, 2, 3]],
    [["up", "unknown", "unknown"], [1]],
    [["up", "up", "unknown"], [1, 2]],
    [["up", "up", "up"], [1, 2, 3]],
    [["up", "down", "up"], [1, 3]],
    [["down", "unknown", "unknown"], [2, 3]],
    [["down", "down", "unknown"], [3]],
    [["down", "down", "down"], []],
  ];
  for (const [statuses, expected] of cases) {
    const backends = new Backends([1, 2, 3]);
    statuses.forEach((status, i) => backends.setStatus(backends.all[i]!, status));
    assert.deepEqual(picked(backends), expected, statuses.join(" "));
  }
});

Deno.test("Pool.pick gives a backend that answers again new connections", () => {
  const backends = new Backends([1, 2]);
  for (const backend of backends.all) backends.setStatus(backend, "down");
  assert.equal(backends.pools[0]!.pick("at random", PDU, new SeededRandom(1)), null);
  backends.setStatus(backends.all[1]!, "up");
  assert.deepEqual(picked(backends), [2]);
  backends.setStatus(backends.all[0]!, "up");
  assert.deepEqual(picked(backends), [1, 2]);
});

Deno.test("Pool.pick chooses each about as often", () => {
  const backends = new Backends([1, 2, 3]);
  const random = new SeededRandom(2);
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 9000; i++) {
    counts[backends.pools[0]!.pick("at random", PDU, random)!.key]!++;
  }
  for (const count of counts.slice(1)) assert.ok(Math.abs(count - 3000) < 300, `${counts}`);
});

Deno.test("Backends numbers the members of all pools, and finds all that an address has", () => {
  const [five, six] = [plainMember(5), { ...plainMember(-6), port: 80 }];
  const backends = new Backends([5, 7], { web: { members: [six, five] } });
  const [first, second, third, fourth] = backends.all;
  assert.deepEqual(backends.pools.map(({ name }) => name), ["dst-addrs", "web"]);
  assert.deepEqual(backends.all.map(({ address }) => address), [5, 7, -6, 5]);
  assert.deepEqual(backends.all.map(({ index }) => index), [0, 1, 2, 3]);
  assert.equal(backends.at(5)[0], first);
  assert.equal(backends.at(5)[1], fourth);
  assert.deepEqual([second!.pool, third!.pool], backends.pools);
  assert.deepEqual([5, -6, 6].map((address) => backends.has(address)), [true, true, false]);
  assert.equal(backends.at(6).length, 0);
  backends.setStatus(first!, "down");
  assert.deepEqual([backends.down, fourth!.status], [1, "unknown"]);
});

Deno.test("Backends throws for more members than two bytes can number", () => {
  const members = Array.from({ length: 65_535 }, (_, i) => plainMember(i));
  assert.equal(new Backends([1], { web: { members } }).all.length, 65_536);
  assert.throws(
    () => new Backends([1, 2], { web: { members } }),
    new RangeError("Cannot use 65537 backends: expected at most 65536"),
  );
});

Deno.test("Pool.pick in turn goes round all that are eligible", () => {
  const backends = new Backends([1, 2, 3]);
  const random = new SeededRandom(3);
  const next = () => backends.pools[0]!.pick("in turn", PDU, random)!.address;
  assert.deepEqual([next(), next(), next(), next()], [1, 2, 3, 1]);
  backends.setStatus(backends.all[0]!, "up");
  backends.setStatus(backends.all[2]!, "up");
  assert.deepEqual(new Set([next(), next()]), new Set([1, 3]));
  assert.deepEqual(new Set([next(), next()]), new Set([1, 3]));
});

Deno.test("Pool.pick by hash gives a tuple the same backend each time, and uses all", () => {
  const random = new SeededRandom(4);
  const counts = [0, 0, 0, 0];
  for (let srcPort = 1; srcPort <= 3000; srcPort++) {
    const pdu = Object.assign(new Pdu(), { src: 7, dst: 9, protocol: 6, srcPort, dstPort: 80 });
    const [one, other] = [new Backends([1, 2, 3]), new Backends([1, 2, 3])];
    const { key } = one.pools[0]!.pick("by hash", pdu, random)!;
    assert.equal(other.pools[0]!.pick("by hash", pdu, random)!.key, key);
    assert.equal(one.pools[0]!.pick("by hash", pdu, random)!.key, key);
    counts[key]!++;
  }
  for (const count of counts.slice(1)) assert.ok(Math.abs(count - 1000) < 150, `${counts}`);
});

Deno.test("Pool.pick, whatever the method, gives none when none has answered", () => {
  for (const method of ["at random", "in turn", "by hash"] as const) {
    const backends = new Backends([1, 2]);
    for (const backend of backends.all) backends.setStatus(backend, "down");
    assert.equal(backends.pools[0]!.pick(method, PDU, new SeededRandom(1)), null);
    backends.setStatus(backends.all[1]!, "up");
    assert.equal(backends.pools[0]!.pick(method, PDU, new SeededRandom(1)), backends.all[1]);
  }
});

Deno.test("Pool.pick goes by the order given, in whatever order backends come and go", () => {
  const count = 50;
  const backends = new Backends(Array.from({ length: count }, (_, i) => 1000 - i));
  const random = new SeededRandom(5);
  const statuses: MemberStatus[] = ["up", "down", "unknown"];
  const pdu = Object.assign(new Pdu(), { src: 7, dst: 9, protocol: 6, srcPort: 11, dstPort: 80 });
  for (let step = 0; step < 2000; step++) {
    const backend = backends.all[random.uint32() % count]!;
    backends.setStatus(backend, statuses[random.uint32() % 3]!);
    const withStatus = (status: MemberStatus) => backends.all.filter((b) => b.status === status);
    const eligible = withStatus("up").length > 0 ? withStatus("up") : withStatus("unknown");
    const expected = eligible[(stableHash(pdu) >>> 0) % eligible.length] ?? null;
    assert.equal(backends.pools[0]!.pick("by hash", pdu, random), expected);
  }
});

Deno.test("Backends.define keeps what was changed at run time until the policy says something else", () => {
  const web = (options: Partial<PoolMember> = {}) => ({
    web: { members: [{ ...plainMember(5), ...options }] },
  });
  const backends = new Backends([1], web());
  const member = backends.pools[1]!.members[0]!;
  member.weight = 7;
  backends.setStatus(member, "maintenance");
  backends.define(web({ maxconn: 3 }));
  assert.deepEqual([member.weight, member.status, member.maxconn], [7, "maintenance", 3]);
  backends.define(web({ weight: 2, state: "drain" }));
  assert.deepEqual([member.weight, member.status], [2, "draining"]);
  backends.define(web({ weight: 2 }));
  assert.deepEqual([member.weight, member.status], [2, "unknown"]);
  assert.equal(backends.pools[1]!.members[0], member);
});

Deno.test("Backends.check counts members that still have connections, too", () => {
  const pool = (first: number, count: number) => ({
    web: { members: Array.from({ length: count }, (_, i) => plainMember(first + i)) },
  });
  const backends = new Backends([1], pool(10, 2));
  backends.opened(backends.pools[1]!.members[0]!);
  backends.check(pool(100_000, 65_534));
  assert.throws(
    () => backends.check(pool(100_000, 65_535)),
    new RangeError("Cannot use 65537 backends: expected at most 65536"),
  );
});

Deno.test("members of IPv6 are known by their whole address, and by a digest in packets", () => {
  const digest = new AddressDigest(new SeededRandom(6));
  const [four, six] = [parseHostAddress("10.0.0.1"), parseHostAddress("::10.0.0.1")];
  const backends = new Backends(
    [four, six],
    { web: { members: [{ ...plainMember(six), port: 80 }] } },
    undefined,
    undefined,
    undefined,
    undefined,
    digest,
  );
  const [plain, other, web] = backends.all;
  assert.deepEqual([plain!.key, plain!.isIpv6], [four, false]);
  assert.deepEqual([other!.key, other!.isIpv6], [digest.of(0, 0, 0, 0x0a00_0001), true]);
  assert.equal(web!.key, other!.key);
  assert.deepEqual(backends.at(six), [other, web]);
  assert.deepEqual(backends.at(four), [plain]);
  assert.deepEqual([other, web].map((member) => nameOf(member!)), [
    "::a00:1",
    "[::a00:1]:80 of $web",
  ]);
  backends.define({});
  assert.deepEqual(backends.at(six), [other]);
  assert.throws(() => new Backends([six]), {
    name: "RangeError",
    message: "Cannot use ::a00:1: there is no IPv6",
  });
});
