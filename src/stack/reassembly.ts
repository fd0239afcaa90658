/**
 * Reassembles fragmented datagrams of one family, so that policy, translator and echo server see
 * whole packets only. How a family's fragments look says `fragment_format.ts`.
 *
 *     add(fragment) ─┬─ copied, waits for the others                         0
 *                    ├─ was the last missing one: the datagram, in scratch   frame offset
 *                    └─ dropped                                              reason
 *
 * Fragments may come in any order; an exact duplicate is ignored. Any other overlap, or a
 * contradiction about the datagram's length, drops the datagram and all its later fragments: no
 * honest sender does that (RFC 5722 for IPv6; "teardrop").
 *
 * Waiting datagrams are bounded in number, bytes and time. Above a bound the oldest is dropped,
 * first of a source above its own bound: a datagram whose fragments arrive in succession gets
 * through a flood of incomplete ones. Fragments are rare, so unlike elsewhere objects are allocated
 * for a packet; but the buffers are reused, so that a flood leaves little garbage.
 */
import type { Arena } from "../core/arena.ts";
import { HELD, Reason } from "../core/reason.ts";
import type { Pdu } from "../wire/pdu.ts";
import {
  BUFFER_BYTES,
  Datagram,
  DATAGRAM_COST_BYTES,
  isContradiction,
  isDuplicate,
  Part,
  type Source,
  type SourceKey,
  startOf,
} from "./datagram.ts";
import { type FragmentFormat, FRAGMENTS4 } from "./fragment_format.ts";

/** Most datagrams and bytes that wait, in all and from one source. */
export const MAX_DATAGRAMS = 1024;
export const MAX_SOURCE_DATAGRAMS = 256;
export const MAX_HELD_BYTES = 4 << 20;
export const MAX_SOURCE_BYTES = 1 << 20;

/** Most datagrams that one call of `expire` times out. */
const EXPIRED_AT_ONCE = 64;

export interface ReassemblyEvents {
  /** Fragments that waited were dropped. */
  dropped(reason: number, fragments: number): void;
  /**
   * A datagram timed out; `start` is the beginning of its first fragment's frame, or null if that
   * never came.
   */
  timedOut(start: Uint8Array<ArrayBuffer> | null): void;
}

export class Reassembly {
  readonly #events: ReassemblyEvents;
  readonly #format: FragmentFormat;
  /** The oldest first. */
  readonly #datagrams = new Map<string, Datagram>();
  readonly #sources = new Map<SourceKey, Source>();
  /** Free buffers; with those in use never more than fit into `MAX_HELD_BYTES`. */
  readonly #spare: Part[] = [];
  #heldBytes = 0;
  #longestBytes = 0;

  constructor(events: ReassemblyEvents, format: FragmentFormat = FRAGMENTS4) {
    this.#events = events;
    this.#format = format;
  }

  /** Known datagrams, including those whose further fragments are to be dropped. */
  get count(): number {
    return this.#datagrams.size;
  }

  /** What they cost, in bytes. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Longest fragment of the datagram that `add` last completed, as IP packet in bytes. */
  get longestBytes(): number {
    return this.#longestBytes;
  }

  /**
   * Takes a fragment whose own headers were decoded. Returns HELD when it waits, is a duplicate, or
   * was evicted at once; the frame's offset when the datagram is complete (a new frame in scratch
   * space, with the first fragment's Ethernet header, TTL and options); or a reason to drop it.
   */
  add(arena: Arena, pdu: Pdu, nowMs: number): number {
    const { view } = arena;
    const format = this.#format;
    const start = format.startOf(view, pdu);
    const isLast = format.isLast(view, pdu);
    const fault = format.faultOf(view, pdu, start, isLast);
    if (fault !== 0) return fault;

    const datagram = this.#obtain(view, pdu, nowMs);
    if (datagram.verdict !== 0) return datagram.verdict;
    const data = format.dataOf(pdu);
    const end = start + pdu.end - data;
    const index = datagram.indexOf(start);
    if (isDuplicate(arena, data, datagram, index, start, end, isLast)) return HELD;
    if (isContradiction(datagram, index, start, end, isLast)) {
      return this.#condemn(datagram, Reason["fragment-overlap"]);
    }

    const part = this.#keep(arena, pdu, data, start, end);
    datagram.parts.splice(index, 0, part);
    datagram.dataBytes += end - start;
    datagram.longestBytes = Math.max(datagram.longestBytes, pdu.totalLength);
    if (format.isCongested(view, pdu)) datagram.congested = true;
    if (isLast) datagram.endBytes = end;
    this.#charge(datagram, part.costBytes);
    if (datagram.dataBytes === datagram.endBytes) return this.#complete(arena, datagram);
    this.#shrink(datagram.source);
    return HELD;
  }

  /** Drops datagrams that have timed out, a bounded number in each call. */
  expire(nowMs: number): void {
    let left = EXPIRED_AT_ONCE;
    for (const datagram of this.#datagrams.values()) {
      if (left-- === 0 || nowMs - datagram.startedMs < this.#format.timeoutMs) return;
      this.#timeOut(datagram);
    }
  }

  #obtain(view: DataView, pdu: Pdu, nowMs: number): Datagram {
    const key = this.#format.keyOf(view, pdu);
    const known = this.#datagrams.get(key);
    if (known !== undefined) {
      if (nowMs - known.startedMs < this.#format.timeoutMs) return known;
      this.#timeOut(known);
    }
    const sourceKey = this.#format.sourceOf(pdu);
    let source = this.#sources.get(sourceKey);
    if (source === undefined) {
      source = { key: sourceKey, datagrams: [], heldBytes: 0 };
      this.#sources.set(sourceKey, source);
    }
    const datagram = new Datagram(key, source, nowMs);
    this.#datagrams.set(key, datagram);
    source.datagrams.push(datagram);
    this.#charge(datagram, DATAGRAM_COST_BYTES);
    this.#shrink(source);
    return datagram;
  }

  /** A copy of the fragment. */
  #keep({ bytes }: Arena, pdu: Pdu, data: number, start: number, end: number): Part {
    const from = start === 0 ? pdu.frame : data;
    const lengthBytes = pdu.end - from;
    const part = (lengthBytes <= BUFFER_BYTES ? this.#spare.pop() : undefined) ??
      new Part(Math.max(lengthBytes, BUFFER_BYTES));
    part.bytes.set(bytes.subarray(from, pdu.end));
    part.start = start;
    part.end = end;
    part.headerBytes = data - from;
    return part;
  }

  /** Builds the whole datagram as a frame; without buffer space its fragments are dropped. */
  #complete(arena: Arena, datagram: Datagram): number {
    const { parts, endBytes, congested } = datagram;
    const { headerBytes } = parts[0]!;
    const format = this.#format;
    const tooLong = headerBytes + endBytes > format.maxFrameBytes;
    const frame = tooLong ? -1 : arena.scratch(headerBytes + endBytes);
    if (frame < 0) {
      const reason = Reason[tooLong ? "fragment-length" : "no-buffer"];
      this.#events.dropped(reason, parts.length - 1);
      this.#remove(datagram);
      return reason;
    }
    const { bytes } = arena;
    let to = frame;
    for (const part of parts) {
      const partBytes = part.headerBytes + part.end - part.start;
      bytes.set(part.bytes.subarray(0, partBytes), to);
      to += partBytes;
    }
    this.#longestBytes = datagram.longestBytes;
    this.#remove(datagram);
    return format.finish(arena, frame, frame + headerBytes, endBytes, congested);
  }

  /** Drops the datagram's fragments, and has later ones dropped too. Returns the reason. */
  #condemn(datagram: Datagram, reason: number): number {
    if (datagram.parts.length > 0) this.#events.dropped(reason, datagram.parts.length);
    this.#charge(datagram, DATAGRAM_COST_BYTES - datagram.costBytes);
    this.#release(datagram);
    datagram.verdict = reason;
    return reason;
  }

  #timeOut(datagram: Datagram): void {
    if (datagram.verdict === 0) {
      this.#events.dropped(Reason["fragment-timeout"], datagram.parts.length);
      this.#events.timedOut(startOf(datagram, this.#format.quoteBytes));
    }
    this.#remove(datagram);
  }

  /** Evicts datagrams until all bounds are met. */
  #shrink(source: Source): void {
    while (source.heldBytes > MAX_SOURCE_BYTES || source.datagrams.length > MAX_SOURCE_DATAGRAMS) {
      this.#evict(source.datagrams[0]!);
    }
    while (this.#heldBytes > MAX_HELD_BYTES || this.#datagrams.size > MAX_DATAGRAMS) {
      this.#evict(this.#datagrams.values().next().value!);
    }
  }

  #evict(datagram: Datagram): void {
    if (datagram.parts.length > 0) {
      this.#events.dropped(Reason["fragment-limit"], datagram.parts.length);
    }
    this.#remove(datagram);
  }

  #remove(datagram: Datagram): void {
    const { source } = datagram;
    this.#datagrams.delete(datagram.key);
    source.datagrams.splice(source.datagrams.indexOf(datagram), 1);
    if (source.datagrams.length === 0) this.#sources.delete(source.key);
    this.#charge(datagram, -datagram.costBytes);
    this.#release(datagram);
  }

  /** Releases the buffers of the datagram's parts. */
  #release(datagram: Datagram): void {
    for (const part of datagram.parts) {
      if (part.bytes.length === BUFFER_BYTES) this.#spare.push(part);
    }
    datagram.parts = [];
  }

  #charge(datagram: Datagram, bytes: number): void {
    datagram.costBytes += bytes;
    datagram.source.heldBytes += bytes;
    this.#heldBytes += bytes;
  }
}
