/**
 * What ICMPv6 (RFC 4443) does unlike ICMP: which packets deserve an error, and the reply to an echo
 * request, which may have come to a group. Errors are sent by `icmp.ts`.
 */
import type { Arena } from "../core/arena.ts";
import { ADDRESS6_WORDS, isMulticast6 } from "../wire/address6.ts";
import { delta16, deltaAddress6 } from "../wire/checksum.ts";
import * as ethernet from "../wire/ethernet.ts";
import {
  extensionBytes,
  FRAGMENT_BYTES,
  FRAGMENT_OFFSET6,
  fragmentFlagsAndOffset,
  HEADER_FRAGMENT,
  isExtension,
  MAX_HEADERS,
} from "../wire/extension_headers.ts";
import * as icmpv6 from "../wire/icmpv6.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { OVER_IPV6, type Pdu } from "../wire/pdu.ts";
import * as vnet from "../wire/vnet.ts";
import { isHost6, type OwnAddresses6 } from "./admit6.ts";

/** RFC 4443 §2.4 (c): an error quotes as much as fits into a packet that every link carries. */
export const MAX_QUOTE6_BYTES: number = ipv6.MIN_MTU6_BYTES - ipv6.IPV6_BYTES -
  icmpv6.ICMPV6_BYTES;

/** Upper bits of an option that is told of to whomever it was sent (RFC 8200 §4.2). */
const TELL_ALWAYS = 2;

/**
 * True if an error of `type` and `code` may be sent about the packet; `rest` is its bytes 4 to 7.
 * RFC 4443 §2.4 (e): not about an error or a redirect, nor to who can't be one host; and about a
 * packet to a group, or in a group's frame, only what the rule itself lets through.
 */
export function deservesError6(
  view: DataView,
  pdu: Pdu,
  own: OwnAddresses6,
  type: number,
  code: number,
  rest: number,
): boolean {
  const { addresses } = pdu;
  if (!isHost6(addresses, 0) || own.has(addresses, 0)) return false;
  const isGroups = pdu.broadcastFrame !== 0 || isMulticast6(addresses[ADDRESS6_WORDS]!);
  if (isGroups && !mayTellGroup(view, pdu, type, code, rest)) return false;
  return !mayBeError(view, pdu);
}

function mayTellGroup(
  view: DataView,
  { ip }: Pdu,
  type: number,
  code: number,
  rest: number,
): boolean {
  if (type === icmpv6.ICMPV6_PACKET_TOO_BIG) return true;
  return type === icmpv6.ICMPV6_PARAMETER_PROBLEM && code === icmpv6.CODE_UNKNOWN_OPTION &&
    view.getUint8(ip + rest) >>> 6 === TELL_ALWAYS;
}

/**
 * True for an ICMPv6 error or a redirect, and for what has too many headers to tell: looks past
 * extension headers, whatever is wrong with them.
 */
function mayBeError(view: DataView, { ip, end }: Pdu): boolean {
  let protocol = ipv6.nextHeader(view, ip);
  let at = ip + ipv6.IPV6_BYTES;
  for (let count = 0; isExtension(protocol); count++) {
    if (count > MAX_HEADERS) return true;
    if (end - at < FRAGMENT_BYTES) return false;
    const lengthBytes = extensionBytes(view, at, protocol);
    const isLater = protocol === HEADER_FRAGMENT &&
      (fragmentFlagsAndOffset(view, at) & FRAGMENT_OFFSET6) !== 0;
    protocol = view.getUint8(at);
    if (isLater) return protocol === ipv6.PROTOCOL_ICMPV6;
    at += lengthBytes;
  }
  if (protocol !== ipv6.PROTOCOL_ICMPV6) return false;
  const type = at < end ? icmpv6.type(view, at) : 0;
  return icmpv6.isError(type) || type === icmpv6.ICMPV6_REDIRECT;
}

/**
 * Turns the echo request into its reply, in place (RFC 4443 §4.2), to the station that sent the
 * frame: from the address that it was sent to, or one of the proxy's if that was a group. Extension
 * headers are left behind, so that the frame begins later.
 */
export function makeEchoReply6(arena: Arena, pdu: Pdu, own: OwnAddresses6): void {
  const { view } = arena;
  cutExtensionHeaders(arena, pdu);
  const { frame, ip, l4, addresses } = pdu;
  const hi = ethernet.sourceHi(view, frame);
  const lo = ethernet.sourceLo(view, frame);
  ethernet.setAddresses(view, frame, hi, lo, own.mac.hi, own.mac.lo);
  const from = ADDRESS6_WORDS * own.sourceFor(pdu);
  const delta = deltaAddress6(view, ip + ipv6.SOURCE, own.words, from) +
    deltaAddress6(view, ip + ipv6.DESTINATION, addresses, 0) +
    delta16(icmpv6.ICMPV6_ECHO_REQUEST << 8, icmpv6.ICMPV6_ECHO_REPLY << 8);
  ipv6.setSource(view, ip, own.words, from);
  ipv6.setDestination(view, ip, addresses, 0);
  ipv6.setHopLimit(view, ip, ipv6.DEFAULT_HOP_LIMIT);
  ipv6.setFlowLabel(view, ip, 0);
  icmpv6.setType(view, l4, icmpv6.ICMPV6_ECHO_REPLY);
  icmpv6.updateChecksum(view, l4, delta);
}

/** Moves the Ethernet and the IPv6 header to right before layer 4. */
function cutExtensionHeaders({ bytes, view }: Arena, pdu: Pdu): void {
  const cutBytes = pdu.l4 - pdu.ip - ipv6.IPV6_BYTES;
  if (cutBytes === 0) return;
  const protocol = pdu.protocol & ~OVER_IPV6;
  bytes.copyWithin(pdu.frame + cutBytes, pdu.frame, pdu.ip + ipv6.IPV6_BYTES);
  pdu.frame += cutBytes;
  pdu.ip += cutBytes;
  pdu.totalLength -= cutBytes;
  vnet.clear(view, pdu.frame);
  ipv6.setNextHeader(view, pdu.ip, protocol);
  ipv6.setPayloadLength(view, pdu.ip, pdu.end - pdu.l4);
}
