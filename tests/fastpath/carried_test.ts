/**
 * A world whose connections the kernel carries against one whose kernel leaves it each packet: the
 * same frames come out, and the same is counted, whatever happens meanwhile. The kernel here is the
 * interpreter.
 */
import assert from "node:assert/strict";
import { BURST_FRAMES } from "../../src/core/arena.ts";
import { below, SeededRandom } from "../../src/core/random.ts";
import { Reason } from "../../src/core/reason.ts";
import { finish } from "../../src/core/slices.ts";
import type { SharedMemory } from "../../src/fastpath/shared_memory.ts";
import { interestIn } from "../../src/datapath/interest.ts";
import { Count } from "../../src/datapath/metrics.ts";
import { ESTABLISHED, FIN_A, RESET_A } from "../../src/flow/tcp_state.ts";
import type { Observer } from "../../src/datapath/observer.ts";
import * as build from "../../src/policy/language/build.ts";
import type { Policy, Tree } from "../../src/policy/language/ast.ts";
import { OVER_IPV6 } from "../../src/wire/pdu.ts";
import { parsePredicate } from "../../src/policy/notation/parse_one_predicate.ts";
import { repairTransport } from "../fuzz/fuzzer.ts";
import { IPV4, IPV6 } from "../support/families.ts";
import { buildTcp, readArp, readTcp } from "../support/frames.ts";
import {
  buildRouterAdvertisement,
  buildTcp6,
  readTcp6,
  type Router6,
  type Tcp6,
} from "../support/frames6.ts";
import { readVnet } from "../support/nic.ts";
import { PlainTraffic, repairTransport6 } from "../support/plain_traffic.ts";
import {
  BACKENDS,
  CLIENT,
  CLIENT6,
  from,
  fromB,
  isArp,
  neighborsOf,
  packetsOf,
  World,
  type WorldOptions,
} from "../support/world.ts";
import { Kernel } from "./kernel.ts";
import { placeOf } from "./kernel_frame.ts";
import { Datagrams } from "./twin_traffic.ts";

const MAX_CONNECTIONS = 256;

const { forward, translateAToB } = build;

/** A frame that came out: where, and what is left to the interface there. */
interface Sent {
  readonly bytes: string;
  readonly link: number;
  readonly isPartial: boolean;
  readonly gsoSize: number;
}

/** A world, and the kernel in front of it. */
class Subject {
  readonly world: World;
  readonly memory: SharedMemory;
  carried = 0;
  /** Hosts answer at once who asks where they are. */
  answersQuestions = false;
  readonly #kernel: Kernel;
  readonly #carries: boolean;

  /** `carries`: as the kernel does; else it leaves all of it to the proxy. */
  constructor(options: WorldOptions, carries: boolean, leastPackets = 0) {
    this.#carries = carries;
    this.#kernel = new Kernel({
      connections: MAX_CONNECTIONS,
      isIpv6On: options.ipv6 ?? false,
      nowMs: () => this.world.clock.nowMs(),
    });
    this.memory = this.#kernel.memory;
    const fastPath = this.#kernel.fastPath(leastPackets);
    this.world = World.settled({ ...options, maxConn: MAX_CONNECTIONS, fastPath });
  }

  /** Whether the kernel may carry the frame. */
  mayCarry(frame: Uint8Array): boolean {
    const place = placeOf(frame);
    if (place === null) return false;
    const view = viewOf(frame);
    const { connections: { table }, digest } = this.world.appliance;
    const { isIpv6, l4, protocol } = place;
    const ports = view.getInt32(l4);
    const reference = isIpv6
      ? table.find6(
        protocol | OVER_IPV6,
        digest!.ofPacket(view, 22),
        digest!.ofPacket(view, 38),
        ports,
        Int32Array.from({ length: 8 }, (_, i) => view.getInt32(22 + 4 * i)),
      )
      : table.find(protocol, view.getInt32(26), view.getInt32(30), ports);
    return reference >= 0 && this.memory.isPromoted(reference >>> 1);
  }

  deliver(bytes: Uint8Array, vnet: Uint8Array | null, device: number): Sent[] {
    const { appliance, devices } = this.world;
    const link = device % devices.length;
    if (!appliance.links[link]!.isUp) return [];
    const carried = this.#carry(bytes, vnet, link);
    if (carried !== null) return [carried, ...this.#sent()];
    const frame = Uint8Array.from(bytes);
    if (vnet !== null) devices[link]!.vnet.set(frame, vnet);
    devices[link]!.inbox.push(frame);
    return this.#sent();
  }

  /** What the appliance sends, but to neighbours. */
  #sent(): Sent[] {
    const frames = this.#answered(this.world.poll());
    return packetsOf(frames).map((frame) => {
      const vnet = this.world.vnetOf(frame);
      const { flags, gsoType, gsoSize } = readVnet(vnet ?? new Uint8Array(10));
      return {
        bytes: frame.toHex(),
        link: frame[10]! - 1,
        isPartial: flags === 1,
        gsoSize: gsoType === 0 ? 0 : gsoSize,
      };
    });
  }

  /** With what answers have had sent. */
  #answered(frames: Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer>[] {
    for (const frame of frames) { // answers may have more of them sent
      if (this.answersQuestions) frames.push(...this.#answer(frame));
    }
    return frames;
  }

  advance(ms: number): void {
    this.#answered(this.world.advance(ms));
  }

  #answer(frame: Uint8Array): Uint8Array<ArrayBuffer>[] {
    const asked = isArp(frame)
      ? [readArp(frame)].filter(({ operation }) => operation === 1)[0]?.targetAddress
      : neighborsOf([frame]).filter(({ type }) => type === 135)[0]?.target;
    const isHere = [...this.world.backends, CLIENT, CLIENT6].includes(asked ?? "");
    return isHere ? this.world.answer(asked!) : [];
  }

  /** What the kernel sends; null: it leaves the frame. */
  #carry(bytes: Uint8Array, vnet: Uint8Array | null, link: number): Sent | null {
    const sent = this.#carries ? this.#kernel.carry(bytes, vnet, link) : null;
    if (sent === null) return null;
    this.carried++;
    const { frame, link: out, isPartial, gsoSize } = sent;
    return { bytes: frame.toHex(), link: out, isPartial, gsoSize };
  }
}

/** Both worlds. */
class Pair {
  readonly carried: Subject;
  readonly plain: Subject;

  constructor(options: WorldOptions) {
    this.carried = new Subject(options, true);
    this.plain = new Subject(options, false);
  }

  answerQuestions(): void {
    this.carried.answersQuestions = this.plain.answersQuestions = true;
  }

  both(act: (world: World) => void): void {
    for (const { world } of [this.carried, this.plain]) act(world);
  }

  /** Gives the frame to both; what comes out, which must be the same. */
  deliver(bytes: Uint8Array, vnet: Uint8Array | null, device: number): Uint8Array<ArrayBuffer>[] {
    const frame = Uint8Array.from(bytes);
    const isPartial = vnet !== null && (vnet[0]! & 1) !== 0;
    // The kernel does not verify the checksum.
    const place = placeOf(frame);
    if (!isPartial && place !== null && this.carried.mayCarry(frame) && place.end <= frame.length) {
      const { isIpv6, l4, end } = place;
      if (isIpv6) repairTransport6(frame, end);
      else if (frame[14] === 0x45) repairTransport(frame, viewOf(frame), l4, end);
    }
    const sent = this.carried.deliver(frame, vnet, device);
    assert.deepEqual(sent, this.plain.deliver(frame, vnet, device), frame.toHex());
    return sent.map(({ bytes }) => Uint8Array.fromHex(bytes));
  }

  /** What both have counted, and the flow table, are the same, once the kernel's is taken. */
  compare(): void {
    const ticked = 200;
    for (const subject of [this.carried, this.plain]) subject.advance(ticked);
    const [a, b] = [this.carried, this.plain].map(({ world: { appliance } }) => {
      const counts = appliance.metrics.counts.slice(0, Count.pdusCarried);
      const { framesIn, framesInB, framesOut, framesOutB, arpIn, neighborIn } = Count;
      const ofFrames = [framesIn, framesInB, framesOut, framesOutB, arpIn, neighborIn];
      for (const count of ofFrames) counts[count] = 0;
      const { decisions, drops } = appliance.metrics;
      const { policy, pools } = appliance.snapshot();
      return { counts, decisions, drops, policy, pools };
    });
    assert.deepEqual(a, b);
    assert.deepEqual(entriesOf(this.carried), entriesOf(this.plain));
    const { counts } = this.carried.world.appliance.metrics;
    assert.equal(counts[Count.pdusCarried], this.carried.carried);
  }
}

/** The entries in use; they may be in another order, as some have rested. */
function entriesOf({ world }: Subject): string[] {
  const { table } = world.appliance.connections;
  return [...table].map((entry) => table.words.slice(16 * entry, 16 * entry + 16).join()).sort();
}

function policyOf(side: Tree, otherSide = build.translateBToA(forward)): Policy {
  return build.policy(
    "drop",
    build.firstMatch([
      [build.not(build.ipSrc.oneOf(build.dstAddrs)), side],
      [build.otherwise, otherSide],
    ]),
  );
}

const CONSTANT = policyOf(translateAToB(forward));
const LIMITED = policyOf(build.limit({ perSecond: 1e6, burst: 1e6 }, translateAToB(forward)));
/** The last of several TTLs counts. */
const WITH_TTLS = policyOf(
  translateAToB(build.setTtl(9, build.setTtl(40, forward))),
  build.translateBToA(build.setTtl(200, forward, { raise: true })),
);
const POLICIES = [CONSTANT, LIMITED, WITH_TTLS];

const NETWORKS: Readonly<Record<string, WorldOptions>> = {
  "on one interface": {},
  "on two": { twoSided: true, mtus: [1500, 1000] },
  "on two, the source preserved": { twoSided: true, preserveSource: true },
};

const NETWORKS6: Readonly<Record<string, WorldOptions>> = {
  "on one interface, over IPv6": { ipv6: true },
  "on two, over IPv6": { ipv6: true, twoSided: true, mtus: [1500, 1300] },
  "on two, the source preserved, over IPv6": { ipv6: true, twoSided: true, preserveSource: true },
};

for (const [network, options] of Object.entries({ ...NETWORKS, ...NETWORKS6 })) {
  Deno.test(`fast path changes nothing that is sent or counted, ${network}`, () => {
    let carried = 0;
    for (let seed = 1; seed <= 8; seed++) {
      const isTwoSided = options.twoSided ?? false;
      const pair = new Pair({ ...options, policy: CONSTANT });
      const random = new SeededRandom(seed);
      const traffic = new PlainTraffic(random, isTwoSided, (...frame) => {
        const stepMs = traffic.below(20);
        pair.both(({ clock }) => clock.advance(stepMs));
        return pair.deliver(...frame);
      }, options.ipv6);
      for (let i = 0; i < 400; i++) {
        if (i % 20 === 0 || traffic.connections < 4) traffic.open();
        if (traffic.connections > 0) traffic.exchange();
        if (isTwoSided && below(random, 300) === 0) {
          pair.both(({ appliance }) => appliance.linkDown(1));
        }
        if (isTwoSided && below(random, 60) === 0) {
          pair.both(({ appliance }) => appliance.linkUp(1));
        }
        if (below(random, 100) === 0) {
          const policy = POLICIES[below(random, POLICIES.length)]!;
          pair.both(({ appliance }) => finish(appliance.prepare({ policy }))());
        }
        if (below(random, 100) === 0) pair.compare();
      }
      pair.both(({ appliance }) => isTwoSided && appliance.linkUp(1));
      pair.compare();
      carried += pair.carried.carried;
    }
    // While addresses of IPv6 are on trial, whenever a link has come up, none is carried.
    assert.ok(carried > (options.ipv6 ? 50 : 100), `${carried} carried`);
  });
}

for (const [network, options] of Object.entries({ ...NETWORKS, ...NETWORKS6 })) {
  Deno.test(`fast path changes nothing of datagrams, ${network}`, () => {
    // One that owes an answer to a datagram is noticed up to a second later: who is there is not
    // found out by asking, but said below.
    const pair = new Pair({ ...options, policy: WITH_TTLS, check: "off" });
    pair.answerQuestions();
    const random = new SeededRandom(3);
    const datagrams = new Datagrams(random, options.twoSided ?? false, (...frame) => {
      const stepMs = datagrams.below(20);
      pair.both(({ clock }) => clock.advance(stepMs));
      return pair.deliver(...frame);
    }, options.ipv6 ? IPV6 : IPV4);
    for (let i = 0; i < 600; i++) {
      if (i % 50 === 0) datagrams.open();
      datagrams.exchange();
      if (below(random, 20) === 0) {
        const [which, status] = [below(random, 2), below(random, 2) === 0 ? "up" : "down"] as const;
        pair.both(({ appliance: { backends } }) =>
          backends.setStatus(backends.pools[0]!.members[which]!, status)
        );
      }
      if (datagrams.below(60) === 0) pair.compare();
    }
    pair.compare();
    assert.ok(pair.carried.carried > 100, `${pair.carried.carried} carried`);
  });
}

// One connection

const PER_CONNECTION = { per: "connection" } as const;

const SEES_ALL: Observer = {
  plain: () => "all",
  kept: () => "all",
  seesDrops: false,
  wants: () => true,
  received: () => {},
  takes: () => true,
  decided: () => {},
  skipped: () => {},
  refused: () => {},
  tick: () => {},
};

/** An open connection from the client to a backend, in a world with a kernel. */
class Open {
  readonly subject: Subject;
  #from: Parameters<typeof buildTcp>[0] = {};
  #backend = "";
  #port = 0;
  seq = 1001;

  constructor(options: WorldOptions = {}, leastPackets = 0) {
    this.subject = new Subject({ policy: CONSTANT, ...options }, true, leastPackets);
    this.open();
  }

  /** Another one. */
  open(from: Parameters<typeof buildTcp>[0] = {}): void {
    this.#from = from;
    const [syn] = this.send({ flags: "S", seq: 1000 });
    const { dst, srcPort } = readTcp(syn!);
    this.#backend = dst;
    this.#port = srcPort;
    this.answer({ flags: "SA", seq: 5000, ack: 1001 });
    this.send({ ack: 5001 });
  }

  /** Another one, which has the entry that this one had. */
  openInItsEntry(from: Parameters<typeof buildTcp>[0]): void {
    const { connections } = this.subject.world.appliance;
    const [entry] = [...connections.table];
    connections.remove(entry!);
    this.open(from);
    assert.deepEqual([...connections.table], [entry]);
  }

  /** A segment from each end. */
  exchange(): void {
    this.send();
    this.answer();
  }

  get memory(): SharedMemory {
    return this.subject.memory;
  }

  get backend(): string {
    return this.#backend;
  }

  get isPromoted(): boolean {
    const { table } = this.subject.world.appliance.connections;
    return [...table].some((entry) => this.memory.isPromoted(entry));
  }

  send(fields: Parameters<typeof buildTcp>[0] = {}): Uint8Array<ArrayBuffer>[] {
    return this.#deliver(this.#sent(fields));
  }

  answer(fields: Parameters<typeof buildTcp>[0] = {}): Uint8Array<ArrayBuffer>[] {
    return this.#deliver(this.#answered(fields));
  }

  /** Segments of a frame each that the proxy gets as if they had waited for it. */
  late(...fields: Parameters<typeof buildTcp>[0][]): string[] {
    const { world, world: { device } } = this.subject;
    device.inbox.push(...fields.map((one) => this.#sent(one)));
    return packetsOf(world.poll()).map((frame) => readTcp(frame).flags);
  }

  /** The backend sends so many bytes, which the client acknowledges. */
  stream(bytes: number): void {
    const { carried } = this.subject;
    let sent = 0;
    for (; sent < bytes; sent += 1000) {
      this.send({ ack: 5001 + sent });
      this.answer({ seq: 5001 + sent, payload: new Uint8Array(1000) });
    }
    assert.equal(this.subject.carried - carried, 2 * sent / 1000);
  }

  /** What `exchange` sends. */
  segments(): Uint8Array<ArrayBuffer>[] {
    return [this.#sent({}), this.#answered({})];
  }

  #sent(fields: Parameters<typeof buildTcp>[0]): Uint8Array<ArrayBuffer> {
    const defaults = { ...from(CLIENT), flags: "A", seq: this.seq, ack: 5001, ...this.#from };
    return buildTcp({ ...defaults, ...fields });
  }

  #answered(fields: Parameters<typeof buildTcp>[0]): Uint8Array<ArrayBuffer> {
    const to = { ...from(this.#backend), srcPort: 2000, dstPort: this.#port };
    return buildTcp({ ...to, flags: "A", seq: 5001, ack: this.seq, ...fields });
  }

  #deliver(frame: Uint8Array): Uint8Array<ArrayBuffer>[] {
    return this.subject.deliver(frame, null, 0).map(({ bytes }) => Uint8Array.fromHex(bytes));
  }

  /** Whether the next segment is the kernel's. */
  isCarried(): boolean {
    const { carried } = this.subject;
    this.send();
    return this.subject.carried > carried;
  }
}

Deno.test("Promotions: once the proxy has forwarded a plain segment from each end, all are carried", () => {
  const open = new Open();
  for (let i = 0; i < 3; i++) assert.equal(open.isCarried(), false);
  const { carried } = open.subject;
  assert.equal(open.answer().length, 1);
  assert.equal(open.subject.carried, carried, "the first answer is the proxy's");
  assert.equal(open.isCarried(), true);
  open.answer();
  assert.equal(open.subject.carried, carried + 2);
});

Deno.test("Promotions: the handshake's last ACK is a plain segment, too", () => {
  const open = new Open();
  assert.equal(open.isPromoted, false);
  open.answer();
  assert.equal(open.isPromoted, true);
});

Deno.test("Promotions: where frames always wait, a connection is carried after a tenth of a second", () => {
  const open = new Open();
  const { world, world: { appliance, clock, device } } = open.subject;
  const overload = (ms: number) => {
    const wasPromoted = [];
    for (let left = ms; left > 0; left -= 5) {
      while (device.inbox.length <= BURST_FRAMES) device.inbox.push(...open.segments());
      appliance.poll(0);
      wasPromoted.push(open.isPromoted);
      clock.advance(5);
    }
    return wasPromoted;
  };
  assert.ok(overload(100).every((isPromoted) => !isPromoted), "what waits would be overtaken");
  assert.ok(overload(10).every((isPromoted) => isPromoted), "it would wait forever");
  world.poll();
  const { counts, drops } = appliance.metrics;
  assert.equal(counts[Count.pdusIn], counts[Count.pdusOut]);
  assert.ok(drops.every((count) => count === 0));
});

Deno.test("Promotions: a short connection is the proxy's to its end, and so is the next one of its entry", () => {
  const open = new Open({}, 5); // of which the handshake's ACK is one
  open.exchange();
  open.exchange();
  assert.equal(open.isPromoted, false);
  open.openInItsEntry({ srcPort: 50_000 });
  open.exchange();
  open.exchange();
  assert.equal(open.isPromoted, false, "five have come");
  open.send();
  assert.equal(open.isPromoted, false, "and one that shows where they go");
  open.answer();
  assert.equal(open.isPromoted, true);
});

Deno.test("Promotions: a connection is carried where its answer to a length is sure", () => {
  const isLong = build.ipLength.range(1401, 65_535);
  const kept = build.firstMatch([
    [build.and(build.tcpDport.eq(2000), isLong), build.drop],
    [build.otherwise, translateAToB(forward)],
  ]);
  const constant = build.firstMatch([
    [build.and(build.tcpDport.eq(2001), isLong), build.drop],
    [build.otherwise, translateAToB(forward)],
  ]);
  for (const [tree, isSure] of [[kept, false], [constant, true]] as const) {
    const open = new Open({ policy: policyOf(tree) });
    open.exchange();
    assert.equal(open.isCarried(), isSure);
  }
});

Deno.test("Promotions: what a balancer has chosen since for a connection is where it is counted", () => {
  const open = new Open();
  open.exchange();
  assert.equal(open.isPromoted, true);
  const { world, world: { appliance } } = open.subject;
  const to = translateAToB(forward);
  finish(appliance.prepare({ policy: policyOf(build.atRandom([to, to], PER_CONNECTION)) }))();
  assert.equal(open.isPromoted, false);
  open.exchange();
  for (let i = 0; i < 8; i++) assert.equal(open.isCarried(), true);
  world.advance(200);
  const branches = appliance.snapshot().policy.lines.filter(({ text }) => text.startsWith("|"));
  assert.deepEqual(branches.map(({ pdus }) => pdus).sort(), [0, 9]);
});

Deno.test("Promotions: what was known of an end counts for no other connection of the same entry", () => {
  const open = new Open({
    policy: policyOf(build.firstMatch([
      [build.tcpSport.eq(50_000), build.limit({ perSecond: 9, burst: 9 }, translateAToB(forward))],
      [build.otherwise, translateAToB(forward)],
    ])),
  });
  open.send();
  open.openInItsEntry({ srcPort: 50_000 });
  open.exchange();
  assert.equal(open.isCarried(), false);
});

Deno.test("Promotions: nor does it when the numbers of epochs begin again", () => {
  const open = new Open();
  open.exchange();
  const { appliance } = open.subject.world;
  finish(appliance.prepare({ policy: LIMITED }))();
  while (open.memory.epoch !== 1) {
    appliance.watch(SEES_ALL);
    appliance.unwatch(SEES_ALL);
  }
  open.exchange();
  assert.equal(open.isCarried(), false);
});

/** Wants what its predicate may hold for. */
function interested(open: Open, text: string): Observer {
  const { appliance } = open.subject.world;
  const interest = interestIn(parsePredicate(text, appliance.policy, {}), appliance);
  return { ...SEES_ALL, plain: () => interest.holds, kept: () => interest.mayHoldLater };
}

Deno.test("Promotions: connections that an observer wants to see come to the proxy, and no others", () => {
  for (
    const [text, isCarried] of [
      ["tcp.dport = 2000", false],
      ["tcp.sport = 2000 and from side b", false],
      ["tcp.dport = 2000 and tcp.flags psh", false],
      ["tcp.dport = 2001", true],
      ["udp", true],
      ["tcp.flags syn", true],
    ] as const
  ) {
    const open = new Open();
    open.exchange();
    assert.equal(open.isPromoted, true);
    const observer = interested(open, text);
    const { appliance } = open.subject.world;
    appliance.watch(observer);
    open.exchange();
    assert.equal(open.isCarried(), isCarried, text);
    appliance.unwatch(observer);
    open.exchange();
    assert.equal(open.isCarried(), true, `after ${text}`);
  }
});

Deno.test("Promotions: a FIN, RST or SYN ends it, and the proxy has what comes next", () => {
  for (const flags of ["FA", "RA", "S"]) {
    const open = new Open();
    open.exchange();
    assert.equal(open.isPromoted, true);
    open.send({ flags });
    assert.equal(open.isPromoted, false, flags);
  }
});

Deno.test("Promotions: segments that carried ones have overtaken leave, and a FIN among them counts", () => {
  const open = new Open();
  open.exchange();
  open.seq += 100; // bytes that wait
  open.stream(300_000);
  const { world: { appliance: { connections: { table }, metrics } } } = open.subject;
  const [entry] = table;
  const seq = open.seq - 100;
  assert.deepEqual(open.late({ seq, payload: new Uint8Array(100) }, {}), ["A", "A"]);
  assert.equal(open.isPromoted, true, "they change nothing");
  assert.deepEqual(open.late({ seq: seq - 1, flags: "FA" }), ["FA"]);
  assert.equal(table.state(entry!), ESTABLISHED, "this side has sent more since");
  assert.deepEqual(open.late({ seq: open.seq - 1, flags: "FA" }), ["FA"]);
  assert.equal(table.state(entry!), FIN_A);
  assert.equal(open.isPromoted, false);
  assert.ok(metrics.drops.every((count) => count === 0));
});

Deno.test("Promotions: a connection that was reset is not revived by late segments", () => {
  const open = new Open();
  open.exchange();
  open.stream(300_000);
  const { table } = open.subject.world.appliance.connections;
  const [entry] = table;
  open.send({ flags: "RA", ack: 300_001 });
  assert.equal(table.state(entry!), RESET_A);
  assert.deepEqual(open.late({}), ["A"]);
  assert.deepEqual(open.late({ flags: "FA", seq: open.seq - 1 }), ["FA"]);
  assert.equal(table.state(entry!), RESET_A);
});

Deno.test("Promotions: what is beyond the window is refused, and so is what is old where nothing was carried", () => {
  const open = new Open();
  open.exchange();
  open.stream(300_000);
  const { drops } = open.subject.world.appliance.metrics;
  const refused = (fields: Parameters<typeof buildTcp>[0]) => {
    const before = drops[-Reason["out-of-window"]]!;
    assert.deepEqual(open.late(fields), []);
    assert.equal(drops[-Reason["out-of-window"]], before + 1);
  };
  refused({ ack: 310_000 });
  refused({ seq: open.seq + 100_000, ack: 305_001 });
  refused({ payload: new Uint8Array(1) }); // new, but acknowledges little
  const other = new Open({}, 254);
  for (let sent = 0; sent < 100_000; sent += 1000) {
    other.answer({ seq: 5001 + sent, payload: new Uint8Array(1000) });
    other.send({ ack: 5001 + sent + 1000 });
  }
  assert.equal(other.subject.carried, 0);
  assert.deepEqual(other.late({}), []);
});

Deno.test("Promotions: what limits or chooses for each packet is never carried", () => {
  const open = new Open({ policy: LIMITED });
  for (let i = 0; i < 5; i++) {
    assert.equal(open.isCarried(), false);
    open.answer();
  }
});

Deno.test("Promotions: the first segment after a reload obeys the new policy", () => {
  const open = new Open();
  open.exchange();
  const { appliance } = open.subject.world;
  finish(appliance.prepare({ policy: policyOf(build.drop) }))();
  assert.equal(open.isPromoted, false);
  assert.deepEqual(open.send(), []);
});

Deno.test("Promotions: nothing is carried while the console would show it", () => {
  const all = new Open({ trace: "all" });
  for (let i = 0; i < 60; i++) assert.equal(all.isCarried(), false);

  const auto = new Open({ trace: "auto" });
  for (let i = 0; i < 55; i++) auto.exchange();
  assert.equal(auto.isCarried(), true, "it has shown its 50");
  const { world } = auto.subject;
  for (let second = 0; second < 3; second++) {
    for (let i = 0; i < 100; i++) {
      world.clock.advance(10);
      auto.exchange();
      world.poll();
    }
  }
  assert.equal(auto.isPromoted, true, "100 a second");
  for (let second = 0; second < 3; second++) {
    for (let i = 0; i < 10; i++) {
      world.clock.advance(100);
      auto.exchange();
      world.poll();
    }
  }
  assert.equal(auto.isPromoted, false, "10 a second");
});

Deno.test("Promotions: a backend that has another MAC address gets the next segment there", () => {
  const open = new Open();
  open.exchange();
  const { world } = open.subject;
  world.answer(open.backend, "02:00:00:00:00:77");
  const { carried } = open.subject;
  const [frame] = open.send();
  assert.equal(frame!.subarray(0, 6).toHex(), "020000000077");
  assert.equal(open.subject.carried, carried + 1);
});

Deno.test("Promotions: nothing over IPv6 is carried while an own address is on trial on any link", () => {
  const subject = new Subject({ policy: CONSTANT, ipv6: true, twoSided: true }, true);
  const { world: { appliance } } = subject;
  const deliver = (frame: Uint8Array, link: number) => {
    const { carried } = subject;
    const [sent] = subject.deliver(frame, null, link);
    return {
      sent: sent && readTcp6(Uint8Array.fromHex(sent.bytes)),
      by: subject.carried - carried,
    };
  };
  const syn = deliver(buildTcp6({ flags: "S", ack: 0 }), 0).sent!;
  const back = { ...fromB(syn.dst), srcPort: syn.dstPort, dstPort: syn.srcPort };
  deliver(buildTcp6({ ...back, flags: "SA", seq: 9000, ack: 1001 }), 1);
  const there = buildTcp6({ flags: "A", seq: 1001, ack: 9001 });
  deliver(there, 0);
  deliver(buildTcp6({ ...back, flags: "A", seq: 9001, ack: 1001 }), 1);
  assert.equal(deliver(there, 0).by, 1);
  appliance.linkDown(1);
  appliance.linkUp(1);
  assert.deepEqual(deliver(there, 0), { sent: undefined, by: 0 });
  assert.equal(subject.world.drops()["address-on-trial"], 1);
  subject.world.advance(5000);
  assert.notEqual(deliver(there, 0).sent, undefined);
  assert.equal(deliver(there, 0).by, 1);
});

Deno.test("Promotions: when the default router changes, carried segments leave by the new one", () => {
  const subject = new Subject({ policy: CONSTANT, ipv6: true, acceptRa: true }, true);
  const { world } = subject;
  const [first, second] = [1, 2].map((last) => ({
    src: `fe80::${last}`,
    srcMac: `02:00:00:00:00:a${last}`,
  }));
  const advertise = (fields: Partial<Router6>) => {
    world.send(buildRouterAdvertisement(fields));
    world.advance(200);
  };
  const deliver = (fields: Partial<Tcp6>) => {
    const { carried } = subject;
    const [sent] = subject.deliver(buildTcp6(fields), null, 0);
    return {
      sent: readTcp6(Uint8Array.fromHex(sent!.bytes)),
      isCarried: subject.carried > carried,
    };
  };
  advertise(first!);
  advertise(second!);
  const client = { src: "2001:db8:f::7", srcMac: first!.srcMac };
  const { sent: syn } = deliver({ ...client, flags: "S", seq: 1000, ack: 0 });
  const back = { ...from(syn.dst), srcPort: syn.dstPort, dstPort: syn.srcPort };
  deliver({ ...back, flags: "SA", seq: 9000, ack: 1001 });
  const answer = { ...back, flags: "A", seq: 9001, ack: 1001 };
  const exchange = () => {
    deliver({ ...client, flags: "A", seq: 1001, ack: 9001 });
    return deliver(answer);
  };
  exchange();
  const { sent: { dstMac }, isCarried } = deliver(answer);
  assert.deepEqual([dstMac, isCarried], [first!.srcMac, true]);
  advertise({ ...first!, seconds: 0 });
  const after = exchange();
  assert.deepEqual([after.sent.dstMac, after.isCarried], [second!.srcMac, false]);
  const again = deliver(answer);
  assert.deepEqual([again.sent.dstMac, again.isCarried], [second!.srcMac, true]);
});

Deno.test("Promotions: a carried client is not forgotten, and is asked for again", () => {
  const open = new Open();
  open.exchange();
  const { world } = open.subject;
  const asked = new Set<string>();
  for (let minute = 0; minute < 12; minute++) {
    for (let i = 0; i < 60; i++) {
      assert.equal(open.answer().length, 1);
      for (const frame of world.advance(1000)) {
        if (!isArp(frame)) continue;
        const view = viewOf(frame);
        const host = `192.168.0.${view.getUint8(41)}`;
        asked.add(host);
        if ([...BACKENDS, CLIENT].includes(host)) world.answer(host);
      }
    }
  }
  assert.ok(asked.has(CLIENT));
  const { carried } = open.subject;
  open.answer();
  assert.equal(open.subject.carried, carried + 1);
});

Deno.test("Promotions: an idle connection expires though it was carried, a busy one does not", () => {
  const open = new Open({ timeouts: { established: 100 } });
  open.exchange();
  const { world } = open.subject;
  for (let i = 0; i < 30; i++) {
    open.exchange();
    for (const frame of world.advance(5000)) {
      if (isArp(frame)) { for (const host of [...BACKENDS, CLIENT]) world.answer(host); }
    }
  }
  assert.equal(open.isPromoted, true);
  world.advance(160_000);
  assert.equal(world.appliance.connections.table.count, 1, "its entry rests");
});

Deno.test("Promotions: the entry of a carried connection serves again after a barrier", async () => {
  const open = new Open();
  open.exchange();
  const { world } = open.subject;
  const { connections } = world.appliance;
  const [entry] = [...connections.table];
  connections.remove(entry!);
  assert.deepEqual([connections.table.count, [...connections.table].length], [1, 0]);
  const other = { ...from(CLIENT), srcPort: 50_000, flags: "S", seq: 9 };
  open.subject.deliver(buildTcp(other), null, 0);
  assert.notDeepEqual([...connections.table], [entry], "another one");
  world.advance(200);
  await Promise.resolve();
  assert.equal(connections.table.count, 1);
  open.subject.deliver(buildTcp({ ...other, srcPort: 50_001 }), null, 0);
  assert.ok([...connections.table].includes(entry!));
});

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
