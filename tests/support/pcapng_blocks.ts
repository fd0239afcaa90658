/** A packet's block of a pcapng file, made simply: `packet_blocks.ts` must write the same. */
import { BLOCK } from "../../src/device/capture/pcapng.ts";
import {
  block,
  bytesOf,
  commentOf,
  type INBOUND,
  OPTION,
  type OUTBOUND,
  padded,
  setTime,
  word64,
} from "../../src/device/capture/pcapng_blocks.ts";

export interface CapturedPacket {
  /** Number of its interface, from 0. */
  readonly interface: number;
  /** Since 1970-01-01. */
  readonly timeNs: bigint;
  readonly frame: Uint8Array;
  /** Length of the frame before it was cut. */
  readonly lengthBytes: number;
  readonly direction: typeof INBOUND | typeof OUTBOUND;
  /** The same for a packet as it came and as it left; null: unknown. */
  readonly id: bigint | null;
  /** Null: none. */
  readonly comment: string | null;
}

export function packetBlock(packet: CapturedPacket): Uint8Array<ArrayBuffer> {
  const { frame, direction, id, comment } = packet;
  const body = new DataView(new ArrayBuffer(20 + padded(frame.length)));
  body.setUint32(0, packet.interface, true);
  setTime(body, 4, packet.timeNs);
  body.setUint32(12, frame.length, true);
  body.setUint32(16, packet.lengthBytes, true);
  bytesOf(body).set(frame, 20);
  const flags = new DataView(new ArrayBuffer(4));
  flags.setUint32(0, direction, true);
  return block(BLOCK.enhancedPacket, bytesOf(body), [
    [OPTION.packetFlags, bytesOf(flags)],
    ...(id === null ? [] : [[OPTION.packetId, bytesOf(word64(id))] as const]),
    ...commentOf(comment),
  ]);
}
