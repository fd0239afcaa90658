/**
 * A saved state: what a run leaves, and what another one takes from it, from a file that anybody
 * may have made.
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import {
  DATA,
  LAST_SEEN,
  META,
  PORTS,
  SAVED_WORDS,
  SRC,
  TUPLE_WORDS,
} from "../../src/flow/entry.ts";
import { checksumOf, LAYOUT, LAYOUT6, type Resumption } from "../../src/datapath/saved_state.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { parseAddress } from "../../src/wire/address.ts";
import {
  buildIcmp,
  buildTcp,
  buildUdp,
  readIcmp,
  readTcp,
  readUdp,
  type Tcp,
} from "../support/frames.ts";
import { buildTcp6, readTcp6 } from "../support/frames6.ts";
import {
  arpsOf,
  BACKENDS6,
  BACKENDS_B,
  CLIENT,
  CLIENT6,
  from,
  fromB,
  macOf,
  packetsOf,
  PROXY,
  PROXY6,
  PROXY_B,
  World,
  type WorldOptions,
} from "../support/world.ts";

const BOOT = "2c8b1f0e-0000-4000-8000-000000000001";
const SAVED_MS = 1_700_000_000_000;
const MAX_AGE_MS = 60_000;
/** Words of the header that are changed here. */
const [LAYOUT_WORD, CHECKSUM_WORD, TEXT_WORD, CONNECTIONS_WORD] = [2, 3, 4, 5] as const;

const EVERYTHING = policyOf(`default drop
not ip.src in $dst-addrs
  tcp.dport = 80 -> drop
  icmp and ip.ttl = 9 -> track, echo
  otherwise -> translate-a-to-b in turn, forward
otherwise -> translate-b-to-a, forward
`);

function policyOf(text: string): Policy {
  const { policy, errors } = parse(text, { file: "test" });
  assert.ok(policy !== null, JSON.stringify(errors));
  return policy;
}

function save(world: World): Uint8Array<ArrayBuffer> {
  return world.appliance.saveState(BOOT, SAVED_MS);
}

/** Has the world take up the state that was saved `agoMs` ago. */
function resume(world: World, bytes: Uint8Array<ArrayBuffer>, agoMs = 0): Resumption {
  const { appliance } = world;
  return appliance.resumeState(appliance.readState(bytes, BOOT, SAVED_MS + agoMs, MAX_AGE_MS));
}

/** A world that has taken up the state, `agoMs` later, with other random numbers. */
function resumed(
  bytes: Uint8Array<ArrayBuffer>,
  options: WorldOptions = {},
  agoMs = 500,
): { world: World; became: Resumption } {
  const world = new World({ seed: 99, startMs: 5, ...options });
  return { world, became: resume(world, bytes.slice(), agoMs) };
}

/**
 * Opens a TCP connection from the client's port and has 100 bytes pass: the SYN as the backend saw
 * it.
 */
function open(world: World, srcPort = 40_000): Tcp {
  const [syn] = packetsOf(world.send(buildTcp({ srcPort, flags: "S", seq: 999 }))).map(readTcp);
  const answer = { ...from(syn!.dst), srcPort: 2000, dstPort: syn!.srcPort };
  world.send(buildTcp({ ...answer, flags: "SA", seq: 4999, ack: 1000 }));
  world.send(buildTcp({ srcPort, flags: "A", seq: 1000, ack: 5000, payload: new Uint8Array(100) }));
  return syn!;
}

/** A connection of each kind: TCP, UDP, a query to a backend, one to the proxy. */
function oneOfEach(options: WorldOptions = {}): World {
  const world = World.settled({ policy: EVERYTHING, backends: ["192.168.0.1"], ...options });
  open(world);
  world.send(buildUdp({ srcPort: 5353, dstPort: 53 }));
  world.send(buildIcmp({ rest: [7007, 1] }));
  world.send(buildIcmp({ rest: [8, 1], ttl: 9 }));
  assert.equal(world.appliance.connections.table.count, 4);
  return world;
}

Deno.test("saved state, TCP goes on where it was, at once, to the same backend and port", () => {
  const before = World.settled();
  const syn = open(before);
  const { world, became } = resumed(save(before));
  assert.deepEqual(became, {
    ...{ resumed: 1, expired: 0, withoutRoom: 0, invalid: 0 },
    ...{ neighbors: 4, agoMs: 500 },
  });
  const data = buildTcp({ flags: "A", seq: 1100, ack: 5000, payload: new Uint8Array(9) });
  const [there] = packetsOf(world.send(data)).map(readTcp);
  assert.deepEqual(
    [there!.dst, there!.dstMac, there!.srcPort, there!.dstPort, there!.seq],
    [syn.dst, syn.dstMac, syn.srcPort, 2000, 1100],
  );
  const answer = { ...from(syn.dst), srcPort: 2000, dstPort: syn.srcPort };
  const [back] = packetsOf(
    world.send(buildTcp({ ...answer, flags: "A", seq: 5000, ack: 1109 })),
  ).map(readTcp);
  assert.deepEqual([back!.dst, back!.srcPort, back!.dstPort, back!.ack], [
    CLIENT,
    2000,
    40_000,
    1109,
  ]);
  assert.deepEqual(world.drops(), {});
});

Deno.test("saved state, has every kind of connection, and what is saved anew is the same", () => {
  const before = oneOfEach();
  const first = save(before);
  const { world, became } = resumed(first, { policy: EVERYTHING, backends: ["192.168.0.1"] }, 0);
  assert.deepEqual([became.resumed, became.invalid], [4, 0]);
  assert.deepEqual(save(world), first);
  const [udp] = packetsOf(
    world.send(buildUdp({ ...from("192.168.0.1"), srcPort: 53, dstPort: 5353 })),
  );
  assert.deepEqual([readUdp(udp!).dst, readUdp(udp!).dstPort], [CLIENT, 5353]);
  const [pong] = packetsOf(
    world.send(buildIcmp({ ...from("192.168.0.1"), type: 0, rest: [7007, 1] })),
  );
  assert.equal(readIcmp(pong!).dst, CLIENT);
});

Deno.test("saved state, two-sided, knows the neighbours of each side, and preserved sources", () => {
  const options = { twoSided: true, backends: [BACKENDS_B[0]!], preserveSource: true };
  const before = World.settled(options);
  const [syn] = packetsOf(before.send(buildTcp({ flags: "S" }))).map(readTcp);
  assert.equal(syn!.src, CLIENT);
  const { world, became } = resumed(save(before), options);
  assert.deepEqual([became.resumed, became.neighbors], [1, 2]);
  const answer = { ...fromB(BACKENDS_B[0]!), dst: CLIENT, srcPort: 2000, dstPort: syn!.srcPort };
  const [back] = packetsOf(world.send(buildTcp({ ...answer, flags: "SA", ack: 1001 }))).map(
    readTcp,
  );
  assert.deepEqual([back!.src, back!.dst], [PROXY, CLIENT]);
  // Without the flag nobody could have made this connection.
  const other = resumed(save(before), { ...options, preserveSource: false });
  assert.deepEqual([other.became.resumed, other.became.invalid], [0, 1]);
});

Deno.test("saved state, counters and backends go on", () => {
  const before = World.settled();
  open(before);
  before.send(buildTcp({ dstPort: 80, flags: "S" }));
  const { world } = resumed(save(before));
  const was = before.appliance.snapshot();
  const is = world.appliance.snapshot();
  for (const part of ["frames", "pdusIn", "pdusOut", "decisions", "drops", "pools"] as const) {
    assert.deepEqual(is[part], was[part], part);
  }
});

Deno.test("saved state, a backend that did not answer gets nothing before it does", () => {
  const before = new World({ backends: ["192.168.0.1", "192.168.0.2"] });
  before.poll();
  before.answer("192.168.0.1");
  before.advance(5000);
  const bytes = save(before);
  const { world } = resumed(bytes, { backends: ["192.168.0.1", "192.168.0.2"] });
  const statuses = () => world.appliance.snapshot().pools[0]!.members.map(({ status }) => status);
  assert.deepEqual(statuses(), ["up", "down"]);
  // Both are asked at once.
  const asked = arpsOf(world.poll()).map(({ targetAddress }) => targetAddress);
  assert.ok(asked.includes("192.168.0.1") && asked.includes("192.168.0.2"), asked.join());
  world.answer("192.168.0.2");
  assert.deepEqual(statuses(), ["up", "up"]);
  // One that has gone meanwhile is noticed as ever: 192.168.0.1 has not answered the question.
  world.advance(5000);
  assert.deepEqual(statuses(), ["down", "up"]);
});

Deno.test("saved state, idle times go on: what would have been forgotten is", () => {
  const before = oneOfEach();
  before.advance(20_000);
  // UDP and a query without an answer last 30 s, the proxy's own query 60 s.
  const later = (agoMs: number) =>
    resumed(save(before), { policy: EVERYTHING, backends: ["192.168.0.1"] }, agoMs);
  const { resumed: taken, expired } = later(11_000).became;
  assert.deepEqual([taken, expired], [2, 2]);
  const { world, became } = later(9_000);
  assert.equal(became.resumed, 4);
  world.advance(1_500);
  assert.equal(world.appliance.connections.table.count, 2);
});

Deno.test("saved state, where the table is smaller now live connections come first", () => {
  const before = World.settled();
  for (let i = 0; i < 6; i++) before.send(buildTcp({ srcPort: 30_000 + i, flags: "S" }));
  open(before, 40_001);
  open(before, 40_002);
  const { world, became } = resumed(save(before), { maxConn: 3 });
  assert.deepEqual([became.resumed, became.withoutRoom], [3, 5]);
  const { table } = world.appliance.connections;
  const ports = [...table].map((entry) => table.srcPort(entry, 0));
  // And of those that wait for an answer the oldest would go next.
  assert.deepEqual(ports, [40_001, 40_002, 30_000]);
});

Deno.test("saved state, ports in use stay in use", () => {
  const before = World.settled({ backends: ["192.168.0.1"], ports: { first: 5000, last: 5001 } });
  open(before);
  const options = { backends: ["192.168.0.1"], ports: { first: 5000, last: 5001 } };
  const { world } = resumed(save(before), options);
  const [syn] = packetsOf(world.send(buildTcp({ srcPort: 41_000, flags: "S" }))).map(readTcp);
  const { table } = world.appliance.connections;
  assert.equal(table.count, 2);
  assert.deepEqual([...table].map((entry) => table.dstPort(entry, 1)).sort(), [5000, 5001]);
  assert.equal(syn!.dst, "192.168.0.1");
});

// What is refused as a whole

/** A state with one connection of each kind, and what stands where in it. */
function file(): { bytes: Uint8Array<ArrayBuffer>; words: Int32Array; records: number } {
  const bytes = save(oneOfEach());
  const words = new Int32Array(bytes.buffer);
  return { bytes, words, records: (32 + words[TEXT_WORD]!) / 4 };
}

function sealed(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const words = new Int32Array(bytes.buffer);
  words[CHECKSUM_WORD] = checksumOf(words);
  return bytes;
}

function withText(change: (text: string) => string): Uint8Array<ArrayBuffer> {
  const { bytes, words } = file();
  const textBytes = words[TEXT_WORD]!;
  const old = new TextDecoder().decode(bytes.subarray(32, 32 + textBytes)).trimEnd();
  const text = new TextEncoder().encode(change(old));
  const padded = new Uint8Array((text.length + 3) & ~3).fill(0x20);
  padded.set(text);
  const made = new Uint8Array(bytes.length - textBytes + padded.length);
  made.set(bytes.subarray(0, 32));
  made.set(padded, 32);
  made.set(bytes.subarray(32 + textBytes), 32 + padded.length);
  new Int32Array(made.buffer)[TEXT_WORD] = padded.length;
  return sealed(made);
}

const DAMAGED = "it is cut short or damaged";
const REFUSED: [string, () => Uint8Array<ArrayBuffer>, string][] = [
  ["an empty file", () => new Uint8Array(0), "it is not a state of this program"],
  [
    "another file",
    () => new TextEncoder().encode("#!/bin/sh\n"),
    "it is not a state of this program",
  ],
  ["the magic alone", () => new TextEncoder().encode("treegate"), DAMAGED],
  ["a file without its end", () => file().bytes.slice(0, -4), DAMAGED],
  ["a file with a tail", () => {
    const { bytes } = file();
    const longer = new Uint8Array(bytes.length + 4);
    longer.set(bytes);
    return longer;
  }, DAMAGED],
  ["another layout", () => {
    const { bytes, words } = file();
    words[LAYOUT_WORD] = LAYOUT6 + 1;
    return sealed(bytes);
  }, `it has layout ${LAYOUT6 + 1}, expected ${LAYOUT} or ${LAYOUT6}`],
  ["a count of connections that is not the file's", () => {
    const { bytes, words } = file();
    words[CONNECTIONS_WORD] = 0x7fffffff;
    return sealed(bytes);
  }, DAMAGED],
  ["a negative one", () => {
    const { bytes, words } = file();
    words[CONNECTIONS_WORD] = -4;
    return sealed(bytes);
  }, DAMAGED],
  ["text that is no JSON", () => withText((text) => text.slice(1)), DAMAGED],
  ["text that nests", () => withText(() => "[".repeat(100_000)), DAMAGED],
  ["text without counts", () => withText((text) => text.replace('"counts"', '"c"')), DAMAGED],
  [
    "text with a backend that is none",
    () => withText((text) => text.replace(/"members":\[/, '"members":[null,')),
    DAMAGED,
  ],
  [
    "an address with a control character",
    () => withText((text) => text.replace(PROXY, "\\u001b[2J")),
    DAMAGED,
  ],
  [
    "another boot",
    () => withText((text) => text.replace(BOOT, "x")),
    "the machine has been started again since",
  ],
  [
    "an old file",
    () => withText((text) => text.replace(/"savedMs":\d+/, `"savedMs":${SAVED_MS - 75_000}`)),
    "it is 76 s old, expected at most 60 (--state-max-age)",
  ],
  [
    "a file of the future",
    () => withText((text) => text.replace(/"savedMs":\d+/, `"savedMs":${SAVED_MS + 9_000}`)),
    "by this machine's clock it is yet to be saved",
  ],
  [
    "another proxy's",
    () => withText((text) => text.replace(PROXY, "192.168.0.7")),
    "it is of a proxy at 192.168.0.7, not at 192.168.0.100",
  ],
];

for (const [name, bytes, message] of REFUSED) {
  Deno.test(`saved state, ${name} is refused in one line, and nothing has changed`, () => {
    const world = new World({ policy: EVERYTHING, backends: ["192.168.0.1"] });
    const before = world.summary();
    assert.throws(
      () => resume(world, bytes(), 500),
      (error: Error) => error.constructor === Error && error.message === message,
    );
    assert.equal(world.summary(), before);
  });
}

Deno.test("saved state, of two sides is not taken by a proxy with one", () => {
  const bytes = save(World.settled({ twoSided: true }));
  assert.throws(() => resumed(bytes), {
    message: `it is of a proxy at ${PROXY} and ${PROXY_B}, not at ${PROXY}`,
  });
});

// What is refused of it

const B = TUPLE_WORDS;
type Change = (record: Int32Array) => void;
const at = (word: number, value: number): Change => (record) => void (record[word] = value);

/** Changes to the TCP connection: each makes it one that this run could not have made. */
const IMPOSSIBLE: [string, Change][] = [
  ["to another host's address", at(1, parseAddress("192.168.0.200"))],
  ["from the proxy itself", at(SRC, parseAddress(PROXY))],
  ["from loopback", at(SRC, parseAddress("127.0.0.1"))],
  ["from a multicast address", at(SRC, parseAddress("224.0.0.1"))],
  ["from the subnet's broadcast address", at(SRC, parseAddress("192.168.0.255"))],
  ["to a backend that is not configured", at(B + SRC, parseAddress("192.168.0.66"))],
  ["from another address than the proxy's", at(B + 1, parseAddress("192.168.0.200"))],
  ["from a port below the range", at(B + PORTS, (2000 << 16) | 1023)],
  ["to another port of the backend", at(B + PORTS, (22 << 16) | 40_000)],
  ["to port 0", (record) => {
    record[PORTS]! &= ~0xffff;
    record[B + PORTS]! &= 0xffff;
  }],
  ["from port 0", (record) => void (record[PORTS]! &= 0xffff)],
  ["without protocol", (record) => void (record[META]! &= ~0xff)],
  ["of a protocol without ports", (record) => {
    record[META] = (record[META]! & ~0xff) | 47;
  }],
  ["in state 0", (record) => void (record[META]! &= ~0xff00)],
  ["in a state of UDP", (record) => {
    record[META] = (record[META]! & ~0xff00) | (11 << 8);
  }],
  ["in no state", (record) => void (record[META]! |= 0xff00)],
  ["with a scale above 14", (record) => void (record[META]! |= 0x1f << 17)],
  ["with an unknown challenge", (record) => void (record[META]! |= 0x07 << 27)],
  ["with a window of nothing", at(DATA + 2, 0)],
  ["with a window that no scale gives", at(DATA + 6, 0x7fff_ffff)],
  ["with a negative window", at(DATA + 6, -1000)],
  ["used in the future", at(LAST_SEEN, -1)],
  ["one-sided, in a state of TCP", (record) => void (record[META]! |= 1 << 16)],
];

for (const [name, change] of IMPOSSIBLE) {
  Deno.test(`saved state, a connection ${name} is left out and counted, others are not`, () => {
    const { bytes, words, records } = file();
    change(words.subarray(records, records + SAVED_WORDS)); // live: the first
    const { became } = resumed(sealed(bytes), { policy: EVERYTHING, backends: ["192.168.0.1"] });
    assert.deepEqual([became.resumed, became.invalid], [3, 1]);
  });
}

Deno.test("saved state, a tuple stands in the table once, whatever the file says", () => {
  const options = { policy: EVERYTHING, backends: ["192.168.0.1"] };
  const { bytes, words, records } = file();
  const record = (i: number) =>
    words.subarray(records + i * SAVED_WORDS, records + (i + 1) * SAVED_WORDS);
  const tcp = record(0).slice();
  record(1).set(tcp);
  const first = resumed(sealed(bytes), options).became;
  assert.deepEqual([first.resumed, first.invalid], [3, 1], "the same twice");
  record(1).set(tcp);
  record(1)[PORTS] = (41_000 << 16) | 2000;
  const second = resumed(sealed(bytes), options).became;
  assert.deepEqual([second.resumed, second.invalid], [3, 1], "two clients at one port");
  record(1).set(tcp);
  record(1)[SRC] = parseAddress("192.168.0.1");
  record(1)[PORTS] = (2000 << 16) | 2000;
  record(1)[B + PORTS] = (2000 << 16) | 2000;
  const third = resumed(sealed(bytes), options).became;
  assert.deepEqual([third.resumed, third.invalid], [3, 1], "both tuples the same");
});

const MACS: [string, number, number][] = [
  ["a group address", 0x0100, 5],
  ["zero", 0, 0],
  ["the proxy's own", 0x0200, 0x00000100],
  ["too long", 0x10200, 5],
];
for (const [name, hi, lo] of MACS) {
  Deno.test(`saved state, a neighbour at a MAC address that is ${name} is left out`, () => {
    const { bytes, words } = file();
    words[words.length - 3] = hi;
    words[words.length - 2] = lo;
    const { became } = resumed(sealed(bytes), { policy: EVERYTHING, backends: ["192.168.0.1"] });
    assert.equal(became.neighbors, 1);
  });
}

Deno.test("saved state, with any bit turned over is refused", () => {
  const { bytes } = file();
  const world = new World({ policy: EVERYTHING, backends: ["192.168.0.1"] });
  for (let bit = 0; bit < 8 * bytes.length; bit += 1 + bit % 3) {
    const flipped = bytes.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    assert.throws(
      () => resume(world, flipped),
      (error: Error) => error.constructor === Error,
      `bit ${bit}`,
    );
  }
});

Deno.test("saved state, forged with a right checksum breaks nothing", () => {
  const whole = file().bytes;
  for (let seed = 1; seed <= 400; seed++) {
    const random = new SeededRandom(seed);
    const bytes = whole.slice();
    const words = new Int32Array(bytes.buffer);
    const start = seed % 4 === 0 ? 8 : (32 + words[TEXT_WORD]!) / 4;
    for (let changes = 1 + random.uint32() % 20; changes > 0; changes--) {
      const word = start + random.uint32() % (words.length - start);
      if (random.uint32() % 2 === 0) words[word] = random.uint32();
      else words[word]! ^= 1 << (random.uint32() & 31);
    }
    const options = { seed, policy: EVERYTHING, backends: ["192.168.0.1"] };
    const world = new World(options);
    try {
      resume(world, sealed(bytes));
    } catch (error) {
      assert.equal((error as Error).constructor, Error, `seed ${seed}: ${(error as Error).stack}`);
    }
    world.poll();
    world.answer("192.168.0.1");
    open(world, 45_000);
    world.send(buildTcp({ flags: "A", seq: 1100, ack: 5000 }));
    world.summary();
    const { connections } = world.appliance;
    for (const entry of [...connections]) connections.remove(entry);
    assert.equal(connections.table.count, 0);
    assert.ok(world.appliance.snapshot().pools[0]!.members.every(({ tracked }) => tracked === 0));
  }
});

Deno.test(`saved state, layout ${LAYOUT} is as it was: whoever changes it gives it another number`, () => {
  const { words, records } = file();
  const tcp = [...words.subarray(records, records + SAVED_WORDS)];
  tcp[B + PORTS]! &= ~0xffff; // chosen at random
  assert.deepEqual(tcp, [
    ...[parseAddress(CLIENT), parseAddress(PROXY), (40_000 << 16) | 2000],
    ...[parseAddress("192.168.0.1"), parseAddress(PROXY), 2000 << 16],
    ...[6 | (4 << 8), 0],
    ...[1100, 1000 + 64_240, 64_240, 5000, 5000, 5000 + 64_240, 64_240, 1000],
    ...[999, 0, 0, 0],
  ]);
  const states = [1, 2, 3].map((i) => words[records + i * SAVED_WORDS + META]!);
  assert.deepEqual(states, [17 | (11 << 8), 1 | (13 << 8), 1 | (16 << 8) | (1 << 16)]);
});

Deno.test("saved state, over IPv6: connections, neighbours and own addresses go on at once", () => {
  const options = { ipv6: true, backends: BACKENDS6 };
  const before = World.settled(options);
  const [sent] = packetsOf(before.send(buildTcp6({ flags: "S", seq: 999, ack: 0 })));
  const syn = readTcp6(sent!);
  const answer = { ...from(syn.dst), srcPort: 2000, dstPort: syn.srcPort };
  before.send(buildTcp6({ ...answer, flags: "SA", seq: 4999, ack: 1000 }));
  before.send(buildTcp6({ flags: "A", seq: 1000, ack: 5000 }));
  const { world, became } = resumed(save(before), options, 500);
  assert.deepEqual(became, {
    ...{ resumed: 1, expired: 0, withoutRoom: 0, invalid: 0, agoMs: 500 },
    neighbors: became.neighbors,
  });
  assert.ok(became.neighbors >= BACKENDS6.length + 1, `${became.neighbors}`);
  world.poll();
  const data = { seq: 1000, ack: 5000, payload: [1, 2, 3] };
  const [there] = packetsOf(world.send(buildTcp6({ flags: "PA", ...data })));
  const { src, dst, srcPort, dstMac } = readTcp6(there!);
  assert.deepEqual({ src, dst, srcPort, dstMac }, {
    ...{ src: PROXY6, dst: syn.dst, srcPort: syn.srcPort, dstMac: macOf(syn.dst) },
  });
  const [back] = packetsOf(world.send(buildTcp6({ ...answer, flags: "A", seq: 5000, ack: 1003 })));
  assert.equal(readTcp6(back!).dst, CLIENT6);
  assert.deepEqual(world.drops(), {});
});

Deno.test("saved state, over IPv6: another own address is tried first, and gets no old connection", () => {
  const options = { ipv6: true, backends: BACKENDS6 };
  const before = World.settled(options);
  before.send(buildTcp6({ flags: "S", seq: 999, ack: 0 }));
  const bytes = save(before);
  const text = new TextDecoder("latin1").decode(bytes);
  const at = text.indexOf(`"own":["${PROXY6}"`);
  assert.ok(at > 0);
  bytes[at + '"own":["2001:db8::6'.length] = "5".charCodeAt(0); // 2001:db8::65
  const words = new Int32Array(bytes.buffer);
  words[CHECKSUM_WORD] = checksumOf(words);
  const world = new World({ ...options, seed: 9 });
  resume(world, bytes);
  assert.deepEqual(packetsOf(world.send(buildTcp6({ flags: "S" }))), []);
  assert.deepEqual(world.drops(), { "foreign-destination": 1 });
});

Deno.test("saved state, over IPv6: a text that says nonsense of it is damaged", () => {
  const before = World.settled({ ipv6: true, backends: BACKENDS6 });
  const bytes = save(before);
  const text = new TextDecoder("latin1").decode(bytes);
  for (const [good, bad] of [['"ndOut":', '"ndOuu":'], ['"neighbors":[[', '"neighbors":[{']]) {
    const broken = bytes.slice();
    const at = text.indexOf(good!);
    assert.ok(at > 0, good);
    broken.set(new TextEncoder().encode(bad), at);
    const words = new Int32Array(broken.buffer);
    words[CHECKSUM_WORD] = checksumOf(words);
    assert.throws(() => resume(new World({ ipv6: true, backends: BACKENDS6 }), broken), /damaged/);
  }
});
