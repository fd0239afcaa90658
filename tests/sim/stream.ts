/**
 * What the simulated connections carry: every stream has bytes of its own, known by the stream's
 * number and the offset in it, so that the receiver can tell a byte of another stream or another
 * place.
 */
import { SeededRandom } from "../../src/core/random.ts";

const BLOCK_BYTES = 1 << 16;
const BULKY_BLOCK_BYTES = 1 << 20;

export class Streams {
  /** Random bytes, twice in a row: a stream begins somewhere in the first copy. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly #blockBytes: number;

  /** Streams are at most 64 KiB long, or `isBulky` 1 MiB. */
  constructor(seed: number, isBulky: boolean) {
    const random = new SeededRandom(seed);
    this.#blockBytes = isBulky ? BULKY_BLOCK_BYTES : BLOCK_BYTES;
    this.bytes = new Uint8Array(2 * this.#blockBytes);
    for (let i = 0; i < this.#blockBytes; i++) {
      this.bytes[i] = random.uint32() >>> 24;
      this.bytes[i + this.#blockBytes] = this.bytes[i]!;
    }
  }

  /** Where the byte at `offset` of a stream stands in `bytes`. */
  at(stream: number, offset: number): number {
    return ((stream * 7919) & (this.#blockBytes - 1)) + offset;
  }

  /** True if these are the `lengthBytes` bytes of `stream` from `offset` on. */
  matches(
    stream: number,
    offset: number,
    found: Uint8Array,
    from: number,
    lengthBytes: number,
  ): boolean {
    if (offset + lengthBytes > this.#blockBytes) return false;
    const at = this.at(stream, offset);
    for (let i = 0; i < lengthBytes; i++) {
      if (this.bytes[at + i] !== found[from + i]) return false;
    }
    return true;
  }
}
