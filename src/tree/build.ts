/**
 * The policy language inside TypeScript: each function makes one frozen node, so that a policy reads in
 * code as it does in a picture.
 *
 * @example
 * ```ts
 * import { always, drop, firstMatch, forward, aToB, policy, tcpDport } from "./build.ts";
 *
 * const web = policy("drop", firstMatch([[tcpDport.eq(80), drop], [always, aToB(forward)]]));
 * ```
 */
import { ICMP_ECHO_REQUEST } from "../wire/icmpv4.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../wire/ipv4.ts";
import type { Decision, ListName, Policy, Predicate, Tree } from "./ast.ts";

export function policy(defaultDecision: Decision, next: Tree): Policy {
  return Object.freeze({ default: defaultDecision, next });
}

// Selectors

/** The first arm whose predicate holds. One arm makes a filter, which is the same thing. */
export function firstMatch(arms: readonly (readonly [Predicate, Tree])[]): Tree {
  if (arms.length === 0) throw new RangeError("Cannot build firstMatch: expected at least one arm");
  const [first] = arms;
  if (arms.length === 1) return filter(first![0], first![1]);
  return node({
    node: "first-match",
    arms: Object.freeze(arms.map(([when, then]) => Object.freeze({ when, then }))),
  });
}

/** On where the predicate holds; else the default decision. */
export function filter(when: Predicate, then: Tree): Tree {
  return node({ node: "filter", when, then });
}

/** PDU-based round robin: one counter for all clients, starting at the first branch. */
export function roundRobin(branches: readonly Tree[]): Tree {
  if (branches.length === 0) {
    throw new RangeError("Cannot build roundRobin: expected at least one branch");
  }
  return node({ node: "round-robin", branches: Object.freeze([...branches]) });
}

// Scanner and modifiers

export function track(then: Tree): Tree {
  return node({ node: "track", then });
}

export function aToB(then: Tree): Tree {
  return node({ node: "translate-a-to-b", then });
}

export function bToA(then: Tree): Tree {
  return node({ node: "translate-b-to-a", then });
}

// Decisions

export const drop: Tree = node({ node: "decide", decision: "drop" });
export const forward: Tree = node({ node: "decide", decision: "forward" });
export const echo: Tree = node({ node: "decide", decision: "echo-reply" });

// Predicates

export const always: Predicate = predicate({ test: "always" });

export function not(of: Predicate): Predicate {
  return predicate({ test: "not", of });
}

export const isIcmp: Predicate = predicate({ test: "protocol", number: PROTOCOL_ICMP });
export const isTcp: Predicate = predicate({ test: "protocol", number: PROTOCOL_TCP });
export const isUdp: Predicate = predicate({ test: "protocol", number: PROTOCOL_UDP });

export const isEchoRequest: Predicate = predicate({
  test: "icmp-type",
  equals: ICMP_ECHO_REQUEST,
});

/** The backends: `--dst-addrs`. */
export const dstAddrs: ListName = "$dst-addrs";

interface AddressField {
  oneOf(list: ListName): Predicate;
}

export const src: AddressField = addressField("src");
export const dst: AddressField = addressField("dst");

interface PortField {
  /** Throws RangeError for a port outside 0 … 65535. */
  eq(port: number): Predicate;
}

export const tcpSport: PortField = portField(PROTOCOL_TCP, "srcPort");
export const tcpDport: PortField = portField(PROTOCOL_TCP, "dstPort");
export const udpSport: PortField = portField(PROTOCOL_UDP, "srcPort");
export const udpDport: PortField = portField(PROTOCOL_UDP, "dstPort");

function addressField(field: "src" | "dst"): AddressField {
  return Object.freeze({
    oneOf: (list: ListName) => predicate({ test: "address", field, list }),
  });
}

function portField(protocol: number, field: "srcPort" | "dstPort"): PortField {
  return Object.freeze({
    eq: (port: number) => {
      if (!Number.isInteger(port) || port < 0 || port > 65_535) {
        throw new RangeError(`Cannot compare a port with "${port}": expected 0 to 65535`);
      }
      return predicate({ test: "port", protocol, field, equals: port });
    },
  });
}

function node(tree: Tree): Tree {
  return Object.freeze(tree);
}

function predicate(predicate: Predicate): Predicate {
  return Object.freeze(predicate);
}
