/**
 * A stream for the console that never makes its user wait: whole entries go into a bounded buffer,
 * one asynchronous write at a time takes them out, and what finds no room is lost and counted.
 *
 *     offer ──► filling half ──(swap when no write is in flight)──► half in flight ──► writer
 *
 * After a loss everything is lost up to the next swap; then one line with the count goes first, so
 * the gap stands where it happened. A writer that fails turns the outlet off for good; of all
 * failures but that the reader is gone (EPIPE) the owner is told. Nothing here ever throws or
 * rejects.
 */

import { writeBytes, type Writer } from "./writer.ts";

const DEFAULT_SIZE_BYTES = 1 << 20;

/** Room for the line that counts lost entries. */
const MIN_SIZE_BYTES = 256;

export class Outlet {
  readonly #writer: Writer;
  readonly #failed: (reason: string) => void;
  readonly #lostLine: (count: number) => string;
  readonly #encoder = new TextEncoder();
  #filling: Uint8Array;
  #spare: Uint8Array;
  #usedBytes = 0;
  #fillingEntries = 0;
  #flightEntries = 0;
  #lost = 0;
  #unreported = 0;
  #closed = false;
  #draining: Promise<void> | null = null;

  /**
   * `sizeBytes` is the whole buffer; one entry can be half as long. `failed` is called once at
   * most. `lostLine` is the line that says how many entries were lost.
   */
  constructor(
    writer: Writer,
    sizeBytes: number = DEFAULT_SIZE_BYTES,
    failed: (reason: string) => void = () => {},
    lostLine: (count: number) => string = lostText,
  ) {
    if (sizeBytes < MIN_SIZE_BYTES) {
      throw new RangeError(`Cannot make outlet of ${sizeBytes} bytes: must be ≥ ${MIN_SIZE_BYTES}`);
    }
    this.#writer = writer;
    this.#failed = failed;
    this.#lostLine = lostLine;
    this.#filling = new Uint8Array(sizeBytes >> 1);
    this.#spare = new Uint8Array(sizeBytes >> 1);
  }

  /** Entries lost so far, because there was no room or because the reader has gone. */
  get lost(): number {
    return this.#lost;
  }

  /** True while every entry would be lost; formatting one is then wasted work. */
  get full(): boolean {
    return this.#closed || this.#unreported > 0;
  }

  /** True for good once a write has failed. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Takes the whole of `text`, or loses it and returns false. */
  offer(text: string): boolean {
    if (this.#closed) {
      this.#lost++;
      return false;
    }
    const taken = this.#unreported === 0 && this.#put(text);
    if (taken) {
      this.#fillingEntries++;
    } else {
      this.#lost++;
      this.#unreported++;
    }
    this.#draining ??= this.#drain();
    return taken;
  }

  /** Waits until everything taken is written, the reader is gone, or `ms` milliseconds are over. */
  async flush(ms: number): Promise<void> {
    if (this.#draining === null) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const deadline = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
    await Promise.race([this.#draining, deadline]);
    clearTimeout(timer);
  }

  #put(text: string): boolean {
    if (text.length > this.#filling.length - this.#usedBytes) return false;
    const { read, written } = this.#encoder.encodeInto(
      text,
      this.#filling.subarray(this.#usedBytes),
    );
    if (read < text.length) return false;
    this.#usedBytes += written;
    return true;
  }

  async #drain(): Promise<void> {
    try {
      await Promise.resolve(); // entries that are offered in one go leave in one write
      while (this.#usedBytes > 0 || this.#unreported > 0) {
        await writeBytes(this.#writer, this.#swap());
      }
    } catch (error) {
      this.#closed = true;
      this.#lost += this.#flightEntries + this.#fillingEntries;
      this.#usedBytes = 0;
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      if (name !== "BrokenPipe") this.#failed(message);
    }
    this.#flightEntries = 0;
    this.#draining = null;
  }

  /** What was filled so far; the empty half is filled from now on. */
  #swap(): Uint8Array {
    const bytes = this.#filling.subarray(0, this.#usedBytes);
    [this.#filling, this.#spare] = [this.#spare, this.#filling];
    this.#flightEntries = this.#fillingEntries;
    this.#usedBytes = 0;
    this.#fillingEntries = 0;
    if (this.#unreported > 0) {
      this.#put(this.#lostLine(this.#unreported));
      this.#unreported = 0;
    }
    return bytes;
  }
}

/** Where the reader is a person. */
export function lostText(count: number): string {
  return `… ${count} ${count === 1 ? "entry" : "entries"} lost: the console was too slow\n`;
}
