import assert from "node:assert/strict";
import { finish } from "../../../src/core/slices.ts";
import { SeededRandom } from "../../../src/core/random.ts";
import { Backends } from "../../../src/flow/backends/backends.ts";
import { Maglev, SLOTS } from "../../../src/flow/backends/maglev.ts";
import { plainMember } from "../../../src/flow/backends/member.ts";
import type { Pool } from "../../../src/flow/backends/pool.ts";
import type { PoolMember } from "../../../src/policy/language/ast.ts";
import { hashKeyOf } from "../../../src/wire/keyed_hash.ts";
import { AddressDigest } from "../../../src/wire/address_digest.ts";
import { parseHostAddress } from "../../../src/wire/host_address.ts";
import { OVER_IPV6, Pdu } from "../../../src/wire/pdu.ts";

const KEY = hashKeyOf(new TextEncoder().encode("a key that instances share"));
const CLIENTS = 30_000;
const random = new SeededRandom(1);
const pdu = Object.assign(new Pdu(), { dst: 100, dstPort: 80, protocol: 6 });

function make(members: readonly PoolMember[], key = KEY): Backends {
  const backends = new Backends([99], { web: { members } }, key);
  for (const member of backends.pools[1]!.members) backends.setStatus(member, "up");
  return backends;
}

function plain(count: number): PoolMember[] {
  return Array.from({ length: count }, (_, i) => plainMember(0x0a00_0001 + i));
}

/** The address that each of many connections gets. */
function chosen(pool: Pool, by: "by maglev" | "by source" = "by maglev"): number[] {
  return Array.from({ length: CLIENTS }, (_, i) => {
    Object.assign(pdu, { src: Math.imul(i, 0x9e37_79b1), srcPort: 1024 + i % 50_000 });
    return pool.pick(by, pdu, random)!.key;
  });
}

/** Of those that had another member than `lost`, how many have moved. */
function moved(before: readonly number[], after: readonly number[], lost: number): number {
  return before.filter((member, i) => member !== lost && after[i] !== member).length;
}

for (const count of [2, 3, 10, 100, 1000]) {
  Deno.test(`Maglev of ${count} moves nobody else when a member is lost, and all back with it`, () => {
    const backends = make(plain(count));
    const pool = backends.pools[1]!;
    const before = chosen(pool);
    const lost = pool.members[1]!;
    backends.setStatus(lost, "down");
    const without = chosen(pool);
    assert.ok(!without.includes(lost.key));
    assert.equal(moved(before, without, lost.key), 0);
    // A second one: what the first had may move again, of all others at most 2 / N.
    const second = pool.members[0]!;
    backends.setStatus(second, "down");
    if (count > 2) {
      const both = chosen(pool);
      assert.ok(moved(without, both, second.key) <= 2 / count * CLIENTS);
    }
    backends.setStatus(second, "up");
    backends.setStatus(lost, "up");
    assert.deepEqual(chosen(pool), before);
  });
}

Deno.test("Maglev moves few of the others' connections when a member is added", () => {
  for (const count of [3, 10, 100]) {
    const before = chosen(make(plain(count)).pools[1]!);
    const after = chosen(make(plain(count + 1)).pools[1]!);
    const added = 0x0a00_0001 + count;
    const between = before.filter((member, i) => after[i] !== member && after[i] !== added).length;
    assert.ok(between <= 2 / count * CLIENTS, `${count}: ${between}`);
    const share = after.filter((member) => member === added).length / CLIENTS;
    assert.ok(Math.abs(share - 1 / (count + 1)) < 0.02, `${share}`);
  }
});

Deno.test("Maglev is the same for all who have the same members and key, in whatever order, and lose them", () => {
  const members = plain(50).map((member, i) => ({
    ...member,
    weight: 1 + i % 3,
    port: i % 2 * 80,
  }));
  const shuffled = members.toSorted((a, b) => (Number(a.address) % 7) - (Number(b.address) % 7));
  const [one, other] = [make(members), make(shuffled)];
  for (const [backends, order] of [[one, [3, 7, 20]], [other, [20, 3, 7]]] as const) {
    for (const i of order) backends.setStatus(backends.at(members[i]!.address)[0]!, "down");
  }
  const ours = chosen(one.pools[1]!);
  assert.deepEqual(chosen(other.pools[1]!), ours);
  const stranger = chosen(make(members, hashKeyOf(new Uint8Array(16))).pools[1]!);
  const same = stranger.filter((member, i) => member === ours[i]).length;
  assert.ok(same < CLIENTS / 10, `${same}`);
});

Deno.test("Maglev's slots are shared by weight as exactly as slots can be", () => {
  const weights = [1, 2, 19, 256, 64];
  const members = plain(5).map((member, i) => ({ ...member, weight: weights[i]! }));
  const backends = make(members);
  const maglev = finish(Maglev.of(backends.pools[1]!.members, KEY));
  chosen(backends.pools[1]!); // gives the members their places
  const counts = weights.map(() => 0);
  for (let slot = 0; slot < SLOTS; slot++) counts[maglev.placeOf(slot)]!++;
  const total = weights.reduce((a, b) => a + b, 0);
  for (const [i, weight] of weights.entries()) {
    assert.ok(Math.abs(counts[i]! - SLOTS * weight / total) <= 2, `${counts}`);
  }
});

Deno.test("Pool.pick by source gives a client one member for all its connections, and keeps it", () => {
  const backends = make(plain(20));
  const pool = backends.pools[1]!;
  const before = chosen(pool, "by source");
  for (const srcPort of [1, 2, 3]) {
    Object.assign(pdu, { src: Math.imul(77, 0x9e37_79b1), srcPort });
    assert.equal(pool.pick("by source", pdu, random)!.address, before[77]);
  }
  backends.setStatus(pool.members[4]!, "draining");
  const after = chosen(pool, "by source");
  assert.equal(moved(before, after, pool.members[4]!.key), 0);
});

Deno.test("Maglev of backups is made when they are all there is, and of the others when those are back", () => {
  const members = plain(6).map((member, i) => ({ ...member, isBackup: i >= 3 }));
  const backends = make(members);
  const pool = backends.pools[1]!;
  const before = chosen(pool);
  assert.equal(new Set(before).size, 3);
  for (const member of pool.members.slice(0, 3)) backends.setStatus(member, "down");
  const backups = new Set(chosen(pool));
  assert.deepEqual([...backups].sort(), members.slice(3).map(({ address }) => address));
  for (const member of pool.members.slice(0, 3)) backends.setStatus(member, "up");
  assert.deepEqual(chosen(pool), before);
});

Deno.test("Maglev with few of many members there gives each its share, and the rest find it again", () => {
  const backends = make(plain(1000));
  const pool = backends.pools[1]!;
  const before = chosen(pool);
  const there = pool.members.slice(0, 5).map(({ address }) => address);
  for (const member of pool.members.slice(5)) backends.setStatus(member, "down");
  const few = chosen(pool);
  for (const address of there) {
    const share = few.filter((one) => one === address).length / CLIENTS;
    assert.ok(Math.abs(share - 1 / 5) < 0.02, `${share}`);
  }
  for (const [i, address] of before.entries()) {
    if (there.includes(address)) assert.equal(few[i], address, "a member keeps its own");
  }
  for (const member of pool.members) backends.setStatus(member, "up");
  assert.deepEqual(chosen(pool), before);
});

Deno.test("Maglev's old table serves while the new one is made, a slice with each connection", () => {
  const backends = make(plain(10));
  const pool = backends.pools[1]!;
  const before = chosen(pool);
  backends.setWeight(pool.members[0]!, 256);
  const after = chosen(pool);
  assert.deepEqual(after.slice(0, 20), before.slice(0, 20));
  const heavy = after.slice(1000).filter((address) => address === pool.members[0]!.address).length;
  assert.ok(Math.abs(heavy / (CLIENTS - 1000) - 256 / 265) < 0.01, `${heavy}`);
  assert.deepEqual(
    chosen(pool),
    chosen(make(plain(10).with(0, { ...plain(1)[0]!, weight: 256 })).pools[1]!),
  );
});

Deno.test("Maglev's table knows the same members when they are defined once more, and others when they are new", () => {
  const backends = make(plain(10));
  const before = chosen(backends.pools[1]!);
  backends.define({ web: { members: plain(10) } });
  assert.deepEqual(chosen(backends.pools[1]!), before);
  // One that has gone and come back is another.
  backends.define({ web: { members: plain(9) } });
  chosen(backends.pools[1]!);
  backends.define({ web: { members: plain(10) } });
  for (const member of backends.pools[1]!.members) backends.setStatus(member, "up");
  chosen(backends.pools[1]!);
  assert.deepEqual(chosen(backends.pools[1]!), before);
});

Deno.test("members and clients of IPv6 count by their whole addresses, whatever the digest", () => {
  const METHODS = ["by maglev", "by source", "by hash", "by hash of source"] as const;
  const pdu6 = Object.assign(new Pdu(), { dstPort: 80, protocol: 6 | OVER_IPV6 });
  const key = hashKeyOf(new TextEncoder().encode("of all instances"));
  const members = [1, 2, 3].map((i) => plainMember(parseHostAddress(`2001:db8:${i}::1`)));
  const shares = [1, 2].map((seed) => {
    const digest = new AddressDigest(new SeededRandom(seed));
    const none = undefined;
    const backends = new Backends([1], { web: { members } }, key, none, none, none, digest);
    const pool = backends.pools[1]!;
    for (const member of pool.members) backends.setStatus(member, "up");
    return METHODS.map((by) =>
      Array.from({ length: CLIENTS }, (_, i) => {
        // What a digest makes of addresses in packets is of no account.
        Object.assign(pdu6, { src: i * seed, dst: seed, srcPort: 1024 + i % 5000 });
        pdu6.addresses.set([0x2001_0db8, i & 3, 0, i >> 2, 0x2001_0db8, 0, 0, 0x64]);
        return pool.pick(by, pdu6, random)!.index;
      })
    );
  });
  assert.deepEqual(shares[0], shares[1]);
  for (const chosen of shares[0]!) {
    for (const number of [1, 2, 3]) {
      const share = chosen.filter((one) => one === number).length;
      assert.ok(Math.abs(share / CLIENTS - 1 / 3) < 0.02, `${number}: ${share}`);
    }
  }
});
