/**
 * Places 0 … n - 1 by key, and by a second one where that is equal: the least at hand, any can
 * move.
 */
export class Heap {
  size = 0;
  /** Place at each position; children of position i are at 2i + 1 and 2i + 2. */
  readonly #places: Int32Array<ArrayBuffer>;
  /** Position of each place; -1: it is not in the heap. */
  readonly #positions: Int32Array<ArrayBuffer>;
  readonly #keys: Float64Array<ArrayBuffer>;
  readonly #ties: Float64Array<ArrayBuffer>;

  constructor(capacity: number) {
    this.#places = new Int32Array(capacity);
    this.#positions = new Int32Array(capacity).fill(-1);
    this.#keys = new Float64Array(capacity);
    this.#ties = new Float64Array(capacity);
  }

  /** The place with the least key, or -1. */
  get least(): number {
    return this.size === 0 ? -1 : this.#places[0]!;
  }

  keyOf(place: number): number {
    return this.#keys[place]!;
  }

  /** Adds the place, or gives it other keys. */
  put(place: number, key: number, tie: number): void {
    this.#keys[place] = key;
    this.#ties[place] = tie;
    let position = this.#positions[place]!;
    if (position < 0) {
      position = this.size++;
      this.#set(position, place);
    }
    this.#sink(this.#rise(position));
  }

  /** Takes the place out, if it is in. */
  remove(place: number): void {
    const position = this.#positions[place]!;
    if (position < 0) return;
    this.#positions[place] = -1;
    const last = this.#places[--this.size]!;
    if (last === place) return;
    this.#set(position, last);
    this.#sink(this.#rise(position));
  }

  #rise(from: number): number {
    let position = from;
    const place = this.#places[position]!;
    while (position > 0) {
      const above = (position - 1) >> 1;
      if (!this.#isBefore(place, this.#places[above]!)) break;
      this.#set(position, this.#places[above]!);
      position = above;
    }
    this.#set(position, place);
    return position;
  }

  #sink(from: number): void {
    let position = from;
    const place = this.#places[position]!;
    for (;;) {
      let below = 2 * position + 1;
      if (below >= this.size) break;
      if (below + 1 < this.size && this.#isBefore(this.#places[below + 1]!, this.#places[below]!)) {
        below++;
      }
      if (!this.#isBefore(this.#places[below]!, place)) break;
      this.#set(position, this.#places[below]!);
      position = below;
    }
    this.#set(position, place);
  }

  #set(position: number, place: number): void {
    this.#places[position] = place;
    this.#positions[place] = position;
  }

  #isBefore(a: number, b: number): boolean {
    const keys = this.#keys;
    if (keys[a] !== keys[b]) return keys[a]! < keys[b]!;
    return this.#ties[a]! < this.#ties[b]!;
  }
}
