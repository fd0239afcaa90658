/**
 * A device made of two arrays: frames put into `inbox` are received, frames sent are copied to
 * `outbox`. One call moves one burst, as with a real device. `vnet` has the vnet headers, in and
 * out, of frames whose header is not all zeroes.
 */
import { type Arena, FRONT_BYTES, VNET_BYTES } from "../core/arena.ts";
import type { Device } from "./device.ts";

const EIO = 5;

export class MemoryDevice implements Device {
  readonly name: string;
  mtu: number;
  readonly inbox: Uint8Array[] = [];
  outbox: Uint8Array<ArrayBuffer>[] = [];
  readonly vnet: WeakMap<Uint8Array, Uint8Array> = new WeakMap();
  readonly #noVnet = new Uint8Array(VNET_BYTES);
  /** While true, the device accepts no frame. */
  broken = false;

  get isDrained(): boolean {
    return this.inbox.length === 0;
  }

  constructor(mtu = 1500, name = "memory") {
    this.name = name;
    this.mtu = mtu;
  }

  read(arena: Arena, _waitMs: number): number {
    let cursor = arena.rxStart;
    arena.rxCount = 0;
    while (arena.rxCount < arena.rx.length / 2) {
      const frame = this.inbox[0];
      if (frame === undefined || cursor + VNET_BYTES + frame.length > arena.rxEnd) break;
      this.inbox.shift();
      arena.bytes.set(this.vnet.get(frame) ?? this.#noVnet, cursor);
      arena.bytes.set(frame, cursor + VNET_BYTES);
      arena.rx[2 * arena.rxCount] = cursor + VNET_BYTES;
      arena.rx[2 * arena.rxCount + 1] = frame.length;
      arena.rxCount++;
      cursor = (cursor + VNET_BYTES + frame.length + FRONT_BYTES + 3) & ~3;
    }
    return arena.rxCount;
  }

  write(arena: Arena): number {
    const count = arena.txCount;
    for (let i = 0; i < count && !this.broken; i++) {
      const offset = arena.tx[2 * i]!;
      const frame = arena.bytes.slice(offset, offset + arena.tx[2 * i + 1]!);
      this.outbox.push(frame);
      const vnet = arena.bytes.subarray(offset - VNET_BYTES, offset);
      if (vnet.some((byte) => byte !== 0)) this.vnet.set(frame, vnet.slice());
    }
    arena.sent();
    return this.broken ? -EIO : count;
  }

  /** Frames sent since the last call. */
  take(): Uint8Array<ArrayBuffer>[] {
    const sent = this.outbox;
    this.outbox = [];
    return sent;
  }
}
