/** Frames as the kernel has them, from those that tests have with vnet headers. */
import { readVnet, vnetBytes } from "../support/nic.ts";

const ETHERNET_BYTES = 14;

/** Where a frame of a packet without options or extension headers has what. */
export interface Place {
  readonly isIpv6: boolean;
  readonly protocol: number;
  /** Of its transport header, and of the packet's end. */
  readonly l4: number;
  readonly end: number;
}

/** Null: it is too short for the ports of TCP or UDP. */
export function placeOf(bytes: Uint8Array): Place | null {
  const isIpv6 = bytes[12] === 0x86 && bytes[13] === 0xdd;
  const l4 = isIpv6 ? 54 : 34;
  if (bytes.length < l4 + 8) return null;
  const word16 = (at: number) => bytes[at]! * 256 + bytes[at + 1]!;
  return isIpv6
    ? { isIpv6, protocol: bytes[20]!, l4, end: l4 + word16(18) }
    : { isIpv6, protocol: bytes[23]!, l4, end: ETHERNET_BYTES + word16(16) };
}

/** A frame with the work that is left to the interface, as the kernel has it. */
export interface KernelFrame {
  readonly bytes: Uint8Array;
  readonly gsoSize: number;
  readonly isPartial: boolean;
  /** How a sender hands it to an interface. */
  readonly vnet: Uint8Array;
}

/** The frame as the kernel has it; null if it can't have it like this, or does not say. */
export function kernelFrameOf(bytes: Uint8Array, vnet: Uint8Array | null): KernelFrame | null {
  if (bytes.length < ETHERNET_BYTES) return null;
  if (vnet === null) return { bytes, gsoSize: 0, isPartial: false, vnet: vnetBytes({}) };
  const { flags, gsoType, gsoSize, csumStart, csumOffset } = readVnet(vnet);
  const isPartial = (flags & 1) !== 0;
  const place = placeOf(bytes);
  const isOwn = place !== null && csumStart === place.l4 &&
    csumOffset === (place.protocol === 17 ? 6 : 16);
  if (isPartial ? !isOwn : gsoType !== 0) return null;
  if (gsoType !== 0 && (gsoType & 0x7f) !== (place?.isIpv6 ? 4 : 1)) return null;
  return { bytes, gsoSize: gsoType === 0 ? 0 : gsoSize, isPartial, vnet };
}
