/** Which decisions and translators suit the PDUs that come to them. */
import { ICMP_ECHO_REQUEST, ICMP_TYPES } from "../../wire/icmpv4.ts";
import { isError } from "../../wire/icmpv6.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { PROTOCOL_ICMPV6 } from "../../wire/ipv6.ts";
import { RST } from "../../wire/tcp.ts";
import { DST_ADDRS, type Predicate, type Tree } from "../language/ast.ts";
import { ABSENT, type Box, FIELD, holdsSome, OPAQUE, protocolValue } from "./box.ts";
import { messages, REPLIES, REQUESTS, SURE } from "./coming.ts";
import type { Facts, Restrictor } from "./facts.ts";
import { has, interval, type IntervalSet, union, unionOf } from "./interval_set.ts";

/** What `track` and the translators drop. */
const INVALID: Predicate = { test: "state", state: "invalid" };

const ECHO_REQUEST: Predicate = { test: "icmp", type: ICMP_ECHO_REQUEST, code: null };

/** What gets no answer: RST (RFC 9293 §3.10.7.1) … */
const RESET: Predicate = { test: "tcp-flags", set: RST, clear: 0 };

/** … and ICMP messages but queries (RFC 1812 §4.3.2.7), or ICMPv6 errors (RFC 4443 §2.4). */
const UNANSWERED: IntervalSet = messages((type) => ICMP_TYPES[type]?.query !== true, isError);

const NEW: Predicate = { test: "state", state: "new" };

/** What a backend says in a connection. */
const ANSWERING: Predicate = {
  test: "all",
  of: [
    { test: "side", side: "b" },
    { test: "address", field: "src", in: [{ list: DST_ADDRS }] },
    { test: "state", state: "established" },
  ],
};

/** Protocols that translators take; of ICMP queries only. */
const TRANSLATED: IntervalSet = unionOf(
  [
    ...[PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP].map((n) => protocolValue(4, n)),
    ...[PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP].map((n) => protocolValue(6, n)),
  ].map((n) => ({ first: n, last: n })),
);
const NO_ICMP: IntervalSet = interval(ABSENT, ABSENT);
const REQUESTS_ONLY: IntervalSet = union(REQUESTS, NO_ICMP);
const REPLIES_ONLY: IntervalSet = union(REPLIES, NO_ICMP);

/** With a TTL of 0 or 1 nothing is forwarded (RFC 1812 §5.3.1), whatever `set-ttl` says. */
const LIVING: IntervalSet = interval(2, 255);

export type Step = Extract<Tree, { node: "track" | "translate-a-to-b" | "translate-b-to-a" }>;

/** What a scanner or translator lets pass, as `flow/connections.ts` has it. */
export function passing(node: Step["node"], facts: Facts, restrictor: Restrictor): Facts {
  if (node === "track") return valid(facts, restrictor);
  const forth = node === "translate-a-to-b";
  const fitting = forth ? valid(facts, restrictor) : restrictor.restrict(facts, ANSWERING);
  const some = restrictor.restrictField(fitting, FIELD.protocol, TRANSLATED);
  return restrictor.restrictField(some, FIELD.icmp, forth ? REQUESTS_ONLY : REPLIES_ONLY);
}

export function valid(facts: Facts, restrictor: Restrictor): Facts {
  return restrictor.restrict(facts, INVALID, false);
}

/** True if something of what a translator A → B lets pass may open a connection. */
export function mayOpen(passing: Facts, restrictor: Restrictor): boolean {
  return restrictor.restrict(passing, NEW).boxes.length > 0;
}

/** True if the TTL of all that comes has run out. */
export function allExpired(facts: Facts, restrictor: Restrictor): boolean {
  return restrictor.restrictField(facts, FIELD.ttl, LIVING).boxes.length === 0;
}

/** True for a TTL that a packet can have and be forwarded: from 2 on, and up to `ttl`. */
export function mayComeWithTtl(facts: Facts, ttl: number, restrictor: Restrictor): boolean {
  if (ttl < 2) return false;
  return restrictor.restrictField(facts, FIELD.ttl, interval(2, ttl)).boxes.length > 0;
}

export function neverAnswered(facts: Facts, restrictor: Restrictor): boolean {
  const others = restrictor.restrict(facts, RESET, false);
  return restrictor.restrictField(others, FIELD.icmp, UNANSWERED, false).boxes.length === 0;
}

/** True if something else than an echo request does come here. */
export function othersThanEchoRequests(facts: Facts, restrictor: Restrictor): boolean {
  return somethingComes(restrictor.restrict(facts, ECHO_REQUEST, false));
}

/** True if `facts` certainly hold for some PDU. That it is not empty need not mean that. */
export function somethingComes({ boxes, exact }: Facts): boolean {
  return exact && boxes.some(isInhabited);
}

/** True if some PDU that does come is in the box. */
function isInhabited(box: Box): boolean {
  return box.length <= OPAQUE && has(box[FIELD.fragment]!, 0) && holdsSome(box, SURE);
}
