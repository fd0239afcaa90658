import assert from "node:assert/strict";
import { below, type Random, SeededRandom } from "../../src/core/random.ts";
import { SIDE_A, SIDE_B } from "../../src/flow/entry.ts";
import { FlowTable } from "../../src/flow/table.ts";
import { noteAt } from "../../src/flow/whole_addresses.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";
import { formatAddress6, parseAddress6 } from "../../src/wire/address6.ts";
import { OVER_IPV6 } from "../../src/wire/pdu.ts";

const TCP = 6;
const TCP6 = TCP | OVER_IPV6;

const MEMBERS = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(parseAddress6);
const CLIENTS = Array.from({ length: 12 }, (_, i) => {
  const words = parseAddress6("2001:db8:9::1");
  words[i & 3]! ^= 1 << (8 + i); // apart in one word, or in another
  return words;
});

/** Numbers of so many random bits: the digests of many addresses meet. */
function weak(bits: number, seed: number): Random {
  const random = new SeededRandom(seed);
  return { uint32: () => random.uint32() >>> (32 - bits) };
}

interface Connection {
  /** Source and destination, eight words, and ports: of what comes from the client, and back. */
  readonly a: Int32Array;
  readonly aPorts: number;
  readonly b: Int32Array;
  readonly bPorts: number;
}

/** A table whose digests have so few bits, and a map that knows whole addresses. */
class World {
  readonly digest: AddressDigest;
  /** Two addresses of the proxy, with different digests. */
  readonly own: readonly Int32Array[];
  readonly table: FlowTable;
  readonly connections = new Map<number, Connection>();
  readonly references = new Map<string, number>();

  constructor(capacity: number, bits: number, seed: number) {
    this.digest = new AddressDigest(weak(bits, seed));
    const first = parseAddress6("2001:db8::64");
    const second = Array.from({ length: 64 }, (_, i) => parseAddress6(`2001:db8::7:${i}`))
      .find((words) => this.digest.ofWords(words, 0) !== this.digest.ofWords(first, 0))!;
    this.own = [first, second];
    const whole = {
      digest: this.digest,
      own: Int32Array.from([...first, ...second]),
      members: Int32Array.from(MEMBERS.flatMap((words) => [...words])),
    };
    this.table = new FlowTable(capacity, weak(8, seed), null, whole);
  }

  key(addresses: Int32Array, at: number): number {
    return this.digest.ofWords(addresses, at);
  }

  find(addresses: Int32Array, ports: number): number {
    const { table } = this;
    const [src, dst] = [this.key(addresses, 0), this.key(addresses, 4)];
    const found = table.find6(TCP6, src, dst, ports, addresses);
    const hashes = Int32Array.of(table.hashOf(TCP6, src, dst, ports));
    const ahead = new Int32Array(1);
    table.findAll(hashes, 1, ahead);
    const isAhead = ahead[0]! >= 0 && table.has6(ahead[0]!, TCP6, src, dst, ports, addresses);
    assert.ok(!isAhead || ahead[0] === found, "what is seen ahead is what is found");
    return found;
  }

  insert({ a, aPorts, b, bPorts }: Connection, member: number): number {
    const { table } = this;
    const [aSrc, aDst] = [this.key(a, 0), this.key(a, 4)];
    const [bSrc, bDst] = [this.key(b, 0), this.key(b, 4)];
    const entry = table.insert(TCP6, aSrc, aDst, aPorts, bSrc, bDst, bPorts);
    if (entry < 0) return -1;
    table.whole!.setSideA(entry, a, 0, aDst);
    table.whole!.setSideB(entry, member, bDst);
    table.setMember(entry, member);
    this.connections.set(entry, { a, aPorts, b, bPorts });
    this.references.set(nameOf(a, aPorts), 2 * entry);
    this.references.set(nameOf(b, bPorts), 2 * entry + 1);
    return entry;
  }

  remove(entry: number): void {
    const { a, aPorts, b, bPorts } = this.connections.get(entry)!;
    this.table.remove(entry);
    this.connections.delete(entry);
    this.references.delete(nameOf(a, aPorts));
    this.references.delete(nameOf(b, bPorts));
  }

  assertEntry(entry: number): void {
    const { a, aPorts, b, bPorts } = this.connections.get(entry)!;
    for (const [side, addresses, ports] of [[SIDE_A, a, aPorts], [SIDE_B, b, bPorts]] as const) {
      const reference = 2 * entry + side;
      assert.equal(this.find(addresses, ports), reference);
      const copied = new Int32Array(9).fill(77);
      this.table.whole!.copySource(reference, copied, 0);
      this.table.whole!.copyDestination(reference, copied, 4);
      assert.deepEqual([...copied], [...addresses, 77]);
    }
  }
}

function nameOf(addresses: Int32Array, ports: number): string {
  return `${formatAddress6(addresses)} ${formatAddress6(addresses, 4)} ${ports}`;
}

function pairOf(src: Int32Array, dst: Int32Array): Int32Array {
  return Int32Array.from([...src, ...dst]);
}

for (const bits of [1, 2, 32]) {
  Deno.test(`FlowTable tells IPv6 connections apart by digests of ${bits} bits`, () => {
    const seed = 40 + bits;
    const random = new SeededRandom(seed);
    const one = <T>(values: readonly T[]): T => values[below(random, values.length)]!;
    const world = new World(32, bits, seed);
    const [main, other] = world.own;
    const { table } = world;
    let full = 0;
    let met = 0;
    for (let i = 0; i < 6_000; i++) {
      const client = one(CLIENTS);
      const member = below(random, MEMBERS.length);
      // A client with the key of the proxy's address has no source to preserve.
      const isPreserved = below(random, 2) === 0 &&
        world.key(client, 0) !== world.key(main!, 0);
      const aPorts = (below(random, 3) << 16) | 80;
      const bPorts = (80 << 16) | (isPreserved ? aPorts >>> 16 : below(random, 40));
      const connection = {
        a: pairOf(client, one([main!, other!])),
        aPorts,
        b: pairOf(MEMBERS[member]!, isPreserved ? client : main!),
        bPorts,
      };
      const { a, b } = connection;
      const known = world.references.get(nameOf(a, aPorts)) ?? -1;
      assert.equal(world.find(a, aPorts), known, `operation ${i}`);
      const knownB = world.references.get(nameOf(b, bPorts)) ?? -1;
      assert.equal(world.find(b, bPorts), knownB, `operation ${i}`);
      if (known < 0 && table.find(TCP6, world.key(a, 0), world.key(a, 4), aPorts) >= 0) met++;
      const strange = pairOf(client, one([...CLIENTS, ...MEMBERS]));
      assert.equal(
        world.find(strange, bPorts),
        world.references.get(nameOf(strange, bPorts)) ?? -1,
      );
      if (below(random, 100) < (Math.floor(i / 150) % 2 === 0 ? 70 : 30)) {
        if (known >= 0 || knownB >= 0) continue;
        const wasFull = table.count === table.capacity;
        const entry = world.insert(connection, member);
        assert.equal(entry < 0, wasFull);
        if (wasFull) full++;
        else world.assertEntry(entry);
      } else if (table.count > 0) {
        world.remove(one([...world.connections.keys()]));
      }
      if (i % 100 === 0) { for (const entry of world.connections.keys()) world.assertEntry(entry); }
    }
    assert.ok(full > 0, "the table was full at times");
    assert.ok((met > 0) === (bits < 32), `${met} keys met`);
  });
}

Deno.test("FlowTable never takes a connection of one family for the other's", () => {
  const world = new World(8, 32, 3);
  const { table } = world;
  const a = pairOf(CLIENTS[0]!, world.own[0]!);
  const b = pairOf(MEMBERS[0]!, world.own[0]!);
  const entry = world.insert({ a, aPorts: 1, b, bPorts: 2 }, 0);
  const [src, dst] = [world.key(a, 0), world.key(a, 4)];
  assert.equal(table.find(TCP, src, dst, 1), -1);
  assert.equal(table.has(2 * entry, TCP, src, dst, 1), false);
  const over4 = table.insertOneSided(TCP, src, dst, 1);
  assert.equal(table.find(TCP, src, dst, 1), 2 * over4);
  assert.equal(world.find(a, 1), 2 * entry);
  assert.deepEqual([table.protocol(over4), table.protocol(entry)], [TCP, TCP6]);
  table.remove(entry);
  assert.equal(world.find(a, 1), -1);
  assert.equal(table.find(TCP, src, dst, 1), 2 * over4);
});

Deno.test("A move to another member leaves an IPv6 client's own tuple", () => {
  const world = new World(8, 1, 5);
  const { table } = world;
  const [main] = world.own;
  const a = pairOf(CLIENTS[0]!, main!);
  const entry = world.insert({ a, aPorts: 1, b: pairOf(MEMBERS[0]!, main!), bPorts: 2 }, 0);
  const moved = pairOf(MEMBERS[2]!, main!);
  table.moveSideB(entry, world.key(moved, 0), world.key(moved, 4), 3);
  table.whole!.setSideB(entry, 2, world.key(moved, 4));
  table.setMember(entry, 2);
  assert.equal(world.find(a, 1), 2 * entry);
  assert.equal(world.find(moved, 3), 2 * entry + 1);
  assert.equal(world.find(pairOf(MEMBERS[0]!, main!), 3), -1);
});

Deno.test("What is noted of a tuple goes when it gets other addresses", () => {
  const world = new World(8, 1, 32);
  const { table } = world;
  const [main] = world.own;
  const a = pairOf(CLIENTS[0]!, main!);
  const entry = world.insert({ a, aPorts: 1, b: pairOf(MEMBERS[0]!, main!), bPorts: 2 }, 0);
  const whole = table.whole!;
  const [clientSide, memberSide] = [2 * entry, 2 * entry + 1];
  const noted = (reference: number) => [...whole.notes.slice(noteAt(reference))].slice(0, 3);
  for (const reference of [clientSide, memberSide]) whole.noteHop(reference, 5, 6);
  const sumOf = (addresses: Int32Array) =>
    addresses.reduce((sum, word) => sum + (word >>> 16) + (word & 0xffff), 0);
  assert.deepEqual(noted(clientSide), [sumOf(a), 5, 6]);
  const moved = pairOf(MEMBERS[2]!, main!);
  whole.setSideB(entry, 2, world.key(moved, 4));
  assert.deepEqual(noted(clientSide), [sumOf(a), 5, 6]);
  assert.deepEqual(noted(memberSide), [sumOf(moved), 0, -1]);
  whole.setSideA(entry, a, 0, world.key(a, 4));
  assert.deepEqual(noted(clientSide), [sumOf(a), 0, -1]);
});
