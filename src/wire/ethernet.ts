/** Ethernet II header (IEEE 802.3). `frame` is the offset of the header's first byte. */
import { GROUP_HI, type Mac } from "./address.ts";

export const ETHERNET_BYTES = 14;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;
export const ETHERTYPE_VLAN = 0x8100;
export const ETHERTYPE_QINQ = 0x88a8;

const DESTINATION = 0;
const SOURCE = 6;
const TYPE = 12;

export function etherType(view: DataView, frame: number): number {
  return view.getUint16(frame + TYPE);
}

export function destinationHi(view: DataView, frame: number): number {
  return view.getUint16(frame + DESTINATION);
}

export function destinationLo(view: DataView, frame: number): number {
  return view.getInt32(frame + DESTINATION + 2);
}

export function sourceHi(view: DataView, frame: number): number {
  return view.getUint16(frame + SOURCE);
}

export function sourceLo(view: DataView, frame: number): number {
  return view.getInt32(frame + SOURCE + 2);
}

/** The groups of which a station takes frames. */
export interface Groups {
  /** True if it is in the group of that MAC address. */
  hears(hi: number, lo: number): boolean;
}

/** True if a station other than `own`, the receiver, can have sent the frame. */
export function isFromStation(view: DataView, frame: number, own: Mac): boolean {
  const hi = sourceHi(view, frame);
  return (hi & GROUP_HI) === 0 && (hi !== own.hi || sourceLo(view, frame) !== own.lo);
}

export function setDestination(view: DataView, frame: number, hi: number, lo: number): void {
  view.setUint16(frame + DESTINATION, hi);
  view.setInt32(frame + DESTINATION + 2, lo);
}

export function setSource(view: DataView, frame: number, hi: number, lo: number): void {
  view.setUint16(frame + SOURCE, hi);
  view.setInt32(frame + SOURCE + 2, lo);
}

/** Destination and source at once. */
export function setAddresses(
  view: DataView,
  frame: number,
  destinationHi: number,
  destinationLo: number,
  sourceHi: number,
  sourceLo: number,
): void {
  view.setInt32(frame, (destinationHi << 16) | (destinationLo >>> 16));
  view.setInt32(frame + 4, (destinationLo << 16) | sourceHi);
  view.setInt32(frame + 8, sourceLo);
}

export function setEtherType(view: DataView, frame: number, type: number): void {
  view.setUint16(frame + TYPE, type);
}

/** Swaps source and destination: the frame goes back to its sender. */
export function turnAround(view: DataView, frame: number): void {
  const toHi = destinationHi(view, frame);
  const toLo = destinationLo(view, frame);
  setDestination(view, frame, sourceHi(view, frame), sourceLo(view, frame));
  setSource(view, frame, toHi, toLo);
}
