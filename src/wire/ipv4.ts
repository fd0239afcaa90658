/** IPv4 header (RFC 791 §3.1). `ip` is the offset of the header's first byte. */

export const IPV4_MIN_BYTES = 20;

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;

/** TTL of packets that the proxy itself makes (RFC 1700; Linux uses the same). */
export const DEFAULT_TTL = 64;

/** In the flags-and-offset word: don't fragment, more fragments, offset in 8-byte units. */
export const DONT_FRAGMENT = 0x4000;
export const MORE_FRAGMENTS = 0x2000;
export const FRAGMENT_OFFSET = 0x1fff;

const VERSION_IHL = 0;
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

export function setTtl(view: DataView, ip: number, ttl: number): void {
  view.setUint8(ip + TTL, ttl);
}

export function setChecksum(view: DataView, ip: number, checksum: number): void {
  view.setUint16(ip + CHECKSUM, checksum);
}

export function setSource(view: DataView, ip: number, address: number): void {
  view.setInt32(ip + SOURCE, address);
}

export function setDestination(view: DataView, ip: number, address: number): void {
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
    readonly src: number;
    readonly dst: number;
  },
): void {
  view.setUint8(ip + VERSION_IHL, 0x45);
  view.setUint8(ip + 1, header.tos);
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
 * True if the options are well formed and hold no source route: such packets ask us to send them where
 * the policy did not (RFC 1812 §5.3.13.4 allows discarding them).
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
