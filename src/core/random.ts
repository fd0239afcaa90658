/** Random numbers, passed in wherever a choice is made, so that a run can be repeated. */
export interface Random {
  /** Uniform over 0 … 2³² - 1. */
  uint32(): number;
}

/** Uniform over 0 … `count - 1`, for 1 ≤ `count` ≤ 2³². The bias is at most count / 2³². */
export function below(random: Random, count: number): number {
  return Math.floor((random.uint32() / 0x1_0000_0000) * count);
}

/** Repeatable numbers from a 32-bit seed: the sfc32 generator, warmed up for 15 rounds. */
export class SeededRandom implements Random {
  #a: number;
  #b = 0x9e3779b9 | 0;
  #c = 0x243f6a88;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed | 0;
    for (let i = 0; i < 15; i++) this.uint32();
  }

  uint32(): number {
    const result = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }
}

/** Unpredictable numbers from the platform's cryptographic source, drawn 256 at a time. */
export class CryptoRandom implements Random {
  readonly #pool: Uint32Array<ArrayBuffer> = new Uint32Array(256);
  #next = this.#pool.length;

  uint32(): number {
    if (this.#next === this.#pool.length) {
      crypto.getRandomValues(this.#pool);
      this.#next = 0;
    }
    return this.#pool[this.#next++]!;
  }
}
