/**
 * Connections by eviction class, each class least recently used first (live ones unordered): all of
 * the flow table, or those towards one (backend, port). `victim.ts` selects the one to evict.
 */
import { type LinkedLists, List } from "../core/linked_lists.ts";

/** A query that the proxy itself has answered. */
export const ONE_SIDED = 0;
/** UDP and queries that the backend has not answered yet. */
export const UNANSWERED = 1;
/** TCP whose handshake is not complete. */
export const HALF_OPEN = 2;
export const RESET = 3;
/** Probably over: TCP closed by both sides, one request that was answered. */
export const FINISHED = 4;
/** Established TCP, and UDP that went on after its first answer: never evicted. */
export const LIVE = 5;

const CLASSES = 6;

export class EvictionClasses {
  count = 0;
  readonly #linkedLists: LinkedLists;
  readonly #lists: readonly List[] = Array.from({ length: CLASSES }, () => new List());

  constructor(linkedLists: LinkedLists) {
    this.#linkedLists = linkedLists;
  }

  /** Connections that wait for an answer. */
  get pending(): number {
    return this.size(UNANSWERED) + this.size(HALF_OPEN);
  }

  /** Connections that are live or may become so. */
  get inUse(): number {
    return this.pending + this.size(LIVE);
  }

  size(evictionClass: number): number {
    return this.#lists[evictionClass]!.count;
  }

  /** The least recently used one of a class, or -1. */
  oldest(evictionClass: number): number {
    return this.#lists[evictionClass]!.first;
  }

  /** The next newer one of the same class, or -1. */
  newer(entry: number): number {
    return this.#linkedLists.newer(entry);
  }

  add(entry: number, evictionClass: number): void {
    this.#linkedLists.append(this.#lists[evictionClass]!, entry);
    this.count++;
  }

  remove(entry: number, evictionClass: number): void {
    this.#linkedLists.remove(this.#lists[evictionClass]!, entry);
    this.count--;
  }

  /** The entry was used: it becomes the newest, of class `to`. */
  renew(entry: number, from: number, to: number): void {
    this.#linkedLists.remove(this.#lists[from]!, entry);
    this.#linkedLists.append(this.#lists[to]!, entry);
  }

  *[Symbol.iterator](): Generator<number> {
    for (let evictionClass = 0; evictionClass < CLASSES; evictionClass++) {
      yield* this.ofClass(evictionClass);
    }
  }

  /** Those of the class, the oldest first. */
  *ofClass(evictionClass: number): Generator<number> {
    for (let entry = this.oldest(evictionClass); entry >= 0; entry = this.newer(entry)) yield entry;
  }
}
