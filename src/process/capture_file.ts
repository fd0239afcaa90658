/**
 * Capture files on disk: the bytes that `src/device/capture/records.ts` reads, and a file to
 * write records to.
 */
import { pcapHeader, type PcapRecord, pcapRecord } from "../device/capture/pcap.ts";
import { printable } from "../core/text.ts";
import { reasonOf } from "./file_error.ts";

/** Largest capture that is read, in bytes: it is held in memory. */
export const MAX_CAPTURE_BYTES: number = 2 ** 30;

/** Records are written in pieces of about this size. */
const PIECE_BYTES = 1 << 18;

/** The file's bytes. Throws an Error of one line. */
export async function readCaptureFile(path: string): Promise<Uint8Array> {
  try {
    using file = await Deno.open(path);
    const { isDirectory, isFile, size } = await file.stat();
    if (isDirectory) throw new Error("it is a directory");
    if (isFile && size > MAX_CAPTURE_BYTES) throw tooLarge(`${size}`);
    return await readBounded(file, isFile ? size + 1 : 1 << 20);
  } catch (error) {
    throw new Error(`Cannot read capture "${printable(path)}": ${reasonOf(error, path)}`);
  }
}

/** All that the file gives, into a buffer that has room for `sizeBytes` at first. */
async function readBounded(file: Deno.FsFile, sizeBytes: number): Promise<Uint8Array> {
  let bytes = new Uint8Array(sizeBytes);
  let usedBytes = 0;
  for (let read; (read = await file.read(bytes.subarray(usedBytes))) !== null;) {
    usedBytes += read;
    if (usedBytes > MAX_CAPTURE_BYTES) throw tooLarge(`more than ${MAX_CAPTURE_BYTES}`);
    if (usedBytes < bytes.length) continue;
    const larger = new Uint8Array(Math.min(2 * bytes.length, MAX_CAPTURE_BYTES + 1));
    larger.set(bytes);
    bytes = larger;
  }
  return bytes.subarray(0, usedBytes);
}

function tooLarge(size: string): Error {
  return new RangeError(
    `it has ${size} bytes, expected at most 1 GiB ('editcap -c' splits a capture)`,
  );
}

/** A capture file that is being written. */
export class CaptureWriter implements Disposable {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  #pieces: Uint8Array[] = [];
  #bytes = 0;

  private constructor(path: string, file: Deno.FsFile) {
    this.#path = path;
    this.#file = file;
    this.#push(pcapHeader());
  }

  /** Begins the file; one that is there is overwritten. Throws an Error of one line. */
  static async create(path: string): Promise<CaptureWriter> {
    try {
      const options = { write: true, create: true, truncate: true };
      return new CaptureWriter(path, await Deno.open(path, options));
    } catch (error) {
      throw cannotWrite(path, error);
    }
  }

  add(record: PcapRecord): void {
    this.#push(pcapRecord(record));
  }

  /**
   * Writes what has gathered, if it is enough or `all` of it is wanted. Throws an Error of one
   * line.
   */
  async flush(all: boolean): Promise<void> {
    if (this.#bytes < PIECE_BYTES && !all) return;
    const bytes = new Uint8Array(this.#bytes);
    let at = 0;
    for (const piece of this.#pieces) {
      bytes.set(piece, at);
      at += piece.length;
    }
    this.#pieces = [];
    this.#bytes = 0;
    try {
      for (let sent = 0; sent < bytes.length;) {
        sent += await this.#file.write(bytes.subarray(sent));
      }
    } catch (error) {
      throw cannotWrite(this.#path, error);
    }
  }

  [Symbol.dispose](): void {
    this.#file.close();
  }

  #push(piece: Uint8Array): void {
    this.#pieces.push(piece);
    this.#bytes += piece.length;
  }
}

function cannotWrite(path: string, error: unknown): Error {
  return new Error(`Cannot write capture "${printable(path)}": ${reasonOf(error, path)}`);
}
