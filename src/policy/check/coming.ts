/**
 * Which packets come to a policy, and what they can be there: what `wire/decode.ts` and
 * `stack/admit.ts` drop never comes, and `flow/connections.ts` has said of each whether it is new,
 * established, invalid or stray. As boxes of `box.ts`, one for each kind of packet.
 */
import { ICMP_ECHO_REQUEST, isReply, isRequest } from "../../wire/icmpv4.ts";
import { HEADER_NONE } from "../../wire/extension_headers.ts";
import { ICMPV6_ECHO_REPLY, ICMPV6_ECHO_REQUEST, isLinkMessage } from "../../wire/icmpv6.ts";
import { STATE_ESTABLISHED, STATE_INVALID, STATE_NEW } from "../../wire/pdu.ts";
import { quotesPacket } from "../../wire/quoted.ts";
import { quotesPacket6 } from "../../wire/quoted6.ts";
import { ACK, flagsPossible, SYN } from "../../wire/tcp.ts";
import type { Family } from "../language/ast.ts";
import { ALL_IPV6, IPV6_HOSTS } from "./address_space.ts";
import { FIELD, icmpValue, type Kind, type Layer, protocolValue, shapeOf, STRAY } from "./box.ts";
import { difference, interval, type IntervalSet, union, unionOf } from "./interval_set.ts";

/** Shortest IP packets with a whole header of what they carry, in bytes, and of an ICMP error. */
const LEAST_BYTES: Readonly<Record<Family, Readonly<Record<Layer | "error", number>>>> = {
  // An error that quotes a packet has at least the quoted IP header and 8 bytes more.
  4: { tcp: 40, udp: 28, icmp: 28, other: 20, error: 56 },
  6: { tcp: 60, udp: 48, icmp: 48, other: 40, error: 96 },
};

/** Addresses that one host can have: `isHost`, without what depends on the subnet. */
const IPV4_HOSTS: IntervalSet = unionOf([
  { first: 0x0100_0000, last: 0x7eff_ffff }, // 1.0.0.0 - 126.255.255.255
  { first: 0x8000_0000, last: 0xdfff_ffff }, // 128.0.0.0 - 223.255.255.255
]);

/** An echo request over IPv6 may come to a group. */
const HOSTS: Readonly<Record<Family, { src: IntervalSet; dst: IntervalSet }>> = {
  4: { src: IPV4_HOSTS, dst: IPV4_HOSTS },
  6: { src: IPV6_HOSTS, dst: ALL_IPV6 },
};

/** A UDP source port may be 0: no answer is wanted (RFC 768). */
const PORTS: IntervalSet = interval(1, 65_535);

const POSSIBLE: IntervalSet = flags(flagsPossible);
const FIRST_SYNS: IntervalSet = flags((flags) => flagsPossible(flags) && isFirstSyn(flags));
const OTHER_SEGMENTS: IntervalSet = difference(POSSIBLE, FIRST_SYNS);

const ECHO_REQUESTS: IntervalSet = messages(
  (type) => type === ICMP_ECHO_REQUEST,
  (type) => type === ICMPV6_ECHO_REQUEST,
);

/** ICMP messages by type. */
export const REQUESTS: IntervalSet = messages(isRequest, (type) => type === ICMPV6_ECHO_REQUEST);
export const REPLIES: IntervalSet = messages(isReply, (type) => type === ICMPV6_ECHO_REPLY);
const NO_REQUESTS: IntervalSet = messages(
  (type) => !isRequest(type),
  (type) => type !== ICMPV6_ECHO_REQUEST,
);
const ERRORS: IntervalSet = messages(quotesPacket, quotesPacket6);
const NO_ERRORS: IntervalSet = messages(
  (type) => !quotesPacket(type),
  (type) => !quotesPacket6(type) && !isLinkMessage(type),
);

/** What `walkChain` knows beside TCP, UDP and ICMPv6: over IPv6 a packet of another ends there. */
const NOTHING: Kind[number] = [
  FIELD.protocol,
  interval(protocolValue(6, HEADER_NONE), protocolValue(6, HEADER_NONE)),
];

/** What of a family is let in, by protocol. */
function admittedOf(family: Family) {
  const { src, dst } = HOSTS[family];
  const least = LEAST_BYTES[family];
  const admitted = (layer: Layer, leastBytes: number, ...more: Kind): Kind => [
    ...shapeOf(family, layer),
    [FIELD.totalLength, interval(leastBytes, 65_535)],
    [FIELD.src, src],
    [FIELD.dst, dst],
    ...more,
  ];
  return {
    tcp: admitted(
      "tcp",
      least.tcp,
      [FIELD.tcpSrc, PORTS],
      [FIELD.tcpDst, PORTS],
      [FIELD.tcpFlags, POSSIBLE],
    ),
    udp: admitted("udp", least.udp, [FIELD.udpDst, PORTS]),
    icmp: admitted("icmp", least.icmp, [FIELD.icmp, NO_ERRORS]),
    error: admitted("icmp", least.error, [FIELD.icmp, ERRORS]),
    other: admitted("other", least.other, ...(family === 6 ? [NOTHING] : [])),
  };
}

const [IPV4, IPV6] = [admittedOf(4), admittedOf(6)];

export const ADMITTED: readonly Kind[] = [...Object.values(IPV4), ...Object.values(IPV6)];

/** Of these all do come, if their addresses do. IPv6 may not be on. */
export const SURE: readonly Kind[] = sureOf(IPV4);

/** All that come. */
export const COMING: readonly Kind[] = [...comingOf(IPV4), ...comingOf(IPV6)];

function sureOf({ tcp, udp, icmp, error, other }: typeof IPV4): readonly Kind[] {
  return [
    inState(tcp, [STATE_NEW], [FIELD.tcpFlags, FIRST_SYNS]),
    inState(tcp, [STATE_ESTABLISHED]),
    inState(tcp, [STRAY], [FIELD.tcpFlags, OTHER_SEGMENTS]),
    inState(udp, [STATE_NEW, STATE_ESTABLISHED]),
    inState(icmp, [STATE_NEW], [FIELD.icmp, ECHO_REQUESTS]),
    inState(icmp, [STATE_ESTABLISHED], [FIELD.icmp, union(REQUESTS, REPLIES)]),
    inState(icmp, [STRAY], [FIELD.icmp, NO_REQUESTS]),
    inState(error, [STRAY]),
    inState(other, [STATE_NEW]),
  ];
}

function comingOf(admitted: typeof IPV4): readonly Kind[] {
  const { tcp, icmp, error } = admitted;
  return [
    ...sureOf(admitted),
    inState(icmp, [STATE_NEW], [FIELD.icmp, REQUESTS]),
    inState(tcp, [STATE_INVALID]),
    inState(icmp, [STATE_INVALID]),
    inState(error, [STATE_INVALID]),
  ];
}

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

/** Messages whose type passes the test of their family. */
export function messages(
  test: (type: number) => boolean,
  test6: (type: number) => boolean,
): IntervalSet {
  const all = (family: Family, test: (type: number) => boolean) =>
    bytes(test).map((type) => (
      { first: icmpValue(family, type, 0), last: icmpValue(family, type, 255) }
    ));
  return unionOf([...all(4, test), ...all(6, test6)]);
}

function bytes(test: (value: number) => boolean): readonly number[] {
  return Array.from({ length: 256 }, (_, value) => value).filter(test);
}
