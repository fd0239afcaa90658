/**
 * The kernel in front of an appliance: the fast path's program, run by the interpreter for each
 * frame on its way in, and the memory that both work on.
 *
 *     frame ──▶ program ──▶ out, as if the appliance had sent it
 *                  └──────▶ left: the appliance is to read it
 */
import type { FastPath } from "../../src/datapath/promotions.ts";
import { layoutOf } from "../../src/fastpath/layout.ts";
import { fastPathOf, LEFT, MEMORY } from "../../src/fastpath/program.ts";
import { SharedMemory } from "../../src/fastpath/shared_memory.ts";
import { Machine, type Outcome, type SocketBuffer } from "../support/bpf.ts";
import { kernelFrameOf, placeOf } from "./kernel_frame.ts";

const DESCRIPTOR = 3;
const FIRST_IFINDEX = 11;
const LINKS = [0, 1];

export interface KernelOptions {
  readonly connections: number;
  readonly isIpv6On: boolean;
  /** Default 1. */
  readonly processors?: number;
  readonly nowMs: () => number;
}

/** A frame that the program has sent: where, and what is left to the interface there. */
export interface Carried {
  /** Without padding. */
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly link: number;
  readonly isPartial: boolean;
  readonly gsoSize: number;
  readonly packetBytes: number;
}

export class Kernel {
  readonly memory: SharedMemory;
  /** By processor, one for each link. */
  readonly #machines: readonly (readonly Machine[])[];

  constructor({ connections, isIpv6On, processors = 1, nowMs }: KernelOptions) {
    const layout = layoutOf({
      connections,
      neighbors: 64,
      counters: 16,
      processors,
      isIpv6On,
    });
    const buffer = new ArrayBuffer(layout.bytes);
    this.memory = new SharedMemory(layout, buffer);
    const maps = new Map([[DESCRIPTOR, new Uint8Array(buffer)]]);
    const nowNs = () => BigInt(nowMs()) * 1_000_000n;
    const codes = LINKS.map((link) => fastPathOf(layout, link).assemble({ [MEMORY]: DESCRIPTOR }));
    this.#machines = Array.from(
      { length: processors },
      (_, processor) => codes.map((code) => new Machine({ code, maps, processor, nowNs })),
    );
  }

  /** For an appliance that promotes a connection of which it has seen so many packets. */
  fastPath(leastPackets: number, wait: () => Promise<void> = () => Promise.resolve()): FastPath {
    const attach = (link: number) => FIRST_IFINDEX + link;
    return { memory: this.memory, wait, attach, leastPackets };
  }

  /** What the kernel sends for the frame; null: it leaves it. */
  carry(bytes: Uint8Array, vnet: Uint8Array | null, link: number): Carried | null {
    const run = this.begin(bytes, vnet, link);
    return run === null ? null : run.finish();
  }

  /** Begins to run the program on that processor; null: it leaves the frame in any case. */
  begin(bytes: Uint8Array, vnet: Uint8Array | null, link: number, processor = 0): Run | null {
    const frame = kernelFrameOf(bytes, vnet);
    if (frame === null) return null;
    const { gsoSize, isPartial } = frame;
    const data = Uint8Array.from(bytes);
    const ifindex = FIRST_IFINDEX + link;
    return new Run(
      this.#machines[processor]![link]!,
      { data, ifindex, vlanPresent: 0, gsoSize, mark: 0, isPartial },
    );
  }
}

/** The program at work on a frame; a machine has one at a time. */
export class Run {
  readonly #machine: Machine;
  readonly #buffer: SocketBuffer;
  #outcome: Outcome | null = null;

  constructor(machine: Machine, buffer: SocketBuffer) {
    this.#machine = machine;
    this.#buffer = buffer;
    machine.begin(buffer);
  }

  /** Executes up to so many instructions; true: it has come to its end. */
  advance(instructions: number): boolean {
    this.#outcome ??= this.#machine.advance(instructions);
    return this.#outcome !== null;
  }

  /** Instructions of the whole run, once it has come to its end. */
  get steps(): number {
    return this.#outcome?.steps ?? 0;
  }

  /** Runs to the end: what the kernel sends, or null if it leaves the frame. */
  finish(): Carried | null {
    while (!this.advance(Infinity));
    const { result, redirect } = this.#outcome!;
    if (result === LEFT) return null;
    const { data, gsoSize, isPartial } = this.#buffer;
    const { end } = placeOf(data)!;
    const frame = data.subarray(0, end);
    const link = redirect!.ifindex - FIRST_IFINDEX;
    return { frame, link, isPartial, gsoSize, packetBytes: end - 14 };
  }
}
