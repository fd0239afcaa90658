/** Puts frames into an arena, decodes them as the appliance does, and takes out what was sent. */
import { Arena, VNET_BYTES } from "../../src/core/arena.ts";
import { parseMac } from "../../src/wire/address.ts";
import { decodeFrame, decodeIpv4, decodeTransport } from "../../src/wire/decode.ts";
import { ETHERTYPE_IPV4 } from "../../src/wire/ethernet.ts";
import { Pdu } from "../../src/wire/pdu.ts";

/** The proxy's MAC address in `tests/support/frames.ts`. */
export const OWN_MAC = parseMac("02:00:00:00:01:00");

/** Where a frame is put: its IP header is then on a 4-byte boundary. */
export const FRAME_OFFSET = VNET_BYTES;

/** Writes `frame` with an empty vnet header in front. */
export function place(arena: Arena, frame: Uint8Array, offset: number = FRAME_OFFSET): void {
  arena.bytes.fill(0, offset - VNET_BYTES, offset);
  arena.bytes.set(frame, offset);
}

/** All three steps of decoding, as far as the frame goes: 0 or the reason. */
export function decodeAll(
  arena: Arena,
  lengthBytes: number,
  pdu: Pdu,
  offset: number = FRAME_OFFSET,
): number {
  return decodeFrame(arena.view, offset, lengthBytes, OWN_MAC, pdu) ||
    (pdu.etherType === ETHERTYPE_IPV4
      ? decodeIpv4(arena.view, pdu) || decodeTransport(arena.view, pdu)
      : 0);
}

/** A frame that must decode: it in a new arena, and its PDU. */
export function decoded(frame: Uint8Array): { arena: Arena; pdu: Pdu } {
  const arena = new Arena();
  return { arena, pdu: decodeInto(arena, frame) };
}

/** As `decoded`, in an arena that exists. Throws for a frame that does not decode. */
export function decodeInto(arena: Arena, frame: Uint8Array): Pdu {
  const pdu = new Pdu();
  place(arena, frame);
  const reason = decodeAll(arena, frame.length, pdu);
  if (reason !== 0) throw new Error(`Cannot decode a test's frame: reason ${reason}`);
  return pdu;
}

/** The frame's bytes as they now stand in the arena. */
export function frameOf(arena: Arena, pdu: Pdu): Uint8Array<ArrayBuffer> {
  return arena.bytes.slice(pdu.frame, pdu.end);
}

/** Copies of the frames queued for sending; the queue is then empty. */
export function takeSent(arena: Arena): Uint8Array<ArrayBuffer>[] {
  const frames: Uint8Array<ArrayBuffer>[] = [];
  for (let i = 0; i < arena.txCount; i++) {
    const offset = arena.tx[2 * i]!;
    frames.push(arena.bytes.slice(offset, offset + arena.tx[2 * i + 1]!));
  }
  arena.sent();
  return frames;
}
