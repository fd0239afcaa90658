/**
 * A device for benchmarks: delivers the same prepared bursts again and again and discards what is
 * sent. It allocates nothing: a burst is one copy of bytes in the shim's layout.
 */
import { type Arena, BURST_FRAMES, VNET_BYTES } from "../../src/core/arena.ts";
import type { Device } from "../../src/device/device.ts";

/** Frames as the shim would have laid them into the arena. */
export interface Burst {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly rx: Uint32Array<ArrayBuffer>;
  readonly count: number;
}

export class ReplayDevice implements Device {
  readonly name = "replay";
  readonly mtu = 1500;
  /** Frames that were sent. */
  sent = 0;
  #bursts: readonly Burst[] = [];
  #next = 0;

  /** From now on delivers these. */
  load(bursts: readonly Burst[]): void {
    this.#bursts = bursts;
    this.#next = 0;
  }

  /** Polls that deliver every frame once. */
  get rounds(): number {
    return this.#bursts.length;
  }

  read(arena: Arena, _waitMs: number): number {
    const burst = this.#bursts[this.#next]!;
    this.#next = this.#next + 1 === this.#bursts.length ? 0 : this.#next + 1;
    arena.bytes.set(burst.bytes);
    arena.rx.set(burst.rx);
    arena.rxCount = burst.count;
    return burst.count;
  }

  write(arena: Arena): number {
    const count = arena.txCount;
    this.sent += count;
    arena.sent();
    return count;
  }
}

/** The frames in bursts of 64. */
export function burstsOf(frames: readonly Uint8Array[]): Burst[] {
  const bursts: Burst[] = [];
  for (let i = 0; i < frames.length; i += BURST_FRAMES) {
    bursts.push(burstOf(frames.slice(i, i + BURST_FRAMES)));
  }
  return bursts;
}

function burstOf(frames: readonly Uint8Array[]): Burst {
  const rx = new Uint32Array(2 * frames.length);
  let end = 0;
  frames.forEach((frame, i) => {
    rx[2 * i] = end + VNET_BYTES;
    rx[2 * i + 1] = frame.length;
    end = (end + VNET_BYTES + frame.length + 3) & ~3;
  });
  const bytes = new Uint8Array(end);
  frames.forEach((frame, i) => bytes.set(frame, rx[2 * i]!));
  return { bytes, rx, count: frames.length };
}
