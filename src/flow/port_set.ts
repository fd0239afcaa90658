/**
 * Which ports are in use: one bit each, and one bit for each word that is full, so that the next
 * free port is found in a few steps however many are in use.
 */

const WORDS = 65_536 / 32;

export class PortSet {
  readonly #taken = new Int32Array(WORDS);
  /** Bit w: word w of `#taken` is full. */
  readonly #full = new Int32Array(WORDS / 32);

  take(port: number): void {
    const word = port >>> 5;
    this.#taken[word]! |= 1 << (port & 31);
    if (this.#taken[word] === -1) this.#full[word >>> 5]! |= 1 << (word & 31);
  }

  release(port: number): void {
    const word = port >>> 5;
    this.#taken[word]! &= ~(1 << (port & 31));
    this.#full[word >>> 5]! &= ~(1 << (word & 31));
  }

  isTaken(port: number): boolean {
    return (this.#taken[port >>> 5]! & (1 << (port & 31))) !== 0;
  }

  /** The lowest free port from `first` to `last`, or -1. */
  firstFree(first: number, last: number): number {
    const start = first >>> 5;
    let free = ~this.#taken[start]! & (-1 << (first & 31));
    let word = start;
    if (free === 0) {
      word = nextZero(this.#full, start + 1);
      if (word >= WORDS) return -1;
      free = ~this.#taken[word]!;
    }
    const port = word * 32 + lowestBit(free);
    return port <= last ? port : -1;
  }
}

/** Index of the first 0 bit from `from` on; beyond the last bit if there is none. */
function nextZero(bits: Int32Array, from: number): number {
  for (let index = from >>> 5; index < bits.length; index++) {
    const mask = index === from >>> 5 ? -1 << (from & 31) : -1;
    const zeros = ~bits[index]! & mask;
    if (zeros !== 0) return index * 32 + lowestBit(zeros);
  }
  return bits.length * 32;
}

/** Number of the lowest 1 bit of a word that is not 0. */
function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}
