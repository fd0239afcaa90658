/**
 * A map of any size that never takes long: a `Map` of a hundred thousand grows by going through all
 * of them. This one is several maps of at most PART_SIZE, all of which a look-up may have to ask.
 */
const PART_SIZE = 8192;

export class GrowingMap<Key, Value> {
  readonly #parts: Map<Key, Value>[] = [new Map()];

  get(key: Key): Value | undefined {
    for (const part of this.#parts) {
      const value = part.get(key);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  /** Also for a key that is in it. */
  set(key: Key, value: Value): void {
    const part = this.#parts.find((part) => part.has(key));
    if (part === undefined) this.add(key, value);
    else part.set(key, value);
  }

  /** `key` must not be in it yet. */
  add(key: Key, value: Value): void {
    if (this.#parts.at(-1)!.size === PART_SIZE) this.#parts.push(new Map());
    this.#parts.at(-1)!.set(key, value);
  }
}
