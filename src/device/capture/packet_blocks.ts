/**
 * Packets of a pcapng file, written in place and without an allocation:
 *
 *     | 6 | length | interface | time | captured | length | frame | flags [id] [comment] | length |
 *
 * A block is begun with the frame, when that comes, and ended when it is known what became of it.
 * Read first: `pcapng_blocks.ts`, draft-ietf-opsawg-pcapng §4.3.
 */
import { BLOCK } from "./pcapng.ts";
import { OPTION, padded } from "./pcapng_blocks.ts";

/** Before the frame. */
const HEAD_BYTES = 28;
/** Code and length of an option. */
const OPTION_BYTES = 4;
/** Flags, the id, the end of the options, and the length once more. */
const TAIL_BYTES = 8 + 12 + OPTION_BYTES + 4;
const WORD = 2 ** 32;

/** Longest comment. */
export const MAX_COMMENT_BYTES = 512;

/** Most bytes of the block of a frame of which so many are captured. */
export function mostBlockBytes(capturedBytes: number): number {
  return HEAD_BYTES + padded(capturedBytes) + TAIL_BYTES + OPTION_BYTES + MAX_COMMENT_BYTES;
}

/** Times as a file has them, in two words. */
export class FileTime {
  readonly #startHigh: number;
  readonly #startLow: number;
  /** The last one that was asked for, in words. */
  high = 0;
  low = 0;

  /** `startNs`: since 1970, when a clock began to count. */
  constructor(startNs: bigint) {
    this.#startHigh = Number(startNs >> 32n);
    this.#startLow = Number(startNs & 0xffff_ffffn);
  }

  /** The time on that clock. */
  set(nowMs: number): void {
    const sinceNs = Math.floor(nowMs * 1_000_000);
    const sinceHigh = Math.floor(sinceNs / WORD);
    const low = this.#startLow + (sinceNs - sinceHigh * WORD);
    const carry = low < WORD ? 0 : 1;
    this.high = this.#startHigh + sinceHigh + carry;
    this.low = low - carry * WORD;
  }

  get ns(): bigint {
    return (BigInt(this.high) << 32n) | BigInt(this.low);
  }
}

/** Writes blocks into memory that changes; who calls sees that there is room. */
export class PacketBlocks {
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(new ArrayBuffer(0));

  set memory(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /**
   * Begins a block at `at`, of a frame of which the first `capturedBytes` are kept. Returns where
   * its options will be.
   */
  begin(
    at: number,
    from: number,
    time: Readonly<FileTime>,
    frame: Uint8Array,
    capturedBytes: number,
  ): number {
    const view = this.#view;
    view.setUint32(at, BLOCK.enhancedPacket, true);
    view.setUint32(at + 8, from, true);
    view.setUint32(at + 12, time.high, true);
    view.setUint32(at + 16, time.low, true);
    view.setUint32(at + 20, capturedBytes, true);
    view.setUint32(at + 24, frame.length, true);
    const start = at + HEAD_BYTES;
    this.#bytes.set(capturedBytes < frame.length ? frame.subarray(0, capturedBytes) : frame, start);
    const end = start + padded(capturedBytes);
    this.#bytes.fill(0, start + capturedBytes, end);
    return end;
  }

  /**
   * Ends the block that began at `start`, with its options at `at`: returns where the next one may
   * begin. Without an `id` it is 0; `comment` is cut to what a block has room for.
   */
  end(start: number, at: number, direction: number, id: number, comment: Uint8Array): number {
    const view = this.#view;
    const bytes = this.#bytes;
    at = option(view, at, OPTION.packetFlags, 4);
    view.setUint32(at - 4, direction, true);
    if (id !== 0) {
      at = option(view, at, OPTION.packetId, 8);
      view.setUint32(at - 8, id % WORD, true);
      view.setUint32(at - 4, Math.floor(id / WORD), true);
    }
    if (comment.length > 0) {
      const length = Math.min(comment.length, MAX_COMMENT_BYTES);
      const next = option(view, at, OPTION.comment, length);
      bytes.set(comment.subarray(0, length), at + OPTION_BYTES);
      bytes.fill(0, at + OPTION_BYTES + length, next);
      at = next;
    }
    view.setUint32(at, OPTION.end, true); // and its length
    const totalBytes = at + OPTION_BYTES + 4 - start;
    view.setUint32(start + 4, totalBytes, true);
    view.setUint32(at + OPTION_BYTES, totalBytes, true);
    return start + totalBytes;
  }
}

/** Writes an option's code and length; returns where it ends. */
function option(view: DataView, at: number, code: number, lengthBytes: number): number {
  view.setUint16(at, code, true);
  view.setUint16(at + 2, lengthBytes, true);
  return at + OPTION_BYTES + padded(lengthBytes);
}
