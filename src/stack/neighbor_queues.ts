/**
 * What happens to each neighbour next, and in which order: it stands at the end of a queue when it has got
 * there, and at its beginning when its time has come.
 *
 *     ┌ watched: backends, gateways ──────────────────────────────────────────────────────────┐
 *     DUE ──▶ ASKED ──▶ FRESH ──(30 s, or an answer owed for 1 s)──▶ ASKED ──▶ LOST ──(5 s)──▶ ASKED
 *     ┌ others: as traffic needs them ──────────────────────────────┐
 *     WAITING ─┬▶ ASKED ──▶ RESTING ──(used after 30 s)──▶ ASKED ──▶ removed
 *     CLAIMED ─┘
 */
import { LinkedLists, List } from "../core/linked_lists.ts";
import { atOf, type NeighborTable, numberOf, QUEUE } from "./neighbor_table.ts";

/** Nothing happens; there is no such queue. */
export const RESTING = 0;
/** A watched one is asked, as soon as there is room. */
export const DUE = 1;
/** So is another one, for which packets wait. */
export const WAITING = 2;
/** So is another one whose packets leave meanwhile, for the station that opened their connection. */
export const CLAIMED = 3;
/** It answers, or is asked again. */
export const ASKED = 4;
/** A watched one is asked whether it is still there. */
export const FRESH = 5;
/** A watched one is asked whether it is there again. */
export const LOST = 6;

const QUEUES = 7;

export class NeighborQueues {
  readonly #table: NeighborTable;
  readonly #links: LinkedLists;
  readonly #queues: readonly List[] = Array.from({ length: QUEUES }, () => new List());

  constructor(table: NeighborTable) {
    this.#table = table;
    this.#links = new LinkedLists(table.capacity);
  }

  /** The first neighbour of a queue, or -1. */
  first(queue: number): number {
    return atOf(this.#queues[queue]!.first);
  }

  /** As `first`, if `which` of its times is `ms` ago. */
  due(queue: number, which: number, ms: number, nowMs: number): number {
    const at = this.first(queue);
    return at >= 0 && nowMs - this.#table.time(at, which) >= ms ? at : -1;
  }

  /** Takes the neighbour out of its queue and puts it at the end of `queue`. */
  move(at: number, queue: number): void {
    const { words } = this.#table;
    const from = words[at + QUEUE]!;
    if (from !== RESTING) this.#links.remove(this.#queues[from]!, numberOf(at));
    if (queue !== RESTING) this.#links.append(this.#queues[queue]!, numberOf(at));
    words[at + QUEUE] = queue;
  }
}
