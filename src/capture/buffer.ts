/**
 * Blocks of a capture on their way to its files, in bounded memory: they go into one half while the
 * other is written, as on the console. A half may have the end of a file in it, and the beginning
 * of the next.
 *
 *     packet ──► filling half ──(swap when no write is in flight)──► half in flight ──► file
 */

/** Where a file ends in a half: what follows there, and what the next file begins with. */
export interface Cut {
  readonly at: number;
  readonly tail: Uint8Array<ArrayBuffer>;
  readonly head: Uint8Array<ArrayBuffer>;
}

/** Part of a capture to be written. */
export interface Batch {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly cuts: readonly Cut[];
  readonly packets: number;
}

export class CaptureBuffer {
  /** The half that is being filled. */
  bytes: Uint8Array<ArrayBuffer>;
  usedBytes = 0;
  packets = 0;
  #cuts: Cut[] = [];
  #spare: Uint8Array<ArrayBuffer>;

  /** `sizeBytes`: of both halves. */
  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(sizeBytes >> 1);
    this.#spare = new Uint8Array(sizeBytes >> 1);
  }

  get isEmpty(): boolean {
    return this.usedBytes === 0 && this.#cuts.length === 0;
  }

  hasRoom(lengthBytes: number): boolean {
    return this.usedBytes + lengthBytes <= this.bytes.length;
  }

  /** Ends a file here. */
  cut(tail: Uint8Array<ArrayBuffer>, head: Uint8Array<ArrayBuffer>): void {
    this.#cuts.push({ at: this.usedBytes, tail, head });
  }

  /** What was filled so far, valid until the next call; the other half is filled from now on. */
  swap(): Batch {
    const batch = {
      bytes: this.bytes.subarray(0, this.usedBytes),
      cuts: this.#cuts,
      packets: this.packets,
    };
    [this.bytes, this.#spare] = [this.#spare, this.bytes];
    this.#cuts = [];
    this.usedBytes = 0;
    this.packets = 0;
    return batch;
  }
}
