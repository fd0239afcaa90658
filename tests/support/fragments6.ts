/**
 * IPv6 fragments for tests, cut and put together as those of `fragments.ts`: by looking at nothing
 * but what RFC 8200 §4.5 says. The fragment header is the last of a packet's headers, so that all
 * before it are in every fragment.
 */
import { read32, word32 } from "./frames.ts";
import { buildIp6, type Ip6, readIp6 } from "./frames6.ts";

const FRAGMENT = 44;
const MORE = 1;
const OFFSET = 0xfff8;
const ID = 0x0102_0304;

type Header = Ip6["headers"][number];

export function fragmentHeader(flagsAndOffset: number, id = ID): Header {
  return [FRAGMENT, [0, 0, flagsAndOffset >> 8, flagsAndOffset & 255, ...word32(id)]];
}

/** A fragment of `fields`, which begins at byte `start` of its datagram's data. */
export function fragment6(
  start: number,
  data: ArrayLike<number>,
  isLast: boolean,
  fields: Partial<Ip6> = {},
  id = ID,
): Uint8Array<ArrayBuffer> {
  const header = fragmentHeader(start | (isLast ? 0 : MORE), id);
  return buildIp6({ protocol: 17, ...fields, headers: [...fields.headers ?? [], header] }, data);
}

/** The frame's packet in fragments of `dataBytes` bytes of data each, in order. */
export function cut6(
  frame: Uint8Array,
  dataBytes: number,
  fields: Partial<Ip6> = {},
  id = ID,
): Uint8Array<ArrayBuffer>[] {
  const { ip, l4 } = readIp6(frame);
  const fragments: Uint8Array<ArrayBuffer>[] = [];
  for (let start = 0; start < l4.length; start += dataBytes) {
    const isLast = start + dataBytes >= l4.length;
    const data = l4.subarray(start, start + dataBytes);
    fragments.push(fragment6(start, data, isLast, { ...ip, ...fields }, id));
  }
  return fragments;
}

/** What a fragment says of itself; all behind its fragment header is data. */
export function readFragment6(
  frame: Uint8Array,
): { ip: Ip6; data: Uint8Array; start: number; isLast: boolean; id: number } {
  let header = 14 + 40;
  for (let next = frame[20]!; next !== FRAGMENT;) {
    if (next !== 0 && next !== 43 && next !== 60) throw new Error("Not a fragment");
    next = frame[header]!;
    header += (frame[header + 1]! + 1) * 8;
  }
  const protocol = frame[header]!;
  const { ip, l4 } = readIp6(Uint8Array.from(frame, (byte, i) => i === header ? 59 : byte));
  const word = (frame[header + 2]! << 8) | frame[header + 3]!;
  if (frame[header + 1] !== 0 || (word & 6) !== 0) throw new Error("Reserved bits are not 0");
  return {
    ip: { ...ip, protocol, headers: ip.headers.slice(0, -1) },
    data: l4,
    start: word & OFFSET,
    isLast: (word & MORE) === 0,
    id: read32(frame, header + 4),
  };
}

/**
 * Puts all fragments of one datagram together. Throws if one is missing, too many, or of another.
 */
export function join6(fragments: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const parts = fragments.map(readFragment6).toSorted((a, b) => a.start - b.start);
  const { ip, id } = parts[0]!;
  const data: number[] = [];
  parts.forEach((part, i) => {
    if (part.ip.src !== ip.src || part.ip.dst !== ip.dst || part.id !== id) {
      throw new Error("Fragments of two datagrams");
    }
    if (part.start !== data.length) throw new Error("A gap or an overlap");
    if (part.isLast !== (i === parts.length - 1)) throw new Error("Wrong end");
    data.push(...part.data);
  });
  return buildIp6(ip, data);
}
