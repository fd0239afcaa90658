/**
 * The fast path's program with IPv6: as `program_test.ts`, what it forwards, what it leaves to the
 * proxy, and that it never mixes two connections.
 */
import assert from "node:assert/strict";
import { BpfKernel } from "../../src/bpf/kernel.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { layoutOf } from "../../src/fastpath/layout.ts";
import { fastPathOf, LEFT, MEMORY } from "../../src/fastpath/program.ts";
import { SharedMemory, type Way } from "../../src/fastpath/shared_memory.ts";
import { buildShim } from "../../src/pack/compile_c.ts";
import { UDP_ANSWERED, UDP_ONGOING } from "../../src/flow/lifetimes.ts";
import { FlowTable, SIDE_A, SIDE_B } from "../../src/flow/table.ts";
import * as tcpState from "../../src/flow/tcp_state.ts";
import { ACK, END, MAX_END, MAX_WIN, WORDS_PER_SIDE } from "../../src/flow/tcp_window.ts";
import { WHOLE_WORDS } from "../../src/flow/whole_addresses.ts";
import { parseAddress, parseMac } from "../../src/wire/address.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";
import { PROTOCOL_TCP, PROTOCOL_UDP } from "../../src/wire/ipv4.ts";
import { OVER_IPV6 } from "../../src/wire/pdu.ts";
import { Machine, type SocketBuffer } from "../support/bpf.ts";
import { whyNoBpf } from "../support/bpf_kernel.ts";
import { buildTcp, readTcp, type Tcp } from "../support/frames.ts";
import {
  address6Words,
  buildIcmp6,
  buildTcp6,
  buildUdp6,
  readTcp6,
  readUdp6,
  type Tcp6,
} from "../support/frames6.ts";

const CLIENT = "2001:db8::fe";
const PROXY = "2001:db8::64";
const PROXY_B = "2001:db8:b::64";
const BACKEND = "2001:db8:b::1";
const PROXY_MAC = "02:00:00:00:01:00";
const PROXY_B_MAC = "02:00:00:00:02:00";
const BACKEND_MAC = "02:00:00:00:00:01";
const CLIENT_MAC = "02:00:00:00:00:fe";
const [CLIENT_PORT, SERVICE, OWN_PORT] = [40_000, 2000, 1024];
const [IFINDEX_A, IFINDEX_B] = [11, 12];
const DESCRIPTOR = 3;
const NOW_MS = 5000;
const REDIRECTED = 7;
const SIZES = { connections: 64, neighbors: 4, counters: 4, processors: 2, isIpv6On: true };
const TO_BACKEND = 0;
const TO_CLIENT = 1;
const TCP6 = PROTOCOL_TCP | OVER_IPV6;
const UDP6 = PROTOCOL_UDP | OVER_IPV6;

/** What side A sends next, and what it has acknowledged. */
const [SEQ, ACKED] = [1001, 5001];

const FROM_A: Way = { neighbor: TO_BACKEND, counter: 2, fromLink: 0, toLink: 1, newTtl: 0 };
const FROM_B: Way = { ...FROM_A, neighbor: TO_CLIENT, counter: 3, fromLink: 1, toLink: 0 };

/** Two links, and connections of TCP and UDP over them, which are promoted. */
class Fixture {
  readonly buffer: ArrayBuffer;
  readonly memory: SharedMemory;
  readonly table: FlowTable;
  readonly entry: number;
  readonly udpEntry: number;
  onStep: () => void = () => {};
  readonly #digest: AddressDigest;

  constructor(digest = new AddressDigest(new SeededRandom(6))) {
    const layout = layoutOf(SIZES);
    this.#digest = digest;
    this.buffer = new ArrayBuffer(layout.bytes);
    this.memory = new SharedMemory(layout, this.buffer);
    this.memory.setDigest(digest);
    this.table = new FlowTable(SIZES.connections, new SeededRandom(1), this.memory.table);
    this.memory.setLink(0, { mac: parseMac(PROXY_MAC), ifindex: IFINDEX_A, mtu: 1500 });
    this.memory.setLink(1, { mac: parseMac(PROXY_B_MAC), ifindex: IFINDEX_B, mtu: 1400 });
    this.memory.setNeighbor(TO_BACKEND, parseMac(BACKEND_MAC));
    this.memory.setNeighbor(TO_CLIENT, parseMac(CLIENT_MAC));
    this.entry = this.open(TCP6, CLIENT, BACKEND);
    this.udpEntry = this.open(UDP6, CLIENT, BACKEND);
  }

  key(address: string): number {
    return this.#digest.ofWords(address6Words(address), 0);
  }

  open(protocol: number, client: string, backend: string, fromA = FROM_A): number {
    const { table } = this;
    const addresses = [client, PROXY, backend, PROXY_B];
    const [aSrc, aDst, bSrc, bDst] = addresses.map((address) => this.key(address));
    const aPorts = (CLIENT_PORT << 16) | SERVICE;
    const bPorts = (SERVICE << 16) | OWN_PORT;
    const entry = table.insert(protocol, aSrc!, aDst!, aPorts, bSrc!, bDst!, bPorts);
    table.setState(entry, protocol === TCP6 ? tcpState.ESTABLISHED : UDP_ONGOING);
    for (const [side, sent, acked] of [[0, SEQ, ACKED], [1, ACKED, SEQ]] as const) {
      const words = { [END]: sent, [MAX_END]: sent + 60_000, [MAX_WIN]: 60_000, [ACK]: acked };
      for (const [word, value] of Object.entries(words)) {
        table.setData(entry, side * WORDS_PER_SIDE + Number(word), value);
      }
    }
    const whole = addresses.flatMap((address) => [...address6Words(address)]);
    this.memory.table.whole!.set(whole, WHOLE_WORDS * entry);
    assert.ok(this.memory.promote(entry, fromA, FROM_B));
    return entry;
  }

  /** Runs the program of a link on the frame, which it may change. */
  run(frame: Uint8Array, more: Partial<SocketBuffer> = {}, link = 0) {
    const machine = new Machine({
      code: fastPathOf(this.memory.layout, link).assemble({ [MEMORY]: DESCRIPTOR }),
      maps: new Map([[DESCRIPTOR, new Uint8Array(this.buffer)]]),
      processor: 1,
      nowNs: () => BigInt(NOW_MS) * 1_000_000n,
      onStep: () => this.onStep(),
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

function segment(fields: Partial<Tcp6> = {}): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(100).fill(7);
  return buildTcp6({ flags: "PA", seq: SEQ, ack: ACKED, window: 500, payload, ...fields });
}

const ANSWER: Partial<Tcp6> = {
  dstMac: PROXY_B_MAC,
  srcMac: BACKEND_MAC,
  src: BACKEND,
  dst: PROXY_B,
  srcPort: SERVICE,
  dstPort: OWN_PORT,
  seq: ACKED,
  ack: SEQ,
};

Deno.test("fast path forwards a segment of IPv6 each way, and counts it", () => {
  const world = new Fixture();
  const there = world.run(segment({ trafficClass: 0xb9, flowLabel: 0x12345, hopLimit: 9 }));
  assert.equal(there.result, REDIRECTED);
  assert.deepEqual(there.redirect, { ifindex: IFINDEX_B, flags: 1 });
  assert.partialDeepStrictEqual(readTcp6(there.frame), {
    src: PROXY_B,
    dst: BACKEND,
    srcPort: OWN_PORT,
    dstPort: SERVICE,
    hopLimit: 8,
    trafficClass: 0xb9,
    flowLabel: 0x12345,
    srcMac: PROXY_B_MAC,
    dstMac: BACKEND_MAC,
    seq: SEQ,
    payload: new Uint8Array(100).fill(7),
  });
  assert.equal(world.end(SIDE_A), SEQ + 100);
  assert.equal(world.memory.usedMs(TO_BACKEND), NOW_MS);
  const back = world.run(segment({ ...ANSWER, ack: SEQ + 100 }), {}, 1);
  assert.deepEqual(back.redirect, { ifindex: IFINDEX_A, flags: 1 });
  const answer = { src: PROXY, dst: CLIENT, srcPort: SERVICE, dstPort: CLIENT_PORT, hopLimit: 63 };
  assert.partialDeepStrictEqual(readTcp6(back.frame), answer);
  assert.equal(world.end(SIDE_B), ACKED + 100);
  const { memory } = world;
  assert.deepEqual([memory.packets(2), memory.bytes(2)], [1, 160]);
  assert.deepEqual([memory.packets(3), memory.bytes(3)], [1, 160]);
});

Deno.test("fast path forwards datagrams over IPv6", () => {
  const world = new Fixture();
  for (const length of [0, 1, 1000]) {
    const { result, frame } = world.run(buildUdp6({ payload: new Uint8Array(length) }));
    assert.equal(result, REDIRECTED);
    assert.partialDeepStrictEqual(readUdp6(frame), { src: PROXY_B, dst: BACKEND, dstPort: 2000 });
  }
  assert.equal(world.memory.askedMs(TO_BACKEND), NOW_MS);
});

Deno.test("fast path with IPv6 on forwards IPv4 as before", () => {
  const world = new Fixture();
  const { table, memory } = world;
  const [client, proxy, backend, proxyB] = [
    "192.168.0.254",
    "192.168.0.100",
    "10.0.0.1",
    "10.0.0.9",
  ]
    .map(parseAddress);
  const aPorts = (CLIENT_PORT << 16) | SERVICE;
  const bPorts = (SERVICE << 16) | OWN_PORT;
  const entry = table.insert(6, client!, proxy!, aPorts, backend!, proxyB!, bPorts);
  memory.table.entries.copyWithin(16 * entry + 8, 16 * world.entry + 8, 16 * world.entry + 16);
  table.setState(entry, tcpState.ESTABLISHED);
  assert.ok(memory.promote(entry, FROM_A, FROM_B));
  const fields: Partial<Tcp> = { flags: "PA", seq: SEQ, ack: ACKED, window: 500 };
  const { result, frame } = world.run(buildTcp(fields));
  assert.equal(result, REDIRECTED);
  assert.partialDeepStrictEqual(readTcp(frame), { src: "10.0.0.9", dst: "10.0.0.1", ttl: 63 });
});

Deno.test("fast path looks at the MTU of the way out over IPv6, by segment where it is cut up", () => {
  const world = new Fixture();
  const longest = segment({ payload: new Uint8Array(1400 - 60) });
  const long = segment({ payload: new Uint8Array(1400 - 59) });
  assert.equal(world.run(longest).result, REDIRECTED);
  assert.equal(world.run(long).result, LEFT);
  assert.equal(world.run(long, { gsoSize: 1340, isPartial: true }).result, REDIRECTED);
  assert.equal(world.run(long, { gsoSize: 1341, isPartial: true }).result, LEFT);
});

/** What the program leaves, and how it comes about; nothing else is different. */
const LEAVES: Readonly<Record<string, (world: Fixture) => [Uint8Array, Partial<SocketBuffer>?]>> = {
  "a frame with a VLAN tag": () => [segment(), { vlanPresent: 1 }],
  "headers that are not in one piece": () => [segment(), { linearBytes: 73 }],
  "a UDP header that is not":
    () => [buildUdp6({ payload: new Uint8Array(9) }), { linearBytes: 61 }],
  "a frame to another station": () => [segment({ dstMac: "02:00:00:00:01:01" })],
  "a frame to a group": () => [segment({ dstMac: "33:33:00:00:00:01" })],
  "a frame from ourselves": () => [segment({ srcMac: PROXY_MAC })],
  "another version": () => [segment().with(14, 0x45)],
  "extension headers": () => [segment({ headers: [[60, [0, 0, 1, 4, 0, 0, 0, 0]]] })],
  "a fragment": () => [segment({ headers: [[44, [0, 0, 0, 1, 0, 0, 0, 1]]] })],
  "ICMPv6": () => [buildIcmp6()],
  "a packet that is cut off": () => [segment().subarray(0, -1)],
  "hop limit 1": () => [segment({ hopLimit: 1 })],
  "hop limit 0": () => [segment({ hopLimit: 0 })],
  "a SYN": () => [segment({ flags: "S" })],
  "a FIN": () => [segment({ flags: "FA" })],
  "an RST": () => [segment({ flags: "RA" })],
  "no ACK": () => [segment({ flags: "P" })],
  "what is beyond the window": () => [segment({ seq: SEQ + 60_001 })],
  "an ACK of what was not sent": () => [segment({ ack: ACKED + 1 })],
  "a datagram without a checksum": () => [buildUdp6().with(60, 0).with(61, 0)],
  "a datagram with a segment size": () => [buildUdp6(), { gsoSize: 500 }],
  "segments of several sizes": () => [segment(), { gsoSize: 0xffff, isPartial: true }],
  "other ports": () => [segment({ srcPort: CLIENT_PORT + 1 })],
  "another source": () => [segment({ src: "2001:db8::fd" })],
  "another destination": () => [segment({ dst: "2001:db8::65" })],
  "a connection that is not promoted": (world) => {
    world.memory.demote(world.entry); // another one has its ports
    return [segment()];
  },
  "another state": (world) => {
    world.table.setState(world.entry, tcpState.FIN_A);
    return [segment()];
  },
  "a UDP connection that may be over": (world) => {
    world.table.setState(world.udpEntry, UDP_ANSWERED);
    return [buildUdp6()];
  },
  "what comes in on the wrong side": (world) => {
    assert.ok(world.memory.promote(world.entry, { ...FROM_A, fromLink: 1 }, FROM_B));
    return [segment()];
  },
  "what comes in where addresses of IPv6 are not used yet": (world) => {
    const settings = { mac: parseMac(PROXY_MAC), ifindex: IFINDEX_A, mtu: 1500 };
    world.memory.setLink(0, { ...settings, takesIpv6: false });
    return [segment()];
  },
  "what is longer than packets of IPv6 may be": (world) => {
    const settings = { mac: parseMac(PROXY_B_MAC), ifindex: IFINDEX_B, mtu: 1400 };
    world.memory.setLink(1, { ...settings, mtu6: 159 });
    return [segment()];
  },
  "what goes to an unknown neighbour": (world) => {
    world.memory.setNeighbor(TO_BACKEND, null);
    return [segment()];
  },
};

for (const [name, prepare] of Object.entries(LEAVES)) {
  Deno.test(`fast path leaves, over IPv6, ${name}`, () => {
    const world = new Fixture();
    const [frame, more] = prepare(world);
    const before = new Uint8Array(world.buffer).toHex();
    const outcome = world.run(frame, more);
    assert.equal(outcome.result, LEFT);
    assert.equal(outcome.frame.toHex(), frame.toHex());
    assert.equal(new Uint8Array(world.buffer).toHex(), before);
  });
}

Deno.test("fast path leaves a packet whose addresses have the connection's digests, in any word", () => {
  const words = Array.from({ length: 16 }, () => 0);
  const none = { uint32: () => words.shift() ?? 0 } as unknown as SeededRandom;
  const world = new Fixture(new AddressDigest(none)); // every digest is 0
  assert.equal(world.run(segment()).result, REDIRECTED);
  for (let group = 0; group < 8; group++) {
    for (const field of ["src", "dst"] as const) {
      const groups = ["2001", "db8", "0", "0", "0", "0", "0", field === "src" ? "fe" : "64"];
      groups[group] = "77";
      const frame = segment({ [field]: groups.join(":") });
      assert.equal(world.run(frame).result, LEFT, `${field}, ${group}`);
    }
  }
  assert.equal(world.run(segment()).result, REDIRECTED);
});

Deno.test({
  name: "fast path over IPv6 is the same in the kernel",
  ignore: whyNoBpf() !== undefined,
}, () => {
  const { layout } = new Fixture().memory;
  const kernel = new BpfKernel(buildShim());
  const { fd, buffer } = kernel.share("twin6", layout.bytes);
  const programs = [0, 1].map((link) =>
    kernel.load("twin6", fastPathOf(layout, link).assemble({ [MEMORY]: fd }))
  );
  const given: [frame: Uint8Array, link: number][] = [
    ...[0, 1, 37, 1340].map((length): [Uint8Array, number] => [
      segment({ payload: Uint8Array.from({ length }, (_, i) => 37 * i) }),
      0,
    ]),
    [segment(ANSWER), 1],
    [segment({ ...ANSWER, hopLimit: 2, trafficClass: 0xff, flowLabel: 0xfffff }), 1],
    [buildUdp6({ payload: [1, 2, 3] }), 0],
    [buildUdp6({ payload: new Uint8Array(1000).fill(0xff) }), 0],
    ...Object.entries(LEAVES).filter(([name]) => !/VLAN|one piece|segment size|sizes/.test(name))
      .map(([, prepare]): [Uint8Array, number] => [prepare(new Fixture())[0], 0]),
  ];
  let forwarded = 0;
  for (const [frame, link] of given) {
    const world = new Fixture();
    new Uint8Array(buffer).set(new Uint8Array(world.buffer));
    const outcome = kernel.run(programs[link]!, { frame, ifindex: 1, gsoSize: 0, mark: 7 });
    const { result, frame: expected } = world.run(frame, {}, link);
    assert.equal(outcome.result, result, frame.toHex());
    assert.equal(outcome.frame.toHex(), expected.toHex());
    if (result === REDIRECTED) forwarded++;
  }
  assert.ok(forwarded >= 8, `${forwarded}`);
  for (const open of [...programs, fd]) kernel.close(open);
});

Deno.test("fast path never mixes two connections of IPv6, at whatever instruction an entry is reused", () => {
  const { steps, frame: expected } = new Fixture().run(segment());
  let left = 0;
  for (let step = 1; step <= steps; step++) {
    for (const client of [CLIENT, "2001:db8::fd"]) {
      const world = new Fixture();
      let count = 0;
      world.onStep = () => {
        if (++count === step) reuse(world, client);
      };
      const { result, frame } = world.run(segment());
      if (result === LEFT) left++;
      else if (frame[53] === 1) assert.equal(frame.toHex(), expected.toHex(), `at ${step}`);
      else assert.ok(client === CLIENT && isOfNext(frame), `at ${step}`);
    }
  }
  assert.ok(left > 50, `${left} left`);
});

/** The entry is removed and serves for a connection to another backend. */
function reuse(world: Fixture, client: string): void {
  const { entry, memory, table } = world;
  memory.demote(entry);
  table.remove(entry);
  memory.setNeighbor(2, parseMac("02:00:00:00:00:02"));
  const next = { ...FROM_A, neighbor: 2, counter: 1, newTtl: 9 };
  assert.equal(world.open(TCP6, client, "2001:db8:b::2", next), entry);
}

function isOfNext(frame: Uint8Array): boolean {
  const { dst, hopLimit, dstMac } = readTcp6(frame);
  return dst === "2001:db8:b::2" && hopLimit === 9 && dstMac === "02:00:00:00:00:02";
}
