/** Copies of packets that wait for their neighbour's MAC address. */
import type { Arena } from "../core/arena.ts";
import { Reason } from "../core/reason.ts";

/** Most packets for one neighbour, and most bytes in all. */
const MAX_PACKETS = 32;
const MAX_BYTES = 4 << 20;

export type HeldPacket = Uint8Array<ArrayBuffer>;

export class HeldPackets {
  readonly #byNeighbor = new Map<number, HeldPacket[]>();
  readonly #dropped: (reason: number) => void;
  #bytes = 0;

  /** `dropped` is told why a packet that was held no longer is. */
  constructor(dropped: (reason: number) => void) {
    this.#dropped = dropped;
  }

  /**
   * Holds a copy of the frame, in place of the neighbour's oldest if there are too many (RFC 4861
   * §7.2.2). Returns 0 or a reason.
   */
  hold(neighbor: number, arena: Arena, frame: number, lengthBytes: number): number {
    if (this.#bytes + lengthBytes > MAX_BYTES) return Reason["arp-queue-full"];
    const held = this.#byNeighbor.get(neighbor);
    if (held !== undefined && held.length >= MAX_PACKETS) {
      this.#bytes -= held.shift()!.length;
      this.#dropped(Reason["arp-queue-full"]);
    }
    const record = arena.copyOut(frame, lengthBytes);
    this.#bytes += record.length;
    if (held === undefined) this.#byNeighbor.set(neighbor, [record]);
    else held.push(record);
    return 0;
  }

  /** Removes and returns the packets that wait for the neighbour, oldest first. */
  take(neighbor: number): readonly HeldPacket[] {
    const held = this.#byNeighbor.get(neighbor);
    if (held === undefined) return [];
    this.#byNeighbor.delete(neighbor);
    for (const record of held) this.#bytes -= record.length;
    return held;
  }

  /** Removes all packets; returns their number. */
  clear(): number {
    let packets = 0;
    for (const held of this.#byNeighbor.values()) packets += held.length;
    this.#byNeighbor.clear();
    this.#bytes = 0;
    return packets;
  }
}
