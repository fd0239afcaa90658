/**
 * Doubly linked lists of small integers (entries of a table), oldest first. The neighbours of each
 * are kept in two arrays, so that appending and removing write four integers and allocate nothing.
 */

export class List {
  /** Oldest and newest entry, -1 in an empty list. */
  first = -1;
  last = -1;
  count = 0;
}

/** Lists that share their arrays: an entry is in at most one of them at a time. */
export class LinkedLists {
  readonly #older: Int32Array<ArrayBuffer>;
  readonly #newer: Int32Array<ArrayBuffer>;

  constructor(capacity: number) {
    this.#older = new Int32Array(capacity);
    this.#newer = new Int32Array(capacity);
  }

  append(list: List, entry: number): void {
    this.#older[entry] = list.last;
    this.#newer[entry] = -1;
    if (list.last < 0) list.first = entry;
    else this.#newer[list.last] = entry;
    list.last = entry;
    list.count++;
  }

  remove(list: List, entry: number): void {
    const older = this.#older[entry]!;
    const newer = this.#newer[entry]!;
    if (older < 0) list.first = newer;
    else this.#newer[older] = newer;
    if (newer < 0) list.last = older;
    else this.#older[newer] = older;
    list.count--;
  }

  /** The next newer entry of the same list, or -1. */
  newer(entry: number): number {
    return this.#newer[entry]!;
  }
}
