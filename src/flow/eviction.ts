/**
 * Some connections, each class of them in the order in which they were last heard of (but live ones, of
 * which nobody asks it): all of the flow table, or those towards one (backend, port). `room.ts` tells
 * which one must go when there is no room.
 */
import { type LinkedLists, List } from "../core/linked_lists.ts";

/** A query that the proxy itself has answered: nobody waits for anything. */
export const ONE_SIDED = 0;
/** UDP and queries that the backend has not answered. */
export const UNANSWERED = 1;
/** TCP before its handshake is over. */
export const HALF_OPEN = 2;
export const RESET = 3;
/** Over, as far as can be seen: TCP closed by both sides, a question that was answered. */
export const CLOSED = 4;
/** Established TCP, and UDP that went on after its first answer: never evicted. */
export const LIVE = 5;

const CLASSES = 6;

export class Population {
  count = 0;
  readonly #links: LinkedLists;
  readonly #lists: readonly List[] = Array.from({ length: CLASSES }, () => new List());

  constructor(links: LinkedLists) {
    this.#links = links;
  }

  /** Those that wait for an answer. */
  get pending(): number {
    return this.size(UNANSWERED) + this.size(HALF_OPEN);
  }

  /** Those that are live or may become it. */
  get inUse(): number {
    return this.pending + this.size(LIVE);
  }

  size(kind: number): number {
    return this.#lists[kind]!.count;
  }

  /** The one of class `kind` that was not heard of for the longest time, or -1. */
  oldest(kind: number): number {
    return this.#lists[kind]!.first;
  }

  /** The next newer one of the same class, or -1. */
  newer(entry: number): number {
    return this.#links.newer(entry);
  }

  add(entry: number, kind: number): void {
    this.#links.append(this.#lists[kind]!, entry);
    this.count++;
  }

  remove(entry: number, kind: number): void {
    this.#links.remove(this.#lists[kind]!, entry);
    this.count--;
  }

  /** The entry was heard of: it becomes the newest, of class `to`. */
  renew(entry: number, from: number, to: number): void {
    this.#links.remove(this.#lists[from]!, entry);
    this.#links.append(this.#lists[to]!, entry);
  }

  *[Symbol.iterator](): Generator<number> {
    for (const list of this.#lists) {
      for (let entry = list.first; entry >= 0; entry = this.#links.newer(entry)) yield entry;
    }
  }
}
