/**
 * A stream for the console that never makes its user wait: whole entries go into a bounded buffer,
 * one asynchronous write at a time takes them out, and what finds no room is lost and counted.
 *
 *     offer ──► filling half ──(swap when no write is in flight)──► half in flight ──► writer
 *
 * After a loss everything is lost up to the next swap; then one line with the count goes first, so
 * the gap stands where it happened. While a disk is full the write is tried again every few
 * seconds, from the byte where it stopped; a writer that fails otherwise turns the outlet off for
 * good. Of all failures but that the reader is gone (EPIPE) the owner is told. Nothing here ever
 * throws or rejects.
 */

import { writeBytes, type Writer } from "./writer.ts";

const DEFAULT_SIZE_BYTES = 1 << 20;

/** Pause before another try when the disk is full. */
const FULL_MS = 5000;

/** How ENOSPC and EDQUOT end as text: not each has a code. */
const FULL = /\(os error (28|122)\)$/;

/** Room for the line that counts lost entries. */
const MIN_SIZE_BYTES = 256;

export class Outlet {
  readonly #writer: Writer;
  readonly #failed: (reason: string) => void;
  readonly #lostLine: LostLine;
  readonly #fullMs: number;
  readonly #encoder = new TextEncoder();
  #filling: Uint8Array;
  #spare: Uint8Array;
  #usedBytes = 0;
  #fillingEntries = 0;
  #flightEntries = 0;
  #lost = 0;
  #unreported = 0;
  #closed = false;
  /** The disk is full, and the owner knows it. */
  #isFull = false;
  /** It was when entries were lost. */
  #wasFull = false;
  /** Ends a pause. */
  #wake = () => {};
  /** What can't be written now is lost. */
  #isLast = false;
  #draining: Promise<void> | null = null;

  /**
   * `sizeBytes` is the whole buffer; one entry can be half as long. `failed` is called when the
   * disk gets full, and when the outlet turns itself off. `lostLine` is the line that says how many
   * entries were lost.
   */
  constructor(
    writer: Writer,
    sizeBytes: number = DEFAULT_SIZE_BYTES,
    failed: (reason: string) => void = () => {},
    lostLine: LostLine = lostText,
    fullMs: number = FULL_MS,
  ) {
    if (sizeBytes < MIN_SIZE_BYTES) {
      throw new RangeError(`Cannot make outlet of ${sizeBytes} bytes: must be ≥ ${MIN_SIZE_BYTES}`);
    }
    this.#writer = writer;
    this.#failed = failed;
    this.#lostLine = lostLine;
    this.#fullMs = fullMs;
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

  /** True for good once a write has failed, but because of a full disk. */
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

  /**
   * Waits until everything taken is written, the reader is gone, the disk is full, which turns the
   * outlet off, or `ms` milliseconds are over.
   */
  async flush(ms: number): Promise<void> {
    if (this.#draining === null) return;
    this.#isLast = true;
    this.#wake();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const deadline = new Promise<void>((resolve) => timer = setTimeout(resolve, ms));
    await Promise.race([this.#draining, deadline]);
    this.#isLast = false;
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
        await this.#write(this.#swap());
      }
    } catch (error) {
      this.#closed = true;
      this.#lost += this.#flightEntries + this.#fillingEntries;
      this.#usedBytes = 0;
      const { name, message } = error instanceof Error ? error : new Error(String(error));
      if (name !== "BrokenPipe" && !this.#isFull) this.#failed(message);
    }
    this.#flightEntries = 0;
    this.#draining = null;
  }

  /** Writes all of it, however often the disk is full. */
  async #write(bytes: Uint8Array): Promise<void> {
    let rest = bytes;
    const writer: Writer = {
      write: async (some) => {
        const written = await this.#writer.write(some);
        rest = rest.subarray(written);
        return written;
      },
    };
    for (;;) {
      try {
        await writeBytes(writer, rest);
        this.#isFull = false;
        return;
      } catch (error) {
        const isFull = error instanceof Error && FULL.test(error.message);
        if (!isFull || this.#isLast) throw error;
        if (!this.#isFull) this.#failed(error.message);
        this.#isFull = this.#wasFull = true;
        await this.#pause();
      }
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#fullMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** What was filled so far; the empty half is filled from now on. */
  #swap(): Uint8Array {
    const bytes = this.#filling.subarray(0, this.#usedBytes);
    [this.#filling, this.#spare] = [this.#spare, this.#filling];
    this.#flightEntries = this.#fillingEntries;
    this.#usedBytes = 0;
    this.#fillingEntries = 0;
    if (this.#unreported > 0) {
      this.#put(this.#lostLine(this.#unreported, this.#wasFull));
      this.#unreported = 0;
    }
    this.#wasFull = false;
    return bytes;
  }
}

/** Says how many entries were lost, and whether because the disk was full. */
export type LostLine = (count: number, wasFull: boolean) => string;

/** Where the reader is a person. */
export function lostText(count: number, wasFull: boolean): string {
  const why = wasFull ? "its disk was full" : "the console was too slow";
  return `… ${count} ${count === 1 ? "entry" : "entries"} lost: ${why}\n`;
}
