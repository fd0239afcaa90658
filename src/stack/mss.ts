/**
 * Lowers the MSS that a SYN announces, so that neither end sends segments that are too long for the
 * other side's interface. Path MTU discovery would do the same, but many firewalls drop its
 * messages.
 */
import { delta16, updated } from "../wire/checksum.ts";
import { IPV4_MIN_BYTES, MIN_MTU_BYTES } from "../wire/ipv4.ts";
import { IPV6_BYTES, MIN_MTU6_BYTES } from "../wire/ipv6.ts";
import { OVER_IPV6, type Pdu } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";

/** IP and TCP headers without options: what RFC 6691 §2 leaves out of an MSS. */
const HEADER_BYTES = IPV4_MIN_BYTES + tcp.TCP_MIN_BYTES;
const HEADER6_BYTES = IPV6_BYTES + tcp.TCP_MIN_BYTES;

/** `pdu` is a TCP segment with SYN. An MSS that fits `mtuBytes` stays, and none is added. */
export function clampMss(view: DataView, pdu: Pdu, mtuBytes: number): void {
  const option = tcp.findOption(view, pdu.l4, pdu.payload, tcp.OPTION_MSS, 4);
  if (option < 0) return;
  const at = option + 2;
  const announced = view.getUint16(at);
  const most = (pdu.protocol & OVER_IPV6) === 0
    ? Math.max(MIN_MTU_BYTES, mtuBytes) - HEADER_BYTES
    : Math.max(MIN_MTU6_BYTES, mtuBytes) - HEADER6_BYTES;
  if (announced <= most) return;
  view.setUint16(at, most);
  if (pdu.partialChecksum !== 0) return;
  const isOdd = ((at - pdu.l4) & 1) !== 0;
  const delta = isOdd ? delta16(swapped(announced), swapped(most)) : delta16(announced, most);
  tcp.setChecksum(view, pdu.l4, updated(tcp.checksum(view, pdu.l4), delta));
}

/** Byte-swapped: how a value at an odd offset enters a checksum (RFC 1071 §2 (B)). */
function swapped(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}
