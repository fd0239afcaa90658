/**
 * How much an ICMP error of the other family quotes, and where: as much as it holds (RFC 4443 §2.4
 * (c); RFC 1812 §4.3.2.3). Extensions follow as they are (RFC 4884 §4): the quote in front of them
 * then has at least 128 bytes, with zeroes at its end, and as many as its length field can count.
 */
import type { Arena } from "../core/arena.ts";
import { ICMP_BYTES } from "../wire/icmpv4.ts";
import { ICMPV6_BYTES } from "../wire/icmpv6.ts";
import { IPV4_MIN_BYTES } from "../wire/ipv4.ts";
import { IPV6_BYTES, MIN_MTU6_BYTES } from "../wire/ipv6.ts";
import type { Pdu } from "../wire/pdu.ts";
import type { Quoted } from "../wire/quoted.ts";
import type { Quoted6 } from "../wire/quoted6.ts";

/** For the quote and extensions, in an error of each family. */
export const ROOM4: number = 576 - IPV4_MIN_BYTES - ICMP_BYTES;
export const ROOM6: number = MIN_MTU6_BYTES - IPV6_BYTES - ICMPV6_BYTES;

/** What the length field counts. */
export const UNIT4 = 4;
export const UNIT6 = 8;

/** Of the quote, if extensions follow. */
const LEAST_BYTES = 128;

/**
 * Where the error's extensions are, which follow so many bytes; 0: there are none, or none that can
 * go along.
 */
export function extensionsOf({ l4, end }: Readonly<Pdu>, quoteBytes: number, room: number): number {
  const start = l4 + ICMP_BYTES + quoteBytes;
  const fits = quoteBytes >= LEAST_BYTES && start < end &&
    end - start <= room - LEAST_BYTES;
  return fits ? start : 0;
}

/** How many bytes are quoted of those that are `available`. */
export function fitted(
  available: number,
  room: number,
  { end }: Readonly<Pdu>,
  extensions: number,
  unit: number,
): number {
  if (extensions === 0) return Math.min(available, room);
  return Math.max(LEAST_BYTES, Math.min(available, room - (end - extensions)) & -unit);
}

/**
 * Puts what is quoted of layer 4 where it belongs, with zeroes up to the extensions. They stay, or
 * else the quote's beginning does. Returns where the quoted IP header is to be.
 */
export function placeQuote(
  { bytes }: Arena,
  { l4, end }: Readonly<Quoted | Quoted6>,
  extensions: number,
  quoteBytes: number,
  headerBytes: number,
): number {
  const most = quoteBytes - headerBytes;
  const behind = extensions === 0 ? l4 + most : extensions;
  const to = behind - most;
  const dataBytes = Math.min(end - l4, most);
  if (to !== l4) bytes.copyWithin(to, l4, l4 + dataBytes);
  bytes.fill(0, to + dataBytes, behind);
  return to - headerBytes;
}
