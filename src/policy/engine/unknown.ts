/**
 * What a policy does not know of a connection's next packet, if that is a plain one, and what
 * predicates say in spite of it.
 *
 * A *plain* packet is a segment with ACK and without SYN, FIN and RST, or a datagram, of an
 * established connection; it came whole, and its TTL is at least 2. Known of it are its addresses,
 * ports, protocol and side; unknown are its length, its TTL, the other flags, and what a function
 * of the user's says.
 *
 * A predicate is true, false or unknown (S. C. Kleene, "Introduction to Metamathematics", §64): it
 * may be unknown if a part of it is. Two ordinary predicates say the same: it is possible, and it
 * is certain.
 */
import { IPV4_MIN_BYTES, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { OVER_IPV6, type Pdu, STATE_ESTABLISHED } from "../../wire/pdu.ts";
import { ACK, FIN, RST, SYN } from "../../wire/tcp.ts";
import { UDP_BYTES } from "../../wire/udp.ts";
import type { Predicate } from "../language/ast.ts";

/** Flags that a plain segment is known by. */
const KNOWN_FLAGS = SYN | FIN | RST | ACK;

/** Values that plain packets may have. */
const RANGES = {
  totalLength: { first: IPV4_MIN_BYTES + UDP_BYTES, last: 65_535 },
  ttl: { first: 2, last: 255 },
} as const;

const ALWAYS: Predicate = { test: "always" };
const NEVER: Predicate = { test: "not", of: ALWAYS };
const TCP: Predicate = { test: "protocol", number: PROTOCOL_TCP };

/** True for a plain packet, as the tree has it. */
export function isPlain({ fragment, protocol, state, tcpFlags }: Readonly<Pdu>): boolean {
  if (state !== STATE_ESTABLISHED || fragment !== 0) return false;
  const number = protocol & ~OVER_IPV6;
  return number === PROTOCOL_TCP ? (tcpFlags & KNOWN_FLAGS) === ACK : number === PROTOCOL_UDP;
}

/** Makes a plain packet of a PDU whose addresses, ports, protocol, connection and side are set. */
export function makePlain(pdu: Pdu): void {
  pdu.state = STATE_ESTABLISHED;
  pdu.fragment = pdu.steps = pdu.newTtl = 0;
  pdu.tcpFlags = ACK;
  pdu.totalLength = RANGES.totalLength.last;
  pdu.ttl = RANGES.ttl.last;
}

/** Holds for plain packets of the connections of which some may answer `predicate` with true. */
export function possibly(predicate: Predicate): Predicate {
  return bound(predicate, true, ofPlain);
}

/** Holds for plain packets of the connections of which all answer `predicate` with true. */
export function certainly(predicate: Predicate): Predicate {
  return bound(predicate, false, ofPlain);
}

function ofPlain(test: Predicate, upper: boolean): Predicate {
  if (!asksUnknown(test)) return test;
  if (test.test === "tcp-flags") return upper ? TCP : NEVER;
  return unknownTest(upper);
}

/** In the place of a test of which nothing is known: it is possible, and not certain. */
export function unknownTest(upper: boolean): Predicate {
  return upper ? ALWAYS : NEVER;
}

/**
 * The predicate with `bounded` in the place of each test: what is possible (`upper`), or what is
 * certain. A negation turns one into the other.
 */
export function bound(
  predicate: Predicate,
  upper: boolean,
  bounded: (test: Predicate, upper: boolean) => Predicate,
): Predicate {
  switch (predicate.test) {
    case "not":
      return { test: "not", of: bound(predicate.of, !upper, bounded) };
    case "all":
    case "any":
      return { ...predicate, of: predicate.of.map((part) => bound(part, upper, bounded)) };
    default:
      return bounded(predicate, upper);
  }
}

/** The first test in `predicate` of something unknown; null: none. */
export function unknownIn(predicate: Predicate): Predicate | null {
  if (predicate.test === "not") return unknownIn(predicate.of);
  if (predicate.test !== "all" && predicate.test !== "any") {
    return asksUnknown(predicate) ? predicate : null;
  }
  for (const part of predicate.of) {
    const unknown = unknownIn(part);
    if (unknown !== null) return unknown;
  }
  return null;
}

/** True if a part of the predicate is unknown. */
export function asksUnknown(predicate: Predicate): boolean {
  switch (predicate.test) {
    case "not":
      return asksUnknown(predicate.of);
    case "all":
    case "any":
      return predicate.of.some(asksUnknown);
    case "tcp-flags": {
      const { set, clear } = predicate;
      const isPossible = (set & KNOWN_FLAGS & ~ACK) === 0 && (clear & ACK) === 0;
      return isPossible && ((set | clear) & ~KNOWN_FLAGS) !== 0;
    }
    case "number": {
      const { first: least, last: most } = RANGES[predicate.field];
      const holdsForAll = predicate.in.some(({ first, last }) => first <= least && last >= most);
      const holdsForSome = predicate.in.some(({ first, last }) => first <= most && last >= least);
      return holdsForSome && !holdsForAll;
    }
    case "custom":
      return true;
    case "always":
    case "family":
    case "protocol":
    case "address":
    case "port":
    case "icmp":
    case "icmpv6":
    case "fragment":
    case "state":
    case "side":
      return false;
  }
}
