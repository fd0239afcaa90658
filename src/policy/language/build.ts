/**
 * The policy language inside TypeScript: each function makes one frozen node, so that a policy
 * reads in code as it does in a picture. Names are those of the text in camel case: `tcp.dport` is
 * `tcpDport`, `in turn` is `inTurn`, `translate-a-to-b` is `translateAToB`. What the text can ask
 * in one word begins with `is`: `isTcp`, `isNew`. Every function throws a RangeError, SyntaxError
 * or TypeError for what can't be built.
 *
 * Long because it is the whole vocabulary, one documented function a word.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { drop, firstMatch, forward, otherwise, policy } from "./build.ts";
 * import { tcpDport, translateAToB } from "./build.ts";
 *
 * const web = policy(
 *   "drop",
 *   firstMatch([[tcpDport.eq(80), drop], [otherwise, translateAToB(forward)]]),
 * );
 * assert.equal(web.default, "drop");
 * ```
 */
import {
  bitsOf,
  formatHostAddress,
  parseHostAddress,
  parseHostSubnet,
} from "../../wire/host_address.ts";
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
  type PickMethod,
  type Policy,
  type PoolDefinition,
  type PoolMember,
  type Predicate,
  type Tree,
} from "./ast.ts";
import type { Health } from "./health.ts";
import { MAX_MAXCONN, MAX_MEMBER_WEIGHT } from "./limits.ts";
import { NAME, NUMBER_WORDS } from "./words.ts";

/** A server of a pool: more than its address. What is left out is as in the text without it. */
export interface MemberOptions {
  /** Its address, as `192.168.0.1` or `2001:db8::1`. */
  readonly address: string;
  /** The port that it serves on, 1 to 65,535. */
  readonly port?: number;
  /** Share of new connections, 0 to 256; 1, if not told. */
  readonly weight?: number;
  /** Gets connections only while no other member can. */
  readonly backup?: boolean;
  /** Most connections at a time, 1 to 1,000,000. */
  readonly maxconn?: number;
  /** `drain`: no new connections. */
  readonly state?: "drain";
}

/** A pool of which more is said than its members. */
export interface PoolOptions {
  /** One or more. */
  readonly members: readonly (string | MemberOptions)[];
  /** How they are checked, made by `healthOf`; ARP tells whether they are there, if not told. */
  readonly health?: Health;
}

/** Pools, lists and subtrees that a policy defines by name. */
export interface Definitions {
  /** Servers that share a service, by the name that `$name` uses; one or more each. */
  readonly pools?: Readonly<Record<string, readonly (string | MemberOptions)[] | PoolOptions>>;
  /** Addresses and networks by the name that `$name` uses; a list may use those before it. */
  readonly lists?: Readonly<Record<string, AddressLike | readonly AddressLike[]>>;
  /** Trees by the name that `use` names; a subtree may use those before it. */
  readonly subtrees?: Readonly<Record<string, Tree>>;
}

/**
 * A whole policy: `next` decides about each packet, and `defaultDecision` where no branch is taken.
 *
 * @throws {SyntaxError} for a name that the text could not write, or that a pool and a list share
 * @throws {RangeError} for a pool without a member, or with a member twice or out of range
 */
export function policy(
  defaultDecision: Decision,
  next: Tree,
  definitions: Definitions = {},
): Policy {
  const pools = Object.entries(definitions.pools ?? {})
    .map(([name, given]) =>
      [nameOf(name), pool(name, "members" in given ? given : { members: given })] as const
    );
  const lists = Object.entries(definitions.lists ?? {})
    .map(([name, terms]) => [nameOf(name), addressTerms(terms)] as const);
  for (const [name] of lists) {
    if (!pools.some(([pool]) => pool === name)) continue;
    throw new SyntaxError(`Cannot use "${name}" as name of a list: a pool has it`);
  }
  for (const name of Object.keys(definitions.subtrees ?? {})) nameOf(name);
  return Object.freeze({
    default: defaultDecision,
    pools: Object.freeze(Object.fromEntries(pools)),
    lists: Object.freeze(Object.fromEntries(lists)),
    subtrees: Object.freeze({ ...definitions.subtrees }),
    next,
  });
}

function pool(name: string, { members, health }: PoolOptions): PoolDefinition {
  if (members.length === 0) {
    throw new RangeError(`Cannot build pool "${name}": expected one or more members`);
  }
  const made = members.map((member) =>
    poolMember(typeof member === "string" ? { address: member } : member)
  );
  const known = new Set<string>();
  for (const { address, port } of made) {
    const key = `${formatHostAddress(address)}${port === 0 ? "" : ` port ${port}`}`;
    if (known.has(key)) {
      throw new RangeError(`Cannot build pool "${name}": expected each member once, not "${key}"`);
    }
    known.add(key);
  }
  const frozen = Object.freeze(made);
  return Object.freeze(health === undefined ? { members: frozen } : { members: frozen, health });
}

function poolMember(options: MemberOptions): PoolMember {
  const { port, weight = 1, backup = false, maxconn, state = null } = options;
  return Object.freeze({
    address: parseHostAddress(options.address),
    port: port === undefined ? 0 : integer("port", port, 1, 65_535),
    weight: integer("weight", weight, 0, MAX_MEMBER_WEIGHT),
    isBackup: backup,
    maxconn: maxconn === undefined ? 0 : integer("maxconn", maxconn, 1, MAX_MAXCONN),
    state,
  });
}

// Selectors

/**
 * The first arm whose predicate holds; none: the default decision. One arm makes a filter, which is
 * the same thing.
 *
 * @throws {RangeError} without an arm
 */
export function firstMatch(arms: readonly (readonly [when: Predicate, then: Tree])[]): Tree {
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

/** Goes on where the predicate holds; else the default decision. */
export function filter(when: Predicate, then: Tree): Tree {
  return node({ node: "filter", when, then });
}

/** A tree, or one with its share as `[weight, tree]`, 1 to 65,535; without one its share is 1. */
export type BranchLike = Tree | readonly [weight: number, then: Tree];

/** How long a balancer keeps to its choice. */
export interface BalanceOptions {
  /**
   * `pdu`, the default: each packet chooses anew. `connection`: a tracked connection keeps its
   * branch, as `per connection` in the text.
   */
  readonly per?: "pdu" | "connection";
}

/**
 * The branches in turn, by weight; one counter for all clients, starting at the first.
 *
 * @throws {RangeError} without a branch, or for a weight that is not 1 to 65,535
 */
export function inTurn(branches: readonly BranchLike[], options: BalanceOptions = {}): Tree {
  return balance("in turn", branches, options);
}

/**
 * A branch at random, by weight.
 *
 * @throws {RangeError} without a branch, or for a weight that is not 1 to 65,535
 */
export function atRandom(branches: readonly BranchLike[], options: BalanceOptions = {}): Tree {
  return balance("at random", branches, options);
}

/**
 * A branch by hash of addresses, protocol and ports, by weight; with `per: "connection"` those of
 * the side that opened it, so that both directions get the same.
 *
 * @throws {RangeError} without a branch, or for a weight that is not 1 to 65,535
 */
export function byHash(branches: readonly BranchLike[], options: BalanceOptions = {}): Tree {
  return balance("by hash", branches, options);
}

function balance(
  by: BalanceMethod,
  branches: readonly BranchLike[],
  { per = "pdu" }: BalanceOptions,
): Tree {
  if (branches.length === 0) {
    throw new RangeError(`Cannot build a balancer ${by}: expected at least one branch`);
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

/** The token bucket of a limit; a packet takes one token. */
export interface LimitOptions {
  /** Packets a second on average, 1 to 1,000,000,000. */
  readonly perSecond: number;
  /** Most packets at once, 1 to 1,000,000,000. */
  readonly burst: number;
  /** `rule`, the default: one bucket for all. `source`: one for each source address. */
  readonly per?: "rule" | "source";
}

/**
 * Goes on while there are tokens; else the default decision.
 *
 * @throws {RangeError} for a rate or burst out of range
 */
export function limit(options: LimitOptions, then: Tree): Tree {
  const { perSecond, burst, per = "rule" } = options;
  integer("tokens per second", perSecond, 1, 1_000_000_000);
  integer("burst", burst, 1, 1_000_000_000);
  return node({ node: "limit", perSecond, burst, per, then });
}

/**
 * The branch whose index a user's function returns; written `custom NAME: … | …`. The function must
 * be pure: change nothing, and depend on nothing but the packet.
 *
 * @throws {SyntaxError} for a name that the text could not write
 * @throws {RangeError} without a branch
 */
export function customSelector(
  name: string,
  index: CustomSelector,
  branches: readonly Tree[],
): Tree {
  if (branches.length === 0) {
    throw new RangeError("Cannot build customSelector: expected at least one branch");
  }
  return node({
    node: "select",
    name: nameOf(name),
    index,
    branches: Object.freeze([...branches]),
  });
}

// Scanner and modifiers

/** Makes or refreshes the entry of the packet's connection, without translating. */
export function track(then: Tree): Tree {
  return node({ node: "track", then });
}

/** Where `translateAToB` sends new connections. */
export interface TranslateOptions {
  /** The pool that they go to, as `$name` or `name`; `--dst-addrs`, if not told. */
  readonly to?: string;
  /** The port of members that have none of their own; the connection's own, if not told. */
  readonly port?: number;
  /** How a member is chosen; at random, if not told. */
  readonly by?: PickMethod;
}

/**
 * To the connection's backend; the options, or the method alone, say how a new connection gets its
 * own.
 *
 * @throws {SyntaxError} for a name of a pool that the text could not write
 * @throws {RangeError} for a port out of range
 */
export function translateAToB(then: Tree, options: PickMethod | TranslateOptions = {}): Tree {
  const { to = DST_ADDRS, port, by = "at random" } = typeof options === "string"
    ? { by: options }
    : options;
  return node({
    node: "translate-a-to-b",
    pool: nameOf(to.replace(/^\$/, "")),
    port: port === undefined ? 0 : integer("port", port, 1, 65_535),
    backend: by,
    then,
  });
}

/** Back to the connection's client, from the address that the client asked for. */
export function translateBToA(then: Tree): Tree {
  return node({ node: "translate-b-to-a", then });
}

/** How `setTtl` treats a packet with a lower TTL. */
export interface SetTtlOptions {
  /** Raises the TTL, too; then nothing ends a loop. False, if not told. */
  readonly raise?: boolean;
}

/**
 * The packet leaves with this TTL, 1 to 255, but never with more than one below its own, so that
 * loops end (RFC 1812 §5.3.1), unless `raise` is told.
 *
 * @throws {RangeError} for a TTL out of range
 */
export function setTtl(ttl: number, then: Tree, { raise = false }: SetTtlOptions = {}): Tree {
  return node({ node: "set-ttl", ttl: integer("TTL", ttl, 1, 255), raise, then });
}

/**
 * The subtree that the policy defines under this name.
 *
 * @throws {SyntaxError} for a name that the text could not write
 */
export function use(name: string): Tree {
  return node({ node: "use", name: nameOf(name) });
}

// Decisions

/** Ends with this decision; a label shows in the log and in the summary. */
export function decide(decision: Decision, label: string | null = null): Tree {
  return node({ node: "decide", decision, label });
}

/** Discards the packet; its sender hears nothing. */
export const drop: Tree = decide("drop");

/** Sends the packet on. A translator above it says where to. */
export const forward: Tree = decide("forward");

/** Answers an echo request (RFC 792). */
export const echo: Tree = decide("echo-reply");

/** Refuses the packet and tells its sender: a reset, or an ICMP error (RFC 1812 §5.2.7.1). */
export const reject: Tree = decide("reject");

// Predicates

/** Holds for every packet. */
export const otherwise: Predicate = made({ test: "always" });

/** Holds where the other does not. */
export function not(of: Predicate): Predicate {
  return made({ test: "not", of });
}

/**
 * Every one of them; of one, that one.
 *
 * @throws {RangeError} without a predicate
 */
export function and(...of: readonly Predicate[]): Predicate {
  return several("and", "all", of);
}

/**
 * At least one of them; of one, that one.
 *
 * @throws {RangeError} without a predicate
 */
export function or(...of: readonly Predicate[]): Predicate {
  return several("or", "any", of);
}

function several(word: string, test: "all" | "any", of: readonly Predicate[]): Predicate {
  const [first] = of;
  if (first === undefined) throw new RangeError(`Cannot build ${word}: expected a predicate`);
  return of.length === 1 ? first : made({ test, of: Object.freeze([...of]) });
}

/** A packet of IPv4. */
export const isIpv4: Predicate = made({ test: "family", family: 4 });

/** A packet of IPv6. */
export const isIpv6: Predicate = made({ test: "family", family: 6 });

/**
 * By IP protocol number, 0 to 255 (RFC 791 §3.1). 1, ICMP, means ICMPv6 over IPv6; 58 is ICMPv6 by
 * its own number.
 *
 * @throws {RangeError} for a number out of range
 */
export function protocol(number: number): Predicate {
  return made({ test: "protocol", number: integer("protocol", number, 0, 255) });
}

/** ICMP (RFC 792), or ICMPv6 over IPv6 (RFC 4443). */
export const isIcmp: Predicate = protocol(PROTOCOL_ICMP);

/** TCP (RFC 9293). */
export const isTcp: Predicate = protocol(PROTOCOL_TCP);

/** UDP (RFC 768). */
export const isUdp: Predicate = protocol(PROTOCOL_UDP);

/**
 * By ICMP type and, if given, code (RFC 792), each 0 to 255. Over IPv6 the message of the same name
 * is meant, whatever its numbers are there.
 *
 * @throws {RangeError} for a type or code out of range
 */
export function icmpType(type: number, code: number | null = null): Predicate {
  integer("ICMP type", type, 0, 255);
  if (code !== null) integer("ICMP code", code, 0, 255);
  return made({ test: "icmp", type, code });
}

/**
 * By ICMPv6 type and, if given, code (RFC 4443), each 0 to 255; false over IPv4.
 *
 * @throws {RangeError} for a type or code out of range
 */
export function icmpv6Type(type: number, code: number | null = null): Predicate {
  integer("ICMPv6 type", type, 0, 255);
  if (code !== null) integer("ICMPv6 code", code, 0, 255);
  return made({ test: "icmpv6", type, code });
}

/** An echo request: a ping, of either family. */
export const isEchoRequest: Predicate = icmpType(ICMP_ECHO_REQUEST);

/**
 * TCP with all flags of `set` and none of `clear` (RFC 9293 §3.1), sums of `FIN`, `SYN` … `CWR`:
 * `tcpFlags(SYN, ACK)` is `tcp.flags syn !ack`.
 *
 * @throws {RangeError} without a flag, or for one in both
 */
export function tcpFlags(set: number, clear: number): Predicate {
  integer("TCP flags", set, 0, 255);
  integer("TCP flags", clear, 0, 255);
  if ((set & clear) !== 0 || (set | clear) === 0) {
    throw new RangeError("Cannot build tcpFlags: expected flags, each either set or clear");
  }
  return made({ test: "tcp-flags", set, clear });
}

/** Came in fragments (RFC 791 §3.2). */
export const isFragment: Predicate = made({ test: "fragment" });

/** By how the packet relates to tracked connections; `isNew` and the others say each. */
export function state(state: ConnectionState): Predicate {
  return made({ test: "state", state });
}

/** May open a connection: a first SYN, a datagram, an ICMP query, any other protocol. */
export const isNew: Predicate = state("new");

/** Belongs to a connection. */
export const isEstablished: Predicate = state("established");

/** Neither opens a connection nor belongs to one. */
export const isInvalid: Predicate = state("invalid");

/** Invalid, with addresses and ports of no connection, so that a reset harms none. */
export const isStray: Predicate = state("stray");

/** Arrived on this side's interface; with one interface for both, `b` is the backends' side. */
export function fromSide(side: "a" | "b"): Predicate {
  return made({ test: "side", side });
}

/**
 * A user's function; written `custom NAME`. It must be pure: change nothing, and depend on nothing
 * but the packet.
 *
 * @throws {SyntaxError} for a name that the text could not write
 */
export function customPredicate(name: string, holds: CustomPredicate): Predicate {
  return made({ test: "custom", name: nameOf(name), holds });
}

// Fields

/** `192.168.0.1`, `10.0.0.0/8`, `2001:db8::/32`, or the name of a list or pool as `$name`. */
export type AddressLike = string | AddressTerm;

/**
 * An address of the IP header, to be compared with addresses of either family. Each throws a
 * SyntaxError for what is no address, and a RangeError for a network whose host bits are not zero.
 */
export interface AddressField {
  /** The address is this one, as `192.168.0.1` or `2001:db8::1`. */
  eq(address: string): Predicate;
  /** The address is in this network, as `10.0.0.0/8` or `2001:db8::/32`. */
  in(network: string): Predicate;
  /** The address is one of these, or in one of these networks or lists; one or more. */
  oneOf(terms: AddressLike | readonly AddressLike[]): Predicate;
}

/** Source address: `ip.src`. */
export const ipSrc: AddressField = addressField("src");

/** Destination address: `ip.dst`. */
export const ipDst: AddressField = addressField("dst");

/** The backends: `--dst-addrs`. */
export const dstAddrs: AddressTerm = Object.freeze({ list: DST_ADDRS });

/**
 * A field with a number, to be compared. Each throws a RangeError for what the field can't hold:
 * ports and lengths are 0 to 65,535, a TTL 0 to 255.
 */
export interface NumberField {
  /** The field is this number. */
  eq(value: number): Predicate;
  /** The field is one of these, or in one of these ranges; one or more. */
  oneOf(values: readonly (number | readonly [first: number, last: number])[]): Predicate;
  /** The field is in this range, both ends included. */
  range(first: number, last: number): Predicate;
}

/** Source port of TCP; false for any other protocol: `tcp.sport`. */
export const tcpSport: NumberField = numberField("tcp.sport");

/** Destination port of TCP; false for any other protocol: `tcp.dport`. */
export const tcpDport: NumberField = numberField("tcp.dport");

/** Source port of UDP; false for any other protocol: `udp.sport`. */
export const udpSport: NumberField = numberField("udp.sport");

/** Destination port of UDP; false for any other protocol: `udp.dport`. */
export const udpDport: NumberField = numberField("udp.dport");

/** Length of the IP packet in bytes, headers included: `ip.length`. */
export const ipLength: NumberField = numberField("ip.length");

/** TTL, or hop limit of IPv6, as received: `ip.ttl`. */
export const ipTtl: NumberField = numberField("ip.ttl");

function addressField(field: "src" | "dst"): AddressField {
  const test = (terms: AddressLike | readonly AddressLike[]): Predicate =>
    made({ test: "address", field, in: addressTerms(terms) });
  return Object.freeze({
    eq: (text: string) => {
      const network = parseHostAddress(text);
      return test({ network, prefixLength: bitsOf(network) });
    },
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

/** Reads an address, a network or `$name`; host bits must be 0. */
function addressTerm(text: string): AddressTerm {
  if (text.startsWith("$")) return Object.freeze({ list: nameOf(text.slice(1)) });
  return Object.freeze(parseHostSubnet(text));
}

function numberField(word: string): NumberField {
  const { what, max, test } = NUMBER_WORDS.get(word)!;
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
  if (!NAME.test(name)) {
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
