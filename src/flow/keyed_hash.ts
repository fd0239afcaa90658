/**
 * Keyed hash of a connection tuple: simple tabulation (Zobrist; Pătraşcu and Thorup 2011). Each of
 * the 13 key bytes selects a random word from its own table and the words are xored. The tables
 * are random, so nobody outside can choose tuples that collide.
 *
 * The part for destination and protocol is cached from one tuple to the next: it is the same for
 * nearly all packets, the proxy's address and TCP.
 */
import type { Address } from "../wire/address.ts";
import type { Random } from "../core/random.ts";

const KEY_BYTES = 13;

/** Words of its tables. */
export const HASH_WORDS: number = 256 * KEY_BYTES;

export class KeyedHash {
  readonly #table: Int32Array<ArrayBuffer>;
  #protocol = 0;
  #dst = 0;
  #dstPart = 0;

  /** Fills `table`, HASH_WORDS long. */
  constructor(random: Random, table: Int32Array<ArrayBuffer> = new Int32Array(HASH_WORDS)) {
    this.#table = table;
    for (let i = 0; i < this.#table.length; i++) this.#table[i] = random.uint32();
    this.#keep(0, 0);
  }

  /** Any 32 bits, as a signed integer. `ports` is `srcPort << 16 | dstPort`. */
  of(protocol: number, src: Address, dst: Address, ports: number): number {
    if (dst !== this.#dst || protocol !== this.#protocol) this.#keep(protocol, dst);
    const t = this.#table;
    return this.#dstPart ^
      t[src & 255]! ^ t[256 | ((src >>> 8) & 255)]! ^
      t[512 | ((src >>> 16) & 255)]! ^ t[768 | (src >>> 24)]! ^
      t[1024 | (ports & 255)]! ^ t[1280 | ((ports >>> 8) & 255)]! ^
      t[1536 | ((ports >>> 16) & 255)]! ^ t[1792 | (ports >>> 24)]!;
  }

  #keep(protocol: number, dst: Address): void {
    const t = this.#table;
    this.#protocol = protocol;
    this.#dst = dst;
    this.#dstPart = t[2048 | (dst & 255)]! ^ t[2304 | ((dst >>> 8) & 255)]! ^
      t[2560 | ((dst >>> 16) & 255)]! ^ t[2816 | (dst >>> 24)]! ^ t[3072 | (protocol & 255)]!;
  }
}
