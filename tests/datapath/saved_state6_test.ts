/** A saved state with IPv6: what a run leaves of it, and what another one takes. */
import assert from "node:assert/strict";
import { LAYOUT, LAYOUT6, type Resumption } from "../../src/datapath/saved_state.ts";
import { MOST_NEIGHBORS6 } from "../../src/datapath/saved_ipv6.ts";
import { ipv6Config, LINK_B } from "../support/config.ts";
import { buildTcp, readTcp } from "../support/frames.ts";
import { buildTcp6, readTcp6, type Tcp6 } from "../support/frames6.ts";
import {
  BACKENDS6,
  CLIENT6,
  from,
  fromB,
  neighborsOf,
  packetsOf,
  PROXY6,
  World,
  type WorldOptions,
} from "../support/world.ts";

const BOOT = "2c8b1f0e-0000-4000-8000-000000000001";
const SAVED_MS = 1_700_000_000_000;
const LAYOUT_WORD = 2;

function save(world: World): Uint8Array<ArrayBuffer> {
  return world.appliance.saveState(BOOT, SAVED_MS);
}

function layoutOf(bytes: Uint8Array<ArrayBuffer>): number {
  return new Int32Array(bytes.buffer)[LAYOUT_WORD]!;
}

/** A world that has taken up the state half a second later, with other random numbers. */
function resumed(
  bytes: Uint8Array<ArrayBuffer>,
  options: WorldOptions = {},
): { world: World; became: Resumption } {
  const world = new World({ seed: 99, startMs: 5, ipv6: true, ...options });
  const { appliance } = world;
  const saved = appliance.readState(bytes.slice(), BOOT, SAVED_MS + 500, 60_000);
  return { world, became: appliance.resumeState(saved) };
}

/** What a backend sends to whom its SYN came from. */
function answerOf({ src, dst, srcPort }: Tcp6, world: World): Partial<Tcp6> {
  const way = world.devices.length === 2 ? fromB(dst) : from(dst);
  return { ...way, dst: src, srcPort: 2000, dstPort: srcPort };
}

/** A connection over IPv6 by which 100 bytes have passed: its SYN as the backend got it. */
function open(world: World): Tcp6 {
  const [syn] = packetsOf(world.send(buildTcp6({ flags: "S", seq: 999, ack: 0 }))).map(readTcp6);
  world.send(buildTcp6({ ...answerOf(syn!, world), flags: "SA", seq: 4999, ack: 1000 }));
  world.send(buildTcp6({ flags: "A", seq: 1000, ack: 5000, payload: new Uint8Array(100) }));
  return syn!;
}

for (const options of [{}, { twoSided: true }, { twoSided: true, preserveSource: true }]) {
  const { twoSided = false, preserveSource = false }: WorldOptions = options;
  const where = `${twoSided ? "two-sided" : "one-sided"}${preserveSource ? ", preserving" : ""}`;
  Deno.test(`saved state, TCP over IPv6 goes on at once, without waiting for an address: ${where}`, () => {
    const before = World.settled({ ipv6: true, ...options });
    const syn = open(before);
    const bytes = save(before);
    assert.equal(layoutOf(bytes), LAYOUT6);
    const { world, became } = resumed(bytes, options);
    assert.partialDeepStrictEqual(became, { resumed: 1, expired: 0, withoutRoom: 0, invalid: 0 });
    const data = buildTcp6({ flags: "A", seq: 1100, ack: 5000, payload: new Uint8Array(9) });
    const [there] = packetsOf(world.send(data)).map(readTcp6);
    assert.deepEqual(
      [there!.src, there!.dst, there!.dstMac, there!.srcPort, there!.dstPort, there!.seq],
      [syn.src, syn.dst, syn.dstMac, syn.srcPort, 2000, 1100],
    );
    const reply = buildTcp6({ ...answerOf(syn, world), flags: "A", seq: 5000, ack: 1109 });
    const [back] = packetsOf(world.send(reply)).map(readTcp6);
    assert.deepEqual(
      [back!.src, back!.dst, back!.srcPort, back!.dstPort, back!.ack],
      [PROXY6, CLIENT6, 2000, 40_000, 1109],
    );
    assert.deepEqual(world.drops(), {});
  });
}

Deno.test("saved state, neighbours over IPv6 are taken up, and what discovery has sent is counted on", () => {
  const before = World.settled({ ipv6: true });
  open(before);
  const bytes = save(before);
  const { out } = before.appliance.snapshot().frames.neighbors!;
  const { world, became } = resumed(bytes);
  const known = (of: World) => {
    const found: string[] = [];
    of.appliance.links[0]!.v6!.nd.neighbors.forEachKnown((_key, { hi, lo }, _ms, words, at) =>
      found.push(`${words.subarray(at, at + 4)} ${hi} ${lo}`)
    );
    return found.sort();
  };
  assert.deepEqual(known(world), known(before));
  assert.ok(known(world).length >= BACKENDS6.length);
  assert.equal(became.neighbors, 4 + known(world).length);
  assert.ok(world.appliance.snapshot().frames.neighbors!.out >= out);
});

Deno.test("saved state, of other IPv6 addresses only IPv4 goes on", () => {
  const before = World.settled({ ipv6: true, twoSided: true });
  open(before);
  before.send(buildTcp({ flags: "S", seq: 999 }));
  const linkB = { ...LINK_B, ipv6: ipv6Config("2001:db8:b::65") };
  const { world, became } = resumed(save(before), { twoSided: true, linkB });
  assert.partialDeepStrictEqual(became, { resumed: 1, invalid: 1 });
  assert.equal(world.appliance.connections.table.count, 1);
  assert.equal(world.appliance.links[0]!.v6!.own.isUsable(0), false);
});

Deno.test("saved state, an address that was not used yet is asked for again", () => {
  const before = new World({ ipv6: true });
  assert.equal(before.appliance.links[0]!.v6!.own.isUsable(0), false);
  const { world } = resumed(save(before));
  assert.equal(world.appliance.links[0]!.v6!.own.isUsable(0), false);
  const { world: other } = resumed(save(World.settled({ ipv6: true })));
  assert.equal(other.appliance.links[0]!.v6!.own.isUsable(0), true);
});

Deno.test("saved state, a file without IPv6 is as it was, and goes on with it", () => {
  const before = World.settled();
  before.send(buildTcp({ flags: "S", seq: 999 }));
  const bytes = save(before);
  assert.equal(layoutOf(bytes), LAYOUT);
  assert.doesNotMatch(new TextDecoder().decode(bytes), /own6|neighborOut/);
  const { world, became } = resumed(bytes, { backends: [...before.backends, ...BACKENDS6] });
  assert.partialDeepStrictEqual(became, { resumed: 1, neighbors: 4 });
  // Nobody has used the IPv6 addresses: they are asked for.
  const asked = neighborsOf(world.advance(1500)).filter(({ src }) => src === "::");
  assert.deepEqual([...new Set(asked.map(({ target }) => target))].includes(PROXY6), true);
  assert.equal(readTcp(packetsOf(world.send(buildTcp({ flags: "S", seq: 999 })))[0]!).seq, 999);
});

Deno.test("saved state, of too many neighbours over IPv6 those used last are noted, and it is read", () => {
  const options = { maxNeighbors: 5 * MOST_NEIGHBORS6 };
  const before = World.settled({ ipv6: true, ...options });
  const { nd } = before.appliance.links[0]!.v6!;
  const network = 0x2001_0db8_0000_0000_ffff_ffff_0000_0000n;
  const count = 4 * MOST_NEIGHBORS6;
  for (let host = 1; host <= count; host++) {
    const address = network + BigInt(host);
    assert.ok(nd.resume(address, { hi: 2, lo: -host }, 0, 1000), `${host}`);
  }
  const { world, became } = resumed(save(before), options);
  const { neighbors } = world.appliance.links[0]!.v6!.nd;
  let [known, last] = [0, 0];
  neighbors.forEachKnown((_key, _mac, _ms, words, at) => {
    known++;
    last = Math.max(last, words[at + 3]!);
  });
  assert.equal(known, MOST_NEIGHBORS6);
  assert.equal(last, count);
  assert.ok(became.neighbors >= MOST_NEIGHBORS6);
});

Deno.test("saved state, sections of IPv6 that can't be are damage", () => {
  const world = World.settled({ ipv6: true });
  open(world);
  const bytes = save(world);
  for (let cut = 4; cut < 400; cut += 4) {
    const { appliance } = new World({ ipv6: true });
    const short = bytes.slice(0, bytes.length - cut);
    const read = () => appliance.readState(short, BOOT, SAVED_MS, 60_000);
    assert.throws(read, { message: "it is cut short or damaged" }, `${cut} bytes`);
  }
});
