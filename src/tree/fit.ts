/** Which decisions and translators suit the PDUs that come to them. */
import { ICMP_ECHO_REQUEST, ICMP_TYPES } from "../wire/icmpv4.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP } from "../wire/ipv4.ts";
import { STATE_ESTABLISHED, STATE_NEW } from "../wire/pdu.ts";
import { ACK, flagsPossible, RST, SYN } from "../wire/tcp.ts";
import { DST_ADDRS, type Predicate } from "./ast.ts";
import { type Box, FIELD, OPAQUE, STRAY } from "./box.ts";
import type { Facts, Restrictor } from "./facts.ts";
import {
  difference,
  has,
  intersects,
  interval,
  type IntervalSet,
  unionOf,
} from "./interval_set.ts";

/** What `track` and the translators drop. */
const INVALID: Predicate = { test: "state", state: "invalid" };

const ECHO_REQUEST: Predicate = { test: "icmp", type: ICMP_ECHO_REQUEST, code: null };

/** What gets no answer, neither RST (RFC 9293 §3.10.7.1) nor ICMP error (RFC 1812 §4.3.2.7). */
const NEVER_ANSWERED: Predicate = {
  test: "any",
  of: [
    { test: "tcp-flags", set: RST, clear: 0 },
    ...Array.from({ length: 256 }, (_, type): Predicate => ({ test: "icmp", type, code: null }))
      .filter((_, type) => ICMP_TYPES[type]?.query !== true),
  ],
};

/** A new connection from side A. */
const OPENING: Predicate = {
  test: "all",
  of: [{ test: "side", side: "a" }, { test: "state", state: "new" }],
};

/** What a backend says in a connection. */
const RETURNING: Predicate = {
  test: "all",
  of: [
    { test: "side", side: "b" },
    { test: "address", field: "src", in: [{ list: DST_ADDRS }] },
    { test: "state", state: "established" },
  ],
};

/** What is left behind a scanner or translator. */
export function valid(facts: Facts, restrictor: Restrictor): Facts {
  return restrictor.restrict(facts, INVALID, false);
}

export function mayOpen(facts: Facts, restrictor: Restrictor): boolean {
  return restrictor.restrict(facts, OPENING).boxes.length > 0;
}

export function mayReturn(facts: Facts, restrictor: Restrictor): boolean {
  return restrictor.restrict(facts, RETURNING).boxes.length > 0;
}

export function neverAnswered(facts: Facts, restrictor: Restrictor): boolean {
  return restrictor.restrict(facts, NEVER_ANSWERED, false).boxes.length === 0;
}

/** True if something else than an echo request does come here. */
export function othersThanEchoRequests(facts: Facts, restrictor: Restrictor): boolean {
  return somethingComes(restrictor.restrict(facts, ECHO_REQUEST, false));
}

/** True if `facts` certainly hold for some PDU. That it is not empty need not mean that. */
export function somethingComes({ boxes, exact }: Facts): boolean {
  return exact && boxes.some(isInhabited);
}

const FIRST_SYNS: IntervalSet = flags((flags) => (flags & (SYN | ACK)) === SYN);
const OTHER_SEGMENTS: IntervalSet = flags((flags) => (flags & (SYN | ACK)) !== SYN);
const ECHO_REQUESTS: IntervalSet = interval(ICMP_ECHO_REQUEST << 8, (ICMP_ECHO_REQUEST << 8) | 255);
const OTHER_MESSAGES: IntervalSet = difference(interval(0, 0xffff), ECHO_REQUESTS);
const STATELESS: IntervalSet = difference(
  interval(0, 255),
  unionOf([PROTOCOL_ICMP, PROTOCOL_TCP].map((number) => ({ first: number, last: number }))),
);

/**
 * True if some PDU is in the box although a connection's state is no field like the others: what has no
 * connection is new or stray by its protocol.
 */
function isInhabited(box: Box): boolean {
  if (box.length > OPAQUE || !has(box[FIELD.fragment]!, 0)) return false;
  const states = box[FIELD.state]!;
  if (has(states, STATE_ESTABLISHED)) return true;
  const isNew = has(states, STATE_NEW);
  const isStray = has(states, STRAY);
  const tcpFlags = box[FIELD.tcpFlags]!;
  const icmp = box[FIELD.icmp]!;
  return isNew && (intersects(box[FIELD.protocol]!, STATELESS) ||
        intersects(tcpFlags, FIRST_SYNS) || intersects(icmp, ECHO_REQUESTS)) ||
    isStray && (intersects(tcpFlags, OTHER_SEGMENTS) || intersects(icmp, OTHER_MESSAGES));
}

/** Flags bytes that can come and pass `test`. */
function flags(test: (flags: number) => boolean): IntervalSet {
  const values = Array.from({ length: 256 }, (_, value) => value)
    .filter((value) => flagsPossible(value) && test(value));
  return unionOf(values.map((value) => ({ first: value, last: value })));
}
