/**
 * The fast path's program (`src/fastpath/program.ts`) against the appliance: both get the same
 * frames, with the same flow table, of which the program has a copy. Either the same frame comes
 * out and the same words are in the table after it, or the program leaves the frame, and the table,
 * alone.
 *
 * These differences are allowed:
 *
 * - The program does not verify the checksum of TCP and UDP: a wrong one stays wrong, by the same.
 *   The appliance is then given the frame with the right one.
 * - Padding stays.
 * - The program does not see where a partial checksum is, if that is not the segment's; such frames
 *   it does not get here. In a kernel only a packet socket can send them.
 */
import assert from "node:assert/strict";
import { fastPathOf, LEFT, MEMORY } from "../../src/fastpath/program.ts";
import { type Layout, layoutOf } from "../../src/fastpath/layout.ts";
import { SharedMemory, type Way } from "../../src/fastpath/shared_memory.ts";
import type { Observer } from "../../src/datapath/observer.ts";
import { UDP_ONGOING } from "../../src/flow/lifetimes.ts";
import { SIDE_A, SIDE_B } from "../../src/flow/table.ts";
import { ESTABLISHED } from "../../src/flow/tcp_state.ts";
import type { Address } from "../../src/wire/address.ts";
import { Machine } from "../support/bpf.ts";
import { repairTransport } from "../fuzz/fuzzer.ts";
import { readVnet } from "../support/nic.ts";
import { type KernelFrame, kernelFrameOf } from "./kernel_frame.ts";
import { isArp, World, type WorldOptions } from "../support/world.ts";

const MAX_CONNECTIONS = 256;
const NEIGHBORS = 64;
const DESCRIPTOR = 3;

/** Of the memory that all twins share with their programs. */
export const LAYOUT: Layout = layoutOf({
  connections: MAX_CONNECTIONS,
  neighbors: NEIGHBORS,
  counters: 2,
  processors: 2,
});

const FIRST_IFINDEX = 11;
const REDIRECTED = 7;
const ETHERNET_BYTES = 14;
const L4 = 34;

const UNMOVED: Observer = {
  plain: () => "none",
  kept: () => "all",
  seesDrops: false,
  wants: () => false,
  received: () => {},
  takes: () => true,
  decided: () => {},
  skipped: () => {},
  refused: () => {},
  tick: () => {},
};

/** What the program did with a frame. */
interface Run {
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly isRedirected: boolean;
  readonly link: number;
  readonly memory: Uint8Array<ArrayBuffer>;
}

export interface TwinOptions extends WorldOptions {
  /** What the policy does with the TTL from side A. */
  readonly newTtl?: number;
  /** Runs the program elsewhere, too: what it gives must be the same. */
  readonly also?: (trial: Trial) => void;
}

/** What the program got, and what came of it. */
export interface Trial {
  readonly link: number;
  readonly frame: KernelFrame;
  readonly nowMs: number;
  /** The shared memory before and after. */
  readonly before: Uint8Array<ArrayBuffer>;
  readonly after: Uint8Array<ArrayBuffer>;
  readonly result: number;
  /** The frame as it is now. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export class Twin {
  readonly world: World;
  readonly memory: SharedMemory;
  /** Frames that the program forwarded, and that it left though their connection was promoted. */
  forwarded = 0;
  left = 0;
  /** Of those that it forwarded, wrong ones. */
  wrongSums = 0;
  padded = 0;
  readonly #options: TwinOptions;
  readonly #bytes: Uint8Array<ArrayBuffer>;
  /** The program's copy. */
  readonly #copy: Uint8Array<ArrayBuffer>;
  readonly #machines: readonly Machine[];
  #classified = 0;

  constructor(options: TwinOptions) {
    this.#options = options;
    const buffer = new ArrayBuffer(LAYOUT.bytes);
    this.#bytes = new Uint8Array(buffer);
    this.#copy = new Uint8Array(LAYOUT.bytes);
    this.memory = new SharedMemory(LAYOUT, buffer);
    const { memory } = this;
    // The appliance itself promotes nothing, as this observer might want to see everything.
    const fastPath = { memory, wait: () => Promise.resolve(), attach: () => 0, leastPackets: 0 };
    this.world = World.settled({
      ...options,
      maxConn: MAX_CONNECTIONS,
      retries: 0, // a SYN that is sent again comes out beside the frame at hand
      fastPath,
      observer: UNMOVED,
    });
    const { connections, links } = this.world.appliance;
    const classify = connections.classify.bind(connections);
    connections.classify = (view, pdu, nowMs) => {
      this.#classified++;
      classify(view, pdu, nowMs);
    };
    this.#machines = links.map((_, link) =>
      new Machine({
        code: fastPathOf(LAYOUT, link).assemble({ [MEMORY]: DESCRIPTOR }),
        maps: new Map([[DESCRIPTOR, this.#copy]]),
        processor: 1,
        nowNs: () => BigInt(this.world.clock.nowMs()) * 1_000_000n,
      })
    );
  }

  /** Gives the frame to both, and compares. What the appliance sends, without ARP. */
  deliver(
    bytes: Uint8Array,
    vnet: Uint8Array | null,
    device: number,
  ): Uint8Array<ArrayBuffer>[] {
    const { appliance, devices } = this.world;
    const link = device % devices.length;
    if (!appliance.links[link]!.isUp) return [];
    const frame = kernelFrameOf(bytes, vnet);
    if (frame === null) return this.#appliance(bytes, vnet, link);
    this.#promoteAll();
    const wasPromoted = this.#isPromoted(bytes);
    const run = this.#program(frame, link);
    if (!run.isRedirected) {
      const before = this.#classified;
      const sent = this.#appliance(bytes, vnet, link);
      if (!wasPromoted) return sent;
      this.left++;
      // Of datagrams the appliance has no short way.
      const isShort = bytes[23] === 17 ? isBare(bytes) : this.#classified === before;
      const isPlain = isShort && sent.length === 1 && isSameKind(sent[0]!, bytes) &&
        this.#leftToNic(sent[0]!).gsoSize === frame.gsoSize;
      assert.ok(!isPlain, `the program left a plain frame: ${bytes.toHex()}`);
      return sent;
    }
    assert.ok(wasPromoted);
    this.forwarded++;
    return this.#compare(frame, vnet, link, run);
  }

  /** Compares what both did with a frame that the program has forwarded. */
  #compare(
    { bytes, isPartial, gsoSize }: KernelFrame,
    vnet: Uint8Array | null,
    link: number,
    run: Run,
  ): Uint8Array<ArrayBuffer>[] {
    const frameEnd = ETHERNET_BYTES + ((bytes[16]! << 8) | bytes[17]!);
    if (frameEnd < bytes.length) this.padded++;
    const right = Uint8Array.from(bytes);
    const view = new DataView(right.buffer);
    const isUnsummed = bytes[23] === 17 && view.getUint16(L4 + 6) === 0;
    if (!isPartial && !isUnsummed) repairTransport(right, view, L4, frameEnd);
    const at = L4 + (bytes[23] === 17 ? 6 : 16);
    const expected = Uint8Array.from(run.frame.subarray(0, frameEnd));
    const [given, made] = [right, expected].map((one) => new DataView(one.buffer));
    if (view.getUint16(at) !== viewOf(bytes).getUint16(at)) {
      // A wrong sum is wrong by the same after it.
      this.wrongSums++;
      const error = viewOf(bytes).getUint16(at) - given!.getUint16(at);
      const wrong = made!.getUint16(at);
      repairTransport(expected, made!, L4, frameEnd);
      assert.equal(modulo(wrong - made!.getUint16(at)), modulo(error));
    }
    const sent = this.#appliance(right, vnet, link);
    assert.equal(sent.length, 1, `the appliance did not forward ${bytes.toHex()}`);
    if (!isPartial && !isUnsummed && bytes[23] === 17 && made!.getUint16(at) === 0) {
      made!.setUint16(at, 0xffff);
    }
    assert.equal(sent[0]!.toHex(), expected.toHex(), "another frame");
    assert.deepEqual(this.#leftToNic(sent[0]!), { isPartial, gsoSize });
    assert.equal(run.link, sent[0]![10]! - 1, "another link");
    const { entries: start, ways: end } = LAYOUT.at;
    const entries = (memory: Uint8Array) => memory.subarray(start, end).toHex();
    assert.equal(entries(run.memory), entries(this.#bytes), "other words in the flow table");
    return sent;
  }

  #appliance(bytes: Uint8Array, vnet: Uint8Array | null, link: number): Uint8Array<ArrayBuffer>[] {
    const { devices } = this.world;
    const frame = Uint8Array.from(bytes);
    if (vnet !== null) devices[link]!.vnet.set(frame, vnet);
    devices[link]!.inbox.push(frame);
    return this.world.poll().filter((one) => !isArp(one));
  }

  /** What the appliance has left to the interface. */
  #leftToNic(sent: Uint8Array): { isPartial: boolean; gsoSize: number } {
    const vnet = this.world.vnetOf(sent);
    if (vnet === undefined) return { isPartial: false, gsoSize: 0 };
    const { flags, gsoType, gsoSize } = readVnet(vnet);
    return { isPartial: flags === 1, gsoSize: gsoType === 0 ? 0 : gsoSize };
  }

  #program(frame: KernelFrame, link: number): Run {
    const before = this.#bytes;
    this.#copy.set(before);
    const buffer = {
      data: Uint8Array.from(frame.bytes),
      ifindex: FIRST_IFINDEX + link,
      vlanPresent: 0,
      gsoSize: frame.gsoSize,
      mark: 77,
      isPartial: frame.isPartial,
    };
    const { result, redirect } = this.#machines[link]!.run(buffer);
    this.#options.also?.({
      link,
      frame,
      nowMs: this.world.clock.nowMs(),
      before,
      after: this.#copy,
      result,
      bytes: buffer.data,
    });
    if (result === LEFT) {
      assert.equal(this.#copy.toHex(), before.toHex(), "the program left traces");
      assert.equal(buffer.data.toHex(), frame.bytes.toHex());
      return { frame: buffer.data, isRedirected: false, link, memory: this.#copy };
    }
    assert.equal(result, REDIRECTED);
    assert.equal(redirect?.flags, 1, "back in");
    assert.equal(buffer.mark, 0);
    const outLink = redirect!.ifindex - FIRST_IFINDEX;
    return { frame: buffer.data, isRedirected: true, link: outLink, memory: this.#copy };
  }

  // Promotion

  /** Promotes every connection that can be; none of the others. */
  #promoteAll(): void {
    const { appliance, devices } = this.world;
    const { table } = appliance.connections;
    appliance.links.forEach(({ mac, isUp }, link) => {
      const settings = { mac, ifindex: FIRST_IFINDEX + link, mtu: devices[link]!.mtu };
      this.memory.setLink(link, isUp ? settings : null);
    });
    for (let entry = 0; entry < table.end; entry++) {
      if (!this.#isReady(entry) || !this.#promote(entry)) this.memory.demote(entry);
    }
  }

  #isReady(entry: number): boolean {
    const { table } = this.world.appliance.connections;
    if (!table.isUsed(entry) || !table.hasSideB(entry)) return false;
    const state = table.state(entry);
    return table.protocol(entry) === 6 ? state === ESTABLISHED : state === UDP_ONGOING;
  }

  #promote(entry: number): boolean {
    const { appliance } = this.world;
    const { table } = appliance.connections;
    const last = appliance.links.length - 1;
    const isOnA = table.dst(entry, SIDE_A) === appliance.links[0]!.own.address;
    const [linkOfA, linkOfB] = [isOnA ? 0 : last, last] as [0 | 1, 0 | 1];
    const toB = this.#neighborOf(linkOfB, table.src(entry, SIDE_B));
    const toA = this.#neighborOf(linkOfA, table.src(entry, SIDE_A));
    if (toA < 0 || toB < 0) return false;
    const { newTtl = 0 } = this.#options;
    const fromA: Way = {
      neighbor: toB,
      counter: 0,
      fromLink: linkOfA,
      toLink: linkOfB,
      newTtl,
    };
    const fromB: Way = {
      neighbor: toA,
      counter: 1,
      fromLink: linkOfB,
      toLink: linkOfA,
      newTtl: 0,
    };
    // It is promoted once: a ticket that changed with each frame would hide what it is for.
    const { memory } = this;
    const isDone = memory.isPromoted(entry) && memory.isCurrent(entry);
    assert.ok(isDone || memory.promote(entry, fromA, fromB));
    return true;
  }

  /** Number of the next hop towards the address; -1: it is not known where it is. */
  #neighborOf(link: number, address: Address): number {
    const { arp, routes } = this.world.appliance.links[link]!;
    const nextHop = routes.nextHop(address);
    const number = nextHop === 0 ? -1 : arp.neighbors.numberOf(nextHop);
    return number < 0 ? -1 : link * (NEIGHBORS / this.world.devices.length) + number;
  }

  /** Whether there is a promoted connection of the frame's addresses and ports. */
  #isPromoted(frame: Uint8Array): boolean {
    if (frame.length < L4 + 8) return false;
    const view = viewOf(frame);
    const { table } = this.world.appliance.connections;
    const reference = table.find(
      frame[23]!,
      view.getInt32(26),
      view.getInt32(30),
      view.getInt32(L4),
    );
    return reference >= 0 && this.memory.isPromoted(reference >>> 1);
  }
}

/** A packet of the same protocol and length: not an answer, nor a fragment. */
function isSameKind(sent: Uint8Array, given: Uint8Array): boolean {
  return sent[23] === given[23] &&
    sent.subarray(16, 18).toHex() === given.subarray(16, 18).toHex();
}

/** A whole packet without options. */
function isBare(frame: Uint8Array): boolean {
  return frame[14] === 0x45 && (viewOf(frame).getUint16(20) & 0x3fff) === 0;
}

/** In one's complement arithmetic. */
function modulo(difference: number): number {
  return ((difference % 0xffff) + 0xffff) % 0xffff;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
