/** Frames as the kernel has them, from those that tests have with vnet headers. */
import { readVnet, vnetBytes } from "../support/nic.ts";

const ETHERNET_BYTES = 14;
const L4 = 34;

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
  const isOwn = csumStart === L4 && csumOffset === (bytes[23] === 17 ? 6 : 16);
  if (isPartial ? !isOwn : gsoType !== 0) return null;
  if (gsoType !== 0 && (gsoType & 0x7f) !== 1) return null;
  return { bytes, gsoSize: gsoType === 0 ? 0 : gsoSize, isPartial, vnet };
}
