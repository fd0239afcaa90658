/**
 * One capture: an observer that makes pcapng blocks of what it is for.
 *
 *     everything                each frame that comes or leaves, ARP and checks too
 *     a filter                  PDUs for which it holds, and the frames that left for them
 *     drops only                PDUs that were dropped, and what never became one
 *
 * Blocks go into a buffer (`buffer.ts`), which its owner takes from when it is told that there is
 * something. What finds no room is lost and counted; a packet never waits for a disk.
 */
import type { FrameWatcher, Observer, Outcome } from "../datapath/observer.ts";
import type { Interest, Some } from "../datapath/interest.ts";
import { FileTime, mostBlockBytes, PacketBlocks } from "../device/capture/packet_blocks.ts";
import {
  INBOUND,
  interfaceBlock,
  OUTBOUND,
  sectionBlock,
  statisticsBlock,
} from "../device/capture/pcapng_blocks.ts";
import { DROP } from "../policy/language/ast.ts";
import type { Pdu } from "../wire/pdu.ts";
import { type Batch, CaptureBuffer } from "./buffer.ts";
import { Comments } from "./comment.ts";
import type { CaptureOptions } from "./options.ts";

const DEFAULT_SIZE_BYTES = 8 << 20;
const NO_COMMENT = new Uint8Array(0);
/** No block is begun. */
const NONE = -1;

/** Why a capture has ended by itself. */
export type End = "duration" | "max-size";

export interface CaptureParts {
  readonly options: CaptureOptions;
  /** Of the filter; null: there is none. */
  readonly interest: Interest | null;
  /** Names and sides of the interfaces. */
  readonly links: readonly { readonly name: string; readonly side: string }[];
  /** What the file says that it was written by. */
  readonly application: string;
  /** Since 1970, when the appliance's clock began to count, and that clock. */
  readonly epochNs: bigint;
  readonly nowMs: number;
  /** There is something to be taken from the buffer; called often. */
  readonly filled: () => void;
  /** It has ended; it is to be told nothing more. */
  readonly ended: (why: End) => void;
  /** Of both halves of the buffer. */
  readonly sizeBytes?: number;
}

export class Capture implements Observer {
  /** What the file begins with. */
  readonly head: Uint8Array<ArrayBuffer>;
  readonly seesDrops: boolean;
  /** Null: it takes no frames but those of PDUs. */
  readonly frames: FrameWatcher | null;
  readonly #parts: CaptureParts;
  readonly #buffer: CaptureBuffer;
  readonly #interest: Interest | null;
  readonly #snapBytes: number;
  readonly #maxBytes: number;
  readonly #endMs: number;
  readonly #blocks = new PacketBlocks();
  readonly #time: FileTime;
  /** When the file began. */
  #startNs: bigint;
  readonly #comments = new Comments();
  /** By link: packets that it was for, and those of them that were lost, since the file began. */
  readonly #received: Float64Array<ArrayBuffer>;
  readonly #lostOf: Float64Array<ArrayBuffer>;
  readonly #tailBytes: number;
  /** Of the file that is being filled. */
  #fileBytes: number;
  /** Packets of the whole capture, and those that were lost. */
  #packets = 0;
  #lost = 0;
  #bytes = 0;
  #hasEnded = false;
  #nowMs: number;
  /** The block that is begun: where, its options, its link, its PDU's number. */
  #begun = NONE;
  #optionsAt = 0;
  #link = 0;
  #isWanted = false;
  #id = 0;

  constructor(parts: CaptureParts) {
    const { options, interest, links, epochNs, nowMs } = parts;
    this.#parts = parts;
    this.#interest = interest;
    this.seesDrops = options.dropsOnly;
    this.#snapBytes = options.snapBytes === 0 ? Infinity : options.snapBytes;
    this.#maxBytes = options.maxBytes ?? Infinity;
    this.#endMs = options.durationMs === null ? Infinity : nowMs + options.durationMs;
    this.#buffer = new CaptureBuffer(parts.sizeBytes ?? DEFAULT_SIZE_BYTES);
    this.#blocks.memory = this.#buffer.bytes;
    this.#time = new FileTime(epochNs);
    this.#time.set(this.#nowMs = nowMs);
    this.#startNs = this.#time.ns;
    this.#received = new Float64Array(links.length);
    this.#lostOf = new Float64Array(links.length);
    this.head = this.#makeHead();
    this.#tailBytes = this.#makeTail().length;
    this.#fileBytes = this.#bytes = this.head.length;
    this.frames = this.#isWhole
      ? { arrived: (...frame) => this.#arrived(...frame), left: (...frame) => this.#left(...frame) }
      : null;
  }

  get #isWhole(): boolean {
    return this.#interest === null && !this.seesDrops;
  }

  /** Packets that were captured, and that were lost. */
  get packets(): number {
    return this.#packets;
  }

  get lost(): number {
    return this.#lost;
  }

  /** Of all files. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Packets that were taken, and could not be written. */
  unwritten(packets: number): void {
    this.#packets -= packets;
    this.#lost += packets;
  }

  /** True while there is nothing to be taken. */
  get isEmpty(): boolean {
    return this.#buffer.isEmpty;
  }

  /** What was captured since the last time; valid until the next. */
  take(): Batch {
    this.#settle(NO_COMMENT);
    const batch = this.#buffer.swap();
    this.#blocks.memory = this.#buffer.bytes;
    return batch;
  }

  /** The end of the last file; nothing is captured any more. */
  finish(): Uint8Array<ArrayBuffer> {
    this.#settle(NO_COMMENT);
    this.#hasEnded = true;
    const tail = this.#makeTail();
    this.#bytes += tail.length;
    return tail;
  }

  // As an observer

  plain(): Some {
    if (this.seesDrops) return "none";
    return this.#interest?.holds ?? "all";
  }

  kept(): Some {
    if (this.seesDrops) return "none";
    return this.#interest?.mayHoldLater ?? "all";
  }

  wants(nowMs: number, pdu: Pdu): boolean {
    this.#nowMs = nowMs;
    return this.#interest === null || this.#interest.mayHold(pdu);
  }

  received(view: DataView, { frame, frameBytes }: Readonly<Pdu>, link: number): void {
    if (this.#isWhole) return; // it has arrived
    this.#begin(link, view, frame, frameBytes);
  }

  takes(pdu: Pdu, decision: number): boolean {
    const takes = (!this.seesDrops || decision === DROP) &&
      (this.#interest === null || this.#interest.holds(pdu));
    if (!takes) this.#isWanted = false;
    return takes;
  }

  decided(outcome: Outcome): void {
    if (!this.#isWhole) this.#id++;
    this.#settle(this.#comments.of(outcome));
    if (this.#isWhole || this.seesDrops) return;
    for (const { link, view, frame, frameBytes } of outcome.sent) {
      this.#begin(link, view, frame, frameBytes);
      this.#settle(NO_COMMENT, OUTBOUND);
    }
  }

  skipped(): void {}

  refused(
    { frame, frameBytes }: Readonly<Pdu>,
    reason: number,
    view: DataView,
    link: number,
  ): void {
    if (this.#interest !== null) return;
    if (!this.#isWhole) this.#begin(link, view, frame, frameBytes);
    this.#settle(this.#comments.ofRefusal(reason));
  }

  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#settle(NO_COMMENT);
    if (nowMs >= this.#endMs) this.#end("duration");
    else if (!this.#buffer.isEmpty) this.#parts.filled();
  }

  // Frames of all kinds

  #arrived(link: number, view: DataView, frame: number, frameBytes: number, nowMs: number): void {
    this.#nowMs = nowMs;
    this.#settle(NO_COMMENT);
    this.#begin(link, view, frame, frameBytes);
  }

  #left(link: number, view: DataView, frame: number, frameBytes: number, nowMs: number): void {
    this.#nowMs = nowMs;
    this.#settle(NO_COMMENT);
    this.#begin(link, view, frame, frameBytes);
    this.#settle(NO_COMMENT, OUTBOUND);
  }

  /** Begins the block of a frame; `settle` ends it, if it is still wanted. */
  #begin(link: number, view: DataView, frame: number, frameBytes: number): void {
    this.#link = link;
    this.#isWanted = true;
    this.#begun = NONE;
    const capturedBytes = Math.min(frameBytes, this.#snapBytes);
    const most = mostBlockBytes(capturedBytes);
    if (this.#fileBytes + most + this.#tailBytes > this.#maxBytes && !this.#nextFile()) return;
    if (!this.#buffer.hasRoom(most)) return;
    this.#begun = this.#buffer.usedBytes;
    this.#time.set(this.#nowMs);
    const bytes = new Uint8Array(view.buffer, view.byteOffset + frame, frameBytes);
    this.#optionsAt = this.#blocks.begin(this.#begun, link, this.#time, bytes, capturedBytes);
  }

  /** Ends the block that was begun, if there is one, or counts its packet as lost. */
  #settle(comment: Uint8Array, direction: number = INBOUND): void {
    if (!this.#isWanted) return;
    this.#isWanted = false;
    if (this.#hasEnded) return;
    this.#received[this.#link]!++;
    if (this.#begun === NONE) {
      this.#lostOf[this.#link]!++;
      this.#lost++;
      return;
    }
    const buffer = this.#buffer;
    const end = this.#blocks.end(this.#begun, this.#optionsAt, direction, this.#id, comment);
    const blockBytes = end - this.#begun;
    this.#begun = NONE;
    buffer.usedBytes = end;
    buffer.packets++;
    this.#packets++;
    this.#fileBytes += blockBytes;
    this.#bytes += blockBytes;
    if (buffer.usedBytes > buffer.bytes.length >> 2) this.#parts.filled();
  }

  /** Begins the next file; false: there is none. */
  #nextFile(): boolean {
    if (this.#parts.options.files === 1) {
      this.#isWanted = false;
      this.#end("max-size");
      return false;
    }
    const tail = this.#makeTail();
    this.#startNs = this.#time.ns;
    this.#received.fill(0);
    this.#lostOf.fill(0);
    this.#buffer.cut(tail, this.head);
    this.#bytes += tail.length + this.head.length;
    this.#fileBytes = this.head.length;
    return true;
  }

  #end(why: End): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#isWanted = false;
    this.#parts.ended(why);
  }

  #makeHead(): Uint8Array<ArrayBuffer> {
    const { application, links, options } = this.#parts;
    const { filter, dropsOnly, snapBytes } = options;
    const what = [...(dropsOnly ? ["drops only"] : []), ...(filter === null ? [] : [filter])];
    return joined([
      sectionBlock(application, what.length === 0 ? null : what.join(": ")),
      ...links.map(({ name, side }) =>
        interfaceBlock({
          name,
          description: side === "both" ? "both sides" : `side ${side}`,
          snapBytes,
        })
      ),
    ]);
  }

  #makeTail(): Uint8Array<ArrayBuffer> {
    this.#time.set(this.#nowMs);
    const endNs = this.#time.ns;
    return joined(this.#parts.links.map((_, link) =>
      statisticsBlock({
        interface: link,
        startNs: this.#startNs,
        endNs,
        received: this.#received[link]!,
        dropped: this.#lostOf[link]!,
      })
    ));
  }
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
