/**
 * How the fragments of a family look, and what the whole datagram is made of: of IPv4 (RFC 791
 * §3.2, RFC 1122 §3.3.2) and of IPv6 (RFC 8200 §4.5).
 *
 *     | Ethernet | IPv4, options                   | data |
 *     | Ethernet | IPv6, headers | fragment header | data |
 */
import { type Arena, VNET_BYTES } from "../core/arena.ts";
import { Reason } from "../core/reason.ts";
import { complement, sumBytes } from "../wire/checksum.ts";
import { ETHERNET_BYTES } from "../wire/ethernet.ts";
import {
  type Chain,
  extensionBytes,
  FRAGMENT_BYTES,
  FRAGMENT_OFFSET6,
  fragmentFlagsAndOffset,
  fragmentIdentification,
  HEADER_FRAGMENT,
  MORE_FRAGMENTS6,
} from "../wire/extension_headers.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import type { Pdu } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import { cutFront } from "../wire/vnet.ts";
import type { SourceKey } from "./datagram.ts";
import { MAX_QUOTE_BYTES } from "./icmp.ts";
import { MAX_QUOTE6_BYTES } from "./icmp6.ts";

/** From the first fragment received; RFC 1122 §3.3.2 asks for 60 s, Linux uses 30. */
export const REASSEMBLY_TIMEOUT_MS = 30_000;
/** As RFC 8200 §4.5 has it. */
export const REASSEMBLY6_TIMEOUT_MS = 60_000;

const MAX_PACKET_BYTES = 65_535;
const CONGESTION_EXPERIENCED = 3;

/** About the fragment of a Pdu whose own headers were decoded, unless it says otherwise. */
export interface FragmentFormat {
  readonly timeoutMs: number;
  /** Longest frame that a datagram may become, with all headers of its first fragment. */
  readonly maxFrameBytes: number;
  /** As much of the first fragment's packet as an ICMP error quotes. */
  readonly quoteBytes: number;
  /** Where its data begins in the datagram, in bytes. */
  startOf(view: DataView, pdu: Pdu): number;
  isLast(view: DataView, pdu: Pdu): boolean;
  /** Offset of its data. */
  dataOf(pdu: Pdu): number;
  /** The reason to drop it by itself, or 0. */
  faultOf(view: DataView, pdu: Pdu, start: number, isLast: boolean): number;
  /** The same for all fragments of one datagram. */
  keyOf(view: DataView, pdu: Pdu): string;
  sourceOf(pdu: Pdu): SourceKey;
  /** A router has marked it (RFC 3168 §5.3). */
  isCongested(view: DataView, pdu: Pdu): boolean;
  /**
   * Makes the headers of a first fragment those of the whole datagram, whose `dataBytes` bytes
   * stand behind them at `data`. Returns where the frame begins then.
   */
  finish(
    arena: Arena,
    frame: number,
    data: number,
    dataBytes: number,
    congested: boolean,
  ): number;
}

export const FRAGMENTS4: FragmentFormat = {
  timeoutMs: REASSEMBLY_TIMEOUT_MS,
  maxFrameBytes: ETHERNET_BYTES + MAX_PACKET_BYTES,
  quoteBytes: MAX_QUOTE_BYTES,
  startOf: (view, { ip }) => (ipv4.flagsAndOffset(view, ip) & ipv4.FRAGMENT_OFFSET) * 8,
  isLast: (view, { ip }) => (ipv4.flagsAndOffset(view, ip) & ipv4.MORE_FRAGMENTS) === 0,
  dataOf: ({ l4 }) => l4,
  faultOf: faultOf4,
  keyOf: (view, { ip, src, dst, protocol }) =>
    `${src} ${dst} ${protocol} ${ipv4.identification(view, ip)}`,
  sourceOf: ({ src }) => src,
  isCongested: (view, { ip }) => isMarked(ipv4.tos(view, ip)),
  finish: ({ view }, frame, data, dataBytes, congested) => {
    const ip = frame + ETHERNET_BYTES;
    ipv4.setTotalLength(view, ip, data - ip + dataBytes);
    ipv4.setFlagsAndOffset(view, ip, 0);
    if (congested) ipv4.setTos(view, ip, ipv4.tos(view, ip) | CONGESTION_EXPERIENCED);
    ipv4.setChecksum(view, ip, 0);
    ipv4.setChecksum(view, ip, complement(sumBytes(view, ip, data - ip, 0)));
    return frame;
  },
};

/**
 * Of IPv6. `chain` is the one that the fragment's headers were walked with: the walk has found what
 * RFC 8200 §4.5 wants told about a length, and that a first fragment has all headers (RFC 7112). A
 * source is a /64, of which one host has all addresses.
 */
export function fragments6(chain: Readonly<Chain>): FragmentFormat {
  const flagsAndOffset = (view: DataView) => fragmentFlagsAndOffset(view, chain.fragment);
  const dataOf = () => chain.fragment + FRAGMENT_BYTES;
  return {
    timeoutMs: REASSEMBLY6_TIMEOUT_MS,
    maxFrameBytes: ETHERNET_BYTES + ipv6.IPV6_BYTES + FRAGMENT_BYTES + MAX_PACKET_BYTES,
    quoteBytes: MAX_QUOTE6_BYTES,
    startOf: (view) => flagsAndOffset(view) & FRAGMENT_OFFSET6,
    isLast: (view) => (flagsAndOffset(view) & MORE_FRAGMENTS6) === 0,
    dataOf,
    faultOf: (_, { end }) => end === dataOf() ? Reason["fragment-length"] : 0,
    keyOf: (view, { addresses }) =>
      `${addresses.join(" ")} ${fragmentIdentification(view, chain.fragment)}`,
    sourceOf: ({ addresses }) => `${addresses[0]} ${addresses[1]}`,
    isCongested: (view, { ip }) => isMarked(ipv6.trafficClass(view, ip)),
    finish: finish6,
  };
}

/**
 * Takes the header of an atomic fragment, if the packet has one, out of it before it leaves: it is
 * a whole packet, and nobody may make such fragments (RFC 8200 §4.5, RFC 8021).
 */
export function dropAtomicHeader(arena: Arena, pdu: Pdu): void {
  const { view } = arena;
  const { ip, l4, end } = pdu;
  let next = ipv6.nextHeader(view, ip);
  let at = ip + ipv6.IPV6_BYTES;
  while (at < l4 && next !== HEADER_FRAGMENT) {
    const lengthBytes = extensionBytes(view, at, next);
    next = view.getUint8(at);
    at += lengthBytes;
  }
  if (at >= l4) return;
  const data = at + FRAGMENT_BYTES;
  pdu.frame = finish6(arena, pdu.frame, data, end - data, false);
  cutFront(view, pdu.frame, FRAGMENT_BYTES);
  pdu.ip = ip + FRAGMENT_BYTES;
  pdu.frameBytes -= FRAGMENT_BYTES;
  pdu.totalLength -= FRAGMENT_BYTES;
}

/** Takes the fragment header out, by moving what is before it. */
function finish6(
  { bytes, view }: Arena,
  frame: number,
  data: number,
  dataBytes: number,
  congested: boolean,
): number {
  const fragment = data - FRAGMENT_BYTES;
  const nextHeader = view.getUint8(fragment);
  bytes.copyWithin(frame - VNET_BYTES + FRAGMENT_BYTES, frame - VNET_BYTES, fragment);
  const whole = frame + FRAGMENT_BYTES;
  const ip = whole + ETHERNET_BYTES;
  let nextHeaderAt = ip + ipv6.NEXT_HEADER;
  for (let at = ip + ipv6.IPV6_BYTES; view.getUint8(nextHeaderAt) !== HEADER_FRAGMENT;) {
    const lengthBytes = extensionBytes(view, at, view.getUint8(nextHeaderAt));
    nextHeaderAt = at;
    at += lengthBytes;
  }
  view.setUint8(nextHeaderAt, nextHeader);
  ipv6.setPayloadLength(view, ip, data - ip - ipv6.IPV6_BYTES + dataBytes);
  if (congested) {
    ipv6.setTrafficClass(view, ip, ipv6.trafficClass(view, ip) | CONGESTION_EXPERIENCED);
  }
  return whole;
}

/** A fragment that splits the TCP header is dropped too (RFC 1858). */
function faultOf4(view: DataView, pdu: Pdu, start: number, isLast: boolean): number {
  const lengthBytes = pdu.end - pdu.l4;
  const cut = !isLast && (lengthBytes & 7) !== 0;
  if (lengthBytes === 0 || cut || pdu.l4 - pdu.ip + start + lengthBytes > MAX_PACKET_BYTES) {
    return Reason["fragment-length"];
  }
  // Every other header that is read fits into the 8 bytes that a first fragment has at least.
  if (pdu.protocol !== ipv4.PROTOCOL_TCP || start >= tcp.TCP_MIN_BYTES) return 0;
  const isWhole = start === 0 && lengthBytes >= tcp.TCP_MIN_BYTES &&
    lengthBytes >= tcp.headerBytes(view, pdu.l4);
  return isWhole ? 0 : Reason["fragment-tiny"];
}

function isMarked(tos: number): boolean {
  return (tos & CONGESTION_EXPERIENCED) === CONGESTION_EXPERIENCED;
}
