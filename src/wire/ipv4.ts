/** IPv4 header (RFC 791 §3.1). `ip` is the offset of the header's first byte. */
import type { Address } from "./address.ts";

export const IPV4_MIN_BYTES = 20;

/**
 * Every link carries packets of 68 bytes: the longest header and 8 bytes of data (RFC 791 §3.2).
 */
export const MIN_MTU_BYTES = 68;

/** ICMP's protocol number (RFC 792). */
export const PROTOCOL_ICMP = 1;
/** TCP's protocol number (RFC 9293). */
export const PROTOCOL_TCP = 6;
/** UDP's protocol number (RFC 768). */
export const PROTOCOL_UDP = 17;

/** TTL of packets that the proxy itself sends (RFC 1700; Linux uses the same). */
export const DEFAULT_TTL = 64;

/** In the flags-and-offset word: don't fragment, more fragments, offset in 8-byte units. */
export const DONT_FRAGMENT = 0x4000;
export const MORE_FRAGMENTS = 0x2000;
export const FRAGMENT_OFFSET = 0x1fff;

const VERSION_IHL = 0;
const TOS = 1;
const TOTAL_LENGTH = 2;
const IDENTIFICATION = 4;
const FLAGS_OFFSET = 6;
const TTL = 8;
const PROTOCOL = 9;
const CHECKSUM = 10;
const SOURCE = 12;
const DESTINATION = 16;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_COPIED = 0x80;
const OPTION_LOOSE_SOURCE_ROUTE = 131;
const OPTION_STRICT_SOURCE_ROUTE = 137;

export function version(view: DataView, ip: number): number {
  return view.getUint8(ip + VERSION_IHL) >>> 4;
}

export function headerBytes(view: DataView, ip: number): number {
  return (view.getUint8(ip + VERSION_IHL) & 15) << 2;
}

export function totalLength(view: DataView, ip: number): number {
  return view.getUint16(ip + TOTAL_LENGTH);
}

export function flagsAndOffset(view: DataView, ip: number): number {
  return view.getUint16(ip + FLAGS_OFFSET);
}

export function tos(view: DataView, ip: number): number {
  return view.getUint8(ip + TOS);
}

export function identification(view: DataView, ip: number): number {
  return view.getUint16(ip + IDENTIFICATION);
}

export function ttl(view: DataView, ip: number): number {
  return view.getUint8(ip + TTL);
}

export function protocol(view: DataView, ip: number): number {
  return view.getUint8(ip + PROTOCOL);
}

export function checksum(view: DataView, ip: number): number {
  return view.getUint16(ip + CHECKSUM);
}

export function source(view: DataView, ip: number): number {
  return view.getInt32(ip + SOURCE);
}

export function destination(view: DataView, ip: number): number {
  return view.getInt32(ip + DESTINATION);
}

/** Version 4 and a header of `bytes` bytes, a multiple of 4. */
export function setHeaderBytes(view: DataView, ip: number, bytes: number): void {
  view.setUint8(ip + VERSION_IHL, 0x40 | (bytes >>> 2));
}

export function setTos(view: DataView, ip: number, tos: number): void {
  view.setUint8(ip + TOS, tos);
}

export function setTotalLength(view: DataView, ip: number, bytes: number): void {
  view.setUint16(ip + TOTAL_LENGTH, bytes);
}

export function setIdentification(view: DataView, ip: number, id: number): void {
  view.setUint16(ip + IDENTIFICATION, id);
}

export function setFlagsAndOffset(view: DataView, ip: number, word: number): void {
  view.setUint16(ip + FLAGS_OFFSET, word);
}

export function setTtl(view: DataView, ip: number, ttl: number): void {
  view.setUint8(ip + TTL, ttl);
}

export function setProtocol(view: DataView, ip: number, protocol: number): void {
  view.setUint8(ip + PROTOCOL, protocol);
}

export function setChecksum(view: DataView, ip: number, checksum: number): void {
  view.setUint16(ip + CHECKSUM, checksum);
}

export function setSource(view: DataView, ip: number, address: Address): void {
  view.setInt32(ip + SOURCE, address);
}

export function setDestination(view: DataView, ip: number, address: Address): void {
  view.setInt32(ip + DESTINATION, address);
}

/** Writes a 20-byte header with checksum field 0; `flags` is the flags-and-offset word. */
export function writeHeader(
  view: DataView,
  ip: number,
  header: {
    readonly totalLength: number;
    readonly tos: number;
    readonly id: number;
    readonly flags: number;
    readonly ttl: number;
    readonly protocol: number;
    readonly src: Address;
    readonly dst: Address;
  },
): void {
  view.setUint8(ip + VERSION_IHL, 0x45);
  view.setUint8(ip + TOS, header.tos);
  view.setUint16(ip + TOTAL_LENGTH, header.totalLength);
  view.setUint16(ip + IDENTIFICATION, header.id);
  view.setUint16(ip + FLAGS_OFFSET, header.flags);
  view.setUint8(ip + TTL, header.ttl);
  view.setUint8(ip + PROTOCOL, header.protocol);
  view.setUint16(ip + CHECKSUM, 0);
  view.setInt32(ip + SOURCE, header.src);
  view.setInt32(ip + DESTINATION, header.dst);
}

/**
 * Copies the options of the header at `ip` whose copied flag is set (RFC 791 §3.1) to `to`, padded
 * to a multiple of 4 with End of Options. The options must be acceptable. Returns the bytes
 * written.
 */
export function copyFragmentOptions(view: DataView, ip: number, to: number): number {
  const end = ip + headerBytes(view, ip);
  let written = 0;
  for (let at = ip + IPV4_MIN_BYTES; at < end;) {
    const option = view.getUint8(at);
    if (option === OPTION_END) break;
    const lengthBytes = option === OPTION_NOP ? 1 : view.getUint8(at + 1);
    if ((option & OPTION_COPIED) !== 0) {
      for (let i = 0; i < lengthBytes; i++) {
        view.setUint8(to + written + i, view.getUint8(at + i));
      }
      written += lengthBytes;
    }
    at += lengthBytes;
  }
  while ((written & 3) !== 0) view.setUint8(to + written++, OPTION_END);
  return written;
}

/**
 * True if the options are well formed and contain no source route, which would bypass the policy
 * (RFC 1812 §5.3.13.4 allows discarding such packets).
 */
export function optionsAcceptable(view: DataView, ip: number, headerBytes: number): boolean {
  let at = ip + IPV4_MIN_BYTES;
  const end = ip + headerBytes;
  while (at < end) {
    const option = view.getUint8(at);
    if (option === OPTION_END) return true;
    if (option === OPTION_NOP) {
      at++;
      continue;
    }
    if (option === OPTION_LOOSE_SOURCE_ROUTE || option === OPTION_STRICT_SOURCE_ROUTE) return false;
    const lengthBytes = at + 1 < end ? view.getUint8(at + 1) : 0;
    if (lengthBytes < 2 || at + lengthBytes > end) return false;
    at += lengthBytes;
  }
  return true;
}
