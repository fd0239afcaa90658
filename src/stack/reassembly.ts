/**
 * Puts fragmented IPv4 datagrams together (RFC 791 §3.2, RFC 1122 §3.3.2), so that everything behind it
 * sees whole packets only: the policy, the translator and the echo server.
 *
 *     add(fragment) ─┬─ copied, waits for the others                         0
 *                    ├─ was the missing one: the datagram, in scratch space  frame offset
 *                    └─ dropped                                              reason
 *
 * Fragments may come in any order; an exact duplicate is ignored. Any other overlap, or two opinions
 * about the datagram's end, drops the datagram with all that is still to come of it: no sender makes such
 * (RFC 5722 for IPv6; "teardrop"). So does no sender cut through a TCP header (RFC 1858).
 *
 * What waits is bounded in number, bytes and time. When it is too much the oldest datagram goes, first
 * one of a source that holds more than its share: a datagram whose fragments come one after another gets
 * through a flood of halves. Fragments are rare: here, unlike elsewhere, a packet may make objects; but
 * the places where their bytes wait are used again, so that a flood leaves no garbage of that size.
 */
import type { Arena } from "../core/arena.ts";
import { HELD, Reason } from "../core/reason.ts";
import { complement, sumBytes } from "../wire/checksum.ts";
import { ETHERNET_BYTES } from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import type { Pdu } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";

/** From the first fragment that came; RFC 1122 §3.3.2 asks for 60 s, Linux takes 30. */
export const REASSEMBLY_TIMEOUT_MS = 30_000;

/** Datagrams and bytes that wait, in all and of one source. */
export const MAX_DATAGRAMS = 1024;
export const MAX_SOURCE_DATAGRAMS = 256;
export const MAX_HELD_BYTES = 4 << 20;
export const MAX_SOURCE_BYTES = 1 << 20;

/** What a datagram and a fragment are taken to cost beside the place for their bytes. */
const DATAGRAM_COST_BYTES = 512;
const PART_COST_BYTES = 64;

/** Place for one fragment of a link with the usual MTU; a longer one gets its own. */
const PLACE_BYTES = 2048;

/** Datagrams that one call of `expire` gives up. */
const EXPIRED_AT_ONCE = 64;

const MAX_PACKET_BYTES = 65_535;

/** Bytes of IP that an ICMP error quotes at most (RFC 1812 §4.3.2.3). */
const QUOTED_BYTES = 548;

const CONGESTION_EXPERIENCED = 3;

export interface ReassemblyEvents {
  /** Fragments that waited were dropped. */
  dropped(reason: number, fragments: number): void;
  /** A datagram's time is over; `start` is its first fragment's frame, cut short, or null: it never came. */
  timedOut(start: Uint8Array<ArrayBuffer> | null): void;
}

/** A fragment's data, and in front of the first one's data its Ethernet and IP header. */
class Part {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Place in the datagram's data, in bytes, and the end of it. */
  start = 0;
  end = 0;
  headerBytes = 0;

  constructor(capacityBytes: number) {
    this.bytes = new Uint8Array(capacityBytes);
  }

  get costBytes(): number {
    return this.bytes.length + PART_COST_BYTES;
  }
}

/** What one address has sent. */
interface Source {
  readonly address: number;
  /** The oldest first. */
  readonly datagrams: Datagram[];
  heldBytes: number;
}

class Datagram {
  /** By their place; they never overlap. */
  parts: Part[] = [];
  /** Bytes of data in `parts`. */
  dataBytes = 0;
  /** Length of the whole data, or -1 while the last fragment is missing. */
  endBytes = -1;
  /** Longest fragment as IP packet. */
  longestBytes = 0;
  /** A router has marked a fragment (RFC 3168 §5.3). */
  congested = false;
  costBytes = 0;
  /** Why every fragment of it is dropped, or 0. */
  verdict = 0;

  constructor(
    readonly key: string,
    readonly source: Source,
    readonly startedMs: number,
  ) {}

  /** Index of the first part that starts at `start` or behind it. */
  indexOf(start: number): number {
    let low = 0;
    let high = this.parts.length;
    if (high > 0 && this.parts[high - 1]!.start < start) return high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.parts[middle]!.start < start) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export class Reassembly {
  readonly #events: ReassemblyEvents;
  /** The oldest first. */
  readonly #datagrams = new Map<string, Datagram>();
  readonly #sources = new Map<number, Source>();
  /** Places that are free; with those in use never more than fit into `MAX_HELD_BYTES`. */
  readonly #spare: Part[] = [];
  #heldBytes = 0;
  #longestBytes = 0;

  constructor(events: ReassemblyEvents) {
    this.#events = events;
  }

  /** Datagrams of which something is known, those given up early included. */
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
   * Takes a fragment that `decodeIpv4` has accepted. Returns HELD when it waits, is a duplicate, or made
   * room for others; the frame's offset when the datagram is whole (a new frame in scratch space, with
   * the first fragment's Ethernet header, TTL and options); or a reason to drop it.
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

  /** Gives up datagrams that have waited too long, a bounded number of them a call. */
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
    const part = (lengthBytes <= PLACE_BYTES ? this.#spare.pop() : undefined) ??
      new Part(Math.max(lengthBytes, PLACE_BYTES));
    part.bytes.set(bytes.subarray(from, pdu.end));
    part.start = start;
    part.end = end;
    part.headerBytes = pdu.l4 - from;
    return part;
  }

  /** The whole datagram as a frame; without room for it, its fragments are lost. */
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

  /** Drops what is there of the datagram, and remembers to drop the rest. Returns the reason. */
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

  /** Makes room where there is too much. */
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

  /** Lets go of the datagram's parts. */
  #release(datagram: Datagram): void {
    for (const part of datagram.parts) {
      if (part.bytes.length === PLACE_BYTES) this.#spare.push(part);
    }
    datagram.parts = [];
  }

  #charge(datagram: Datagram, bytes: number): void {
    datagram.costBytes += bytes;
    datagram.source.heldBytes += bytes;
    this.#heldBytes += bytes;
  }
}

/** What is wrong with a fragment by itself: a reason, or 0. */
function faultOf(view: DataView, pdu: Pdu, start: number, isLast: boolean): number {
  const lengthBytes = pdu.end - pdu.l4;
  const cut = !isLast && (lengthBytes & 7) !== 0;
  if (lengthBytes === 0 || cut || pdu.l4 - pdu.ip + start + lengthBytes > MAX_PACKET_BYTES) {
    return Reason["fragment-length"];
  }
  // Every other header that is looked at fits into the 8 bytes that a first fragment has at least.
  if (pdu.protocol !== ipv4.PROTOCOL_TCP || start >= tcp.TCP_MIN_BYTES) return 0;
  const isWhole = start === 0 && lengthBytes >= tcp.TCP_MIN_BYTES &&
    lengthBytes >= tcp.headerBytes(view, pdu.l4);
  return isWhole ? 0 : Reason["fragment-tiny"];
}

/** True if the fragment, which belongs at `index`, is there already, byte for byte. */
function isDuplicate(
  arena: Arena,
  pdu: Pdu,
  datagram: Datagram,
  index: number,
  start: number,
  end: number,
  isLast: boolean,
): boolean {
  const held = datagram.parts[index];
  if (held === undefined || held.start !== start || held.end !== end) return false;
  if (isLast !== (datagram.endBytes === end)) return false;
  for (let i = 0; i < end - start; i++) {
    if (held.bytes[held.headerBytes + i] !== arena.bytes[pdu.l4 + i]) return false;
  }
  return true;
}

/** True if `start` … `end` overlaps a neighbour of `index`, or does not fit the datagram's end. */
function isContradiction(
  datagram: Datagram,
  index: number,
  start: number,
  end: number,
  isLast: boolean,
): boolean {
  const before = datagram.parts[index - 1];
  const behind = datagram.parts[index];
  if (before !== undefined && before.end > start) return true;
  if (behind !== undefined && (isLast || behind.start < end)) return true;
  return datagram.endBytes >= 0 && (isLast || end > datagram.endBytes);
}

/** The first fragment's frame as far as an ICMP error quotes it, or null. */
function startOf({ parts }: Datagram): Uint8Array<ArrayBuffer> | null {
  const [first] = parts;
  if (first === undefined || first.start !== 0) return null;
  return first.bytes.slice(
    0,
    Math.min(first.headerBytes + first.end, ETHERNET_BYTES + QUOTED_BYTES),
  );
}
