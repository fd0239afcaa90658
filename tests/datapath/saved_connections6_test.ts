/** Connections over IPv6 from one run to another, whose keys are others. */
import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import {
  resumeConnections,
  type ResumedConnections,
  saveConnections,
} from "../../src/datapath/saved_connections.ts";
import { SAVED6_WORDS } from "../../src/datapath/saved_tuples.ts";
import { LAST_SEEN, MEMBER, META, PORTS, SAVED_WORDS, TUPLE_WORDS } from "../../src/flow/entry.ts";
import type { Member } from "../../src/flow/backends/member.ts";
import { addressOfWords } from "../../src/wire/host_address.ts";
import { parseAddress6 } from "../../src/wire/address6.ts";
import { ACK, SYN } from "../../src/wire/tcp.ts";
import { type Host, ICMP, type Packet, syn, UDP, World } from "../flow/connections6_world.ts";

/** Words of a record: client, and the address that it asked for. */
const [CLIENT, ASKED] = [SAVED_WORDS, SAVED_WORDS + 4];
/** What side B has of the client's address. */
const KEPT = TUPLE_WORDS + 1;

/** A run; each has another digest. */
function run(seed: number, preserves = false): World {
  const options = { preservesSource: () => preserves };
  return new World(true, seed, { ...options, digest: new SeededRandom(seed) });
}

/** The first packet of each kind of connection, and the answer to it. */
function openEach(world: World): [Packet, string][] {
  const answers: [Packet, string][] = [];
  for (
    const [first, fields] of [
      [syn("c1", 2000), { tcpFlags: SYN | ACK, seq: 0, ack: 1 }],
      [syn("c2", 2000, "other"), { tcpFlags: SYN | ACK, seq: 0, ack: 1 }],
      [{ ...syn("c3", 2001), protocol: UDP }, {}],
      [{ ...syn("c4", 77, "proxy", 0), protocol: ICMP, fields: { icmpType: 8 } }, { icmpType: 0 }],
    ] as [Packet, Packet["fields"]][]
  ) {
    const [, src, srcPort, dst, dstPort] = /^(\w+):(\d+) -> (\w+):(\d+)$/.exec(world.send(first))!;
    const answer = { ...syn(dst as Host, Number(dstPort), src as Host, Number(srcPort)), fields };
    const { protocol } = first;
    answers.push([
      { ...answer, step: "b", protocol },
      `${first.dst}:${first.dstPort} -> ${first.src}:${first.srcPort}`,
    ]);
  }
  world.send({
    ...syn("c4", 5, "other", 0),
    step: "track",
    protocol: ICMP,
    fields: { icmpType: 8 },
  });
  assert.equal(world.connections.table.count, 5);
  return answers;
}

function save({ connections, nowMs }: World): Int32Array<ArrayBuffer> {
  // Members keep their numbers here.
  const { over4, over6 } = saveConnections(connections, Int32Array.of(0, 1, 2, 3), nowMs);
  assert.equal(over4.length, 0);
  return over6;
}

function resume(
  world: World,
  over6: Int32Array<ArrayBuffer>,
  preserves = false,
): ResumedConnections {
  const rules = {
    own: [{ address: 5, subnet: { network: 0, prefixLength: 8 } }],
    ports: { first: 1024, last: 1043 },
    preserveSource: preserves,
    translateFamilies: false,
    targetPorts: new Map(),
    members: world.backends.all,
  };
  const records = { over4: new Int32Array(0), over6: over6.slice() };
  return resumeConnections(world.connections, records, rules, 500, world.nowMs);
}

for (const preserves of [false, true]) {
  Deno.test(`connections over IPv6 go on in another run, ${preserves ? "" : "no "}source preserved`, () => {
    const before = run(1, preserves);
    const answers = openEach(before);
    before.nowMs += 250;
    const after = run(2, preserves);
    assert.notEqual(before.keyOf("c1"), after.keyOf("c1"));
    const became = resume(after, save(before), preserves);
    assert.deepEqual(became, { resumed: 5, expired: 0, withoutRoom: 0, invalid: 0 });
    for (const [packet, expected] of answers) assert.equal(after.send(packet), expected);
    // Both have the same connections, in whatever order.
    const told = ({ connections: { table } }: World) =>
      [...table].map((entry) => {
        const sides = table.hasSideB(entry) ? [0, 1] : [0];
        return sides.map((side) => {
          const words = new Int32Array(8);
          table.whole!.copySource((entry << 1) | side, words, 0);
          table.whole!.copyDestination((entry << 1) | side, words, 4);
          const ends = [0, 4].map((at) => `${addressOfWords(words, at)}`);
          return `${ends} ${table.srcPort(entry, side)} ${table.dstPort(entry, side)}`;
        }).join();
      }).sort();
    assert.deepEqual(told(after), told(before));
    assert.deepEqual(resume(after, save(before), preserves).invalid, 5, "they are there already");
  });
}

Deno.test("records of IPv6 have no keys: two runs save the same words", () => {
  const worlds = [1, 1].map((seed, i) => {
    const world = new World(true, seed, { digest: new SeededRandom(40 + i) });
    openEach(world);
    return world;
  });
  assert.notEqual(worlds[0]!.keyOf("c1"), worlds[1]!.keyOf("c1"));
  assert.deepEqual(save(worlds[0]!), save(worlds[1]!));
});

Deno.test("a record of IPv6 that this run could not have made is not taken", () => {
  const before = run(1);
  before.send(syn("c1", 2000));
  const record = save(before);
  assert.equal(record.length, SAVED6_WORDS);
  const set = (at: number, ...words: number[]) => (of: Int32Array) => of.set(words, at);
  const address = (at: number, text: string) => set(at, ...parseAddress6(text));
  const cases: [string, (record: Int32Array<ArrayBuffer>) => void][] = [
    ["a group as client", address(CLIENT, "ff02::1")],
    ["nobody as client", address(CLIENT, "::")],
    ["an IPv4 host as client", address(CLIENT, "::ffff:10.0.0.1")],
    ["the proxy as client", set(CLIENT, ...before.wordsOf("proxy"))],
    ["another host that was asked", set(ASKED, ...before.wordsOf("b1"))],
    ["IPv4", (of) => of[META]! &= ~0x8000],
    ["no protocol", (of) => of[META]! &= ~0xff],
    ["IPv4's ICMP", (of) => of[META] = (of[META]! & ~0xff) | 1],
    ["a member of IPv4", set(MEMBER, 0)],
    ["a member that is not there", set(MEMBER, 4)],
    ["a source that is preserved by no flag", set(KEPT, 1)],
    ["a key for the client", set(KEPT, before.keyOf("proxy"))],
    ["a port beyond the range", set(TUPLE_WORDS + PORTS, (80 << 16) | 1044)],
    ["another backend port", set(TUPLE_WORDS + PORTS, (81 << 16) | 1024)],
    ["the future", set(LAST_SEEN, -1)],
  ];
  for (const [name, change] of cases) {
    const changed = record.slice();
    change(changed);
    const world = run(3);
    assert.deepEqual(resume(world, changed), {
      ...{ resumed: 0, expired: 0, withoutRoom: 0, invalid: 1 },
    }, name);
    assert.equal(world.connections.table.count, 0, name);
  }
  assert.equal(resume(run(3), record).resumed, 1);
});

Deno.test("nothing of IPv6 is taken without it, and nothing of it as IPv4", () => {
  const before = run(1);
  before.send(syn("c1", 2000));
  const over6 = save(before);
  const without = new World(false, 1);
  assert.equal(resume(without, over6).invalid, 1);
  const rules = {
    own: [{ address: without.keyOf("proxy"), subnet: { network: 0, prefixLength: 0 } }],
    ports: { first: 1024, last: 1043 },
    preserveSource: false,
    translateFamilies: false,
    targetPorts: new Map(),
    members: without.backends.all as readonly (Member | null)[],
  };
  without.send(syn("c1", 2000));
  const { over4 } = saveConnections(without.connections, Int32Array.of(0, 1, 2, 3), 0);
  const isTaken = (over4: Int32Array<ArrayBuffer>, members = rules.members) => {
    const records = { over4, over6: new Int32Array(0) };
    const { connections } = new World(false, 2);
    return resumeConnections(connections, records, { ...rules, members }, 0, 0).resumed === 1;
  };
  assert.equal(isTaken(over4.slice()), true);
  // Members of IPv6 whose keys are by chance those of IPv4 addresses.
  const disguised: Member[] = without.backends.all.map((member) =>
    Object.assign(Object.create(member), { address: 1n, isIpv6: true })
  );
  assert.equal(isTaken(over4.slice(), disguised), false);
  over4[META]! |= 0x8000;
  assert.equal(isTaken(over4), false);
});
