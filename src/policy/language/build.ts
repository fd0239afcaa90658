/**
 * The policy language inside TypeScript: each function makes one frozen node, so that a policy reads in
 * code as it does in a picture. Every function throws a RangeError or TypeError for what can't be built.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { always, aToB, drop, firstMatch, forward, policy, tcpDport } from "./build.ts";
 *
 * const web = policy("drop", firstMatch([[tcpDport.eq(80), drop], [always, aToB(forward)]]));
 * assert.equal(web.default, "drop");
 * ```
 */
import { maskOf, parseAddress, parseInterface } from "../../wire/address.ts";
import { ICMP_ECHO_REQUEST } from "../../wire/icmpv4.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP } from "../../wire/ipv4.ts";
import {
  type AddressTerm,
  type BalanceMethod,
  type ConnectionState,
  type CustomPredicate,
  type CustomSelector,
  type Decision,
  DST_ADDRS,
  type Interval,
  type Policy,
  type Predicate,
  type Tree,
} from "./ast.ts";

/** Lists and subtrees that a policy defines by name. */
export interface Definitions {
  readonly lists?: Readonly<Record<string, AddressLike | readonly AddressLike[]>>;
  readonly subtrees?: Readonly<Record<string, Tree>>;
}

export function policy(
  defaultDecision: Decision,
  next: Tree,
  definitions: Definitions = {},
): Policy {
  const lists = Object.entries(definitions.lists ?? {})
    .map(([name, terms]) => [nameOf(name), addressTerms(terms)] as const);
  for (const name of Object.keys(definitions.subtrees ?? {})) nameOf(name);
  return Object.freeze({
    default: defaultDecision,
    lists: Object.freeze(Object.fromEntries(lists)),
    subtrees: Object.freeze({ ...definitions.subtrees }),
    next,
  });
}

// Selectors

/** The first arm whose predicate holds. One arm makes a filter, which is the same thing. */
export function firstMatch(arms: readonly (readonly [Predicate, Tree])[]): Tree {
  const [first] = arms;
  if (first === undefined) {
    throw new RangeError("Cannot build firstMatch: expected at least one arm");
  }
  if (arms.length === 1) return filter(first[0], first[1]);
  return node({
    node: "first-match",
    arms: Object.freeze(arms.map(([when, then]) => Object.freeze({ when, then }))),
  });
}

/** On where the predicate holds; else the default decision. */
export function filter(when: Predicate, then: Tree): Tree {
  return node({ node: "filter", when, then });
}

/** A tree, or one with its share as `[weight, tree]`. */
export type BranchLike = Tree | readonly [weight: number, then: Tree];

/** The branches in turn, one counter for all clients, starting at the first. */
export function roundRobin(branches: readonly BranchLike[], per: Per = "pdu"): Tree {
  return balance("round-robin", branches, per);
}

/** A branch at random. */
export function random(branches: readonly BranchLike[], per: Per = "pdu"): Tree {
  return balance("random", branches, per);
}

/** A branch by hash of addresses, protocol and ports. */
export function hash(branches: readonly BranchLike[], per: Per = "pdu"): Tree {
  return balance("hash", branches, per);
}

export type Per = "pdu" | "connection";

function balance(by: BalanceMethod, branches: readonly BranchLike[], per: Per): Tree {
  if (branches.length === 0) {
    throw new RangeError(`Cannot build ${by}: expected at least one branch`);
  }
  return node({
    node: "balance",
    by,
    per,
    branches: Object.freeze(branches.map((branch) => {
      const [weight, then] = isWeighted(branch) ? branch : [1, branch] as const;
      return Object.freeze({ weight: integer("weight", weight, 1, 65_535), then });
    })),
  });
}

function isWeighted(branch: BranchLike): branch is readonly [number, Tree] {
  return Array.isArray(branch);
}

/** On while there are tokens: `perSecond` on average, `burst` at once; else the default decision. */
export function limit(
  options: { readonly perSecond: number; readonly burst: number; readonly per?: "rule" | "source" },
  then: Tree,
): Tree {
  const { perSecond, burst, per = "rule" } = options;
  integer("tokens per second", perSecond, 1, 1_000_000_000);
  integer("burst", burst, 1, 1_000_000_000);
  return node({ node: "limit", perSecond, burst, per, then });
}

/** The branch whose index `index` returns; negative or out of range: the default decision. */
export function select(name: string, index: CustomSelector, branches: readonly Tree[]): Tree {
  if (branches.length === 0) {
    throw new RangeError("Cannot build select: expected at least one branch");
  }
  return node({
    node: "select",
    name: nameOf(name),
    index,
    branches: Object.freeze([...branches]),
  });
}

// Scanner and modifiers

export function track(then: Tree): Tree {
  return node({ node: "track", then });
}

/** To the connection's backend; `backend` says how a new connection gets its own. */
export function aToB(then: Tree, backend: BalanceMethod = "random"): Tree {
  return node({ node: "translate-a-to-b", backend, then });
}

export function bToA(then: Tree): Tree {
  return node({ node: "translate-b-to-a", then });
}

/**
 * The packet leaves with this TTL, but never with more than one below its own, so that loops end. With
 * `raise` it may; then nothing ends a loop.
 */
export function setTtl(ttl: number, then: Tree, { raise = false } = {}): Tree {
  return node({ node: "set-ttl", ttl: integer("TTL", ttl, 1, 255), raise, then });
}

/** The subtree that the policy defines under this name. */
export function use(name: string): Tree {
  return node({ node: "use", name: nameOf(name) });
}

// Decisions

export function decide(decision: Decision, label: string | null = null): Tree {
  return node({ node: "decide", decision, label });
}

export const drop: Tree = decide("drop");
export const forward: Tree = decide("forward");
export const echo: Tree = decide("echo-reply");
export const reject: Tree = decide("reject");

// Predicates

export const always: Predicate = made({ test: "always" });

export function not(of: Predicate): Predicate {
  return made({ test: "not", of });
}

/** Every one of them; of one, that one. */
export function all(...of: readonly Predicate[]): Predicate {
  return several("all", of);
}

/** At least one of them; of one, that one. */
export function any(...of: readonly Predicate[]): Predicate {
  return several("any", of);
}

function several(test: "all" | "any", of: readonly Predicate[]): Predicate {
  const [first] = of;
  if (first === undefined) throw new RangeError(`Cannot build ${test}: expected a predicate`);
  return of.length === 1 ? first : made({ test, of: Object.freeze([...of]) });
}

/** By IP protocol number, 0 … 255. */
export function protocol(number: number): Predicate {
  return made({ test: "protocol", number: integer("protocol", number, 0, 255) });
}

export const isIcmp: Predicate = protocol(PROTOCOL_ICMP);
export const isTcp: Predicate = protocol(PROTOCOL_TCP);
export const isUdp: Predicate = protocol(PROTOCOL_UDP);

/** By ICMP type and, if given, code (RFC 792), each 0 … 255. */
export function icmp(type: number, code: number | null = null): Predicate {
  integer("ICMP type", type, 0, 255);
  if (code !== null) integer("ICMP code", code, 0, 255);
  return made({ test: "icmp", type, code });
}

export const isEchoRequest: Predicate = icmp(ICMP_ECHO_REQUEST);

/** All flags of `set` are 1 and all of `clear` are 0: bits of the TCP header (`wire/tcp.ts`). */
export function tcpFlags(set: number, clear: number): Predicate {
  integer("TCP flags", set, 0, 255);
  integer("TCP flags", clear, 0, 255);
  if ((set & clear) !== 0 || (set | clear) === 0) {
    throw new RangeError("Cannot build tcpFlags: expected flags, each either set or clear");
  }
  return made({ test: "tcp-flags", set, clear });
}

export const isFragment: Predicate = made({ test: "fragment" });

export function state(state: ConnectionState): Predicate {
  return made({ test: "state", state });
}

export const isNew: Predicate = state("new");
export const isEstablished: Predicate = state("established");
export const isInvalid: Predicate = state("invalid");
export const isStray: Predicate = state("stray");

export function fromSide(side: "a" | "b"): Predicate {
  return made({ test: "side", side });
}

/** A user's pure function. It must not change anything and not depend on anything but the PDU. */
export function predicate(name: string, holds: CustomPredicate): Predicate {
  return made({ test: "custom", name: nameOf(name), holds });
}

// Fields

/** `192.168.0.1`, `10.0.0.0/8`, or the name of a list as `$name`. */
export type AddressLike = string | AddressTerm;

interface AddressField {
  /** The address is this one. */
  eq(address: string): Predicate;
  /** The address is in this network. */
  in(network: string): Predicate;
  /** The address is one of these, or in one of these networks or lists. */
  oneOf(terms: AddressLike | readonly AddressLike[]): Predicate;
}

export const src: AddressField = addressField("src");
export const dst: AddressField = addressField("dst");

/** The backends: `--dst-addrs`. */
export const dstAddrs: AddressTerm = Object.freeze({ list: DST_ADDRS });

interface NumberField {
  eq(value: number): Predicate;
  oneOf(values: readonly (number | readonly [first: number, last: number])[]): Predicate;
  range(first: number, last: number): Predicate;
}

export const tcpSport: NumberField = portField(PROTOCOL_TCP, "srcPort");
export const tcpDport: NumberField = portField(PROTOCOL_TCP, "dstPort");
export const udpSport: NumberField = portField(PROTOCOL_UDP, "srcPort");
export const udpDport: NumberField = portField(PROTOCOL_UDP, "dstPort");

/** Length of the IP packet in bytes. */
export const length: NumberField = numberField("length", 65_535, (ranges) => ({
  test: "number",
  field: "totalLength",
  in: ranges,
}));

/** TTL as received. */
export const ttl: NumberField = numberField("TTL", 255, (ranges) => ({
  test: "number",
  field: "ttl",
  in: ranges,
}));

function addressField(field: "src" | "dst"): AddressField {
  const test = (terms: AddressLike | readonly AddressLike[]): Predicate =>
    made({ test: "address", field, in: addressTerms(terms) });
  return Object.freeze({
    eq: (address: string) => test({ network: parseAddress(address), prefixLength: 32 }),
    in: (network: string) => test(network),
    oneOf: test,
  });
}

function addressTerms(terms: AddressLike | readonly AddressLike[]): readonly AddressTerm[] {
  const list = Array.isArray(terms) ? terms as readonly AddressLike[] : [terms as AddressLike];
  if (list.length === 0) {
    throw new RangeError("Cannot build a list of addresses: expected one or more");
  }
  return Object.freeze(list.map((term) => typeof term === "string" ? addressTerm(term) : term));
}

/** Reads `192.168.0.1`, `10.0.0.0/8` or `$name`; host bits must be 0. */
export function addressTerm(text: string): AddressTerm {
  if (text.startsWith("$")) return Object.freeze({ list: nameOf(text.slice(1)) });
  const { address: network, prefixLength } = parseInterface(text, 32);
  if ((network & ~maskOf(prefixLength)) !== 0) {
    throw new RangeError(`Cannot use "${text}" as network: expected no bits after the prefix`);
  }
  return Object.freeze({ network, prefixLength });
}

function portField(protocol: number, field: "srcPort" | "dstPort"): NumberField {
  return numberField("port", 65_535, (ranges) => ({ test: "port", protocol, field, in: ranges }));
}

function numberField(
  what: string,
  max: number,
  test: (ranges: readonly Interval[]) => Predicate,
): NumberField {
  const range = (first: number, last: number): Interval => {
    integer(what, first, 0, max);
    integer(what, last, 0, max);
    if (first > last) {
      throw new RangeError(`Cannot use ${first}-${last} as ${what} range: expected first ≤ last`);
    }
    return Object.freeze({ first, last });
  };
  return Object.freeze({
    eq: (value: number) => made(test(Object.freeze([range(value, value)]))),
    range: (first: number, last: number) => made(test(Object.freeze([range(first, last)]))),
    oneOf: (values: readonly (number | readonly [number, number])[]) => {
      if (values.length === 0) {
        throw new RangeError(`Cannot build a list of ${what}s: expected some`);
      }
      const ranges = values.map((v) => typeof v === "number" ? range(v, v) : range(v[0], v[1]));
      return made(test(Object.freeze(ranges)));
    },
  });
}

function integer(what: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new RangeError(`Cannot use "${value}" as ${what}: expected ${min} to ${max}`);
  }
  return value;
}

/** Names of lists, subtrees and custom functions: what the text notation can write. */
function nameOf(name: string): string {
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(name)) {
    throw new SyntaxError(
      `Cannot use "${name}" as name: expected lower-case letters, digits and "-", a letter first`,
    );
  }
  return name;
}

function node(tree: Tree): Tree {
  return Object.freeze(tree);
}

function made(predicate: Predicate): Predicate {
  return Object.freeze(predicate);
}
