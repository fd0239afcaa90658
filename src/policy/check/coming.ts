/**
 * Which packets come to a policy, and what they can be there: what `wire/decode.ts` and
 * `stack/admit.ts` drop never comes, and `flow/connections.ts` has said of each whether it is new,
 * established, invalid or stray. As boxes of `box.ts`, one for each kind of packet.
 */
import { ICMP_ECHO_REQUEST, isReply, isRequest } from "../../wire/icmpv4.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { STATE_ESTABLISHED, STATE_INVALID, STATE_NEW } from "../../wire/pdu.ts";
import { quotesPacket } from "../../wire/quoted.ts";
import { ACK, flagsPossible, SYN } from "../../wire/tcp.ts";
import { FIELD, type Kind, LAYERS, STRAY } from "./box.ts";
import { difference, interval, type IntervalSet, union, unionOf } from "./interval_set.ts";

/** Shortest IP packets with a whole header of what they carry, in bytes. */
const LEAST_BYTES: ReadonlyMap<number | null, number> = new Map([
  [PROTOCOL_TCP, 40],
  [PROTOCOL_UDP, 28],
  [PROTOCOL_ICMP, 28],
  [null, 20],
]);

/** Addresses that one host can have: `isHost`, without what depends on the subnet. */
const HOSTS: IntervalSet = unionOf([
  { first: 0x0100_0000, last: 0x7eff_ffff }, // 1.0.0.0 - 126.255.255.255
  { first: 0x8000_0000, last: 0xdfff_ffff }, // 128.0.0.0 - 223.255.255.255
]);

/** A UDP source port may be 0: no answer is wanted (RFC 768). */
const PORTS: IntervalSet = interval(1, 65_535);

const POSSIBLE: IntervalSet = flags(flagsPossible);
const FIRST_SYNS: IntervalSet = flags((flags) => flagsPossible(flags) && isFirstSyn(flags));
const OTHER_SEGMENTS: IntervalSet = difference(POSSIBLE, FIRST_SYNS);

/** ICMP messages by type. */
export const REQUESTS: IntervalSet = messages(isRequest);
export const REPLIES: IntervalSet = messages(isReply);
const NO_REQUESTS: IntervalSet = messages((type) => !isRequest(type));

/** An error that quotes a packet has at least the quoted IP header and 8 bytes more (RFC 792). */
const ERRORS: Kind[number] = [FIELD.icmp, messages(quotesPacket)];
const NO_ERRORS: Kind[number] = [FIELD.icmp, messages((type) => !quotesPacket(type))];
const ERROR_LENGTHS: Kind[number] = [FIELD.totalLength, interval(56, 65_535)];

/** What is let in, by protocol. */
const [TCP, UDP, ANY_ICMP, OTHERS] = LAYERS.map(({ protocol, kind }): Kind => [
  ...kind,
  [FIELD.totalLength, interval(LEAST_BYTES.get(protocol)!, 65_535)],
  [FIELD.src, HOSTS],
  [FIELD.dst, HOSTS],
  ...(protocol === PROTOCOL_TCP
    ? [[FIELD.tcpSrc, PORTS], [FIELD.tcpDst, PORTS], [FIELD.tcpFlags, POSSIBLE]] as const
    : protocol === PROTOCOL_UDP
    ? [[FIELD.udpDst, PORTS]] as const
    : []),
]) as [Kind, Kind, Kind, Kind];

const ICMP: Kind = [...ANY_ICMP, NO_ERRORS];
const ICMP_ERROR: Kind = [...ANY_ICMP, ERRORS, ERROR_LENGTHS];

export const ADMITTED: readonly Kind[] = [TCP, UDP, ICMP, ICMP_ERROR, OTHERS];

/** Of these all do come, if their addresses do. */
export const SURE: readonly Kind[] = [
  inState(TCP, [STATE_NEW], [FIELD.tcpFlags, FIRST_SYNS]),
  inState(TCP, [STATE_ESTABLISHED]),
  inState(TCP, [STRAY], [FIELD.tcpFlags, OTHER_SEGMENTS]),
  inState(UDP, [STATE_NEW, STATE_ESTABLISHED]),
  inState(ICMP, [STATE_NEW], [FIELD.icmp, messages((type) => type === ICMP_ECHO_REQUEST)]),
  inState(ICMP, [STATE_ESTABLISHED], [FIELD.icmp, union(REQUESTS, REPLIES)]),
  inState(ICMP, [STRAY], [FIELD.icmp, NO_REQUESTS]),
  inState(ICMP_ERROR, [STRAY]),
  inState(OTHERS, [STATE_NEW]),
];

/** All that come. */
export const COMING: readonly Kind[] = [
  ...SURE,
  inState(ICMP, [STATE_NEW], [FIELD.icmp, REQUESTS]),
  inState(TCP, [STATE_INVALID]),
  inState(ICMP, [STATE_INVALID]),
  inState(ICMP_ERROR, [STATE_INVALID]),
];

function inState(kind: Kind, states: readonly number[], ...more: Kind): Kind {
  const set = unionOf(states.map((state) => ({ first: state, last: state })));
  return [...kind, [FIELD.state, set], ...more];
}

function isFirstSyn(flags: number): boolean {
  return (flags & (SYN | ACK)) === SYN;
}

/** Flags bytes that pass `test`. */
function flags(test: (flags: number) => boolean): IntervalSet {
  return unionOf(bytes(test).map((value) => ({ first: value, last: value })));
}

function messages(test: (type: number) => boolean): IntervalSet {
  return unionOf(bytes(test).map((type) => ({ first: type << 8, last: (type << 8) | 255 })));
}

function bytes(test: (value: number) => boolean): readonly number[] {
  return Array.from({ length: 256 }, (_, value) => value).filter(test);
}
