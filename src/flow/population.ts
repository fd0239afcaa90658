/**
 * Some connections, each class of them in the order in which they were last heard of (but live ones, of
 * which nobody asks it): all of the flow table, or those towards one (backend, port). Tells which one
 * must go when there is no room.
 */
import { type Links, List } from "./links.ts";

/** Classes, in the order in which their oldest is evicted; the last is never evicted (see `oldest`). */
export const HALF_OPEN = 0;
export const RESET = 1;
export const CLOSED = 2;
export const LIVE = 3;

const CLASSES = 4;

export class Population {
  count = 0;
  readonly #links: Links;
  readonly #lists: readonly List[] = Array.from({ length: CLASSES }, () => new List());

  constructor(links: Links) {
    this.#links = links;
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

  /**
   * The entry to evict, or -1 if all are live. A half-open one that is `young` may be a handshake on its
   * way, so it goes last.
   */
  oldest(young: (entry: number) => boolean): number {
    const halfOpen = this.#lists[HALF_OPEN]!.first;
    if (halfOpen >= 0 && !young(halfOpen)) return halfOpen;
    const reset = this.#lists[RESET]!.first;
    if (reset >= 0) return reset;
    const closed = this.#lists[CLOSED]!.first;
    return closed >= 0 ? closed : halfOpen;
  }

  *[Symbol.iterator](): Generator<number> {
    for (const list of this.#lists) {
      for (let entry = list.first; entry >= 0; entry = this.#links.newer(entry)) yield entry;
    }
  }
}
