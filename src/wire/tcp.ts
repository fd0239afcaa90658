/** TCP header (RFC 9293 §3.1). `tcp` is the offset of the header's first byte. */
import type { Pdu } from "./pdu.ts";

export const TCP_MIN_BYTES = 20;

// Bits of the flags byte (RFC 9293 §3.1).

/** The sender has no more data. */
export const FIN = 0x01;
/** Synchronize sequence numbers: the first segment of each side. */
export const SYN = 0x02;
/** Reset: the connection is aborted or refused. */
export const RST = 0x04;
/** Push: the data is to go to the receiver's user at once. */
export const PSH = 0x08;
/** The acknowledgment number counts. */
export const ACK = 0x10;
/** The urgent pointer counts. */
export const URG = 0x20;
/** Explicit congestion notification echo (RFC 3168 §6.1). */
export const ECE = 0x40;
/** Congestion window reduced (RFC 3168 §6.1). */
export const CWR = 0x80;

/** Bit n of the flags byte → name. */
export const FLAG_NAMES = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"] as const;

// Option kinds (RFC 9293 §3.2, RFC 7323 §2.2 and §3.2).
export const OPTION_END = 0;
export const OPTION_NOP = 1;
export const OPTION_MSS = 2;
export const OPTION_WINDOW_SCALE = 3;
export const OPTION_TIMESTAMPS = 8;

/** Largest window scale (RFC 7323 §2.3). */
export const MAX_WINDOW_SCALE = 14;

const SOURCE_PORT = 0;
const SEQUENCE = 4;
const ACKNOWLEDGMENT = 8;
const DATA_OFFSET = 12;
const FLAGS = 13;
const WINDOW = 14;
export const CHECKSUM = 16;
const URGENT = 18;

/** Source port in the upper, destination port in the lower 16 bits. */
export function ports(view: DataView, tcp: number): number {
  return view.getInt32(tcp + SOURCE_PORT);
}

/** Sequence number as a signed 32-bit integer: compare by difference. */
export function sequence(view: DataView, tcp: number): number {
  return view.getInt32(tcp + SEQUENCE);
}

export function acknowledgment(view: DataView, tcp: number): number {
  return view.getInt32(tcp + ACKNOWLEDGMENT);
}

export function headerBytes(view: DataView, tcp: number): number {
  return (view.getUint8(tcp + DATA_OFFSET) >>> 4) << 2;
}

export function flags(view: DataView, tcp: number): number {
  return view.getUint8(tcp + FLAGS);
}

/** Window as in the header, not scaled. */
export function window(view: DataView, tcp: number): number {
  return view.getUint16(tcp + WINDOW);
}

export function checksum(view: DataView, tcp: number): number {
  return view.getUint16(tcp + CHECKSUM);
}

/**
 * Offset of the first option of `kind` with that length byte, or -1. The header ends at `end`. The
 * search stops at an option with an impossible length.
 */
export function findOption(
  view: DataView,
  tcp: number,
  end: number,
  kind: number,
  lengthBytes: number,
): number {
  for (let at = tcp + TCP_MIN_BYTES; at < end;) {
    const found = view.getUint8(at);
    if (found === OPTION_END) return -1;
    if (found === OPTION_NOP) {
      at++;
      continue;
    }
    const length = at + 1 < end ? view.getUint8(at + 1) : 0;
    if (length < 2 || at + length > end) return -1;
    if (found === kind && length === lengthBytes) return at;
    at += length;
  }
  return -1;
}

export function setPorts(view: DataView, tcp: number, source: number, destination: number): void {
  view.setInt32(tcp + SOURCE_PORT, (source << 16) | destination);
}

export function setChecksum(view: DataView, tcp: number, checksum: number): void {
  view.setUint16(tcp + CHECKSUM, checksum);
}

/** Writes a 20-byte header without options or urgent pointer, with checksum field 0. */
export function writeHeader(
  view: DataView,
  tcp: number,
  header: {
    readonly srcPort: number;
    readonly dstPort: number;
    readonly seq: number;
    readonly ack: number;
    readonly flags: number;
    /** 0 where nothing is to be received. */
    readonly window?: number;
  },
): void {
  setPorts(view, tcp, header.srcPort, header.dstPort);
  view.setInt32(tcp + SEQUENCE, header.seq);
  view.setInt32(tcp + ACKNOWLEDGMENT, header.ack);
  view.setUint8(tcp + DATA_OFFSET, (TCP_MIN_BYTES >> 2) << 4);
  view.setUint8(tcp + FLAGS, header.flags);
  view.setUint16(tcp + WINDOW, header.window ?? 0);
  view.setUint16(tcp + CHECKSUM, 0);
  view.setUint16(tcp + URGENT, 0);
}

/** Sequence numbers that a segment takes (SEG.LEN): its data, and one for each of SYN and FIN. */
export function segmentLength(pdu: Readonly<Pdu>): number {
  const syn = (pdu.tcpFlags & SYN) !== 0 ? 1 : 0;
  const fin = (pdu.tcpFlags & FIN) !== 0 ? 1 : 0;
  return pdu.end - pdu.payload + syn + fin;
}

/**
 * True for a set of flags that an endpoint can send (RFC 9293 §3.10.7): at least one of SYN, ACK
 * and RST; never SYN with FIN or RST, FIN with RST, or FIN without ACK. NULL, FIN and Xmas scans
 * fail this.
 */
export function flagsPossible(flags: number): boolean {
  if ((flags & (SYN | ACK | RST)) === 0) return false;
  if ((flags & SYN) !== 0) return (flags & (FIN | RST)) === 0;
  return (flags & (FIN | RST)) !== (FIN | RST);
}
