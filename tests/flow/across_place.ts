/**
 * Puts a frame where the first of a burst is read to, takes it across to the other family, and
 * looks that nothing but the frame and its vnet header was written.
 */
import assert from "node:assert/strict";
import { Arena, FRONT_BYTES, VNET_BYTES } from "../../src/core/arena.ts";
import { translateTo4, translateTo6 } from "../../src/flow/across.ts";
import { Translation } from "../../src/flow/translate.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { parseAddress6 } from "../../src/wire/address6.ts";
import { decodeFrame } from "../../src/wire/decode.ts";
import { decodeIpv6, decodeTransport6 } from "../../src/wire/decode6.ts";
import { ETHERTYPE_IPV4 } from "../../src/wire/ethernet.ts";
import { Chain } from "../../src/wire/extension_headers.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { decodeAll, OWN_MAC, place } from "../wire/place.ts";
import { DIGEST, GROUPS } from "../wire/place6.ts";

/** A tuple of one of the families. */
export interface Tuple {
  src: string;
  dst: string;
  srcPort: number;
  dstPort: number;
}

export const ID = 0x4242;
export const TTL = 41;

/** Bytes in front of and behind what may be written. */
const GUARD_BYTES = 64;
const GUARD = 0xa5;

export function translationTo4({ src, dst, srcPort, dstPort }: Tuple): Translation {
  const to = Object.assign(new Translation(), { srcPort, dstPort });
  to.src = parseAddress(src);
  to.dst = parseAddress(dst);
  return to;
}

export function translationTo6({ src, dst, srcPort, dstPort }: Tuple): Translation {
  const to = Object.assign(new Translation(), { srcPort, dstPort });
  to.addresses.set([...parseAddress6(src), ...parseAddress6(dst)]);
  to.src = DIGEST.ofWords(to.addresses, 0);
  to.dst = DIGEST.ofWords(to.addresses, 4);
  return to;
}

/** One for all: an arena is large. It does not begin where its buffer does. */
export const ARENA = new Arena(
  new ArrayBuffer(GUARD_BYTES + new Arena().buffer.byteLength),
  GUARD_BYTES,
);

/** The frame of either family, decoded, in an arena whose every other byte is a guard's. */
export function placed(
  frame: Uint8Array,
  vnet: Uint8Array = new Uint8Array(VNET_BYTES),
): { pdu: Pdu; reason: number } {
  const arena = ARENA;
  const pdu = new Pdu();
  const offset = arena.rxStart + VNET_BYTES;
  const end = offset + frame.length;
  arena.bytes.fill(GUARD, arena.rxStart - FRONT_BYTES - GUARD_BYTES, end + GUARD_BYTES);
  place(arena, frame, offset);
  arena.bytes.set(vnet, offset - VNET_BYTES);
  const { view } = arena;
  pdu.flow = -1;
  const isIpv4 = frame[12] === ETHERTYPE_IPV4 >> 8;
  const reason = isIpv4
    ? decodeAll(arena, frame.length, pdu, offset)
    : decodeFrame(view, offset, frame.length, OWN_MAC, pdu, GROUPS) ||
      decodeIpv6(view, pdu, DIGEST, new Chain()) || decodeTransport6(view, pdu);
  return { pdu, reason };
}

/** Looks at the guards in front of and behind what is there now. */
function checkGuards(pdu: Readonly<Pdu>, out: Readonly<Pdu>): void {
  const arena = ARENA;
  const first = Math.min(out.frame, pdu.frame) - VNET_BYTES;
  const start = arena.rxStart - FRONT_BYTES;
  assert.ok(first >= start, `the frame begins ${start - first} bytes too early`);
  const before = arena.bytes.subarray(start - GUARD_BYTES, first);
  const behind = arena.bytes.subarray(pdu.end, pdu.end + GUARD_BYTES);
  assert.ok(out.end <= pdu.end);
  assert.ok(before.every((byte) => byte === GUARD), "written in front");
  assert.ok(pdu.end !== pdu.frame + pdu.frameBytes || behind.every((byte) => byte === GUARD));
}

export interface Crossed {
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly vnet: Uint8Array<ArrayBuffer>;
  readonly out: Pdu;
}

/** What becomes of a frame that must decode. */
export function crossed(frame: Uint8Array, to: Tuple, vnet?: Uint8Array): Crossed {
  const { pdu, reason } = placed(frame, vnet);
  if (reason !== 0) throw new Error(`Cannot decode a test's frame: reason ${reason}`);
  return crossedPdu(pdu, to);
}

export function crossedPdu(pdu: Pdu, to: Tuple): Crossed {
  const out = new Pdu();
  const before = JSON.stringify(pdu);
  if (pdu.etherType === ETHERTYPE_IPV4) translateTo6(ARENA, pdu, translationTo6(to), TTL, out);
  else translateTo4(ARENA, pdu, translationTo4(to), TTL, ID, out);
  assert.equal(JSON.stringify(pdu), before, "the PDU as it came has changed");
  return takenOut(pdu, out);
}

/** The frame as it is now; what is around it must be as it was. */
export function takenOut(pdu: Readonly<Pdu>, out: Pdu): Crossed {
  checkGuards(pdu, out);
  return {
    frame: ARENA.bytes.slice(out.frame, out.end),
    vnet: ARENA.bytes.slice(out.frame - VNET_BYTES, out.frame),
    out,
  };
}
