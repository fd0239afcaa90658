/**
 * A digest of 32 bits of an IPv6 address, for where IPv4 has the address itself: by simple
 * tabulation (Zobrist 1970; Pătraşcu and Thorup 2012). Each of the sixteen bytes chooses a random
 * word from a table of its own, and the digest is their exclusive or.
 *
 * The words are the key: who doesn't know them can't choose addresses that meet. Two addresses have
 * the same digest with a probability of 2⁻³²; so equal digests are a question, not an answer.
 */
import type { Random } from "../core/random.ts";
import { ADDRESS6_BYTES } from "./address6.ts";

/** Words in the table of one byte. */
const BYTE_VALUES = 256;

/** Words of all tables: the first byte's, then the next one's. */
export const DIGEST_WORDS: number = ADDRESS6_BYTES * BYTE_VALUES;

export class AddressDigest {
  readonly #words: Int32Array;

  constructor(random: Random) {
    this.#words = Int32Array.from({ length: DIGEST_WORDS }, () => random.uint32());
  }

  /** Copies the tables to where somebody else computes the same digests, DIGEST_WORDS. */
  copyTables(to: Int32Array): void {
    to.set(this.#words);
  }

  /** Digest of an address of these words: any 32 bits, signed. */
  of(word0: number, word1: number, word2: number, word3: number): number {
    const words = this.#words;
    return words[word0 >>> 24]! ^ words[0x100 | ((word0 >>> 16) & 255)]! ^
      words[0x200 | ((word0 >>> 8) & 255)]! ^ words[0x300 | (word0 & 255)]! ^
      words[0x400 | (word1 >>> 24)]! ^ words[0x500 | ((word1 >>> 16) & 255)]! ^
      words[0x600 | ((word1 >>> 8) & 255)]! ^ words[0x700 | (word1 & 255)]! ^
      words[0x800 | (word2 >>> 24)]! ^ words[0x900 | ((word2 >>> 16) & 255)]! ^
      words[0xa00 | ((word2 >>> 8) & 255)]! ^ words[0xb00 | (word2 & 255)]! ^
      words[0xc00 | (word3 >>> 24)]! ^ words[0xd00 | ((word3 >>> 16) & 255)]! ^
      words[0xe00 | ((word3 >>> 8) & 255)]! ^ words[0xf00 | (word3 & 255)]!;
  }

  /** Digest of the address at `at`. */
  ofWords(words: Int32Array, at: number): number {
    return this.of(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
  }

  /** Digest of the address at `offset` of a packet. */
  ofPacket(view: DataView, offset: number): number {
    return this.of(
      view.getInt32(offset),
      view.getInt32(offset + 4),
      view.getInt32(offset + 8),
      view.getInt32(offset + 12),
    );
  }
}
