/**
 * Reads capture files in the pcapng format (draft-ietf-opsawg-pcapng): any number of sections, of
 * either byte order, with Ethernet interfaces of any resolution. Blocks that hold no packet are
 * skipped, whatever is in them.
 *
 *     section ─ interface 0 ─ interface 1 ─ packet (0) ─ packet (1) ─ … ─ section ─ …
 */
import { MAX_FRAME_BYTES, type PcapRecord } from "./pcap.ts";

/** Types of blocks. */
export const BLOCK = {
  section: 0x0a0d0d0a,
  interface: 1,
  /** Obsolete; some old files have it. */
  packet: 2,
  simplePacket: 3,
  enhancedPacket: 6,
} as const;

export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
export const LINKTYPE_ETHERNET = 1;

/** Codes of options, of an interface but for `end`. */
export const OPTION = { end: 0, interfaceResolution: 9, interfaceOffset: 14 } as const;

/** Type, length, and the length once more. */
const MIN_BLOCK_BYTES = 12;

/** More than any capture has; each takes some memory. */
const MAX_INTERFACES = 1000;

/** Before 2106, as in a pcap file: what comes after can't be counted in exact microseconds. */
const MAX_TIME_US = 2 ** 32 * 1_000_000;

interface Interface {
  readonly linkType: number;
  /** A time in units is `units * numerator / denominator` microseconds, and the offset. */
  readonly numerator: bigint;
  readonly denominator: bigint;
  readonly offsetUs: bigint;
}

/** True for a file that begins as a pcapng file. */
export function isPcapng(file: Uint8Array): boolean {
  return [0x0a, 0x0d, 0x0d, 0x0a].every((byte, i) => file[i] === byte);
}

/**
 * The packets of a file, in its order, each with the number of its interface in its section; frames
 * are views of `file`. Times are truncated to microseconds.
 *
 * Throws SyntaxError for a truncated or malformed file, or for a packet that is no Ethernet frame,
 * after the packets before that point.
 */
export function* readPcapng(
  file: Uint8Array,
): Generator<readonly [record: PcapRecord, from: number]> {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let interfaces: Interface[] = [];
  let littleEndian = true;
  let at = 0;
  for (let number = 1; at < file.length; number++) {
    const body = new Body(file, view, at, `Cannot read block ${number} of capture, at byte ${at}`);
    body.need(MIN_BLOCK_BYTES);
    const isSection = view.getUint32(at) === BLOCK.section;
    if (isSection) {
      littleEndian = body.byteOrder();
      interfaces = [];
    } else if (number === 1) {
      body.fail("expected a section header");
    }
    body.open(littleEndian);
    switch (isSection ? BLOCK.section : body.word(0)) {
      case BLOCK.section:
        body.checkVersion();
        break;
      case BLOCK.interface:
        if (interfaces.length === MAX_INTERFACES) {
          body.fail(`more than ${MAX_INTERFACES} interfaces`);
        }
        interfaces.push(body.interface());
        break;
      case BLOCK.enhancedPacket:
        yield body.packet(interfaces, body.field(0, 4));
        break;
      case BLOCK.packet:
        yield body.packet(interfaces, body.field(0, 2));
        break;
      case BLOCK.simplePacket:
        body.fail("a simple packet block, expected packets with a time");
    }
    at = body.end;
  }
}

/** One block. */
class Body {
  /** Where the next one begins. */
  end: number;
  readonly #file: Uint8Array;
  readonly #view: DataView;
  readonly #at: number;
  readonly #where: string;
  #littleEndian = true;

  constructor(file: Uint8Array, view: DataView, at: number, where: string) {
    this.#file = file;
    this.#view = view;
    this.#at = at;
    this.#where = where;
    this.end = at;
  }

  fail(why: string): never {
    throw new SyntaxError(`${this.#where}: ${why}`);
  }

  need(lengthBytes: number): void {
    const left = this.#file.length - this.#at;
    if (left < lengthBytes) this.fail(`the file ends after ${left} of ${lengthBytes} bytes`);
  }

  /** Of a section: true if it is little-endian. */
  byteOrder(): boolean {
    const magic = this.#view.getUint32(this.#at + 8);
    if (magic === BYTE_ORDER_MAGIC) return false;
    if (this.#view.getUint32(this.#at + 8, true) === BYTE_ORDER_MAGIC) return true;
    return this.fail(`byte-order magic is "${magic.toString(16).padStart(8, "0")}"`);
  }

  /** Checks the length. */
  open(littleEndian: boolean): void {
    this.#littleEndian = littleEndian;
    const lengthBytes = this.word(4);
    if (lengthBytes < MIN_BLOCK_BYTES || lengthBytes % 4 !== 0) {
      this.fail(
        `block length "${lengthBytes}" must be a multiple of 4, at least ${MIN_BLOCK_BYTES}`,
      );
    }
    this.need(lengthBytes);
    this.end = this.#at + lengthBytes;
    const again = this.word(lengthBytes - 4);
    if (again !== lengthBytes) {
      this.fail(`block length "${lengthBytes}" is "${again}" at the block's end`);
    }
  }

  /** The 32-bit number at that offset in the block. */
  word(offset: number): number {
    return this.#view.getUint32(this.#at + offset, this.#littleEndian);
  }

  /** A number of two or four bytes in the block's body. */
  field(offset: number, bytes: 2 | 4): number {
    this.#has(offset + bytes);
    return bytes === 4
      ? this.word(8 + offset)
      : this.#view.getUint16(this.#at + 8 + offset, this.#littleEndian);
  }

  checkVersion(): void {
    const version = `${this.field(4, 2)}.${this.field(6, 2)}`;
    if (!version.startsWith("1.")) this.fail(`pcapng version "${version}": expected 1.0`);
  }

  interface(): Interface {
    const linkType = this.field(0, 2);
    this.#has(8);
    let numerator = 1n;
    let denominator = 1n;
    let offsetUs = 0n;
    for (const { code, at, lengthBytes } of this.#options(16)) {
      if (code === OPTION.interfaceResolution && lengthBytes === 1) {
        const value = this.#view.getUint8(at);
        const base = (value & 0x80) === 0 ? 10n : 2n;
        numerator = 1_000_000n;
        denominator = base ** BigInt(value & 0x7f);
      } else if (code === OPTION.interfaceOffset && lengthBytes === 8) {
        offsetUs = this.#view.getBigInt64(at, this.#littleEndian) * 1_000_000n;
      }
    }
    return { linkType, numerator, denominator, offsetUs };
  }

  packet(
    interfaces: readonly Interface[],
    number: number,
  ): readonly [record: PcapRecord, from: number] {
    const from = interfaces[number];
    if (from === undefined) this.fail(`interface ${number} has not been described`);
    if (from.linkType !== LINKTYPE_ETHERNET) {
      this.fail(`link type "${from.linkType}": expected 1 (Ethernet)`);
    }
    const units = (BigInt(this.field(4, 4)) << 32n) | BigInt(this.field(8, 4));
    const timeUs = Number(units * from.numerator / from.denominator + from.offsetUs);
    if (timeUs < 0 || timeUs >= MAX_TIME_US) this.fail("its time is not between 1970 and 2106");
    const capturedBytes = this.field(12, 4);
    const lengthBytes = this.field(16, 4);
    if (capturedBytes > MAX_FRAME_BYTES) {
      this.fail(`frame length "${capturedBytes}" must be ≤ ${MAX_FRAME_BYTES}`);
    }
    this.#has(20 + capturedBytes);
    const start = this.#at + 28;
    const frame = this.#file.subarray(start, start + capturedBytes);
    return [{ timeUs, frame, lengthBytes }, number];
  }

  /** The options from that offset in the block on; what does not fit ends them. */
  *#options(offset: number): Generator<{ code: number; at: number; lengthBytes: number }> {
    const last = this.end - 4;
    for (let at = this.#at + offset; at + 4 <= last;) {
      const code = this.#view.getUint16(at, this.#littleEndian);
      const lengthBytes = this.#view.getUint16(at + 2, this.#littleEndian);
      if (code === OPTION.end || at + 4 + lengthBytes > last) return;
      yield { code, at: at + 4, lengthBytes };
      at += 4 + ((lengthBytes + 3) & ~3);
    }
  }

  #has(bodyBytes: number): void {
    const room = this.end - this.#at - MIN_BLOCK_BYTES;
    if (room < bodyBytes) this.fail(`the block has room for ${room} of ${bodyBytes} bytes`);
  }
}
