/** Reads a frame of a capture without the appliance; frames may have any content. */
import { type Address, isGroupMac, type Mac } from "../../wire/address.ts";
import { ADDRESS6_WORDS, ALL_NODES, isAddress6 } from "../../wire/address6.ts";
import * as arp from "../../wire/arp.ts";
import * as ethernet from "../../wire/ethernet.ts";
import { extensionBytes, HEADER_HOP_BY_HOP } from "../../wire/extension_headers.ts";
import { addressOfWords, type HostAddress, isIpv6, wordsOf } from "../../wire/host_address.ts";
import * as icmpv6 from "../../wire/icmpv6.ts";
import * as ipv4 from "../../wire/ipv4.ts";
import * as ipv6 from "../../wire/ipv6.ts";
import { NEIGHBOR_FRAME_BYTES, writeNeighborAdvertisement } from "../../wire/neighbor_messages.ts";

/** Sender and target address of an IPv4 packet or an ARP packet; null for anything else. */
export function endsOf(frame: Uint8Array): { readonly src: Address; readonly dst: Address } | null {
  const at = ethernet.ETHERNET_BYTES;
  if (frame.length < at + ipv4.IPV4_MIN_BYTES) return null;
  const view = viewOf(frame);
  if (isArp(frame)) return { src: arp.senderAddress(view, at), dst: arp.targetAddress(view, at) };
  return ethernet.etherType(view, 0) === ethernet.ETHERTYPE_IPV4
    ? { src: ipv4.source(view, at), dst: ipv4.destination(view, at) }
    : null;
}

/** The source MAC address. */
export function senderOf(frame: Uint8Array): Mac {
  const view = viewOf(frame);
  return { hi: ethernet.sourceHi(view, 0), lo: ethernet.sourceLo(view, 0) };
}

/** The destination MAC address, unless that is a group's. */
function receiverOf(frame: Uint8Array): Mac | null {
  const view = viewOf(frame);
  const mac = { hi: ethernet.destinationHi(view, 0), lo: ethernet.destinationLo(view, 0) };
  return isGroupMac(mac) ? null : mac;
}

/** An ARP reply of `sender` to `target`. */
export function arpReplyFrame(
  sender: { readonly mac: Mac; readonly address: Address },
  target: { readonly mac: Mac; readonly address: Address },
): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(ethernet.ETHERNET_BYTES + arp.ARP_BYTES));
  arp.writeArp(view, 0, arp.ARP_REPLY, sender, target);
  return new Uint8Array(view.buffer);
}

/** Source and destination address of an IPv6 packet; null for anything else. */
export function endsOf6(frame: Uint8Array): { readonly src: bigint; readonly dst: bigint } | null {
  const ip = ethernet.ETHERNET_BYTES;
  if (frame.length < ip + ipv6.IPV6_BYTES) return null;
  const view = viewOf(frame);
  if (ethernet.etherType(view, 0) !== ethernet.ETHERTYPE_IPV6) return null;
  const addresses = new Int32Array(2 * ADDRESS6_WORDS);
  ipv6.readSource(view, ip, addresses, 0);
  ipv6.readDestination(view, ip, addresses, ADDRESS6_WORDS);
  return { src: addressOfWords(addresses), dst: addressOfWords(addresses, ADDRESS6_WORDS) };
}

/** An advertisement of `sender`, as `target` gets it when it has asked. */
export function advertisementFrame(
  sender: { readonly mac: Mac; readonly address: bigint },
  target: { readonly mac: Mac; readonly address: bigint },
): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(NEIGHBOR_FRAME_BYTES));
  const address = wordsOf(sender.address);
  const lengthBytes = writeNeighborAdvertisement(
    view,
    0,
    { mac: sender.mac, address },
    { mac: target.mac, address: wordsOf(target.address) },
    address,
    { router: false, solicited: true, override: true },
  );
  return new Uint8Array(view.buffer, 0, lengthBytes);
}

/**
 * The MAC address of `address` if the frame shows it: as an ARP sender, or as the destination of a
 * packet for it.
 */
export function ownerOf(frame: Uint8Array, address: HostAddress): Mac | null {
  if (isIpv6(address)) return endsOf6(frame)?.dst === address ? receiverOf(frame) : null;
  const at = ethernet.ETHERNET_BYTES;
  if (frame.length < at + ipv4.IPV4_MIN_BYTES) return null;
  const view = viewOf(frame);
  let mac: Mac | null = null;
  if (ethernet.etherType(view, 0) === ethernet.ETHERTYPE_IPV4) {
    if (ipv4.destination(view, at) !== address) return null;
    return receiverOf(frame);
  } else if (isArp(frame)) {
    if (arp.senderAddress(view, at) !== address) return null;
    mac = { hi: arp.senderHi(view, at), lo: arp.senderLo(view, at) };
  }
  return mac === null || isGroupMac(mac) ? null : mac;
}

export function isFrom(frame: Uint8Array, mac: Mac): boolean {
  if (frame.length < ethernet.ETHERNET_BYTES) return false;
  const { hi, lo } = senderOf(frame);
  return hi === mac.hi && lo === mac.lo;
}

export function isTo(frame: Uint8Array, mac: Mac): boolean {
  if (frame.length < ethernet.ETHERNET_BYTES) return false;
  const view = viewOf(frame);
  return ethernet.destinationHi(view, 0) === mac.hi && ethernet.destinationLo(view, 0) === mac.lo;
}

export function isArp(frame: Uint8Array): boolean {
  const at = ethernet.ETHERNET_BYTES;
  const view = viewOf(frame);
  return frame.length >= at + arp.ARP_BYTES &&
    ethernet.etherType(view, 0) === ethernet.ETHERTYPE_ARP && arp.isEthernetIpv4(view, at);
}

export function isArpRequest(frame: Uint8Array): boolean {
  return isArp(frame) &&
    arp.operation(viewOf(frame), ethernet.ETHERNET_BYTES) === arp.ARP_REQUEST;
}

/**
 * True for a message of IPv6 that its sender's own timers cause: a question to a neighbour or for
 * routers, an announcement to all nodes, a report of groups.
 */
export function isTimedMessage6(frame: Uint8Array): boolean {
  const ip = ethernet.ETHERNET_BYTES;
  if (frame.length < ip + ipv6.IPV6_BYTES + icmpv6.ICMPV6_BYTES) return false;
  const view = viewOf(frame);
  if (ethernet.etherType(view, 0) !== ethernet.ETHERTYPE_IPV6) return false;
  let icmp = ip + ipv6.IPV6_BYTES;
  let protocol = ipv6.nextHeader(view, ip);
  if (protocol === HEADER_HOP_BY_HOP) {
    protocol = view.getUint8(icmp);
    icmp += extensionBytes(view, icmp, HEADER_HOP_BY_HOP);
  }
  if (protocol !== ipv6.PROTOCOL_ICMPV6 || icmp >= frame.length) return false;
  switch (icmpv6.type(view, icmp)) {
    case icmpv6.ICMPV6_ROUTER_SOLICITATION:
    case icmpv6.ICMPV6_NEIGHBOR_SOLICITATION:
    case icmpv6.ICMPV6_LISTENER_REPORT_V1:
    case icmpv6.ICMPV6_LISTENER_REPORT_V2:
      return true;
    case icmpv6.ICMPV6_NEIGHBOR_ADVERTISEMENT:
      return isAddress6(view, ip + ipv6.DESTINATION, ALL_NODES, 0);
    default:
      return false;
  }
}

/** True for a question whether anybody has the address that its sender wants (RFC 4862 §5.4.2). */
export function isDuplicateCheck(frame: Uint8Array): boolean {
  return isTimedMessage6(frame) && endsOf6(frame)!.src === 0n &&
    ipv6.nextHeader(viewOf(frame), ethernet.ETHERNET_BYTES) === ipv6.PROTOCOL_ICMPV6;
}

function viewOf(frame: Uint8Array): DataView {
  return new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
}
