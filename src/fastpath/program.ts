/**
 * The fast path: the program that the kernel runs for each frame that is about to leave a TAP
 * device towards the proxy. A plain segment or datagram of a promoted connection it rewrites and
 * sends back, as if the proxy had; any other frame it leaves alone, so that the proxy gets it. It
 * does what `datapath/header_prediction.ts` does, in the same order, with the same words of the
 * flow table; tests hold the two against each other. Read first: that file, `layout.ts`, and
 * linux/Documentation/bpf/.
 *
 * Differences: it does not verify the checksum of TCP or UDP (a wrong one stays wrong), padding
 * stays, and the time is coarse.
 *
 * Other processors may work on the same connection at the same time, and the proxy may end it. The
 * ticket is read first, after the tuple and the windows, and before the frame is written. END and
 * its like only grow, by compare-and-swap.
 *
 * What changes the frame is left to helper functions: a program that writes it directly is given a
 * prologue by the kernel that drops some frames.
 *
 * Long because it is one program, read from top to bottom.
 */
import { Assembler, R0, R1, R10, R2, R3, R4, R5, R6, R7, R8, R9 } from "../bpf/assembler.ts";
import {
  DATA,
  DST,
  ENTRY_WORDS,
  LAST_SEEN,
  META,
  OFFERS_SHIFT,
  PORTS,
  REFERENCE_BITS,
  REFERENCE_MASK,
  SRC,
  STATE_SHIFT,
  TUPLE_WORDS,
  TYPE_MASK,
} from "../flow/entry.ts";
import { UDP_ONGOING } from "../flow/lifetimes.ts";
import { SLOTS_PER_ENTRY } from "../flow/table.ts";
import { BOTH_SCALES, OFFER_BITS, SCALE } from "../flow/tcp_offers.ts";
import { ESTABLISHED } from "../flow/tcp_state.ts";
import { ACK, END, MAX_END, MAX_WIN, OLD_ACK_BYTES, WORDS_PER_SIDE } from "../flow/tcp_window.ts";
import { WHOLE_TUPLE_WORDS, WHOLE_WORDS } from "../flow/whole_addresses.ts";
import { ADDRESS6_WORDS } from "../wire/address6.ts";
import { CORRECT } from "../wire/checksum.ts";
import * as ethernet from "../wire/ethernet.ts";
import * as ipv4 from "../wire/ipv4.ts";
import * as ipv6 from "../wire/ipv6.ts";
import { OVER_IPV6, RAISES_TTL } from "../wire/pdu.ts";
import * as tcp from "../wire/tcp.ts";
import * as udp from "../wire/udp.ts";
import { MIN_SEGMENT_BYTES } from "../wire/vnet.ts";
import * as at from "./layout.ts";
import {
  addChange,
  addTimes,
  fold,
  hashByte,
  linkAt,
  loadSide,
  loadWord,
  MEMORY,
  needs,
  neighborOf,
  PSEUDO_HEADER,
  raise,
  REPLACE_CHECKSUM,
  replaceSums,
  storeBytes,
  storeWord,
  unlessDemoted,
  Var,
  WORD,
} from "./pieces.ts";

export { MEMORY };

/** What the program returns: the next one has the frame, and in the end the proxy (TCX_NEXT). */
export const LEFT = -1;
/** TCX_DROP: the frame could be rewritten in part only. */
const DROPPED = 2;

/** Most slots of the index that are looked at. */
const MOST_PROBES = 64;

// Fields of struct __sk_buff (linux/bpf.h).
const LENGTH = 0;
const MARK = 8;
const VLAN_PRESENT = 20;
const FRAME = 76;
const GSO_SIZE = 176;

// Helper functions (bpf-helpers(7)), and their flags.
const GET_PROCESSOR = 8;
const REDIRECT = 23;
const GET_TIME = 160;
const INGRESS = 1;
/** A UDP checksum of 0 stays 0, and a computed one becomes 0xffff (RFC 768). */
const ZERO_IS_NONE = 0x20;

const NS_PER_MS = 1_000_000;
/** `gso_size` of a frame whose segments are of different sizes. */
const GSO_BY_FRAGS = 0xffff;
/** The checksum covers addresses of IPv6, whose change no other checksum makes up for. */
const IS_IPV6 = 0x80;
/** The kernel's words are little-endian. */
const ETHERTYPE_IPV4 = 0x0008;
const ETHERTYPE_IPV6 = 0xdd86;

const IP = ethernet.ETHERNET_BYTES;

/** What differs between the families: labels end in `suffix`. */
interface Family {
  readonly suffix: string;
  readonly headerBytes: number;
  /** Offset of the transport header. */
  readonly l4: number;
  /** A UDP checksum of 0 means that there is none. */
  readonly mayBeUnsummed: boolean;
}

function familyOf(suffix: string, headerBytes: number, mayBeUnsummed: boolean): Family {
  return { suffix, headerBytes, l4: IP + headerBytes, mayBeUnsummed };
}

const FOUR = familyOf("", ipv4.IPV4_MIN_BYTES, true);
const SIX = familyOf(" 6", ipv6.IPV6_BYTES, false);
const L4 = FOUR.l4;

/** Words of the two addresses of an IPv6 packet. */
const PAIR_WORDS = 2 * ADDRESS6_WORDS;

/** The program for the frames of one link, 0 or 1. */
export function fastPathOf(layout: at.Layout, link: number): Assembler {
  const { isIpv6On = false } = layout;
  const code = new Assembler();
  filter(code, layout, isIpv6On);
  decodeFrame(code, layout, link, isIpv6On);
  decodePacket(code);
  decodeTransport(code, FOUR);
  if (isIpv6On) {
    setFamily(code, 0);
    code.jump("classify");
    code.label("packet 6");
    decodePacket6(code, layout, link);
    decodeTransport(code, SIX);
    setFamily(code, OVER_IPV6);
    code.label("classify");
  }
  classify(code, layout, isIpv6On);
  route(code, layout, link);
  account(code, layout);
  commit(code);
  translate(code, isIpv6On);
  forward(code, isIpv6On);
  code.label("leave");
  code.op(R0, "=", LEFT);
  code.exit();
  return code;
}

/**
 * A program that returns 0 where the kernel can adjust a checksum that covers addresses of IPv6,
 * whatever it knows of it itself: older ones don't know the flag.
 */
export function trialOfIpv6(): Assembler {
  const code = new Assembler();
  code.op(R2, "=", SIX.l4 + tcp.CHECKSUM);
  code.op(R3, "=", 0);
  code.op(R4, "=", 0);
  code.op(R5, "=", PSEUDO_HEADER | IS_IPV6);
  code.call(REPLACE_CHECKSUM);
  code.exit();
  return code;
}

/**
 * Most frames that the proxy has to see end here, before the table is searched: where a TCP or UDP
 * packet has its ports, they have others than any promoted connection's. Leaves R6, the context,
 * and R7, the frame, whose headers are in one piece.
 */
function filter(code: Assembler, layout: at.Layout, isIpv6On: boolean): void {
  code.op(R6, "=", R1);
  code.load(R7, "u32", R6, FRAME);
  needs(code, L4 + udp.UDP_BYTES);
  loadWord(code, R1, L4);
  if (isIpv6On) {
    code.load(R2, "u16", R7, IP - 2);
    code.jumpIf(R2, "!=", ETHERTYPE_IPV6, "has ports");
    needs(code, SIX.l4 + udp.UDP_BYTES);
    loadWord(code, R1, SIX.l4);
    code.label("has ports");
  }
  code.op32(R2, "=", R1);
  code.op32(R2, ">>=", 16);
  code.op32(R1, "^=", R2);
  code.op32(R1, "&=", at.BUCKETS - 1);
  code.op32(R2, "=", R1);
  code.op32(R2, ">>=", 3);
  code.address(R3, MEMORY, layout.at.filter);
  code.op(R3, "+=", R2);
  code.load(R3, "u8", R3, 0);
  code.op32(R1, "&=", 7);
  code.op32(R3, ">>=", R1);
  code.op32(R3, "&=", 1);
  code.jumpIf(R3, "==", 0, "leave");
}

function decodeFrame(
  code: Assembler,
  layout: at.Layout,
  link: number,
  isIpv6On: boolean,
): void {
  code.load(R1, "u32", R6, VLAN_PRESENT);
  code.jumpIf(R1, "!=", 0, "leave");
  // Addressed to the link, by another station
  code.address(R5, MEMORY, linkAt(layout, link));
  code.load(R3, "u64", R5, WORD * at.LINK_MAC);
  code.load(R1, "u64", R7, 0);
  code.load(R2, "u64", R7, 6);
  for (const mac of [R1, R2, R3]) code.op(mac, "<<=", 16); // without what follows the address
  code.jumpIf(R1, "!=", R3, "leave");
  code.jumpIf(R2, "==", R3, "leave");
  code.load(R1, "u8", R7, 6);
  code.jumpIf(R1, "&", 1, "leave"); // a group's address
  code.load(R1, "u16", R7, IP - 2);
  if (isIpv6On) code.jumpIf(R1, "==", ETHERTYPE_IPV6, "packet 6");
  code.jumpIf(R1, "!=", ETHERTYPE_IPV4, "leave");
  code.load(R1, "u8", R7, IP);
  code.jumpIf(R1, "!=", 0x45, "leave"); // version 4, no options
}

/** Leaves the packet's protocol in R2. */
function decodePacket(code: Assembler): void {
  // R0: sum of the header
  loadWord(code, R0, IP);
  code.op32(R1, "=", R0);
  code.op32(R1, "&=", 0xffff);
  code.store("u32", R10, Var.totalLength, R1);
  code.load(R2, "u32", R6, LENGTH);
  code.op(R2, "-=", IP);
  code.jumpIf(R1, ">", R2, "leave"); // cut off
  loadWord(code, R1, IP + 4);
  code.jumpIf(R1, "&", ipv4.MORE_FRAGMENTS | ipv4.FRAGMENT_OFFSET, "leave");
  code.op(R0, "+=", R1);
  loadWord(code, R2, IP + 8);
  code.store("u32", R10, Var.ttlWord, R2);
  code.op(R0, "+=", R2);
  for (const [variable, offset] of [[Var.src, IP + 12], [Var.dst, IP + 16]] as const) {
    loadWord(code, R1, offset);
    code.store("u32", R10, variable, R1);
    code.op(R0, "+=", R1);
  }
  fold(code, R0, R1);
  code.jumpIf(R0, "!=", CORRECT, "leave");
  loadWord(code, R1, L4);
  code.store("u32", R10, Var.ports, R1);
  code.op32(R2, ">>=", 16);
  code.op32(R2, "&=", 0xff);
}

/** The same of a packet of IPv6: digests in place of addresses, which are kept whole, too. */
function decodePacket6(code: Assembler, layout: at.Layout, link: number): void {
  code.address(R1, MEMORY, linkAt(layout, link));
  code.load(R1, "u32", R1, WORD * at.LINK_TAKES6);
  code.jumpIf(R1, "==", 0, "leave");
  needs(code, SIX.l4 + udp.UDP_BYTES);
  code.load(R1, "u8", R7, IP);
  code.op32(R1, ">>=", 4);
  code.jumpIf(R1, "!=", 6, "leave");
  loadWord(code, R3, IP + ipv6.PAYLOAD_LENGTH); // with next header and hop limit
  code.op32(R1, "=", R3);
  code.op32(R1, ">>=", 16);
  code.op(R1, "+=", ipv6.IPV6_BYTES);
  code.store("u32", R10, Var.totalLength, R1);
  code.load(R2, "u32", R6, LENGTH);
  code.op(R2, "-=", IP);
  code.jumpIf(R1, ">", R2, "leave"); // cut off
  code.op32(R1, "=", R3);
  code.op32(R1, "<<=", 24);
  code.op32(R3, "<<=", 8);
  code.op32(R3, "&=", 0xff_0000);
  code.op32(R3, "|=", R1);
  code.store("u32", R10, Var.ttlWord, R3); // as in an IPv4 header
  code.address(R1, MEMORY, layout.at.digest);
  for (const [i, variable] of [Var.src, Var.dst].entries()) {
    code.op(R0, "=", 0);
    for (let word = 0; word < ADDRESS6_WORDS; word++) {
      const at = WORD * (ADDRESS6_WORDS * i + word);
      loadWord(code, R3, IP + ipv6.SOURCE + at);
      code.store("u32", R10, Var.addresses + at, R3);
      for (let byte = 0; byte < 4; byte++) hashByte(code, 4 * word + byte, 24 - 8 * byte);
    }
    code.store("u32", R10, variable, R0);
  }
  loadWord(code, R1, SIX.l4);
  code.store("u32", R10, Var.ports, R1);
  code.load(R2, "u32", R10, Var.ttlWord);
  code.op32(R2, ">>=", 16);
  code.op32(R2, "&=", 0xff);
}

function setFamily(code: Assembler, family: number): void {
  code.op(R1, "=", family);
  code.store("u32", R10, Var.family, R1);
}

/** Leaves the protocol in R2, as it was. */
function decodeTransport(
  code: Assembler,
  { suffix, headerBytes, l4, mayBeUnsummed }: Family,
): void {
  const [isTcp, isDecoded] = [`tcp${suffix}`, `decoded${suffix}`];
  code.load(R4, "u32", R10, Var.totalLength);
  code.store("u32", R10, Var.longest, R4);
  code.load(R5, "u32", R6, GSO_SIZE);
  code.jumpIf(R2, "==", ipv4.PROTOCOL_TCP, isTcp);
  code.jumpIf(R2, "!=", ipv4.PROTOCOL_UDP, "leave");

  code.jumpIf(R5, "!=", 0, "leave");
  code.load(R1, "u16", R7, l4 + udp.LENGTH);
  code.toBigEndian(R1, 16);
  code.jumpIf(R1, "<", udp.UDP_BYTES, "leave");
  code.op(R1, "+=", headerBytes);
  code.jumpIf(R1, ">", R4, "leave");
  if (!mayBeUnsummed) {
    code.load(R1, "u16", R7, l4 + udp.CHECKSUM);
    code.jumpIf(R1, "==", 0, "leave");
  }
  code.jump(isDecoded);

  code.label(isTcp);
  needs(code, l4 + tcp.TCP_MIN_BYTES);
  loadWord(code, R3, l4 + 12);
  code.store("u32", R10, Var.flags, R3);
  code.op32(R1, "=", R3);
  code.op32(R1, ">>=", 28);
  code.op32(R1, "<<=", 2); // header length
  code.jumpIf(R1, "<", tcp.TCP_MIN_BYTES, "leave");
  code.op(R1, "+=", headerBytes);
  code.jumpIf(R1, ">", R4, "leave");
  code.op32(R3, ">>=", 16);
  code.op32(R3, "&=", tcp.SYN | tcp.FIN | tcp.RST | tcp.ACK);
  code.jumpIf(R3, "!=", tcp.ACK, "leave");
  loadWord(code, R3, l4 + 8);
  code.store("u32", R10, Var.ack, R3);
  loadWord(code, R3, l4 + 4);
  code.store("u32", R10, Var.seq, R3);
  code.op32(R3, "+=", R4);
  code.op32(R3, "-=", R1);
  code.store("u32", R10, Var.end, R3);
  // Segments that are cut up later
  code.jumpIf(R5, "==", 0, isDecoded);
  code.jumpIf(R5, "<", MIN_SEGMENT_BYTES, "leave");
  code.jumpIf(R5, "==", GSO_BY_FRAGS, "leave");
  code.op(R1, "+=", R5);
  code.jumpIf(R1, ">=", R4, isDecoded);
  code.store("u32", R10, Var.longest, R1);
  code.label(isDecoded);
}

/**
 * Finds the connection: its entry R8 and ways R9; the direction's words R7. Takes the protocol in
 * R2; the frame is no longer looked at.
 */
function classify(code: Assembler, layout: at.Layout, isIpv6On: boolean): void {
  const { connections } = layout;
  const slots = SLOTS_PER_ENTRY * connections;
  // R0: the hash of the tuple
  code.address(R1, MEMORY, layout.at.hash);
  code.op(R0, "=", 0);
  [Var.src, Var.ports, Var.dst].forEach((variable, i) => {
    code.load(R3, "u32", R10, variable);
    for (let byte = 0; byte < 4; byte++) hashByte(code, 4 * i + byte, 8 * byte);
  });
  code.op32(R3, "=", R2);
  hashByte(code, 12, 0);
  // R0: slot; R1: tag; R2: what META must be; R3: attempts
  code.op32(R1, "=", R0);
  code.op32(R1, "<<=", REFERENCE_BITS);
  code.op(R0, "*=", slots);
  code.op(R0, ">>=", 32);
  const [tcpType, udpType] = [ESTABLISHED, UDP_ONGOING].map((state) => state << STATE_SHIFT);
  code.jumpIf(R2, "==", ipv4.PROTOCOL_UDP, "udp type");
  code.op(R2, "|=", tcpType!);
  code.jump("typed");
  code.label("udp type");
  code.op(R2, "|=", udpType!);
  code.label("typed");
  if (isIpv6On) {
    code.load(R3, "u32", R10, Var.family);
    code.op32(R2, "|=", R3);
  }
  code.op(R3, "=", MOST_PROBES);

  // Stored and loaded, the slot may be any for the verifier, so that it tries each round once.
  code.label("probe");
  code.store("u32", R10, Var.slot, R0);
  code.load(R0, "u32", R10, Var.slot);
  code.jumpIf(R0, ">=", slots, "leave");
  code.op(R4, "=", R0);
  code.op(R4, "<<=", 2);
  code.address(R5, MEMORY, layout.at.index);
  code.op(R5, "+=", R4);
  code.load(R4, "u32", R5, 0);
  code.jumpIf(R4, "==", 0, "leave");
  code.op32(R5, "=", R4);
  code.op32(R5, "&=", -(1 << REFERENCE_BITS));
  code.jumpIf32(R5, "!=", R1, "next slot");
  code.op32(R4, "&=", REFERENCE_MASK);
  code.op32(R4, "-=", 1);
  code.op32(R5, "=", R4);
  code.op32(R5, "&=", 1);
  code.op32(R4, ">>=", 1);
  code.jumpIf(R4, ">=", connections, "leave");
  code.address(R8, MEMORY, layout.at.entries);
  code.address(R9, MEMORY, layout.at.ways);
  addTimes(code, R8, R4, WORD * ENTRY_WORDS, R7);
  addTimes(code, R9, R4, WORD * at.WAY_WORDS, R7);
  if (isIpv6On) code.store("u32", R10, Var.entry, R4);
  code.load(R4, "u32", R9, WORD * at.TICKET);
  code.store("u32", R10, Var.ticket, R4);
  code.store("u32", R10, Var.side, R5);
  code.op(R7, "=", R8);
  addTimes(code, R7, R5, WORD * TUPLE_WORDS, R4);
  for (
    const [word, variable] of [[SRC, Var.src], [PORTS, Var.ports], [DST, Var.dst]] as const
  ) {
    code.load(R4, "u32", R7, WORD * word);
    code.load(R5, "u32", R10, variable);
    code.jumpIf32(R4, "!=", R5, "next slot");
  }
  // The hash covers the protocol, and so does this.
  code.load(R4, "u32", R8, WORD * META);
  code.op32(R4, "&=", TYPE_MASK);
  code.jumpIf32(R4, "==", R2, "found");
  code.label("next slot");
  code.op(R0, "+=", 1);
  code.jumpIf(R0, "<", slots, "wrapped");
  code.op(R0, "=", 0);
  code.label("wrapped");
  code.op(R3, "-=", 1);
  code.jumpIf(R3, "!=", 0, "probe");
  code.jump("leave");

  code.label("found");
  code.load(R1, "u32", R10, Var.ticket);
  code.op32(R1, ">>=", 16);
  code.address(R2, MEMORY, layout.at.settings);
  code.load(R2, "u32", R2, WORD * at.EPOCH);
  code.jumpIf32(R1, "!=", R2, "leave"); // the epoch is never 0
  if (isIpv6On) compareAddresses(code, layout);
  loadSide(code, R5);
  code.op(R7, "=", R9);
  addTimes(code, R7, R5, WORD * at.DIRECTION_WORDS, R4);
}

/**
 * Over IPv6, goes on only if the whole addresses are the connection's. The verifier wants to know
 * where they are in any case.
 */
function compareAddresses(code: Assembler, layout: at.Layout): void {
  code.load(R4, "u32", R10, Var.entry);
  code.jumpIf(R4, ">=", layout.connections, "leave");
  code.address(R5, MEMORY, layout.at.addresses);
  addTimes(code, R5, R4, WORD * WHOLE_WORDS, R1);
  loadSide(code, R3);
  code.op(R7, "=", R5);
  addTimes(code, R7, R3, WORD * WHOLE_TUPLE_WORDS, R1);
  code.op(R3, "^=", 1);
  addTimes(code, R5, R3, WORD * WHOLE_TUPLE_WORDS, R1);
  code.store("u64", R10, Var.answerAddresses, R5);
  code.load(R1, "u32", R10, Var.family);
  code.jumpIf(R1, "==", 0, "is whole");
  for (let word = 0; word < PAIR_WORDS; word++) {
    code.load(R1, "u32", R7, WORD * word);
    code.load(R2, "u32", R10, Var.addresses + WORD * word);
    code.jumpIf32(R1, "!=", R2, "leave");
  }
  code.label("is whole");
}

/** TTL, MTU, the way out and the next hop, as the ways' words R7 have them. */
function route(code: Assembler, layout: at.Layout, link: number): void {
  const word = (name: number) => WORD * (at.DIRECTION + name);
  code.load(R1, "u32", R7, word(at.WAY));
  code.op32(R2, "=", R1);
  code.op32(R2, "&=", at.FROM_LINK_1);
  code.jumpIf32(R2, "!=", link === 0 ? 0 : at.FROM_LINK_1, "leave");
  // R4: the way out
  code.op32(R2, "=", R1);
  code.op32(R2, ">>=", at.TO_LINK_1_SHIFT);
  code.op32(R2, "&=", 1);
  code.address(R4, MEMORY, linkAt(layout, 0));
  addTimes(code, R4, R2, WORD * at.LINK_WORDS, R3);
  code.load(R2, "u32", R4, WORD * at.LINK_IFINDEX);
  code.jumpIf(R2, "==", 0, "leave");
  code.store("u32", R10, Var.ifindex, R2);
  code.load(R2, "u32", R4, WORD * at.LINK_MTU);
  if (layout.isIpv6On) {
    code.load(R3, "u32", R10, Var.family);
    code.jumpIf(R3, "==", 0, "has mtu");
    code.load(R2, "u32", R4, WORD * at.LINK_MTU6);
    code.label("has mtu");
  }
  code.load(R3, "u32", R10, Var.longest);
  code.jumpIf(R3, ">", R2, "leave");
  // R3: the new TTL
  code.load(R2, "u32", R10, Var.ttlWord);
  code.op32(R2, ">>=", 24);
  code.jumpIf(R2, "<=", 1, "leave");
  code.op(R3, "=", R2);
  code.op(R3, "-=", 1);
  code.op(R5, "=", R1);
  code.op(R5, "&=", 0xff);
  code.jumpIf(R5, "==", 0, "has ttl");
  code.jumpIf(R1, "&", RAISES_TTL, "set ttl");
  code.jumpIf(R5, ">=", R3, "has ttl");
  code.label("set ttl");
  code.op(R3, "=", R5);
  code.label("has ttl");
  // The header checksum's part: R2 = ~(old << 8) + (new << 8)
  code.op(R2, "<<=", 8);
  code.op(R2, "^=", 0xffff);
  code.op(R1, "=", R3);
  code.op(R1, "<<=", 8);
  code.op(R2, "+=", R1);
  code.store("u32", R10, Var.ttlChange, R2);
  code.op(R3, "<<=", 24);
  code.store("u32", R10, Var.newTtlWord, R3);
  // R5: the next hop; and the last one, which is the next one of the other direction
  neighborOf(code, layout, R5, R7, word(at.NEIGHBOR));
  code.store("u64", R10, Var.nextHop, R5);
  code.load(R3, "u32", R7, word(at.NEIGHBOR));
  code.op32(R3, ">>=", at.NEIGHBOR_BITS);
  code.load(R1, "u64", R5, WORD * at.MAC);
  code.op(R2, "=", R1);
  code.op(R2, ">>=", 48);
  code.jumpIf(R2, "!=", R3, "leave"); // not known, or another one by now
  code.store("u32", R10, Var.mac0, R1);
  code.op(R1, ">>=", 32);
  code.op(R1, "&=", 0xffff);
  code.load(R2, "u64", R4, WORD * at.LINK_MAC);
  code.op(R3, "=", R2);
  code.op(R3, "<<=", 16);
  code.op(R1, "|=", R3);
  code.store("u32", R10, Var.mac1, R1);
  code.op(R2, ">>=", 16);
  code.store("u32", R10, Var.mac2, R2);
  code.op(R4, "=", R9);
  loadSide(code, R1);
  code.op(R1, "^=", 1);
  addTimes(code, R4, R1, WORD * at.DIRECTION_WORDS, R2);
  neighborOf(code, layout, R5, R4, word(at.NEIGHBOR));
  code.store("u64", R10, Var.lastHop, R5);
}

/** The time, and where the packet is counted. */
function account(code: Assembler, layout: at.Layout): void {
  const { counters, processors } = layout;
  code.call(GET_TIME);
  code.op(R0, "/=", NS_PER_MS);
  code.store("u32", R10, Var.nowMs, R0);
  code.call(GET_PROCESSOR);
  code.jumpIf(R0, ">=", processors, "leave");
  code.load(R1, "u32", R7, WORD * (at.DIRECTION + at.COUNTER));
  code.jumpIf(R1, ">=", counters, "leave");
  code.address(R2, MEMORY, layout.at.counters);
  code.op(R0, "*=", at.COUNTER_BYTES * counters);
  code.op(R2, "+=", R0);
  addTimes(code, R2, R1, at.COUNTER_BYTES, R3);
  code.store("u64", R10, Var.counter, R2);
}

/** The windows of a TCP segment: R7 are its sender's words, R5 those of the other side. */
function commit(code: Assembler): void {
  const of = (word: number) => WORD * (DATA + word);
  loadSide(code, R0);
  code.load(R1, "u32", R8, WORD * META);
  code.op32(R2, "=", R1);
  code.op32(R2, "&=", 0xff);
  code.jumpIf(R2, "!=", ipv4.PROTOCOL_TCP, "committed");
  code.op(R7, "=", R8);
  addTimes(code, R7, R0, WORD * WORDS_PER_SIDE, R2);
  code.op(R3, "=", R0);
  code.op(R3, "^=", 1);
  code.op(R5, "=", R8);
  addTimes(code, R5, R3, WORD * WORDS_PER_SIDE, R2);
  // The window, scaled if both sides have offered it
  code.load(R4, "u32", R10, Var.flags);
  code.op32(R4, "&=", 0xffff);
  code.op32(R1, ">>=", OFFERS_SHIFT);
  code.op32(R2, "=", R1);
  code.op32(R2, "&=", BOTH_SCALES);
  code.jumpIf32(R2, "!=", BOTH_SCALES, "scaled");
  code.op32(R0, "*=", OFFER_BITS);
  code.op32(R1, ">>=", R0);
  code.op32(R1, "&=", SCALE);
  code.op32(R4, "<<=", R1);
  code.label("scaled");
  code.jumpIf(R4, "!=", 0, "has window");
  code.op(R4, "=", 1);
  code.label("has window");
  code.store("u32", R10, Var.window, R4);
  // Whether it is in the window
  code.load(R0, "u32", R7, of(MAX_WIN));
  code.jumpIf(R0, "==", 0, "leave");
  code.load(R1, "u32", R5, of(MAX_WIN));
  code.jumpIf(R1, "==", 0, "leave");
  code.load(R2, "u32", R10, Var.seq);
  code.load(R3, "u32", R7, of(MAX_END));
  code.op32(R2, "-=", R3);
  code.jumpIf32(R2, "s>", 0, "leave"); // beyond what is allowed
  code.load(R2, "u32", R10, Var.end);
  code.load(R3, "u32", R7, of(END));
  code.op32(R2, "-=", R3);
  code.op32(R2, "+=", R1);
  code.jumpIf32(R2, "s<", 0, "leave"); // old
  code.load(R2, "u32", R5, of(END));
  code.load(R3, "u32", R10, Var.ack);
  code.op32(R2, "-=", R3);
  code.jumpIf32(R2, "s<", 0, "leave"); // acknowledges what was not sent
  code.jumpIf32(R2, "s<=", OLD_ACK_BYTES, "in window");
  code.jumpIf32(R2, "s>", R0, "leave");
  code.label("in window");
  unlessDemoted(code);
  code.load(R4, "u32", R10, Var.end);
  raise(code, R7, of(END), "end");
  code.load(R4, "u32", R10, Var.window);
  raise(code, R7, of(MAX_WIN), "window");
  code.load(R4, "u32", R10, Var.ack);
  raise(code, R7, of(ACK), "ack");
  code.load(R4, "u32", R10, Var.window);
  code.load(R0, "u32", R10, Var.ack);
  code.op32(R4, "+=", R0);
  raise(code, R5, of(MAX_END), "allowed");
  code.label("committed");
}

/**
 * What to write into the frame: the new addresses and ports, and the changes of sums: R7 that of
 * the ports, R8 that of the addresses.
 */
function translate(code: Assembler, isIpv6On: boolean): void {
  // R5: the tuple of the other side
  loadSide(code, R0);
  code.op(R0, "^=", 1);
  code.op(R5, "=", R8);
  addTimes(code, R5, R0, WORD * TUPLE_WORDS, R1);
  code.op(R0, "=", 0);
  if (isIpv6On) {
    code.load(R1, "u32", R10, Var.family);
    code.jumpIf(R1, "!=", 0, "addresses 6");
  }
  for (
    const [word, old, variable] of [
      [DST, Var.src, Var.newSrc],
      [SRC, Var.dst, Var.newDst],
    ] as const
  ) {
    code.load(R1, "u32", R5, WORD * word);
    addChange(code, R0, old, R1);
    storeWord(code, variable, R1);
  }
  if (isIpv6On) {
    code.jump("changed");
    code.label("addresses 6");
    translateAddresses6(code);
    code.label("changed");
  }
  fold(code, R0, R1);
  code.load(R1, "u32", R5, WORD * PORTS);
  code.op32(R2, "=", R1);
  code.op32(R2, "<<=", 16);
  code.op32(R1, ">>=", 16);
  code.op32(R1, "|=", R2);
  code.op(R7, "=", 0);
  addChange(code, R7, Var.ports, R1);
  storeWord(code, Var.newPorts, R1);
  if (isIpv6On) code.store("u32", R10, Var.newPorts6, R1);
  fold(code, R7, R1);
  code.toBigEndian(R7, 16);
  // TTL, protocol and header checksum
  code.load(R1, "u32", R10, Var.ttlWord);
  code.op32(R2, "=", R1);
  code.op32(R2, "&=", 0xffff);
  code.op32(R2, "^=", 0xffff);
  code.op(R2, "+=", R0);
  code.load(R3, "u32", R10, Var.ttlChange);
  code.op(R2, "+=", R3);
  fold(code, R2, R3);
  code.op32(R2, "^=", 0xffff);
  code.op32(R1, "&=", 0xff_0000);
  code.op32(R1, "|=", R2);
  code.load(R2, "u32", R10, Var.newTtlWord);
  code.op32(R1, "|=", R2);
  storeWord(code, Var.newTtlWord, R1);
  // All is read
  unlessDemoted(code);
  code.load(R1, "u32", R10, Var.nowMs);
  code.store("u32", R8, WORD * LAST_SEEN, R1);
  code.op(R8, "=", R0);
  code.toBigEndian(R8, 16);
}

/** Adds the change of the addresses to R0; R3 and R4 are lost. */
function translateAddresses6(code: Assembler): void {
  code.load(R3, "u64", R10, Var.answerAddresses);
  for (let word = 0; word < PAIR_WORDS; word++) {
    // What was the destination of answers is the source.
    code.load(R1, "u32", R3, WORD * ((word + ADDRESS6_WORDS) % PAIR_WORDS));
    addChange(code, R0, Var.addresses + WORD * word, R1);
    storeWord(code, Var.addresses + WORD * word, R1);
  }
}

/** Writes the frame, counts it, notes who was used, and sends it. */
function forward(code: Assembler, isIpv6On: boolean): void {
  code.load(R9, "u32", R10, Var.ttlWord);
  code.op32(R9, ">>=", 16);
  code.op32(R9, "&=", 0xff);
  if (isIpv6On) {
    code.load(R1, "u32", R10, Var.family);
    code.jumpIf(R1, "!=", 0, "write 6");
  }
  replaceTransportSums(code, FOUR, 0);
  storeBytes(code, IP + 8, Var.newTtlWord, 16);
  if (isIpv6On) {
    code.jump("written");
    code.label("write 6");
    replaceTransportSums(code, SIX, IS_IPV6);
    storeBytes(code, IP + 7, Var.newTtlWord, 1); // the hop limit
    storeBytes(code, IP + ipv6.SOURCE, Var.addresses, WORD * (PAIR_WORDS + 1));
    code.label("written");
  }
  storeBytes(code, 0, Var.mac0, 2 * 6);
  code.store("u32", R6, MARK, 0);

  code.load(R1, "u64", R10, Var.counter);
  code.load(R2, "u64", R1, 0);
  code.op(R2, "+=", 1);
  code.store("u64", R1, 0, R2);
  code.load(R2, "u64", R1, 8);
  code.load(R3, "u32", R10, Var.totalLength);
  code.op(R2, "+=", R3);
  code.store("u64", R1, 8, R2);

  code.load(R2, "u32", R10, Var.nowMs);
  code.load(R1, "u64", R10, Var.nextHop);
  code.load(R3, "u32", R1, WORD * at.USED);
  code.jumpIf32(R3, "==", R2, "used");
  code.store("u32", R1, WORD * at.USED, R2);
  code.label("used");
  code.jumpIf(R9, "!=", ipv4.PROTOCOL_UDP, "noted");
  loadSide(code, R3);
  code.jumpIf(R3, "!=", 0, "answer");
  code.store("u32", R1, WORD * at.ASKED, R2);
  code.jump("noted");
  code.label("answer");
  code.load(R1, "u64", R10, Var.lastHop);
  code.store("u32", R1, WORD * at.ANSWERED, R2);
  code.label("noted");

  code.load(R1, "u32", R10, Var.ifindex);
  code.op(R2, "=", INGRESS);
  code.call(REDIRECT);
  code.exit();
  code.label("drop");
  code.op(R0, "=", DROPPED);
  code.exit();
}

function replaceTransportSums(code: Assembler, { suffix, l4 }: Family, flags: number): void {
  code.jumpIf(R9, "==", ipv4.PROTOCOL_UDP, `udp sums${suffix}`);
  replaceSums(code, l4 + tcp.CHECKSUM, flags);
  code.jump(`summed${suffix}`);
  code.label(`udp sums${suffix}`);
  replaceSums(code, l4 + udp.CHECKSUM, flags | ZERO_IS_NONE);
  code.label(`summed${suffix}`);
}
