/** IPv6 header (RFC 8200 §3). `ip` is the offset of the header's first byte. */
import { type Address6, readAddress6, writeAddress6 } from "./address6.ts";

export const IPV6_BYTES = 40;

/** Every link carries packets of 1,280 bytes (RFC 8200 §5). */
export const MIN_MTU6_BYTES = 1280;

/** ICMPv6's protocol number (RFC 4443 §1); TCP and UDP have the same in both families. */
export const PROTOCOL_ICMPV6 = 58;

/** Hop limit of packets that the proxy itself sends. */
export const DEFAULT_HOP_LIMIT = 64;
/** Hop limit of what can't have passed a router: Neighbor Discovery (RFC 4861 §3.1). */
export const NEIGHBOR_HOP_LIMIT = 255;

const VERSION_CLASS_LABEL = 0;
export const PAYLOAD_LENGTH = 4;
export const NEXT_HEADER = 6;
const HOP_LIMIT = 7;
/** The source address; the destination address follows it. */
export const SOURCE = 8;
export const DESTINATION = 24;

const CLASS_SHIFT = 20;
const LABEL_MASK = 0x000f_ffff;

export function version(view: DataView, ip: number): number {
  return view.getUint8(ip + VERSION_CLASS_LABEL) >>> 4;
}

/** DSCP and ECN, as IPv4's type of service (RFC 8200 §7). */
export function trafficClass(view: DataView, ip: number): number {
  return (view.getUint16(ip + VERSION_CLASS_LABEL) >>> 4) & 0xff;
}

export function flowLabel(view: DataView, ip: number): number {
  return view.getInt32(ip + VERSION_CLASS_LABEL) & LABEL_MASK;
}

/** Bytes after the header: extension headers and what they carry. */
export function payloadLength(view: DataView, ip: number): number {
  return view.getUint16(ip + PAYLOAD_LENGTH);
}

/** What follows the header: an extension header or a protocol. */
export function nextHeader(view: DataView, ip: number): number {
  return view.getUint8(ip + NEXT_HEADER);
}

export function hopLimit(view: DataView, ip: number): number {
  return view.getUint8(ip + HOP_LIMIT);
}

/** Copies the source address to `at`. */
export function readSource(view: DataView, ip: number, words: Int32Array, at: number): void {
  readAddress6(view, ip + SOURCE, words, at);
}

/** Copies the destination address to `at`. */
export function readDestination(view: DataView, ip: number, words: Int32Array, at: number): void {
  readAddress6(view, ip + DESTINATION, words, at);
}

/** Version 6, that traffic class, and no flow label. */
export function setVersionAndClass(view: DataView, ip: number, trafficClass: number): void {
  view.setInt32(ip + VERSION_CLASS_LABEL, 0x6000_0000 | (trafficClass << CLASS_SHIFT));
}

export function setTrafficClass(view: DataView, ip: number, trafficClass: number): void {
  const word = view.getInt32(ip + VERSION_CLASS_LABEL);
  view.setInt32(
    ip + VERSION_CLASS_LABEL,
    (word & ~(0xff << CLASS_SHIFT)) | (trafficClass << CLASS_SHIFT),
  );
}

export function setFlowLabel(view: DataView, ip: number, label: number): void {
  const word = view.getInt32(ip + VERSION_CLASS_LABEL);
  view.setInt32(ip + VERSION_CLASS_LABEL, (word & ~LABEL_MASK) | label);
}

export function setPayloadLength(view: DataView, ip: number, bytes: number): void {
  view.setUint16(ip + PAYLOAD_LENGTH, bytes);
}

export function setNextHeader(view: DataView, ip: number, nextHeader: number): void {
  view.setUint8(ip + NEXT_HEADER, nextHeader);
}

export function setHopLimit(view: DataView, ip: number, hopLimit: number): void {
  view.setUint8(ip + HOP_LIMIT, hopLimit);
}

/** Sets the source address to the one at `at`. */
export function setSource(view: DataView, ip: number, words: Int32Array, at: number): void {
  writeAddress6(view, ip + SOURCE, words, at);
}

/** Sets the destination address to the one at `at`. */
export function setDestination(view: DataView, ip: number, words: Int32Array, at: number): void {
  writeAddress6(view, ip + DESTINATION, words, at);
}

/** Writes the 40 header bytes. */
export function writeHeader(
  view: DataView,
  ip: number,
  header: {
    readonly trafficClass: number;
    readonly flowLabel: number;
    readonly payloadLength: number;
    readonly nextHeader: number;
    readonly hopLimit: number;
    readonly src: Address6;
    readonly dst: Address6;
  },
): void {
  view.setInt32(
    ip + VERSION_CLASS_LABEL,
    0x6000_0000 | (header.trafficClass << CLASS_SHIFT) | header.flowLabel,
  );
  view.setUint16(ip + PAYLOAD_LENGTH, header.payloadLength);
  view.setUint8(ip + NEXT_HEADER, header.nextHeader);
  view.setUint8(ip + HOP_LIMIT, header.hopLimit);
  writeAddress6(view, ip + SOURCE, header.src, 0);
  writeAddress6(view, ip + DESTINATION, header.dst, 0);
}
