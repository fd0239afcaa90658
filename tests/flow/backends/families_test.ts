import assert from "node:assert/strict";
import { SeededRandom } from "../../../src/core/random.ts";
import { reasonName } from "../../../src/core/reason.ts";
import { Backends } from "../../../src/flow/backends/backends.ts";
import { type Member, plainMember } from "../../../src/flow/backends/member.ts";
import type { Pool } from "../../../src/flow/backends/pool.ts";
import { healthOf } from "../../../src/policy/language/health.ts";
import { PICK_WORDS } from "../../../src/policy/language/words.ts";
import { AddressDigest } from "../../../src/wire/address_digest.ts";
import { parseAddress6 } from "../../../src/wire/address6.ts";
import { formatHostAddress, parseHostAddress } from "../../../src/wire/host_address.ts";
import { OVER_IPV6, Pdu } from "../../../src/wire/pdu.ts";

const TCP = 6;
const IPV4 = ["10.0.0.1", "10.0.0.2"];
const IPV6 = ["2001:db8::1", "2001:db8::2", "2001:db8::3"];

function make(addresses: readonly string[], digest = new AddressDigest(new SeededRandom(1))) {
  const members = addresses.map((address) => plainMember(parseHostAddress(address)));
  const none = undefined;
  const backends = new Backends([99], { web: { members } }, none, none, none, none, digest);
  return { backends, pool: backends.pools[1]! };
}

const random = new SeededRandom(7);

/** A connection's first packet: of client number `i`. */
function pduOf(isIpv6: boolean, i: number): Pdu {
  const pdu = new Pdu();
  pdu.protocol = isIpv6 ? TCP | OVER_IPV6 : TCP;
  pdu.src = Math.imul(i, 0x9e37_79b1);
  pdu.srcPort = 1024 + i;
  pdu.addresses.set([0x2001_0db8, 9, 0, i, 0x2001_0db8, 0, 0, 0x64]);
  return pdu;
}

/** Who gets connections of so many clients, each address once. */
function reached(pool: Pool, isIpv6: boolean, by: typeof PICK_WORDS[number]): string[] {
  const found = Array.from({ length: 200 }, (_, i) => {
    const member = pool.pick(by, pduOf(isIpv6, i), random);
    return member === null ? "none" : formatHostAddress(member.address);
  });
  return [...new Set(found)].sort();
}

for (const by of PICK_WORDS) {
  Deno.test(`Pool.pick ${by} gives each family all of its own members, and none of the other's`, () => {
    const { pool } = make([IPV6[0]!, IPV4[0]!, IPV6[1]!, IPV4[1]!, IPV6[2]!]);
    const isSame = by === "by hash of destination"; // all have one destination
    const [four, six] = [reached(pool, false, by), reached(pool, true, by)];
    assert.ok(four.every((address) => IPV4.includes(address)), `${four}`);
    assert.ok(six.every((address) => IPV6.includes(address)), `${six}`);
    assert.deepEqual([four.length, six.length], isSame ? [1, 1] : [2, 3]);
  });
}

Deno.test("Pool.pick of IPv4 takes the same members whether there are others of IPv6 or not", () => {
  for (const by of PICK_WORDS) {
    const alone = make(IPV4).pool;
    const mixed = make([IPV6[0]!, ...IPV4, IPV6[1]!]).pool;
    for (let i = 0; i < 100; i++) {
      const pdu = pduOf(false, i);
      const one = alone.pick(by, pdu, new SeededRandom(i))!;
      assert.equal(mixed.pick(by, pdu, new SeededRandom(i))!.address, one.address, by);
    }
  }
});

Deno.test("a pool without members of the PDU's family has no backend for it", () => {
  const { pool } = make(IPV4);
  assert.deepEqual(reached(pool, true, "at random"), ["none"]);
  assert.equal(reasonName(pool.refusal(pduOf(true, 1))), "no-backend");
  pool.health = healthOf({ kind: "tcp", port: 80 });
  assert.equal(reasonName(pool.refusal(pduOf(true, 1))), "no-backend");
  assert.equal(pool.hasOther(true, () => false), false);
  assert.equal(pool.hasOther(false, () => false), true);
});

Deno.test("what happens to members of one family changes nothing for the other", () => {
  const { backends, pool } = make([...IPV4, ...IPV6]);
  for (const member of pool.members) backends.setStatus(member, "up");
  for (const member of pool.members) if (member.isIpv6) backends.setStatus(member, "down");
  assert.deepEqual(reached(pool, true, "in turn"), ["none"]);
  assert.deepEqual(reached(pool, false, "in turn"), IPV4);
  assert.equal(pool.usable.length, 2);
  backends.setStatus(pool.members[3]!, "up");
  assert.deepEqual(reached(pool, true, "in turn"), [IPV6[1]]);
  assert.deepEqual(pool.members.map((member) => pool.canUse(member)), [
    ...[true, true, false, true, false],
  ]);
});

Deno.test("a full member is told apart in its own family", () => {
  const { backends, pool } = make([...IPV4, ...IPV6]);
  for (const member of pool.members) if (member.isIpv6) member.maxconn = 1;
  pool.rearrange(pool.members);
  for (const by of ["in turn", "by least connections", "at random", "by maglev"] as const) {
    const taken = [0, 1, 2].map((i) => {
      const member = pool.pick(by, pduOf(true, i), random)!;
      backends.opened(member);
      return member;
    });
    assert.equal(new Set(taken).size, 3, by);
    assert.equal(pool.pick(by, pduOf(true, 9), random), null);
    assert.equal(reasonName(pool.refusal(pduOf(true, 9))), "backends-full");
    assert.notEqual(pool.pick(by, pduOf(false, 9), random), null);
    for (const member of taken) backends.forgotten(member, false);
  }
});

Deno.test("a connection crosses while members of the other family can serve it better", () => {
  const { backends, pool } = make([IPV4[0]!, IPV6[0]!]);
  const [four, six] = pool.members as [Member, Member];
  const crosses = () => [pool.crossesFor(false), pool.crossesFor(true)];
  const refused = () => reasonName(pool.refusal(pduOf(true, 1), true));
  assert.deepEqual(crosses(), [false, false]);
  backends.setStatus(four, "up");
  backends.setStatus(six, "up");
  assert.deepEqual(crosses(), [false, false]);
  backends.setStatus(six, "down");
  assert.deepEqual(crosses(), [false, true]);
  // One that is down is used all the same, but only where nobody is up.
  pool.health = healthOf({ kind: "tcp", port: 80 }, { allDown: "any" });
  pool.changed();
  assert.deepEqual(crosses(), [false, true]);
  backends.setStatus(four, "draining");
  assert.deepEqual(crosses(), [true, false]);
  pool.health = healthOf({ kind: "tcp", port: 80 });
  pool.changed();
  assert.deepEqual(crosses(), [false, false]);
  assert.equal(refused(), "all-down");
  for (const member of [four, six]) {
    backends.setStatus(member, "up");
    member.maxconn = 1;
  }
  pool.rearrange(pool.members);
  backends.opened(six);
  assert.deepEqual(crosses(), [false, true]);
  backends.opened(four);
  assert.deepEqual(crosses(), [false, false]);
  assert.equal(refused(), "backends-full");
  const pdu = pduOf(true, 1);
  backends.forgotten(four, false);
  assert.equal(pool.pick("in turn", pdu, random, false), four);
  assert.equal(pool.pickOther("in turn", pdu, random, (one) => one === four, false), null);
});

Deno.test("backends know members by key and words, however many have one key", () => {
  const digest = new AddressDigest({ uint32: () => 0 });
  const { backends, pool } = make([...IPV6, ...IPV4], digest);
  const has = (text: string) => backends.has6(0, parseAddress6(text), 0);
  assert.deepEqual(IPV6.map(has), [true, true, true]);
  assert.equal(has("2001:db8::4"), false);
  assert.equal(backends.has6(1, parseAddress6(IPV6[0]!), 0), false);
  const words = Int32Array.of(0, ...parseAddress6(IPV6[2]!));
  assert.equal(backends.has6(0, words, 1), true);
  const { index } = pool.members[1]!;
  assert.deepEqual(
    backends.words!.slice(4 * index, 4 * index + 4),
    Int32Array.from(parseAddress6(IPV6[1]!)),
  );
  const [first, , third] = pool.members;
  backends.define({ web: { members: [first!, third!].map(({ configured }) => configured) } });
  assert.deepEqual(IPV6.map(has), [true, false, true]);
});

Deno.test("without a digest there are no words of members", () => {
  assert.equal(new Backends([1]).words, null);
  assert.equal(new Backends([1]).has6(0, new Int32Array(4), 0), false);
});
