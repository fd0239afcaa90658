/**
 * One datagram whose fragments are being collected: its parts in order, and whether a further
 * fragment fits them. `reassembly.ts` has all datagrams, and their limits.
 */
import type { Arena } from "../core/arena.ts";
import { ETHERNET_BYTES, etherType, ETHERTYPE_IPV6 } from "../wire/ethernet.ts";
import * as icmpv4 from "../wire/icmpv4.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { OVER_IPV6, Pdu } from "../wire/pdu.ts";

/** Memory that a datagram and a fragment are assumed to take in addition to their buffers. */
export const DATAGRAM_COST_BYTES = 512;
const PART_COST_BYTES = 64;

/**
 * Buffer for one fragment of a link with the usual MTU; a longer one gets a buffer of its own size.
 */
export const BUFFER_BYTES = 2048;

/** A fragment's data; the first fragment's headers precede it, as they came. */
export class Part {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Where it begins and ends in the datagram's data, in bytes. */
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

/** The datagrams of one source. */
export interface Source {
  readonly key: SourceKey;
  /** The oldest first. */
  readonly datagrams: Datagram[];
  heldBytes: number;
}

/** What stands for a source: an address, or the network of one host. */
export type SourceKey = number | string;

export class Datagram {
  /** In the order of `start`; they never overlap. */
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
  /** The reason to drop every further fragment, or 0. */
  verdict = 0;

  constructor(
    readonly key: string,
    readonly source: Source,
    readonly startedMs: number,
  ) {}

  /** Index of the first part that starts at `start` or after it. */
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

/** True if the part at `index` is the same fragment, byte for byte; its data is at `data`. */
export function isDuplicate(
  arena: Arena,
  data: number,
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
    if (held.bytes[held.headerBytes + i] !== arena.bytes[data + i]) return false;
  }
  return true;
}

/**
 * True if `start` … `end` overlaps a part next to `index`, or contradicts the datagram's length.
 */
export function isContradiction(
  datagram: Datagram,
  index: number,
  start: number,
  end: number,
  isLast: boolean,
): boolean {
  const before = datagram.parts[index - 1];
  const after = datagram.parts[index];
  if (before !== undefined && before.end > start) return true;
  if (after !== undefined && (isLast || after.start < end)) return true;
  return datagram.endBytes >= 0 && (isLast || end > datagram.endBytes);
}

/** The first fragment's frame, as far as an ICMP error quotes its packet, or null. */
export function startOf(
  { parts }: Datagram,
  quoteBytes: number,
): Uint8Array<ArrayBuffer> | null {
  const [first] = parts;
  if (first === undefined || first.start !== 0) return null;
  return first.bytes.slice(
    0,
    Math.min(first.headerBytes + first.end, ETHERNET_BYTES + quoteBytes),
  );
}

/**
 * Puts what `startOf` gave into scratch space, as a PDU that an ICMP error can be sent about; null:
 * there is no room. Of IPv6 it has no protocol: that is behind extension headers.
 */
export function placeStart(arena: Arena, start: Uint8Array<ArrayBuffer>): Pdu | null {
  const frame = arena.scratch(start.length);
  if (frame < 0) return null;
  arena.bytes.set(start, frame);
  const { view } = arena;
  const pdu = new Pdu();
  const ip = frame + ETHERNET_BYTES;
  pdu.frame = frame;
  pdu.ip = ip;
  pdu.end = frame + start.length;
  pdu.flow = -1;
  if (etherType(view, frame) === ETHERTYPE_IPV6) {
    pdu.protocol = OVER_IPV6;
    ipv6.readSource(view, ip, pdu.addresses, 0);
    ipv6.readDestination(view, ip, pdu.addresses, 4);
    return pdu;
  }
  pdu.l4 = ip + ipv4.headerBytes(view, ip);
  pdu.src = ipv4.source(view, ip);
  pdu.dst = ipv4.destination(view, ip);
  pdu.protocol = ipv4.protocol(view, ip);
  pdu.icmpType = icmpv4.type(view, pdu.l4);
  return pdu;
}
