/**
 * The states of neighbours. Each state is a queue in the order of entry, so that its first
 * neighbour is the next to time out.
 *
 *   ┌ watched: backends, gateways ──────────────────────────────────────────────────────────┐
 *   DUE ──▶ ASKED ──▶ FRESH ──(30 s, or an answer owed for 1 s)──▶ ASKED ──▶ LOST ──(5 s)──▶ ASKED
 *   ┌ others: as traffic needs them ──────────────────────────────┐
 *   WAITING ─┬▶ ASKED ──▶ RESTING ──(used after 30 s)──▶ ASKED ──▶ removed
 *   CLAIMED ─┘                                     └────▶ DELAYED ──(5 s)──▶ ASKED
 *
 * Those of IPv6 are DELAYED. In the words of RFC 4861 §7.3.2, INCOMPLETE is ASKED, until it is
 * known where the neighbour is; REACHABLE and STALE are RESTING, before and after the 30 s; DELAY
 * is DELAYED, and PROBE is ASKED again.
 */
import { LinkedLists, List } from "../core/linked_lists.ts";
import { atOf, type NeighborTable, numberOf, QUEUE } from "./neighbor_table.ts";

/** No timer; there is no such queue. */
export const RESTING = 0;
/** Watched, to be asked as soon as the limits allow. */
export const DUE = 1;
/** Not watched, to be asked; packets wait for it. */
export const WAITING = 2;
/**
 * Not watched, to be asked; meanwhile its packets go to the station that opened their connection.
 */
export const CLAIMED = 3;
/** Asked; waits for the answer, or to be asked again. */
export const ASKED = 4;
/** Watched and known; to be asked again when this is out of date. */
export const FRESH = 5;
/** Watched and unanswered; asked now and then whether it is back. */
export const LOST = 6;
/** Not watched, known, out of date and in use; to be asked unless something else confirms it. */
export const DELAYED = 7;

const QUEUES = 8;

export class NeighborQueues {
  readonly #table: NeighborTable;
  readonly #linkedLists: LinkedLists;
  readonly #queues: readonly List[] = Array.from({ length: QUEUES }, () => new List());

  constructor(table: NeighborTable) {
    this.#table = table;
    this.#linkedLists = new LinkedLists(table.capacity);
  }

  /** The first neighbour of a queue, or -1. */
  first(queue: number): number {
    return atOf(this.#queues[queue]!.first);
  }

  /** As `first`, if its time `which` is at least `ms` ago; else -1. */
  due(queue: number, which: number, ms: number, nowMs: number): number {
    const at = this.first(queue);
    return at >= 0 && nowMs - this.#table.time(at, which) >= ms ? at : -1;
  }

  /** Takes the neighbour out of its queue and puts it at the end of `queue`. */
  move(at: number, queue: number): void {
    const { words } = this.#table;
    const from = words[at + QUEUE]!;
    if (from !== RESTING) this.#linkedLists.remove(this.#queues[from]!, numberOf(at));
    if (queue !== RESTING) this.#linkedLists.append(this.#queues[queue]!, numberOf(at));
    words[at + QUEUE] = queue;
  }
}
