/** Copies of packets that wait until the neighbour that gets them is known. */
import type { Arena } from "../core/arena.ts";
import { Reason } from "../core/reason.ts";

/** Packets for one neighbour, and bytes for all. */
const MAX_PACKETS = 32;
const MAX_BYTES = 4 << 20;

export type HeldPacket = Uint8Array<ArrayBuffer>;

export class HeldPackets {
  readonly #byNeighbor = new Map<number, HeldPacket[]>();
  #bytes = 0;

  /** Holds a copy of the frame. Returns 0 or a reason. */
  hold(neighbor: number, arena: Arena, frame: number, lengthBytes: number): number {
    const held = this.#byNeighbor.get(neighbor);
    if ((held?.length ?? 0) >= MAX_PACKETS || this.#bytes + lengthBytes > MAX_BYTES) {
      return Reason["arp-queue-full"];
    }
    const record = arena.copyOut(frame, lengthBytes);
    this.#bytes += record.length;
    if (held === undefined) this.#byNeighbor.set(neighbor, [record]);
    else held.push(record);
    return 0;
  }

  /** All that wait for the neighbour, the longest waiting first; they wait no longer. */
  take(neighbor: number): readonly HeldPacket[] {
    const held = this.#byNeighbor.get(neighbor);
    if (held === undefined) return [];
    this.#byNeighbor.delete(neighbor);
    for (const record of held) this.#bytes -= record.length;
    return held;
  }

  /** Forgets everything; returns how many packets that were. */
  clear(): number {
    let packets = 0;
    for (const held of this.#byNeighbor.values()) packets += held.length;
    this.#byNeighbor.clear();
    this.#bytes = 0;
    return packets;
  }
}
