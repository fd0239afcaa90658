/**
 * IPv6 addresses as numbers (RFC 4291), and the only place that turns them to and from text (RFC
 * 5952).
 *
 * An address is four signed 32-bit words in host order: four elements of an Int32Array, or sixteen
 * bytes of a packet. What can be said of an address by its words alone is asked with the words as
 * arguments, so that it costs the same wherever they are.
 */
import { formatAddress, type Mac, maskOf, parseAddress } from "./address.ts";

/** Bytes and 32-bit words of an address. */
export const ADDRESS6_BYTES = 16;
export const ADDRESS6_WORDS = 4;

/** An address on its own: an Int32Array of four words. */
export type Address6 = Int32Array & { readonly kind?: "IPv6 address" };

export interface Subnet6 {
  /** First address of the subnet. */
  readonly network: Address6;
  readonly prefixLength: number;
}

/** `::`, the address of a host that has none yet (RFC 4291 §2.5.2). */
export const UNSPECIFIED: Address6 = Int32Array.of(0, 0, 0, 0);
/** ff02::1, all nodes of a link (RFC 4291 §2.7.1). */
export const ALL_NODES: Address6 = Int32Array.of(0xff02_0000, 0, 0, 1);
/** ff02::2, all routers of a link (RFC 4291 §2.7.1). */
export const ALL_ROUTERS: Address6 = Int32Array.of(0xff02_0000, 0, 0, 2);

/** The upper 16 bits of the MAC address of every IPv6 group; the lower 32 are its last word. */
export const GROUP_MAC_HI = 0x3333;

const GROUPS = 8;

/**
 * Reads an address in any form of RFC 4291 §2.2, also in brackets, as in a URL.
 *
 * @throws {SyntaxError} for what is no address, and for a zone, as in fe80::1%eth0: a link is named
 * by its flag
 * @throws {RangeError} for an octet above 255 in the IPv4 form of the last 32 bits
 */
export function parseAddress6(text: string): Address6 {
  const fail = `Cannot parse "${text}" as IPv6 address`;
  const bare = text.startsWith("[") && text.endsWith("]") ? text.slice(1, -1) : text;
  if (bare.includes("%")) throw new SyntaxError(`${fail}: a zone ("%…") is not supported`);
  const halves = bare.split("::");
  if (halves.length > 2) throw new SyntaxError(`${fail}: "::" must occur only once`);
  const first = groupsOf(halves[0]!, halves.length === 1, fail);
  const last = groupsOf(halves[1] ?? "", true, fail);
  const missing = GROUPS - first.length - last.length;
  if (halves.length === 1 && missing !== 0) {
    throw new SyntaxError(`${fail}: expected eight groups, or "::" for groups of zeroes`);
  }
  if (halves.length === 2 && missing < 1) {
    throw new SyntaxError(`${fail}: "::" must stand for at least one group`);
  }
  const groups = [...first, ...new Array<number>(missing).fill(0), ...last];
  const address = new Int32Array(ADDRESS6_WORDS);
  groups.forEach((group, i) => address[i >> 1] = (address[i >> 1]! << 16) | group);
  return address;
}

/** The groups in a part of an address without `::`; only the last part can end in IPv4's form. */
function groupsOf(part: string, isLast: boolean, fail: string): number[] {
  if (part === "") return [];
  const texts = part.split(":");
  return texts.flatMap((text, i) => {
    if (/^[0-9a-fA-F]{1,4}$/.test(text)) return [parseInt(text, 16)];
    if (isLast && i === texts.length - 1 && text.includes(".")) {
      const address = parseAddress(text);
      return [address >>> 16, address & 0xffff];
    }
    throw new SyntaxError(`${fail}: expected groups of one to four hex digits, as in 2001:db8::1`);
  });
}

/** The canonical text (RFC 5952) of the address at `at`; IPv4-mapped ones as `::ffff:192.0.2.1`. */
export function formatAddress6(words: Int32Array, at: number = 0): string {
  if (isMapped(words[at]!, words[at + 1]!, words[at + 2]!)) {
    return `::ffff:${formatAddress(words[at + 3]!)}`;
  }
  const groups = Array.from(
    { length: GROUPS },
    (_, i) => (words[at + (i >> 1)]! >>> ((i & 1) === 0 ? 16 : 0)) & 0xffff,
  );
  const text = (from: number, to: number) =>
    groups.slice(from, to).map((group) => group.toString(16)).join(":");
  const zeroes = longestZeroes(groups);
  if (zeroes.length < 2) return text(0, GROUPS);
  return `${text(0, zeroes.start)}::${text(zeroes.start + zeroes.length, GROUPS)}`;
}

/** The longest run of groups of zeroes, the first of equal ones (RFC 5952 §4.2.3). */
function longestZeroes(groups: readonly number[]): { start: number; length: number } {
  const longest = { start: 0, length: 0 };
  for (let start = 0; start < GROUPS;) {
    let end = start;
    while (end < GROUPS && groups[end] === 0) end++;
    if (end - start > longest.length) Object.assign(longest, { start, length: end - start });
    start = end + 1;
  }
  return longest;
}

export function subnetOf6(address: Address6, prefixLength: number): Subnet6 {
  const network = Int32Array.from(address, (word, i) => word & maskOfWord(prefixLength, i));
  return { network, prefixLength };
}

/** True if the address at `at` is in the subnet. */
export function inSubnet6(words: Int32Array, at: number, subnet: Subnet6): boolean {
  for (let i = 0; i < ADDRESS6_WORDS; i++) {
    const mask = maskOfWord(subnet.prefixLength, i);
    if ((words[at + i]! & mask) !== subnet.network[i]) return false;
  }
  return true;
}

/** The part of a prefix's mask that belongs to word `i`. */
export function maskOfWord(prefixLength: number, i: number): number {
  return maskOf(Math.min(Math.max(prefixLength - 32 * i, 0), 32));
}

/** Copies the address at `from` to `at` of `to`. */
export function copyAddress6(
  words: Readonly<Int32Array>,
  from: number,
  to: Int32Array,
  at: number,
): void {
  to[at] = words[from]!;
  to[at + 1] = words[from + 1]!;
  to[at + 2] = words[from + 2]!;
  to[at + 3] = words[from + 3]!;
}

/** Copies the address at `offset` of a packet to `at`. */
export function readAddress6(view: DataView, offset: number, words: Int32Array, at: number): void {
  words[at] = view.getInt32(offset);
  words[at + 1] = view.getInt32(offset + 4);
  words[at + 2] = view.getInt32(offset + 8);
  words[at + 3] = view.getInt32(offset + 12);
}

/** Copies the address at `at` to `offset` of a packet. */
export function writeAddress6(view: DataView, offset: number, words: Int32Array, at: number): void {
  view.setInt32(offset, words[at]!);
  view.setInt32(offset + 4, words[at + 1]!);
  view.setInt32(offset + 8, words[at + 2]!);
  view.setInt32(offset + 12, words[at + 3]!);
}

/** True if the same address is at both places. */
export function isSameAddress6(
  words: Int32Array,
  at: number,
  others: Int32Array,
  otherAt: number,
): boolean {
  return words[at + 3] === others[otherAt + 3] && words[at + 2] === others[otherAt + 2] &&
    words[at + 1] === others[otherAt + 1] && words[at] === others[otherAt];
}

/** True if the address at `offset` of a packet is the one at `at`. */
export function isAddress6(
  view: DataView,
  offset: number,
  words: Int32Array,
  at: number,
): boolean {
  return view.getInt32(offset + 12) === words[at + 3] &&
    view.getInt32(offset + 8) === words[at + 2] &&
    view.getInt32(offset + 4) === words[at + 1] &&
    view.getInt32(offset) === words[at];
}

/** `::`. */
export function isUnspecified(word0: number, word1: number, word2: number, word3: number): boolean {
  return (word0 | word1 | word2 | word3) === 0;
}

/** `::1`. */
export function isLoopback6(word0: number, word1: number, word2: number, word3: number): boolean {
  return (word0 | word1 | word2) === 0 && word3 === 1;
}

/** ff00::/8. */
export function isMulticast6(word0: number): boolean {
  return (word0 >>> 24) === 0xff;
}

/** fe80::/10 (RFC 4291 §2.4): addresses that mean something on their link only. */
export function isLinkLocal(word0: number): boolean {
  return (word0 >>> 22) === 0x3fa;
}

/** ::ffff:0:0/96, IPv4 addresses inside a host (RFC 4291 §2.5.5.2); no packet has one. */
export function isMapped(word0: number, word1: number, word2: number): boolean {
  return (word0 | word1) === 0 && word2 === 0xffff;
}

/** ff02::1:ff00:0/104, the solicited-node groups (RFC 4291 §2.7.1). */
export function isSolicitedNode(
  word0: number,
  word1: number,
  word2: number,
  word3: number,
): boolean {
  return word0 === (0xff02_0000 | 0) && word1 === 0 && word2 === 1 && (word3 >>> 24) === 0xff;
}

/** The group that an address's holder listens to: ff02::1:ff and its last 24 bits. */
export function solicitedNodeOf(address: Address6): Address6 {
  return Int32Array.of(0xff02_0000, 0, 1, solicitedNodeWord(address[3]!));
}

/** Last word of the solicited-node group of addresses that end in `word3`. */
export function solicitedNodeWord(word3: number): number {
  return 0xff00_0000 | (word3 & 0xff_ffff);
}

/**
 * The link-local address of an interface with this MAC address: fe80::/64 and its modified EUI-64
 * identifier (RFC 2464 §4 and §5; RFC 4291, appendix A).
 *
 *   02:00:5e:10:00:01   →   fe80::  0000:5eff:fe10:0001
 */
export function linkLocalOf(mac: Mac): Address6 {
  return Int32Array.of(
    0xfe80_0000,
    0,
    ((mac.hi ^ 0x0200) << 16) | ((mac.lo >>> 16) & 0xff00) | 0xff,
    0xfe00_0000 | (mac.lo & 0xff_ffff),
  );
}
