/**
 * The words of the policy text, each with the part of the AST that it means: `build.ts`, `parse.ts`
 * and `print.ts` share them. The grammar itself is at the head of `parse.ts`.
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import { FLAG_NAMES } from "../../wire/tcp.ts";
import type {
  BalanceMethod,
  ConnectionState,
  Decision,
  Family,
  Interval,
  PickMethod,
  Predicate,
} from "./ast.ts";
import { ICMP_TYPE_WORDS, ICMPV6_TYPE_WORDS } from "./icmp_words.ts";

/**
 * How a chain ends, as in `-> drop`. `default` takes the decision's own name: `default echo-reply`.
 */
export const DECISION_WORDS: ReadonlyMap<string, Decision> = new Map([
  ["drop", "drop"],
  ["forward", "forward"],
  ["echo", "echo-reply"],
  ["reject", "reject"],
]);

/** How a balancer chooses. */
export const METHOD_WORDS: readonly BalanceMethod[] = ["in turn", "at random", "by hash"];

/** How a translator chooses. */
export const PICK_WORDS: readonly PickMethod[] = [
  ...METHOD_WORDS,
  "by hash of addresses",
  "by hash of source",
  "by hash of destination",
  "by least connections",
  "by source",
  "by maglev",
];

/** What may follow the address of a pool's member. */
export const MEMBER_WORDS: readonly string[] = ["weight", "port", "backup", "maxconn", "state"];

export const FAMILY_WORDS: ReadonlyMap<string, Family> = new Map([["ipv4", 4], ["ipv6", 6]]);

export const PROTOCOL_WORDS: ReadonlyMap<string, number> = new Map([
  ["icmp", PROTOCOL_ICMP],
  ["tcp", PROTOCOL_TCP],
  ["udp", PROTOCOL_UDP],
]);

export const STATE_WORDS: readonly ConnectionState[] = ["new", "established", "invalid", "stray"];

/** Come before `a` or `b`. */
export const FROM_SIDE: readonly [from: string, side: string] = ["from", "side"];

export const ADDRESS_WORDS: ReadonlyMap<string, "src" | "dst"> = new Map([
  ["ip.src", "src"],
  ["ip.dst", "dst"],
]);

/** How a field that is compared with numbers and ranges of numbers is read. */
export interface NumberSyntax {
  /** What its values are called in messages. */
  readonly what: string;
  readonly max: number;
  readonly test: (ranges: readonly Interval[]) => Predicate;
}

export const NUMBER_WORDS: ReadonlyMap<string, NumberSyntax> = new Map([
  ["tcp.sport", portField(PROTOCOL_TCP, "srcPort")],
  ["tcp.dport", portField(PROTOCOL_TCP, "dstPort")],
  ["udp.sport", portField(PROTOCOL_UDP, "srcPort")],
  ["udp.dport", portField(PROTOCOL_UDP, "dstPort")],
  ["ip.length", {
    what: "length",
    max: 65_535,
    test: (ranges) => ({ test: "number", field: "totalLength", in: ranges }),
  }],
  ["ip.ttl", {
    what: "TTL",
    max: 255,
    test: (ranges) => ({ test: "number", field: "ttl", in: ranges }),
  }],
]);

function portField(protocol: number, field: "srcPort" | "dstPort"): NumberSyntax {
  return {
    what: "port",
    max: 65_535,
    test: (ranges) => ({ test: "port", protocol, field, in: ranges }),
  };
}

/** The field of a port or number test. */
export function numberWordOf(predicate: Predicate & { test: "port" | "number" }): string {
  if (predicate.test === "number") return predicate.field === "ttl" ? "ip.ttl" : "ip.length";
  const side = predicate.field === "srcPort" ? "sport" : "dport";
  if (predicate.protocol === PROTOCOL_TCP) return `tcp.${side}`;
  if (predicate.protocol === PROTOCOL_UDP) return `udp.${side}`;
  throw new RangeError(
    `Cannot print a port test of protocol ${predicate.protocol}: expected 6 or 17`,
  );
}

/** Bit n of the TCP flags → its word. */
export const FLAG_WORDS: readonly string[] = FLAG_NAMES.map((name) => name.toLowerCase());

/** Everything that a predicate can begin with. */
export const PREDICATE_WORDS: readonly string[] = [
  "otherwise",
  "not",
  ...FAMILY_WORDS.keys(),
  ...PROTOCOL_WORDS.keys(),
  "protocol",
  ...ADDRESS_WORDS.keys(),
  ...NUMBER_WORDS.keys(),
  "tcp.flags",
  "icmp.type",
  "icmpv6.type",
  ...new Set([...ICMP_TYPE_WORDS.keys(), ...ICMPV6_TYPE_WORDS.keys()]),
  "fragment",
  ...STATE_WORDS,
  FROM_SIDE[0],
  "custom",
];

/** Everything that an item of a chain can begin with. */
export const CHAIN_WORDS: readonly string[] = [
  ...DECISION_WORDS.keys(),
  "track",
  "translate-a-to-b",
  "translate-b-to-a",
  "set-ttl",
  "limit",
  "use",
  "in",
  "at",
  "by",
  "custom",
];

/** What people write who come from another language → what it is called here. */
export const OTHER_WORDS: ReadonlyMap<string, string> = new Map([
  ["accept", "forward"],
  ["allow", "forward"],
  ["pass", "forward"],
  ["deny", "drop"],
  ["block", "drop"],
  ["discard", "drop"],
  ["echo-reply", "echo"],
  ["echo_reply", "echo"],
  ["round-robin", "in turn"],
  ["random", "at random"],
  ["hash", "by hash"],
  ["leastconn", "by least connections"],
  ["sticky", "by source"],
  ["else", "otherwise"],
  ["always", "otherwise"],
  ["any", "otherwise"],
  ["all", "otherwise"],
  ["true", "otherwise"],
  ["ping", "echo-request"],
  ["icmpv4", "icmp"],
  ["hop-limit", "ip.ttl"],
  ["sport", "tcp.sport"],
  ["dport", "tcp.dport"],
  ["port", "tcp.dport"],
  ["src", "ip.src"],
  ["dst", "ip.dst"],
  ["ttl", "ip.ttl"],
  ["length", "ip.length"],
  ["side", "from side"],
  ["related", "established"],
  ["&&", "and"],
  ["||", "or"],
  ["!", "not"],
  ["==", "="],
  ["=>", "->"],
]);

/** Names of lists (after `$`), subtrees and custom functions. */
export const NAME = /^[a-z][a-z0-9-]{0,62}$/;
