/**
 * A packet as a line of text, in the words of the policy language:
 *
 *     tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn ack
 *     udp 192.168.0.254:53 > 192.168.0.100:53 length 512
 *     icmp 192.168.0.254 > 192.168.0.100 destination-unreachable code port-unreachable
 *     proto 47 192.168.0.254 > 192.168.0.100 ttl 1
 *     tcp [2001:db8::1]:40000 > [2001:db8::64]:443
 *     icmp 2001:db8::1 > 2001:db8::64 packet-too-big
 *
 *     packet = ( "tcp" END ">" END { FLAG }                          END: ADDRESS:PORT
 *              | "udp" END ">" END
 *              | "icmp" ADDRESS ">" ADDRESS [ TYPE [ "code" CODE ] ] each a word or a number
 *              | "proto" N ADDRESS ">" ADDRESS ) { option }
 *     option = "ttl" N | "length" N | "id" N                    of the whole IP packet; of a query
 *
 * Over IPv6 `icmp` is ICMPv6, with its own types and codes, and `ttl` the hop limit. Without flags
 * TCP is a `syn` (`none`: no flag at all), without type ICMP is an `echo-request`.
 */
import { closest, oneOf, printable, quote } from "../core/text.ts";
import {
  ICMP_TYPE_WORDS,
  icmpCodeWords,
  icmpTypeWord,
  ICMPV6_TYPE_WORDS,
  icmpv6CodeWords,
  icmpv6TypeWord,
} from "../policy/language/icmp_words.ts";
import { FLAG_WORDS } from "../policy/language/words.ts";
import { formatAddress, formatMac } from "../wire/address.ts";
import * as arp from "../wire/arp.ts";
import * as ethernet from "../wire/ethernet.ts";
import {
  formatHostAddress,
  formatSocket,
  type HostAddress,
  isIpv6,
  parseHostAddress,
  splitEndpoint,
} from "../wire/host_address.ts";
import { ICMP_ECHO_REQUEST } from "../wire/icmpv4.ts";
import { ICMPV6_ECHO_REQUEST } from "../wire/icmpv6.ts";
import { DEFAULT_TTL, PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/ipv4.ts";
import { SYN } from "../wire/tcp.ts";
import { isArp } from "../device/capture/frame.ts";
import {
  type Fragment,
  fragmentOf,
  hasIcmpId,
  icmpOf,
  minTotalLength,
  type Packet,
  packetOf,
} from "../device/capture/packet.ts";

const KINDS = ["tcp", "udp", "icmp", "proto"];
const NO_FLAGS = "none";
const OPTIONS = ["ttl", "length", "id"];

const NOTHING: Packet = {
  protocol: 0,
  src: 0,
  dst: 0,
  ttl: DEFAULT_TTL,
  totalLength: 0,
  srcPort: 0,
  dstPort: 0,
  tcpFlags: 0,
  icmpType: 0,
  icmpCode: 0,
  icmpId: 0,
};

/** Reads a packet. Throws a SyntaxError of one line: what was found, and what was expected. */
export function parsePacket(text: string): Packet {
  const words = new Words(text);
  const head = readHead(words);
  const least = minTotalLength(head.protocol, isIpv6(head.src));
  const packet = { ...head, totalLength: least };
  const options = OPTIONS.filter((word) => word !== "id" || hasIcmpId(packet));
  while (!words.done) {
    switch (words.one(options, packet.protocol === PROTOCOL_TCP ? FLAG_WORDS : [])) {
      case "ttl":
        packet.ttl = words.number("a TTL", 0, 255);
        break;
      case "length":
        packet.totalLength = words.number("a length", least, 65_535);
        break;
      case "id":
        packet.icmpId = words.number("an identifier", 0, 65_535);
        break;
      default:
        words.refuse("flags before everything else");
    }
  }
  return packet;
}

function readHead(words: Words): Packet {
  switch (words.one(KINDS)) {
    case "tcp":
      return {
        ...NOTHING,
        protocol: PROTOCOL_TCP,
        ...readEnds(words, true),
        tcpFlags: readFlags(words),
      };
    case "udp":
      return { ...NOTHING, protocol: PROTOCOL_UDP, ...readEnds(words, true) };
    case "icmp":
      return readIcmp(words, readEnds(words, false));
    default: {
      const protocol = words.number("a protocol number", 0, 255);
      const word = words.last;
      const ends = readEnds(words, false);
      const isOverIpv6 = isIpv6(ends.src);
      if (minTotalLength(protocol, isOverIpv6) > minTotalLength(0, isOverIpv6)) {
        words.refuse('"icmp", "tcp" or "udp" for it', [], word);
      }
      return { ...NOTHING, protocol, ...ends };
    }
  }
}

type Ends = Pick<Packet, "src" | "dst" | "srcPort" | "dstPort">;

function readEnds(words: Words, hasPorts: boolean): Ends {
  const source = readEnd(words, hasPorts);
  words.one([">"]);
  const destination = readEnd(words, hasPorts);
  if (isIpv6(destination.address) !== isIpv6(source.address)) {
    words.refuse("an address of the source's family");
  }
  return {
    src: source.address,
    srcPort: source.port,
    dst: destination.address,
    dstPort: destination.port,
  };
}

function readEnd(words: Words, hasPort: boolean): { address: HostAddress; port: number } {
  const expected = hasPort
    ? "ADDRESS:PORT, as in 192.168.0.1:80 or [2001:db8::1]:80"
    : "an address, as in 192.168.0.1 or 2001:db8::1";
  const word = words.next(expected);
  const { host, port } = splitEndpoint(word);
  const portGiven = port !== null && /^\d{1,5}$/.test(port) && Number(port) <= 65_535;
  if (hasPort ? !portGiven : port !== null) words.refuse(expected);
  try {
    return { address: parseHostAddress(host), port: Number(port ?? 0) };
  } catch {
    return words.refuse(expected);
  }
}

function readFlags(words: Words): number {
  if (words.take([NO_FLAGS]) !== null) return 0;
  let flags = 0;
  for (let word; (word = words.take(FLAG_WORDS)) !== null;) flags |= 1 << FLAG_WORDS.indexOf(word);
  return flags === 0 ? SYN : flags;
}

function readIcmp(words: Words, ends: Ends): Packet {
  const isOverIpv6 = isIpv6(ends.src);
  const packet = { ...NOTHING, ...ends, protocol: icmpOf(isOverIpv6) };
  if (words.done || OPTIONS.includes(words.peek!)) {
    return { ...packet, icmpType: isOverIpv6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO_REQUEST };
  }
  const types = isOverIpv6 ? ICMPV6_TYPE_WORDS : ICMP_TYPE_WORDS;
  const icmpType = words.numberOrWord("an ICMP type", (word) => types.get(word), [
    ...types.keys(),
    ...OPTIONS,
  ]);
  if (words.take(["code"]) === null) return { ...packet, icmpType };
  const codes = isOverIpv6 ? icmpv6CodeWords(icmpType) : icmpCodeWords(icmpType);
  const codeOf = (word: string) => codes.includes(word) ? codes.indexOf(word) : undefined;
  return { ...packet, icmpType, icmpCode: words.numberOrWord("an ICMP code", codeOf, codes) };
}

/** The words of a packet's text, read one after the other; complains about the one read last. */
class Words {
  readonly #text: string;
  readonly #words: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    this.#words = text.match(/>|[^\s>]+/g) ?? [];
  }

  get done(): boolean {
    return this.#at === this.#words.length;
  }

  /** The word that was read last. */
  get last(): string | undefined {
    return this.#words[this.#at - 1];
  }

  get peek(): string | undefined {
    return this.#words[this.#at];
  }

  /** The next word, whatever it is. */
  next(expected: string): string {
    const word = this.#words[this.#at++];
    return word ?? this.refuse(expected);
  }

  /** The next word, which must be one of these, or of `flags`. */
  one(wanted: readonly string[], flags: readonly string[] = []): string {
    const words = wanted.length === 1 ? quote(wanted[0]!) : oneOf(wanted);
    const expected = flags.length === 0 ? words : `a TCP flag, ${words}`;
    const word = this.next(expected);
    if (wanted.includes(word) || flags.includes(word)) return word;
    return this.refuse(expected, [...wanted, ...flags]);
  }

  /** The next word if it is one of these, else null. */
  take(wanted: readonly string[]): string | null {
    if (this.done || !wanted.includes(this.peek!)) return null;
    return this.#words[this.#at++]!;
  }

  number(what: string, min: number, max: number): number {
    const expected = `${what}, ${min} to ${max}`;
    const word = this.next(expected);
    const value = /^\d{1,9}$/.test(word) ? Number(word) : NaN;
    return value >= min && value <= max ? value : this.refuse(expected);
  }

  /** A number 0 … 255, or a word for one. */
  numberOrWord(
    what: string,
    valueOf: (word: string) => number | undefined,
    known: readonly string[],
  ): number {
    const expected = `${what} by name or as 0 to 255`;
    const word = this.next(expected);
    const value = valueOf(word) ?? (/^\d{1,3}$/.test(word) ? Number(word) : NaN);
    return value <= 255 ? value : this.refuse(expected, known);
  }

  refuse(expected: string, candidates: readonly string[] = [], word = this.last): never {
    const found = word === undefined ? "its end" : quote(word);
    const known = word === undefined ? null : closest(word, candidates);
    const hint = known === null ? "" : `; did you mean "${known}"?`;
    throw new SyntaxError(
      printable(
        `Cannot read packet ${quote(this.#text)}: found ${found}, expected ${expected}${hint}`,
      ),
    );
  }
}

/** The packet as `parsePacket` reads it. */
export function formatPacket(packet: Packet): string {
  const { protocol, src, ttl, totalLength } = packet;
  const words = [...headWords(packet), `ttl ${ttl}`];
  if (totalLength !== minTotalLength(protocol, isIpv6(src))) words.push(`length ${totalLength}`);
  if (hasIcmpId(packet)) words.push(`id ${packet.icmpId}`);
  return words.join(" ");
}

function headWords(packet: Packet): readonly string[] {
  const isOverIpv6 = isIpv6(packet.src);
  const hosts = `${formatHostAddress(packet.src)} > ${formatHostAddress(packet.dst)}`;
  const ends = `${formatSocket(packet.src, packet.srcPort)} > ` +
    formatSocket(packet.dst, packet.dstPort);
  switch (packet.protocol) {
    case PROTOCOL_TCP: {
      const flags = FLAG_WORDS.filter((_, bit) => (packet.tcpFlags & (1 << bit)) !== 0);
      return ["tcp", ends, ...(flags.length === 0 ? [NO_FLAGS] : flags)];
    }
    case PROTOCOL_UDP:
      return ["udp", ends];
    case icmpOf(isOverIpv6): {
      const { icmpType, icmpCode } = packet;
      const type = isOverIpv6 ? icmpv6TypeWord(icmpType) : icmpTypeWord(icmpType);
      const codes = isOverIpv6 ? icmpv6CodeWords(icmpType) : icmpCodeWords(icmpType);
      const code = codes[icmpCode] ?? `${icmpCode}`;
      const hasCode = icmpCode !== 0 || codes.length > 0;
      return ["icmp", hosts, type ?? `${icmpType}`, ...(hasCode ? [`code ${code}`] : [])];
    }
    default:
      return [`proto ${packet.protocol}`, hosts];
  }
}

/**
 * A fragment, whose headers are most often not there: where its data begins in the datagram, in
 * bytes, and whether more follow.
 *
 *     udp 2001:db8::1 > 2001:db8::64 fragment 1448 more ttl 64 length 1496
 */
function formatFragment(fragment: Fragment): string {
  const { protocol, src, dst, ttl, totalLength, start, isLast } = fragment;
  const kind = nameOf(protocol, isIpv6(src));
  const hosts = `${formatHostAddress(src)} > ${formatHostAddress(dst)}`;
  const more = isLast ? "" : " more";
  return `${kind} ${hosts} fragment ${start}${more} ttl ${ttl} length ${totalLength}`;
}

function nameOf(protocol: number, isOverIpv6: boolean): string {
  switch (protocol) {
    case PROTOCOL_TCP:
      return "tcp";
    case PROTOCOL_UDP:
      return "udp";
    case icmpOf(isOverIpv6):
      return "icmp";
    default:
      return `proto ${protocol}`;
  }
}

/** A frame on one line: the packet or fragment in it if there is one that can be read. */
export function describeFrame(frame: Uint8Array): string {
  const packet = packetOf(frame);
  if (packet !== null) return formatPacket(packet);
  const fragment = fragmentOf(frame);
  if (fragment !== null) return formatFragment(fragment);
  if (frame.length < ethernet.ETHERNET_BYTES) return `${frame.length} bytes`;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const etherType = ethernet.etherType(view, 0);
  const at = ethernet.ETHERNET_BYTES;
  if (!isArp(frame)) {
    return `EtherType 0x${etherType.toString(16).padStart(4, "0")}, ${frame.length} bytes`;
  }
  const sender = formatAddress(arp.senderAddress(view, at));
  const mac = formatMac({ hi: arp.senderHi(view, at), lo: arp.senderLo(view, at) });
  return arp.operation(view, at) === arp.ARP_REQUEST
    ? `arp request for ${formatAddress(arp.targetAddress(view, at))} from ${sender} at ${mac}`
    : `arp reply: ${sender} is at ${mac}`;
}
