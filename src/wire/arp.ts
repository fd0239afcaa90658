/**
 * ARP for IPv4 over Ethernet (RFC 826; RFC 5227 for probes and announcements). `arp` is the offset
 * of the packet's first byte, after the Ethernet header.
 */
import type { Address, Mac } from "./address.ts";
import {
  ETHERNET_BYTES,
  ETHERTYPE_ARP,
  setDestination,
  setEtherType,
  setSource,
} from "./ethernet.ts";

export const ARP_BYTES = 28;
export const ARP_REQUEST = 1;
export const ARP_REPLY = 2;

const HARDWARE_AND_PROTOCOL = 0;
const LENGTHS = 4;
const OPERATION = 6;
const SENDER_MAC = 8;
const SENDER_ADDRESS = 14;
const TARGET_MAC = 18;
const TARGET_ADDRESS = 24;

const ETHERNET_IPV4 = 0x0001_0800;
const LENGTHS_6_4 = 0x0604;

/** True for hardware Ethernet, protocol IPv4, lengths 6 and 4, a request or a reply. */
export function isEthernetIpv4(view: DataView, arp: number): boolean {
  const operation = view.getUint16(arp + OPERATION);
  return view.getInt32(arp + HARDWARE_AND_PROTOCOL) === ETHERNET_IPV4 &&
    view.getUint16(arp + LENGTHS) === LENGTHS_6_4 &&
    (operation === ARP_REQUEST || operation === ARP_REPLY);
}

export function operation(view: DataView, arp: number): number {
  return view.getUint16(arp + OPERATION);
}

export function senderHi(view: DataView, arp: number): number {
  return view.getUint16(arp + SENDER_MAC);
}

export function senderLo(view: DataView, arp: number): number {
  return view.getInt32(arp + SENDER_MAC + 2);
}

export function senderAddress(view: DataView, arp: number): number {
  return view.getInt32(arp + SENDER_ADDRESS);
}

export function targetAddress(view: DataView, arp: number): number {
  return view.getInt32(arp + TARGET_ADDRESS);
}

/**
 * Writes a whole ARP frame at `frame`. With a null target MAC, written as zeroes, it is broadcast.
 */
export function writeArp(
  view: DataView,
  frame: number,
  operation: number,
  sender: { readonly mac: Mac; readonly address: Address },
  target: { readonly mac: Mac | null; readonly address: Address },
): void {
  setDestination(view, frame, target.mac?.hi ?? 0xffff, target.mac?.lo ?? -1);
  setSource(view, frame, sender.mac.hi, sender.mac.lo);
  setEtherType(view, frame, ETHERTYPE_ARP);
  const arp = frame + ETHERNET_BYTES;
  view.setInt32(arp + HARDWARE_AND_PROTOCOL, ETHERNET_IPV4);
  view.setUint16(arp + LENGTHS, LENGTHS_6_4);
  view.setUint16(arp + OPERATION, operation);
  view.setUint16(arp + SENDER_MAC, sender.mac.hi);
  view.setInt32(arp + SENDER_MAC + 2, sender.mac.lo);
  view.setInt32(arp + SENDER_ADDRESS, sender.address);
  view.setUint16(arp + TARGET_MAC, target.mac?.hi ?? 0);
  view.setInt32(arp + TARGET_MAC + 2, target.mac?.lo ?? 0);
  view.setInt32(arp + TARGET_ADDRESS, target.address);
}
