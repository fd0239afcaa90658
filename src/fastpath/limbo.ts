/**
 * Entries of the flow table that were removed while the fast path's program may have been at work
 * on them: it could store a sequence number late, into the next connection. They rest until a
 * *barrier* that began later has ended: that is when every program that ran then has. One runs at a
 * time, and all entries that have come meanwhile wait for the next one.
 */
import type { SharedMemory } from "./shared_memory.ts";

export class Limbo {
  readonly #memory: SharedMemory;
  /** Resolves when all programs that run now have ended. */
  readonly #wait: () => Promise<void>;
  /** Numbers of the last barriers that have begun and ended. */
  #begun = 0;
  #ended = 0;
  /** The barrier after which no program has a ticket of an earlier epoch. */
  #epochBarrier = 0;
  #resting: number[] = [];
  /** Those whose barrier has begun. */
  #awaited = 0;

  constructor(memory: SharedMemory, wait: () => Promise<void>) {
    this.#memory = memory;
    this.#wait = wait;
  }

  /** Packets of the connection that come from now on are the proxy's. */
  demote(entry: number): void {
    if (!this.#memory.isPromoted(entry)) return;
    this.#memory.demote(entry);
    this.#memory.setBarrier(entry, this.#begun + 1);
  }

  demoteAll(): void {
    this.#memory.demoteAll();
    this.#epochBarrier = this.#begun + 1;
  }

  /** The entry is removed; false: no program may be at work on it, and it can serve again. */
  rests(entry: number): boolean {
    const memory = this.#memory;
    this.demote(entry);
    if (memory.hasTicket(entry)) { // of an earlier epoch
      memory.demote(entry);
      memory.setBarrier(entry, this.#epochBarrier);
    }
    if (memory.barrier(entry) <= this.#ended) return false;
    this.#resting.push(entry);
    return true;
  }

  /** Entries that rest. */
  get count(): number {
    return this.#resting.length + this.#awaited;
  }

  /** Begins the next barrier if any entry needs it; at its end they are released. */
  tick(release: (entry: number) => void): void {
    if (this.#resting.length === 0 || this.#begun > this.#ended) return;
    const resting = this.#resting;
    this.#resting = [];
    this.#awaited = resting.length;
    const barrier = ++this.#begun;
    this.#wait().then(() => {
      this.#ended = barrier;
      this.#awaited = 0;
      for (const entry of resting) release(entry);
    }, () => {
      // It counts as none: they wait for the next one.
      this.#begun--;
      this.#awaited = 0;
      this.#resting.push(...resting);
    });
  }
}
