/**
 * The ARP cache: which MAC address each neighbour on the link has, and the packets that wait for one.
 *
 * *Watched* neighbours (backends and the gateway) are always kept and kept fresh; others come and go
 * with traffic, within a bound.
 */
import { Reason } from "../core/reason.ts";
import type { Arena } from "../core/arena.ts";

/** Most neighbours that are not watched. */
const MAX_UNWATCHED = 4096;

/** Packets held for one neighbour, and bytes held for all, while their MAC addresses are asked for. */
const MAX_HELD_PACKETS = 32;
const MAX_HELD_BYTES = 4 << 20;

/** Neighbours that are found at once, by the low bits of their addresses. */
const RECENT = 256;

export class Neighbor {
  readonly address: number;
  readonly watched: boolean;
  /** MAC address; meaningless until `known`. */
  hi = 0;
  lo = 0;
  known = false;
  /** When it last said so itself. */
  confirmedMs = 0;
  /** When it was last asked. */
  requestedMs = -Infinity;
  /** Requests since it last said anything. */
  unanswered = 0;
  /** Copies of packets that wait for the MAC address. */
  readonly held: Uint8Array<ArrayBuffer>[] = [];

  constructor(address: number, watched: boolean) {
    this.address = address;
    this.watched = watched;
  }
}

export class Neighbors {
  readonly #lost: (packets: number) => void;
  readonly #byAddress = new Map<number, Neighbor>();
  readonly #recent = new Array<Neighbor | undefined>(RECENT).fill(undefined);
  #watched = 0;
  #heldBytes = 0;

  /** `lost` is told of held packets that will never leave. */
  constructor(lost: (packets: number) => void) {
    this.#lost = lost;
  }

  get(address: number): Neighbor | undefined {
    const recent = this.#recent[address & (RECENT - 1)];
    if (recent !== undefined && recent.address === address) return recent;
    const neighbor = this.#byAddress.get(address);
    if (neighbor !== undefined) this.#recent[address & (RECENT - 1)] = neighbor;
    return neighbor;
  }

  values(): Iterable<Neighbor> {
    return this.#byAddress.values();
  }

  watch(address: number): Neighbor {
    return this.#byAddress.get(address) ?? this.#add(new Neighbor(address, true));
  }

  /** The neighbour, made if need be; the one that came first makes room when there are too many. */
  obtain(address: number): Neighbor {
    const neighbor = this.#byAddress.get(address);
    if (neighbor !== undefined) return neighbor;
    if (this.#byAddress.size - this.#watched >= MAX_UNWATCHED) {
      for (const oldest of this.#byAddress.values()) {
        if (oldest.watched) continue;
        this.remove(oldest);
        break;
      }
    }
    return this.#add(new Neighbor(address, false));
  }

  remove(neighbor: Neighbor): void {
    this.#byAddress.delete(neighbor.address);
    this.#recent[neighbor.address & (RECENT - 1)] = undefined;
    this.dropHeld(neighbor);
  }

  /** Holds a copy of the frame until the neighbour is known. Returns 0 or a reason. */
  hold(neighbor: Neighbor, arena: Arena, frame: number, lengthBytes: number): number {
    if (
      neighbor.held.length >= MAX_HELD_PACKETS || this.#heldBytes + lengthBytes > MAX_HELD_BYTES
    ) return Reason["arp-queue-full"];
    const record = arena.copyOut(frame, lengthBytes);
    neighbor.held.push(record);
    this.#heldBytes += record.length;
    return 0;
  }

  /** The longest waiting packet, or undefined. */
  takeHeld(neighbor: Neighbor): Uint8Array<ArrayBuffer> | undefined {
    const record = neighbor.held.shift();
    if (record !== undefined) this.#heldBytes -= record.length;
    return record;
  }

  dropHeld(neighbor: Neighbor): void {
    const packets = neighbor.held.length;
    while (this.takeHeld(neighbor) !== undefined);
    if (packets > 0) this.#lost(packets);
  }

  #add(neighbor: Neighbor): Neighbor {
    this.#byAddress.set(neighbor.address, neighbor);
    if (neighbor.watched) this.#watched++;
    return neighbor;
  }
}
