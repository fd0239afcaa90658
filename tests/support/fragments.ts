/**
 * IPv4 fragments for tests, cut and put together without any code of `src`: slowly, and by looking
 * at nothing but what RFC 791 §3.2 says.
 */
import { below, type Random } from "../../src/core/random.ts";
import { buildIp, type Ip, readIp } from "./frames.ts";

const MORE = 0x2000;
const OFFSET = 0x1fff;

/** A fragment of `fields`, which begins at byte `start` of its datagram's data. */
export function fragment(
  start: number,
  data: ArrayLike<number>,
  isLast: boolean,
  fields: Partial<Ip> = {},
): Uint8Array<ArrayBuffer> {
  return buildIp({ protocol: 17, ...fields, fragment: start / 8 | (isLast ? 0 : MORE) }, data);
}

/** The frame's packet in fragments of `dataBytes` bytes of data each, in order. */
export function cut(
  frame: Uint8Array,
  dataBytes: number,
  fields: Partial<Ip> = {},
): Uint8Array<ArrayBuffer>[] {
  const { ip, l4 } = readIp(frame);
  const fragments: Uint8Array<ArrayBuffer>[] = [];
  for (let start = 0; start < l4.length; start += dataBytes) {
    const isLast = start + dataBytes >= l4.length;
    const data = l4.subarray(start, start + dataBytes);
    fragments.push(fragment(start, data, isLast, { ...ip, ...fields }));
  }
  return fragments;
}

/** What the frame is when it has come whole: without a flag or an offset. */
export function whole(frame: Uint8Array): Uint8Array<ArrayBuffer> {
  const { ip, l4 } = readIp(frame);
  return buildIp({ ...ip, fragment: 0 }, l4);
}

/**
 * Puts all fragments of one datagram together. Throws if one is missing, too many, or of another.
 */
export function join(fragments: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const parts = fragments.map((frame) => readIp(frame)).toSorted((a, b) =>
    (a.ip.fragment & OFFSET) - (b.ip.fragment & OFFSET)
  );
  const { ip } = parts[0]!;
  const data: number[] = [];
  parts.forEach((part, i) => {
    if (keyOf(part.ip) !== keyOf(ip)) throw new Error("Fragments of two datagrams");
    if ((part.ip.fragment & OFFSET) * 8 !== data.length) throw new Error("A gap or an overlap");
    if (((part.ip.fragment & MORE) === 0) !== (i === parts.length - 1)) {
      throw new Error("Wrong end");
    }
    data.push(...part.l4);
  });
  return buildIp({ ...ip, fragment: 0 }, data);
}

export function keyOf(ip: Ip): string {
  return `${ip.src} ${ip.dst} ${ip.protocol} ${ip.id}`;
}

/** A copy in random order. */
export function shuffled<T>(random: Random, items: readonly T[]): T[] {
  const copy = [...items];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = below(random, i + 1);
    [copy[i], copy[j]] = [copy[j]!, copy[i]!];
  }
  return copy;
}

/** All orders of the items. */
export function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]];
  return items.flatMap((item, i) =>
    permutations([...items.slice(0, i), ...items.slice(i + 1)]).map((rest) => [item, ...rest])
  );
}
