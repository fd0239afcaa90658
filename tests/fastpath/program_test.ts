/**
 * The fast path's program by itself: what it leaves to the proxy, one condition after the other,
 * and what it does while the proxy or another processor changes what it reads, at each of its
 * instructions. That it does what the proxy does, `twin_test.ts` shows.
 */
import assert from "node:assert/strict";
import { SeededRandom } from "../../src/core/random.ts";
import { layoutOf, type Sizes } from "../../src/fastpath/layout.ts";
import { fastPathOf, LEFT, MEMORY } from "../../src/fastpath/program.ts";
import { SharedMemory, type Way } from "../../src/fastpath/shared_memory.ts";
import { UDP_ANSWERED, UDP_ONGOING } from "../../src/flow/lifetimes.ts";
import { FlowTable, SIDE_A, SIDE_B } from "../../src/flow/table.ts";
import * as tcpState from "../../src/flow/tcp_state.ts";
import { ACK, END, MAX_END, MAX_WIN, WORDS_PER_SIDE } from "../../src/flow/tcp_window.ts";
import { type Mac, parseAddress, parseMac } from "../../src/wire/address.ts";
import { Machine, type SocketBuffer } from "../support/bpf.ts";
import { repairHeader } from "../fuzz/fuzzer.ts";
import { buildTcp, buildUdp, readTcp, readUdp, type Tcp } from "../support/frames.ts";

const CLIENT = parseAddress("192.168.0.254");
const PROXY = parseAddress("192.168.0.100");
const PROXY_B = parseAddress("10.0.0.100");
const BACKEND = parseAddress("10.0.0.1");
const PROXY_MAC = parseMac("02:00:00:00:01:00");
const PROXY_B_MAC = parseMac("02:00:00:00:02:00");
const BACKEND_MAC = parseMac("02:00:00:00:00:01");
const CLIENT_MAC = parseMac("02:00:00:00:00:fe");
const [CLIENT_PORT, SERVICE, OWN_PORT] = [40_000, 2000, 1024];
const [IFINDEX_A, IFINDEX_B] = [11, 12];
const DESCRIPTOR = 3;
const NOW_MS = 5000;
const SIZES: Sizes = { connections: 64, neighbors: 4, counters: 4, processors: 2 };
const REDIRECTED = 7;
const TO_BACKEND = 0;
const TO_CLIENT = 1;

/** What side A sends next, and what it has acknowledged. */
const [SEQ, ACKED] = [1001, 5001];

const FROM_A: Way = {
  neighbor: TO_BACKEND,
  counter: 2,
  fromLink: 0,
  toLink: 1,
  newTtl: 0,
};
const FROM_B: Way = { ...FROM_A, neighbor: TO_CLIENT, counter: 3, fromLink: 1, toLink: 0 };

/** Two links, and a TCP connection over them, which is promoted, as a UDP one is. */
class Fixture {
  readonly buffer: ArrayBuffer;
  readonly memory: SharedMemory;
  readonly table: FlowTable;
  readonly entry: number;
  readonly udpEntry: number;
  onStep: (at: number) => void = () => {};
  processor = 1;

  constructor(sizes = SIZES) {
    const layout = layoutOf(sizes);
    this.buffer = new ArrayBuffer(layout.bytes);
    this.memory = new SharedMemory(layout, this.buffer);
    this.table = new FlowTable(sizes.connections, new SeededRandom(1), this.memory.table);
    this.memory.setLink(0, { mac: PROXY_MAC, ifindex: IFINDEX_A, mtu: 1500 });
    this.memory.setLink(1, { mac: PROXY_B_MAC, ifindex: IFINDEX_B, mtu: 1400 });
    this.memory.setNeighbor(TO_BACKEND, BACKEND_MAC);
    this.memory.setNeighbor(TO_CLIENT, CLIENT_MAC);
    this.entry = this.open(6, CLIENT, BACKEND);
    this.udpEntry = this.open(17, CLIENT, BACKEND);
  }

  open(protocol: number, client: number, backend: number): number {
    const { table } = this;
    const aPorts = (CLIENT_PORT << 16) | SERVICE;
    const bPorts = (SERVICE << 16) | OWN_PORT;
    const entry = table.insert(protocol, client, PROXY, aPorts, backend, PROXY_B, bPorts);
    table.setState(entry, protocol === 6 ? tcpState.ESTABLISHED : UDP_ONGOING);
    for (const [side, sent, acked] of [[0, SEQ, ACKED], [1, ACKED, SEQ]] as const) {
      const words = { [END]: sent, [MAX_END]: sent + 60_000, [MAX_WIN]: 60_000, [ACK]: acked };
      for (const [word, value] of Object.entries(words)) {
        table.setData(entry, side * WORDS_PER_SIDE + Number(word), value);
      }
    }
    this.promote(entry);
    return entry;
  }

  promote(entry: number): void {
    assert.ok(this.memory.promote(entry, FROM_A, FROM_B));
  }

  /** Runs the program of a link on the frame, which it may change. */
  run(frame: Uint8Array, more: Partial<SocketBuffer> = {}, link = 0) {
    const machine = new Machine({
      code: fastPathOf(this.memory.layout, link).assemble({ [MEMORY]: DESCRIPTOR }),
      maps: new Map([[DESCRIPTOR, new Uint8Array(this.buffer)]]),
      processor: this.processor,
      nowNs: () => BigInt(NOW_MS) * 1_000_000n,
      onStep: (at) => this.onStep(at),
    });
    const buffer = {
      data: Uint8Array.from(frame),
      ifindex: link === 0 ? IFINDEX_A : IFINDEX_B,
      vlanPresent: 0,
      gsoSize: 0,
      mark: 7,
      isPartial: false,
      ...more,
    };
    return { ...machine.run(buffer), frame: buffer.data };
  }

  end(side: number): number {
    return this.table.data(this.entry, side * WORDS_PER_SIDE + END);
  }
}

function segment(fields: Partial<Tcp> = {}): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(100).fill(7);
  return buildTcp({ flags: "PA", seq: SEQ, ack: ACKED, window: 500, payload, ...fields });
}

const ANSWER: Partial<Tcp> = {
  dstMac: "02:00:00:00:02:00",
  srcMac: "02:00:00:00:00:01",
  src: "10.0.0.1",
  dst: "10.0.0.100",
  srcPort: SERVICE,
  dstPort: OWN_PORT,
  seq: ACKED,
  ack: SEQ,
};

Deno.test("fast path forwards a segment each way, counts it and notes who was used", () => {
  const world = new Fixture();
  const there = world.run(segment());
  assert.equal(there.result, REDIRECTED);
  assert.deepEqual(there.redirect, { ifindex: IFINDEX_B, flags: 1 });
  const { src, dst, srcPort, dstPort, ttl, srcMac, dstMac, payload } = readTcp(there.frame);
  assert.deepEqual(
    [src, dst, srcPort, dstPort, ttl, srcMac, dstMac, payload.length],
    ["10.0.0.100", "10.0.0.1", OWN_PORT, SERVICE, 63, ...macs(PROXY_B_MAC, BACKEND_MAC), 100],
  );
  assert.equal(world.end(SIDE_A), SEQ + 100);
  assert.equal(world.table.idleMs(world.entry, NOW_MS + 5), 5);
  assert.equal(world.memory.usedMs(TO_BACKEND), NOW_MS);
  assert.equal(world.memory.usedMs(TO_CLIENT), 0);
  assert.equal(world.memory.askedMs(TO_BACKEND), 0, "no datagram");

  world.processor = 0;
  const back = world.run(segment({ ...ANSWER, ack: SEQ + 100 }), {}, 1);
  assert.deepEqual(back.redirect, { ifindex: IFINDEX_A, flags: 1 });
  const answer = readTcp(back.frame);
  assert.deepEqual(
    [answer.src, answer.dst, answer.srcPort, answer.dstPort],
    ["192.168.0.100", "192.168.0.254", SERVICE, CLIENT_PORT],
  );
  assert.equal(world.end(SIDE_B), ACKED + 100);
  world.processor = 1;
  world.run(segment({ ...ANSWER, seq: ACKED + 100, ack: SEQ + 100 }), {}, 1);
  assert.deepEqual(counted(world, FROM_A.counter), [1, 140]);
  assert.deepEqual(counted(world, FROM_B.counter), [2, 280]);
  assert.deepEqual(counted(world, 0), [0, 0]);
});

Deno.test("fast path forwards datagrams, and notes who owes an answer and who has answered", () => {
  const world = new Fixture();
  const there = world.run(buildUdp({ payload: new Uint8Array(9) }));
  assert.equal(there.result, REDIRECTED);
  assert.deepEqual([readUdp(there.frame).src, readUdp(there.frame).dstPort], ["10.0.0.100", 2000]);
  assert.equal(world.memory.askedMs(TO_BACKEND), NOW_MS);
  assert.equal(world.memory.answeredMs(TO_BACKEND), 0);
  const back = world.run(buildUdp({ ...ANSWER, payload: new Uint8Array(0) }), {}, 1);
  assert.equal(readUdp(back.frame).dst, "192.168.0.254");
  assert.equal(world.memory.answeredMs(TO_BACKEND), NOW_MS);
  assert.equal(world.memory.askedMs(TO_CLIENT), 0);
});

Deno.test("fast path keeps a UDP checksum of 0, a wrong TCP checksum, and padding", () => {
  const world = new Fixture();
  const none = world.run(buildUdp({ noChecksum: true })).frame;
  assert.deepEqual([...none.subarray(40, 42)], [0, 0]);
  const wrong = segment();
  wrong[50]! ^= 0x40;
  const { result, frame } = world.run(Uint8Array.from([...wrong, 1, 2, 3]));
  assert.equal(result, REDIRECTED);
  assert.deepEqual([...frame.subarray(-3)], [1, 2, 3]);
  assert.throws(() => readTcp(frame.subarray(0, -3)), /checksum/);
  frame[50]! ^= 0x40;
  readTcp(frame.subarray(0, -3));
});

Deno.test("fast path looks at the MTU of the way out, by segment where it is cut up", () => {
  const world = new Fixture();
  const longest = segment({ payload: new Uint8Array(1400 - 40) });
  const long = segment({ payload: new Uint8Array(1400 - 39) });
  assert.equal(world.run(longest).result, REDIRECTED);
  assert.equal(world.run(long).result, LEFT);
  assert.equal(world.run(long, { gsoSize: 1360, isPartial: true }).result, REDIRECTED);
  assert.equal(world.run(long, { gsoSize: 1361, isPartial: true }).result, LEFT);
});

/** What the program leaves, and how it comes about; nothing else is different. */
const LEAVES: Readonly<Record<string, (world: Fixture) => [Uint8Array, Partial<SocketBuffer>?]>> = {
  "a frame with a VLAN tag": () => [segment(), { vlanPresent: 1 }],
  "headers that are not in one piece": () => [segment(), { linearBytes: 53 }],
  "a UDP header that is not": () => [buildUdp({ payload: new Uint8Array(9) }), { linearBytes: 41 }],
  "a frame to another station": () => [segment({ dstMac: "02:00:00:00:01:01" })],
  "a frame to all stations": () => [segment({ dstMac: "ff:ff:ff:ff:ff:ff" })],
  "a frame from a group": () => [segment({ srcMac: "03:00:00:00:00:fe" })],
  "a frame from ourselves": () => [segment({ srcMac: "02:00:00:00:01:00" })],
  "another EtherType": () => [segment({ etherType: 0x86dd })],
  "IP options": () => [segment({ options: [1, 1, 1, 1] })],
  "a fragment": () => [segment({ fragment: 0x2000 })],
  "a last fragment": () => [segment({ fragment: 5 })],
  "a wrong IP checksum": () => [changed(segment(), 24)],
  "a packet that is cut off": () => [segment().subarray(0, -1)],
  "another protocol": () => [segment({ protocol: 132 })],
  "TTL 1": () => [segment({ ttl: 1 })],
  "TTL 0": () => [segment({ ttl: 0 })],
  "a SYN": () => [segment({ flags: "S" })],
  "a SYN ACK": () => [segment({ flags: "SA" })],
  "a FIN": () => [segment({ flags: "FA" })],
  "an RST": () => [segment({ flags: "RA" })],
  "no ACK": () => [segment({ flags: "P" })],
  "what is beyond the window": () => [segment({ seq: SEQ + 60_001 })],
  "what is old": () => [segment({ seq: SEQ - 60_101 })],
  "an ACK of what was not sent": () => [segment({ ack: ACKED + 1 })],
  "an old ACK": () => [segment({ ack: ACKED - 66_001 })],
  "a datagram with a segment size": () => [buildUdp(), { gsoSize: 500 }],
  "a segment size of 7": () => [segment(), { gsoSize: 7, isPartial: true }],
  "segments of several sizes": () => [segment(), { gsoSize: 0xffff, isPartial: true }],
  "other ports": () => [segment({ srcPort: CLIENT_PORT + 1 })],
  "other ports in the same bucket": () => [segment({ srcPort: SERVICE, dstPort: CLIENT_PORT })],
  "another address": () => [segment({ src: "192.168.0.253" })],
  "a connection that is not promoted": (world) => {
    world.memory.demote(world.entry); // another one has its ports
    return [segment()];
  },
  "all, once all are demoted": (world) => {
    world.memory.demoteAll();
    return [segment()];
  },
  "what was demoted with all, when another one has its ports": (world) => {
    world.memory.demoteAll();
    world.promote(world.udpEntry);
    return [segment()];
  },
  "another state": (world) => {
    world.table.setState(world.entry, tcpState.FIN_A);
    return [segment()];
  },
  "a UDP connection that may be over": (world) => {
    world.table.setState(world.udpEntry, UDP_ANSWERED);
    return [buildUdp()];
  },
  "a side that has not spoken": (world) => {
    world.table.setData(world.entry, WORDS_PER_SIDE + MAX_WIN, 0);
    return [segment()];
  },
  "what comes in on the wrong side": (world) => {
    assert.ok(world.memory.promote(world.entry, { ...FROM_A, fromLink: 1 }, FROM_B));
    return [segment()];
  },
  "what leaves on a link that is down": (world) => {
    world.memory.setLink(1, null);
    return [segment()];
  },
  "what goes to a neighbour whose number another one has": (world) => {
    world.memory.forgetNeighbor(TO_BACKEND);
    world.memory.setNeighbor(TO_BACKEND, BACKEND_MAC);
    return [segment()];
  },
  "what goes to an unknown neighbour": (world) => {
    world.memory.setNeighbor(TO_BACKEND, null);
    return [segment()];
  },
  "all, on a processor that has no counters": (world) => {
    world.processor = SIZES.processors;
    return [segment()];
  },
};

for (const [name, prepare] of Object.entries(LEAVES)) {
  Deno.test(`fast path leaves ${name}`, () => {
    const world = new Fixture();
    const [frame, more] = prepare(world);
    const before = new Uint8Array(world.buffer).toHex();
    const outcome = world.run(frame, more);
    assert.equal(outcome.result, LEFT);
    assert.equal(outcome.redirect, null);
    assert.equal(outcome.frame.toHex(), frame.toHex());
    assert.equal(new Uint8Array(world.buffer).toHex(), before);
  });
}

Deno.test("fast path leaves what has no promoted connection's ports before it looks further", () => {
  const world = new Fixture();
  const found = world.run(segment()).steps;
  const other = world.run(segment({ srcPort: CLIENT_PORT + 1 }));
  assert.equal(other.result, LEFT);
  assert.ok(other.steps < 25 && found > 300, `${other.steps} steps, not ${found}`);
});

Deno.test("fast path goes on with connections that are promoted in the new epoch", () => {
  const world = new Fixture();
  for (let i = 0; i < 0x1_0001; i++) world.memory.demoteAll();
  assert.equal(world.run(segment()).result, LEFT, "epochs are numbered anew");
  world.promote(world.entry);
  assert.equal(world.run(segment()).result, REDIRECTED);
});

Deno.test("SharedMemory.promote, refuses what there is no room for", () => {
  const world = new Fixture();
  for (const bad of [{ neighbor: 4 }, { neighbor: -1 }, { counter: 4 }]) {
    world.memory.demote(world.entry);
    assert.equal(world.memory.promote(world.entry, { ...FROM_A, ...bad }, FROM_B), false);
    assert.equal(world.memory.isPromoted(world.entry), false);
  }
});

Deno.test("fast path finds connections in a full table, but none beyond 64 slots", () => {
  const connections = 4096;
  const world = new Fixture({ ...SIZES, connections });
  for (let i = world.table.count; i < connections; i++) world.open(6, CLIENT - i, BACKEND + i);
  const { index } = world.memory.table;
  const find = (entry: number) => {
    const frame = segment();
    new DataView(frame.buffer).setInt32(26, world.table.src(entry, SIDE_A));
    repairHeader(frame, new DataView(frame.buffer), 34);
    return world.run(frame).result === REDIRECTED;
  };
  const entries = Array.from({ length: 500 }, (_, i) => 8 * i + 2);
  assert.ok(entries.every(find));
  // With a table that is full of others, an entry is as good as beyond them.
  index.fill(1);
  assert.ok(!find(2));
});

Deno.test("fast path never mixes two connections, at whatever instruction an entry is reused", () => {
  const { steps, frame: expected } = new Fixture().run(segment());
  let left = 0;
  for (let step = 1; step <= steps; step++) {
    // The next connection has the same client, and is found all the same; or it has another one.
    for (const client of [CLIENT, CLIENT - 1]) {
      const world = new Fixture();
      let count = 0;
      world.onStep = () => {
        if (++count === step) reuse(world, client);
      };
      const { result, frame } = world.run(segment());
      if (result === LEFT) left++;
      else if (frame[33] === 1) assert.equal(frame.toHex(), expected.toHex(), `at ${step}`);
      else assert.ok(client === CLIENT && isOfNext(frame), `at ${step}`);
    }
  }
  assert.ok(left > 50, `${left} left`);
});

/** The entry is removed and serves for a connection to another backend. */
function reuse(world: Fixture, client: number): void {
  const { entry, memory, table } = world;
  memory.demote(entry);
  table.remove(entry);
  memory.setNeighbor(2, parseMac("02:00:00:00:00:02"));
  assert.equal(world.open(6, client, parseAddress("10.0.0.2")), entry);
  const next = { ...FROM_A, neighbor: 2, counter: 1, newTtl: 9 };
  assert.ok(memory.promote(entry, next, { ...FROM_B, counter: 1 }));
}

function isOfNext(frame: Uint8Array): boolean {
  const { dst, ttl, dstMac } = readTcp(frame);
  return dst === "10.0.0.2" && ttl === 9 && dstMac === "02:00:00:00:00:02";
}

Deno.test("fast path and another processor raise END to the higher, at whatever instruction", () => {
  const { steps } = new Fixture().run(segment());
  for (let step = 1; step <= steps; step++) {
    for (const theirs of [SEQ + 50, SEQ + 5000]) {
      const world = new Fixture();
      let count = 0;
      world.onStep = () => {
        if (++count !== step || world.end(SIDE_A) >= theirs) return;
        world.table.setData(world.entry, END, theirs);
      };
      assert.equal(world.run(segment()).result, REDIRECTED);
      assert.equal(world.end(SIDE_A), Math.max(SEQ + 100, theirs), `at ${step}`);
    }
  }
});

function counted({ memory }: Fixture, counter: number): number[] {
  return [memory.packets(counter), memory.bytes(counter)];
}

function macs(...all: Mac[]): string[] {
  return all.map(({ hi, lo }) =>
    (hi.toString(16).padStart(4, "0") + (lo >>> 0).toString(16).padStart(8, "0"))
      .match(/../g)!.join(":")
  );
}

function changed(frame: Uint8Array, at: number): Uint8Array {
  frame[at]! ^= 1;
  return frame;
}
