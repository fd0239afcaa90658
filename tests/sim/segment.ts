/**
 * TCP segments in Ethernet frames as the simulated hosts write and read them, over either family:
 * no code of `src/wire`, one bounds check a field, every checksum summed byte by byte.
 * `tests/support/frames.ts` is a slower, independent implementation.
 *
 * The number of a host of IPv6, 2001:db8:S::H, is S · 2¹⁶ + H. What an IPv4 packet has as its
 * identification one of IPv6 has as its flow label, which nobody changes on the way either.
 */

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const PSH = 8;
export const ACK = 16;

const ETHERNET_BYTES = 14;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const IPV6_PREFIX = 0x2001_0db8;
const TCP_BYTES = 20;
/** Two NOPs, kind 8, length 10; with the two values 12 bytes (RFC 7323 appendix A). */
const TIMESTAMPS_ALIGNED = 0x0101_080a;
export const TIMESTAMPS_BYTES = 12;
const HEADERS_BYTES = ETHERNET_BYTES + IPV4_BYTES + TCP_BYTES;

/**
 * A segment: what is written into a frame, and what was read from one. Numbers are signed int32.
 */
export class Segment {
  srcMac = 0;
  dstMac = 0;
  isIpv6 = false;
  src = 0;
  dst = 0;
  id = 0;
  ttl = 64;
  srcPort = 0;
  dstPort = 0;
  seq = 0;
  ack = 0;
  flags = 0;
  window = 0;
  /** In a SYN: the window scale, or -1 for none. */
  scale = -1;
  /** In a SYN: the largest segment, or 0 for none. */
  mss = 0;
  sackPermitted = false;
  /** The timestamps option (RFC 7323 §3), if there is one. */
  hasTimestamps = false;
  tsVal = 0;
  tsEcr = 0;
  /** Data, in `bytes` from `payload` on. */
  bytes: Uint8Array = new Uint8Array();
  payload = 0;
  payloadBytes = 0;
}

const scratch = new Uint8Array(14 + 65_535);

/**
 * The frame of `s`, with right lengths and checksums. MAC addresses are 02:00:00:00 and 16 bits.
 */
export function writeSegment(s: Segment): Uint8Array<ArrayBuffer> {
  const b = scratch;
  writeMac(b, 0, s.dstMac);
  writeMac(b, 6, s.srcMac);
  const ip = ETHERNET_BYTES;
  const tcp = ip + (s.isIpv6 ? IPV6_BYTES : IPV4_BYTES);
  const options = tcp + TCP_BYTES;
  let at = options;
  if ((s.flags & SYN) !== 0) {
    if (s.mss !== 0) at = option(b, at, 2, 4, s.mss);
    if (s.sackPermitted) at = option(b, at, 4, 2, 0);
    if (s.scale >= 0) at = option(b, at, 3, 3, s.scale);
    while ((at - options) % 4 !== 0) b[at++] = 1;
  }
  if (s.hasTimestamps) {
    write32(b, at, TIMESTAMPS_ALIGNED);
    write32(b, at + 4, s.tsVal);
    write32(b, at + 8, s.tsEcr);
    at += TIMESTAMPS_BYTES;
  }
  b[tcp + 12] = ((at - tcp) / 4) << 4;
  for (let i = 0; i < s.payloadBytes; i++) b[at + i] = s.bytes[s.payload + i]!;
  const end = at + s.payloadBytes;
  if (s.isIpv6) writeIpv6(b, s, end);
  else writeIpv4(b, s, end);
  write16(b, tcp, s.srcPort);
  write16(b, tcp + 2, s.dstPort);
  write32(b, tcp + 4, s.seq);
  write32(b, tcp + 8, s.ack);
  b[tcp + 13] = s.flags;
  write16(b, tcp + 14, s.window);
  write16(b, tcp + 16, 0);
  write16(b, tcp + 18, 0);
  write16(b, tcp + 16, 0xffff - sum(b, tcp, end, pseudoSum(b, ip, end - tcp)));
  return b.slice(0, end);
}

function writeIpv4(b: Uint8Array, s: Segment, end: number): void {
  const ip = ETHERNET_BYTES;
  write16(b, 12, 0x0800);
  b[ip] = 0x45;
  b[ip + 1] = 0;
  write16(b, ip + 2, end - ip);
  write16(b, ip + 4, s.id);
  write16(b, ip + 6, 0x4000);
  b[ip + 8] = s.ttl;
  b[ip + 9] = 6;
  write16(b, ip + 10, 0);
  write32(b, ip + 12, s.src);
  write32(b, ip + 16, s.dst);
  write16(b, ip + 10, 0xffff - sum(b, ip, ip + IPV4_BYTES, 0));
}

function writeIpv6(b: Uint8Array, s: Segment, end: number): void {
  const ip = ETHERNET_BYTES;
  write16(b, 12, 0x86dd);
  write16(b, ip, 0x6000);
  write16(b, ip + 2, s.id);
  write16(b, ip + 4, end - ip - IPV6_BYTES);
  b[ip + 6] = 6;
  b[ip + 7] = s.ttl;
  writeHost(b, ip + 8, s.src);
  writeHost(b, ip + 24, s.dst);
}

function writeHost(b: Uint8Array, at: number, host: number): void {
  b.fill(0, at, at + 16);
  write32(b, at, IPV6_PREFIX);
  write16(b, at + 4, host >>> 16);
  write16(b, at + 14, host & 0xffff);
}

/** The number of the host whose address stands there, -1 for another address. */
export function readHost(b: Uint8Array, at: number): number {
  const isHost = read32(b, at) === IPV6_PREFIX &&
    b.subarray(at + 6, at + 14).every((byte) => !byte);
  return isHost ? (read16(b, at + 4) << 16) | read16(b, at + 14) : -1;
}

/** Identification of an IPv4 packet, or the flow label of an IPv6 packet; -1 for another frame. */
export function idOf(b: Uint8Array): number {
  const etherType = b.length < ETHERNET_BYTES + IPV4_BYTES ? 0 : read16(b, 12);
  if (etherType === 0x0800) return read16(b, ETHERNET_BYTES + 4);
  return etherType === 0x86dd ? read16(b, ETHERNET_BYTES + 2) : -1;
}

/** True for a frame with a packet of IPv6. */
export function isOverIpv6(frame: Uint8Array): boolean {
  return read16(frame, 12) === 0x86dd;
}

/** Reads a TCP frame into `s`; returns what is wrong with it, or "". Trailing bytes are padding. */
export function readSegment(b: Uint8Array, s: Segment): string {
  const ip = ETHERNET_BYTES;
  if (b.length < HEADERS_BYTES) return "shorter than its headers";
  s.isIpv6 = isOverIpv6(b);
  const tcp = s.isIpv6 ? ip + IPV6_BYTES : ip + (b[ip]! & 15) * 4;
  const end = s.isIpv6 ? tcp + read16(b, ip + 4) : ip + read16(b, ip + 2);
  const broken = s.isIpv6 ? readIpv6(b, end, s) : readIpv4(b, tcp, end, s);
  if (broken !== "") return broken;
  const data = tcp + (b[tcp + 12]! >> 4) * 4;
  if (data < tcp + TCP_BYTES || data > end) return "wrong TCP data offset";
  if (sum(b, tcp, end, pseudoSum(b, ip, end - tcp)) !== 0xffff) return "wrong TCP checksum";
  s.dstMac = readMac(b, 0);
  s.srcMac = readMac(b, 6);
  s.id = idOf(b);
  s.srcPort = read16(b, tcp);
  s.dstPort = read16(b, tcp + 2);
  s.seq = read32(b, tcp + 4);
  s.ack = read32(b, tcp + 8);
  s.flags = b[tcp + 13]!;
  s.window = read16(b, tcp + 14);
  s.scale = -1;
  s.mss = 0;
  s.sackPermitted = false;
  s.hasTimestamps = false;
  readOptions(b, tcp + TCP_BYTES, data, s);
  s.bytes = b;
  s.payload = data;
  s.payloadBytes = end - data;
  return "";
}

function readIpv4(b: Uint8Array, tcp: number, end: number, s: Segment): string {
  const ip = ETHERNET_BYTES;
  if (read16(b, 12) !== 0x0800 || b[ip]! >> 4 !== 4) return "not IPv4";
  if (tcp < ip + IPV4_BYTES || end > b.length || tcp + TCP_BYTES > end) return "wrong IPv4 lengths";
  if (sum(b, ip, tcp, 0) !== 0xffff) return "wrong IPv4 header checksum";
  if ((read16(b, ip + 6) & 0xbfff) !== 0) return "a fragment";
  if (b[ip + 9] !== 6) return "not TCP";
  s.src = read32(b, ip + 12);
  s.dst = read32(b, ip + 16);
  s.ttl = b[ip + 8]!;
  return "";
}

function readIpv6(b: Uint8Array, end: number, s: Segment): string {
  const ip = ETHERNET_BYTES;
  if (b[ip]! >> 4 !== 6) return "not IPv6";
  if (end > b.length || ip + IPV6_BYTES + TCP_BYTES > end) return "wrong IPv6 length";
  if (b[ip + 6] !== 6) return "not TCP";
  s.src = readHost(b, ip + 8);
  s.dst = readHost(b, ip + 24);
  s.ttl = b[ip + 7]!;
  return s.src === -1 || s.dst === -1 ? "an address of nobody" : "";
}

function readOptions(b: Uint8Array, from: number, to: number, s: Segment): void {
  for (let at = from; at < to && b[at] !== 0;) {
    if (b[at] === 1) {
      at++;
      continue;
    }
    if (b[at] === 2) s.mss = read16(b, at + 2);
    if (b[at] === 3) s.scale = b[at + 2]!;
    if (b[at] === 4) s.sackPermitted = true;
    if (b[at] === 8) {
      s.hasTimestamps = true;
      s.tsVal = read32(b, at + 2);
      s.tsEcr = read32(b, at + 6);
    }
    at += Math.max(2, b[at + 1]!);
  }
}

function option(
  b: Uint8Array,
  at: number,
  kind: number,
  lengthBytes: number,
  value: number,
): number {
  b[at] = kind;
  b[at + 1] = lengthBytes;
  if (lengthBytes === 3) b[at + 2] = value;
  if (lengthBytes === 4) write16(b, at + 2, value);
  return at + lengthBytes;
}

/** Puts right checksums into an IPv4 frame that carries TCP and has been changed on purpose. */
export function mendChecksums(b: Uint8Array): void {
  const ip = ETHERNET_BYTES;
  const tcp = ip + (b[ip]! & 15) * 4;
  const end = ip + read16(b, ip + 2);
  write16(b, ip + 10, 0);
  write16(b, ip + 10, 0xffff - sum(b, ip, tcp, 0));
  write16(b, tcp + 16, 0);
  write16(b, tcp + 16, 0xffff - sum(b, tcp, end, pseudoSum(b, ip, end - tcp)));
}

/** One's complement sum of the bytes from `from` up to `to`. */
export function sum(b: Uint8Array, from: number, to: number, initial: number): number {
  let total = initial;
  let at = from;
  for (; at + 1 < to; at += 2) total += (b[at]! << 8) | b[at + 1]!;
  if (at < to) total += b[at]! << 8;
  while (total > 0xffff) total = (total >>> 16) + (total & 0xffff);
  return total;
}

function pseudoSum(b: Uint8Array, ip: number, lengthBytes: number): number {
  const addresses = b[ip]! >> 4 === 6 ? ip + 8 : ip + 12;
  const end = ip + (b[ip]! >> 4 === 6 ? IPV6_BYTES : IPV4_BYTES);
  return sum(b, addresses, end, 6 + lengthBytes);
}

export function read16(b: Uint8Array, at: number): number {
  return (b[at]! << 8) | b[at + 1]!;
}

export function read32(b: Uint8Array, at: number): number {
  return (b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!;
}

export function write16(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 8;
  b[at + 1] = value;
}

export function write32(b: Uint8Array, at: number, value: number): void {
  b[at] = value >>> 24;
  b[at + 1] = value >>> 16;
  b[at + 2] = value >>> 8;
  b[at + 3] = value;
}

export function writeMac(b: Uint8Array, at: number, mac: number): void {
  write32(b, at, 0x02000000);
  write16(b, at + 4, mac);
}

/** The last 16 bits of a MAC address of this LAN, -1 for another one. */
export function readMac(b: Uint8Array, at: number): number {
  return read32(b, at) === 0x02000000 ? read16(b, at + 4) : -1;
}
