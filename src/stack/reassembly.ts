/**
 * Reassembles fragmented IPv4 datagrams (RFC 791 §3.2, RFC 1122 §3.3.2), so that policy, translator
 * and echo server see whole packets only.
 *
 *     add(fragment) ─┬─ copied, waits for the others                         0
 *                    ├─ was the last missing one: the datagram, in scratch   frame offset
 *                    └─ dropped                                              reason
 *
 * Fragments may come in any order; an exact duplicate is ignored. Any other overlap, or a
 * contradiction about the datagram's length, drops the datagram and all its later fragments: no
 * honest sender does that (RFC 5722 for IPv6; "teardrop"). A fragment that splits the TCP header is
 * dropped too (RFC 1858).
 *
 * Waiting datagrams are bounded in number, bytes and time. Above a bound the oldest is dropped,
 * first of a source above its own bound: a datagram whose fragments arrive in succession gets
 * through a flood of incomplete ones. Fragments are rare, so unlike elsewhere objects are allocated
 * for a packet; but the buffers are reused, so that a flood leaves little garbage.
 */
import type { Arena } from "../core/arena.ts";
import { HELD, Reason } from "../core/reason.ts";
import { complement, sumBytes } from "../wire/checksum.ts";
import { ETHERNET_BYTES } from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import type { Pdu } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import {
  BUFFER_BYTES,
  Datagram,
  DATAGRAM_COST_BYTES,
  isContradiction,
  isDuplicate,
  Part,
  type Source,
  startOf,
} from "./datagram.ts";

/** From the first fragment received; RFC 1122 §3.3.2 asks for 60 s, Linux uses 30. */
export const REASSEMBLY_TIMEOUT_MS = 30_000;

/** Most datagrams and bytes that wait, in all and from one source. */
export const MAX_DATAGRAMS = 1024;
export const MAX_SOURCE_DATAGRAMS = 256;
export const MAX_HELD_BYTES = 4 << 20;
export const MAX_SOURCE_BYTES = 1 << 20;

/** Most datagrams that one call of `expire` times out. */
const EXPIRED_AT_ONCE = 64;

const MAX_PACKET_BYTES = 65_535;

const CONGESTION_EXPERIENCED = 3;

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
  /** The oldest first. */
  readonly #datagrams = new Map<string, Datagram>();
  readonly #sources = new Map<number, Source>();
  /** Free buffers; with those in use never more than fit into `MAX_HELD_BYTES`. */
  readonly #spare: Part[] = [];
  #heldBytes = 0;
  #longestBytes = 0;

  constructor(events: ReassemblyEvents) {
    this.#events = events;
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
   * Takes a fragment that `decodeIpv4` has accepted. Returns HELD when it waits, is a duplicate, or
   * was evicted at once; the frame's offset when the datagram is complete (a new frame in scratch
   * space, with the first fragment's Ethernet header, TTL and options); or a reason to drop it.
   */
  add(arena: Arena, pdu: Pdu, nowMs: number): number {
    const word = ipv4.flagsAndOffset(arena.view, pdu.ip);
    const start = (word & ipv4.FRAGMENT_OFFSET) * 8;
    const isLast = (word & ipv4.MORE_FRAGMENTS) === 0;
    const fault = faultOf(arena.view, pdu, start, isLast);
    if (fault !== 0) return fault;

    const datagram = this.#obtain(arena.view, pdu, nowMs);
    if (datagram.verdict !== 0) return datagram.verdict;
    const end = start + pdu.end - pdu.l4;
    const index = datagram.indexOf(start);
    if (isDuplicate(arena, pdu, datagram, index, start, end, isLast)) return HELD;
    if (isContradiction(datagram, index, start, end, isLast)) {
      return this.#condemn(datagram, Reason["fragment-overlap"]);
    }

    const part = this.#keep(arena, pdu, start, end);
    datagram.parts.splice(index, 0, part);
    datagram.dataBytes += end - start;
    datagram.longestBytes = Math.max(datagram.longestBytes, pdu.totalLength);
    const ecn = ipv4.tos(arena.view, pdu.ip) & CONGESTION_EXPERIENCED;
    if (ecn === CONGESTION_EXPERIENCED) datagram.congested = true;
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
      if (left-- === 0 || nowMs - datagram.startedMs < REASSEMBLY_TIMEOUT_MS) return;
      this.#timeOut(datagram);
    }
  }

  #obtain(view: DataView, pdu: Pdu, nowMs: number): Datagram {
    const id = ipv4.identification(view, pdu.ip);
    const key = `${pdu.src} ${pdu.dst} ${pdu.protocol} ${id}`;
    const known = this.#datagrams.get(key);
    if (known !== undefined) {
      if (nowMs - known.startedMs < REASSEMBLY_TIMEOUT_MS) return known;
      this.#timeOut(known);
    }
    let source = this.#sources.get(pdu.src);
    if (source === undefined) {
      source = { address: pdu.src, datagrams: [], heldBytes: 0 };
      this.#sources.set(pdu.src, source);
    }
    const datagram = new Datagram(key, source, nowMs);
    this.#datagrams.set(key, datagram);
    source.datagrams.push(datagram);
    this.#charge(datagram, DATAGRAM_COST_BYTES);
    this.#shrink(source);
    return datagram;
  }

  /** A copy of the fragment. */
  #keep({ bytes }: Arena, pdu: Pdu, start: number, end: number): Part {
    const from = start === 0 ? pdu.frame : pdu.l4;
    const lengthBytes = pdu.end - from;
    const part = (lengthBytes <= BUFFER_BYTES ? this.#spare.pop() : undefined) ??
      new Part(Math.max(lengthBytes, BUFFER_BYTES));
    part.bytes.set(bytes.subarray(from, pdu.end));
    part.start = start;
    part.end = end;
    part.headerBytes = pdu.l4 - from;
    return part;
  }

  /** Builds the whole datagram as a frame; without buffer space its fragments are dropped. */
  #complete(arena: Arena, datagram: Datagram): number {
    const { parts, endBytes } = datagram;
    const headerBytes = parts[0]!.headerBytes;
    const totalLength = headerBytes - ETHERNET_BYTES + endBytes;
    const tooLong = totalLength > MAX_PACKET_BYTES;
    const frame = tooLong ? -1 : arena.scratch(headerBytes + endBytes);
    if (frame < 0) {
      const reason = Reason[tooLong ? "fragment-length" : "no-buffer"];
      this.#events.dropped(reason, parts.length - 1);
      this.#remove(datagram);
      return reason;
    }
    const { bytes, view } = arena;
    let to = frame;
    for (const part of parts) {
      const partBytes = part.headerBytes + part.end - part.start;
      bytes.set(part.bytes.subarray(0, partBytes), to);
      to += partBytes;
    }
    const ip = frame + ETHERNET_BYTES;
    ipv4.setTotalLength(view, ip, totalLength);
    ipv4.setFlagsAndOffset(view, ip, 0);
    if (datagram.congested) ipv4.setTos(view, ip, ipv4.tos(view, ip) | CONGESTION_EXPERIENCED);
    ipv4.setChecksum(view, ip, 0);
    ipv4.setChecksum(view, ip, complement(sumBytes(view, ip, headerBytes - ETHERNET_BYTES, 0)));
    this.#longestBytes = datagram.longestBytes;
    this.#remove(datagram);
    return frame;
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
      this.#events.timedOut(startOf(datagram));
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
    if (source.datagrams.length === 0) this.#sources.delete(source.address);
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

/** The reason to drop a fragment by itself, or 0. */
function faultOf(view: DataView, pdu: Pdu, start: number, isLast: boolean): number {
  const lengthBytes = pdu.end - pdu.l4;
  const cut = !isLast && (lengthBytes & 7) !== 0;
  if (lengthBytes === 0 || cut || pdu.l4 - pdu.ip + start + lengthBytes > MAX_PACKET_BYTES) {
    return Reason["fragment-length"];
  }
  // Every other header that is read fits into the 8 bytes that a first fragment has at least.
  if (pdu.protocol !== ipv4.PROTOCOL_TCP || start >= tcp.TCP_MIN_BYTES) return 0;
  const isWhole = start === 0 && lengthBytes >= tcp.TCP_MIN_BYTES &&
    lengthBytes >= tcp.headerBytes(view, pdu.l4);
  return isWhole ? 0 : Reason["fragment-tiny"];
}
