/** As `place.ts`, of IPv6: puts frames into an arena and decodes them as the appliance does. */
import { Arena, VNET_BYTES } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";
import { decodeFrame } from "../../src/wire/decode.ts";
import { decodeIpv6, decodeTransport6 } from "../../src/wire/decode6.ts";
import { ETHERNET_BYTES, ETHERTYPE_IPV6 } from "../../src/wire/ethernet.ts";
import { Chain } from "../../src/wire/extension_headers.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { FRAME_OFFSET, OWN_MAC, place } from "./place.ts";

/** Of the addresses in all that is decoded here. */
export const DIGEST: AddressDigest = new AddressDigest(new SeededRandom(60));

/** Hears every group of IPv6. */
export const GROUPS = { hears: (hi: number) => hi === 0x3333 };

export interface Decoded6 {
  readonly arena: Arena;
  readonly pdu: Pdu;
  readonly chain: Chain;
  /** 0, a reason, or a fault of the chain; a fragment is decoded as far as its own headers. */
  readonly result: number;
}

/** Decodes the frame where `arena` has its first, whatever comes of it. */
export function decode6(frame: Uint8Array, arena = new Arena(), chain = new Chain()): Decoded6 {
  const pdu = new Pdu();
  place(arena, frame);
  const { view } = arena;
  const reason = decodeFrame(view, FRAME_OFFSET, frame.length, OWN_MAC, pdu, GROUPS);
  if (reason !== 0) throw new Error(`Cannot decode a test's frame: reason ${reason}`);
  const result = decodeIpv6(view, pdu, DIGEST, chain) ||
    (pdu.fragment === 0 ? decodeTransport6(view, pdu) : 0);
  pdu.flow = -1;
  return { arena, pdu, chain, result };
}

/** As `decode6`, of a frame that must decode. */
export function decoded6(frame: Uint8Array, arena?: Arena): Decoded6 {
  const decoded = decode6(frame, arena);
  if (decoded.result === 0) return decoded;
  throw new Error(`Cannot decode a test's frame: ${decoded.result}`);
}

/** Decodes the frame at FRAME_OFFSET, which must be right, and its vnet header. */
export function decodePlaced6(arena: Arena, frameBytes: number, digest = DIGEST): Pdu {
  const pdu = new Pdu();
  pdu.frame = FRAME_OFFSET;
  pdu.frameBytes = frameBytes;
  pdu.ip = FRAME_OFFSET + ETHERNET_BYTES;
  pdu.etherType = ETHERTYPE_IPV6;
  const reason = decodeIpv6(arena.view, pdu, digest, new Chain()) ||
    decodeTransport6(arena.view, pdu);
  if (reason !== 0) throw new Error(`Cannot decode a test's frame: reason ${reason}`);
  return pdu;
}

/** A frame that must decode, in an arena that exists. */
export function decodeInto6(arena: Arena, frame: Uint8Array, digest = DIGEST): Pdu {
  place(arena, frame);
  return decodePlaced6(arena, frame.length, digest);
}

/** Likewise, with what an interface is to complete. */
export function decodeOpen6(arena: Arena, frame: Uint8Array, vnet: Uint8Array): Pdu {
  place(arena, frame);
  arena.bytes.set(vnet, FRAME_OFFSET - VNET_BYTES);
  return decodePlaced6(arena, frame.length);
}
