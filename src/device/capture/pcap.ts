/**
 * Capture files in the classic format, pcap-savefile(5), with Ethernet frames: a file header, then
 * a record for each frame.
 *
 *     written   little-endian, microseconds
 *     read      either byte order, microseconds or nanoseconds
 *
 * Works on bytes; the caller reads and writes files. `pcapng.ts` reads pcapng files.
 */

/** A frame as it was captured. */
export interface PcapRecord {
  /** Microseconds since 1970-01-01, an integer. */
  readonly timeUs: number;
  /** The frame, from its Ethernet header on; truncated if the capture truncated it. */
  readonly frame: Uint8Array;
  /** Length of the frame on the wire, in bytes. */
  readonly lengthBytes: number;
}

const FILE_HEADER_BYTES = 24;
const RECORD_HEADER_BYTES = 16;

const MAGIC_US = 0xa1b2c3d4;
const MAGIC_NS = 0xa1b23c4d;
const VERSION_MAJOR = 2;
const VERSION_MINOR = 4;
const LINKTYPE_ETHERNET = 1;

/** Bits of the last header word that hold the link type; the others describe an FCS. */
const LINKTYPE_MASK = 0xffff;

/** Longest frame of a capture file, as in libpcap. */
export const MAX_FRAME_BYTES = 262_144;

const MICROSECONDS = 1_000_000;

/** The bytes that a capture file begins with. */
export function pcapHeader(): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(FILE_HEADER_BYTES));
  view.setUint32(0, MAGIC_US, true);
  view.setUint16(4, VERSION_MAJOR, true);
  view.setUint16(6, VERSION_MINOR, true);
  view.setUint32(16, MAX_FRAME_BYTES, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  return new Uint8Array(view.buffer);
}

/** The bytes of one record. Throws RangeError for a frame longer than 262,144 bytes. */
export function pcapRecord({ timeUs, frame, lengthBytes }: PcapRecord): Uint8Array<ArrayBuffer> {
  if (frame.length > MAX_FRAME_BYTES) {
    throw new RangeError(
      `Cannot write frame of ${frame.length} bytes to a capture: must be ≤ ${MAX_FRAME_BYTES}`,
    );
  }
  const bytes = new Uint8Array(RECORD_HEADER_BYTES + frame.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(timeUs / MICROSECONDS), true);
  view.setUint32(4, timeUs % MICROSECONDS, true);
  view.setUint32(8, frame.length, true);
  view.setUint32(12, lengthBytes, true);
  bytes.set(frame, RECORD_HEADER_BYTES);
  return bytes;
}

/**
 * The records of a capture file, in order; their frames are views of `file`. Nanoseconds are
 * truncated to microseconds.
 *
 * Throws SyntaxError for another format or link type at once, for a truncated or malformed file
 * after the records before that point.
 */
export function readPcap(file: Uint8Array): Generator<PcapRecord> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  return records(file, view, formatOf(view));
}

interface Format {
  readonly littleEndian: boolean;
  readonly fractionsPerUs: number;
}

function formatOf(view: DataView): Format {
  if (view.byteLength < FILE_HEADER_BYTES) {
    throw new SyntaxError(
      `Cannot read capture of ${view.byteLength} bytes: the file header alone has ` +
        `${FILE_HEADER_BYTES}`,
    );
  }
  const magic = view.getUint32(0);
  const littleEndian = magic !== MAGIC_US && magic !== MAGIC_NS;
  const number = view.getUint32(0, littleEndian);
  if (number !== MAGIC_US && number !== MAGIC_NS) {
    throw new SyntaxError(
      `Cannot read capture: it begins with "${hex(magic)}", expected a pcap or pcapng file`,
    );
  }
  const version = `${view.getUint16(4, littleEndian)}.${view.getUint16(6, littleEndian)}`;
  if (version !== `${VERSION_MAJOR}.${VERSION_MINOR}`) {
    throw new SyntaxError(`Cannot read capture of pcap version "${version}": expected 2.4`);
  }
  const linkType = view.getUint32(20, littleEndian) & LINKTYPE_MASK;
  if (linkType !== LINKTYPE_ETHERNET) {
    throw new SyntaxError(`Cannot read capture of link type "${linkType}": expected 1 (Ethernet)`);
  }
  return { littleEndian, fractionsPerUs: number === MAGIC_NS ? 1000 : 1 };
}

function* records(file: Uint8Array, view: DataView, format: Format): Generator<PcapRecord> {
  const { littleEndian, fractionsPerUs } = format;
  let at = FILE_HEADER_BYTES;
  for (let number = 1; at < file.length; number++) {
    const left = file.length - at;
    const fail = `Cannot read record ${number} of capture, at byte ${at}`;
    if (left < RECORD_HEADER_BYTES) {
      throw new SyntaxError(
        `${fail}: the file ends after ${left} of ${RECORD_HEADER_BYTES} header bytes`,
      );
    }
    const seconds = view.getUint32(at, littleEndian);
    const fraction = view.getUint32(at + 4, littleEndian);
    const capturedBytes = view.getUint32(at + 8, littleEndian);
    const lengthBytes = view.getUint32(at + 12, littleEndian);
    const start = at + RECORD_HEADER_BYTES;
    if (capturedBytes > MAX_FRAME_BYTES) {
      throw new SyntaxError(
        `${fail}: frame length "${capturedBytes}" must be ≤ ${MAX_FRAME_BYTES}`,
      );
    }
    if (start + capturedBytes > file.length) {
      throw new SyntaxError(
        `${fail}: the file ends after ${file.length - start} of ${capturedBytes} frame bytes`,
      );
    }
    yield {
      timeUs: seconds * MICROSECONDS + Math.floor(fraction / fractionsPerUs),
      frame: file.subarray(start, start + capturedBytes),
      lengthBytes,
    };
    at = start + capturedBytes;
  }
}

function hex(word: number): string {
  return word.toString(16).padStart(8, "0");
}
