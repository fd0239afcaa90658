/**
 * Many texts as two arrays, which cross threads without a copy, and are no work for a collector of
 * garbage.
 */
export interface Texts {
  /** All of them in UTF-8. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where each ends in `bytes`. */
  readonly ends: Uint32Array<ArrayBuffer>;
}

/** Longest UTF-8 of one UTF-16 unit. */
const MAX_UNIT_BYTES = 3;

/** Texts one after the other. */
export class TextWriter {
  readonly #encoder = new TextEncoder();
  #bytes = new Uint8Array(1024);
  #ends = new Uint32Array(64);
  #count = 0;

  /** Its number. */
  add(text: string): number {
    const start = this.#count === 0 ? 0 : this.#ends[this.#count - 1]!;
    const mostBytes = start + MAX_UNIT_BYTES * text.length;
    if (mostBytes > this.#bytes.length) this.#bytes = longer(this.#bytes, mostBytes);
    if (this.#count === this.#ends.length) this.#ends = longer(this.#ends, this.#count + 1);
    const { written } = this.#encoder.encodeInto(text, this.#bytes.subarray(start));
    this.#ends[this.#count] = start + written;
    return this.#count++;
  }

  texts(): Texts {
    const ends = this.#ends.slice(0, this.#count);
    return { bytes: this.#bytes.slice(0, ends.at(-1) ?? 0), ends };
  }
}

function longer<Numbers extends Uint8Array<ArrayBuffer> | Uint32Array<ArrayBuffer>>(
  array: Numbers,
  least: number,
): Numbers {
  const copy = new (array.constructor as new (length: number) => Numbers)(2 * least);
  copy.set(array);
  return copy;
}

const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

/** The text of that number. */
export function textAt({ bytes, ends }: Texts, number: number): string {
  return DECODER.decode(bytes.subarray(number === 0 ? 0 : ends[number - 1]!, ends[number]!));
}
