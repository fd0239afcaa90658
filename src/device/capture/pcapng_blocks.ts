/**
 * The blocks of a capture file that are not packets, in the pcapng format
 * (draft-ietf-opsawg-pcapng): with one section a file begins, a block for each interface follows,
 * whose times are in nanoseconds, and one for each at the end says how many packets were lost.
 *
 *     | type | length | body | options: code, length, value … | length |
 *
 * All numbers are little-endian, and everything begins at a multiple of four bytes. Packets are
 * `packet_blocks.ts`.
 */

import { BLOCK, BYTE_ORDER_MAGIC, LINKTYPE_ETHERNET } from "./pcapng.ts";

const STATISTICS = 5;

/** Codes of options; a code means something else in each type of block, but for the first one. */
export const OPTION = {
  end: 0,
  comment: 1,
  sectionApplication: 4,
  interfaceName: 2,
  interfaceDescription: 3,
  interfaceResolution: 9,
  packetFlags: 2,
  packetId: 5,
  statisticsStart: 2,
  statisticsEnd: 3,
  statisticsReceived: 4,
  statisticsDropped: 5,
} as const;

/** Values of the two lowest bits of a packet's flags. */
export const INBOUND = 1;
export const OUTBOUND = 2;

const NANOSECONDS = 9;
/** Type and length, and the length once more at the end. */
const FRAME_BYTES = 12;
/** Longest value of an option. */
const MAX_OPTION_BYTES = 0xffff;

export interface CapturedInterface {
  readonly name: string;
  readonly description: string;
  /** Most bytes of a frame that are kept; 0: all of them. */
  readonly snapBytes: number;
}

export interface InterfaceStatistics {
  /** Number of the interface. */
  readonly interface: number;
  /** Since 1970-01-01. */
  readonly startNs: bigint;
  readonly endNs: bigint;
  /** Packets that were to be captured, and those of them that were lost. */
  readonly received: number;
  readonly dropped: number;
}

/** The block with which a file begins. */
export function sectionBlock(application: string, comment: string | null): Uint8Array<ArrayBuffer> {
  const body = new DataView(new ArrayBuffer(16));
  body.setUint32(0, BYTE_ORDER_MAGIC, true);
  body.setUint16(4, 1, true); // version 1.0
  body.setBigInt64(8, -1n, true); // the section's length is not given
  return block(BLOCK.section, bytesOf(body), [
    [OPTION.sectionApplication, textOf(application)],
    ...commentOf(comment),
  ]);
}

/** The first one has number 0. */
export function interfaceBlock(
  { name, description, snapBytes }: CapturedInterface,
): Uint8Array<ArrayBuffer> {
  const body = new DataView(new ArrayBuffer(8));
  body.setUint16(0, LINKTYPE_ETHERNET, true);
  body.setUint32(4, snapBytes, true);
  return block(BLOCK.interface, bytesOf(body), [
    [OPTION.interfaceName, textOf(name)],
    [OPTION.interfaceDescription, textOf(description)],
    [OPTION.interfaceResolution, new Uint8Array([NANOSECONDS])],
  ]);
}

export function statisticsBlock(statistics: InterfaceStatistics): Uint8Array<ArrayBuffer> {
  const { startNs, endNs, received, dropped } = statistics;
  const body = new DataView(new ArrayBuffer(12));
  body.setUint32(0, statistics.interface, true);
  setTime(body, 4, endNs);
  const [start, end] = [startNs, endNs].map((timeNs) => {
    const time = new DataView(new ArrayBuffer(8));
    setTime(time, 0, timeNs);
    return bytesOf(time);
  });
  return block(STATISTICS, bytesOf(body), [
    [OPTION.statisticsStart, start!],
    [OPTION.statisticsEnd, end!],
    [OPTION.statisticsReceived, bytesOf(word64(BigInt(received)))],
    [OPTION.statisticsDropped, bytesOf(word64(BigInt(dropped)))],
  ]);
}

export type Option = readonly [code: number, value: Uint8Array];

export function block(
  type: number,
  body: Uint8Array,
  options: readonly Option[],
): Uint8Array<ArrayBuffer> {
  const optionBytes = options.reduce((sum, [, { length }]) => sum + 4 + padded(length), 4);
  const totalBytes = FRAME_BYTES + body.length + optionBytes;
  const bytes = new Uint8Array(totalBytes);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, totalBytes, true);
  bytes.set(body, 8);
  let at = 8 + body.length;
  for (const [code, value] of options) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  view.setUint32(totalBytes - 4, totalBytes, true); // after an option of four zeroes, the last one
  return bytes;
}

export function commentOf(comment: string | null): readonly Option[] {
  return comment === null ? [] : [[OPTION.comment, textOf(comment)]];
}

function textOf(text: string): Uint8Array {
  return new TextEncoder().encode(text).subarray(0, MAX_OPTION_BYTES);
}

/** A time in two words, the high one first whatever the byte order. */
export function setTime(view: DataView, at: number, timeNs: bigint): void {
  view.setUint32(at, Number(timeNs >> 32n), true);
  view.setUint32(at + 4, Number(timeNs & 0xffff_ffffn), true);
}

export function word64(value: bigint): DataView<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, value, true);
  return view;
}

export function padded(lengthBytes: number): number {
  return (lengthBytes + 3) & ~3;
}

export function bytesOf(view: DataView<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(view.buffer);
}
