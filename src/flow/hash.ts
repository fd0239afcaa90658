/**
 * Keyed hash of a connection tuple: simple tabulation (Zobrist; Pătraşcu and Thorup 2011). Each of the
 * 13 key bytes selects a random word from its own table and the words are xored. The tables come from
 * the injected randomness, so nobody outside can choose tuples that meet in one bucket.
 */
import type { Random } from "../core/random.ts";

const KEY_BYTES = 13;

export class TupleHash {
  readonly #table: Int32Array<ArrayBuffer> = new Int32Array(256 * KEY_BYTES);

  constructor(random: Random) {
    for (let i = 0; i < this.#table.length; i++) this.#table[i] = random.uint32();
  }

  /** Any 32 bits, as a signed integer. `ports` is `srcPort << 16 | dstPort`. */
  of(protocol: number, src: number, dst: number, ports: number): number {
    const t = this.#table;
    return t[src & 255]! ^ t[256 | ((src >>> 8) & 255)]! ^
      t[512 | ((src >>> 16) & 255)]! ^ t[768 | (src >>> 24)]! ^
      t[1024 | (dst & 255)]! ^ t[1280 | ((dst >>> 8) & 255)]! ^
      t[1536 | ((dst >>> 16) & 255)]! ^ t[1792 | (dst >>> 24)]! ^
      t[2048 | (ports & 255)]! ^ t[2304 | ((ports >>> 8) & 255)]! ^
      t[2560 | ((ports >>> 16) & 255)]! ^ t[2816 | (ports >>> 24)]! ^
      t[3072 | (protocol & 255)]!;
  }
}
