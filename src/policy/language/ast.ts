/**
 * The firewall tree as plain frozen data: the one thing that all notations of a policy describe and
 * all ways of running it obey.
 *
 *     text ─ parse.ts ─┐                        ┌─ plan.ts ─ walk.ts     what it means
 *     code ─ build.ts ─┴─▶  Policy (this AST) ──┤       └── compile.ts  the same, fast
 *                                               ├─ check.ts             what is wrong with it
 *                                               └─ print.ts, render.ts  text, Mermaid, DOT
 */
import { bitsOf, type HostAddress, type HostSubnet } from "../../wire/host_address.ts";
import type { Health } from "./health.ts";
import type { Packet } from "./packet.ts";

// Decisions

/**
 * What becomes of a packet: `drop` says nothing to the sender, `forward` sends it on as translated,
 * `echo-reply` answers a ping (RFC 792), and `reject` refuses with a reset (TCP), port unreachable
 * (UDP) or administratively prohibited (RFC 1812 §5.2.7.1).
 */
export type Decision = "drop" | "forward" | "echo-reply" | "reject";

/** In the order of their numbers. */
export const DECISIONS = [
  ...["drop", "forward", "echo-reply", "reject"] as const satisfies readonly Decision[],
];

/** Number of a decision: what evaluation returns and counters are indexed by. */
export const DROP = 0;
export const FORWARD = 1;
export const ECHO_REPLY = 2;
export const REJECT = 3;

export const DECISION_NUMBERS: Readonly<Record<Decision, number>> = {
  "drop": DROP,
  "forward": FORWARD,
  "echo-reply": ECHO_REPLY,
  "reject": REJECT,
};

/** Number of a decision → its name on the console. */
export const DECISION_NAMES = ["Drop", "Forward", "Echo_reply", "Reject"] as const;

// Predicates

/** `first` to `last`, both unsigned and included; ports, lengths or TTLs. */
export interface Interval {
  /** The least. */
  readonly first: number;
  /** The greatest; not below `first`. */
  readonly last: number;
}

/** The version of IP: what a policy asks means the fields of the packet's own family. */
export type Family = 4 | 6;

/**
 * Addresses of one network (`/32`, of IPv6 `/128`: one address; host bits are 0), or of a named
 * list.
 */
export type AddressTerm = HostSubnet | { readonly list: string };

/** The pool that always exists: the backends, `--dst-addrs`. Written `$dst-addrs` in text. */
export const DST_ADDRS = "dst-addrs";

/** One server of a pool. */
export interface PoolMember {
  /** Of the server. */
  readonly address: HostAddress;
  /** 0: that of the translator, or the connection's own. */
  readonly port: number;
  /** Share of new connections, 0 … 256; 0: none. */
  readonly weight: number;
  /** Gets connections only while no other member can. */
  readonly isBackup: boolean;
  /** Most connections at a time; 0: as many as come. */
  readonly maxconn: number;
  /** `drain`: no new connections, those that it has go on. */
  readonly state: "drain" | null;
}

/** Servers that share a service. Its name stands for their addresses, too. */
export interface PoolDefinition {
  /** One or more, each address and port once. */
  readonly members: readonly PoolMember[];
  /** How they are checked; default: ARP tells whether they are there. */
  readonly health?: Health;
}

/** A pure question about a PDU or its connection. It never changes state. */
export type Predicate =
  | { readonly test: "always" }
  | { readonly test: "not"; readonly of: Predicate }
  /** Every one of two or more. */
  | { readonly test: "all"; readonly of: readonly Predicate[] }
  /** At least one of two or more. */
  | { readonly test: "any"; readonly of: readonly Predicate[] }
  | { readonly test: "family"; readonly family: Family }
  /** By number; 1, ICMP, means ICMPv6 over IPv6, as 58 does. */
  | { readonly test: "protocol"; readonly number: number }
  | {
    readonly test: "address";
    readonly field: "src" | "dst";
    /** One or more; of both families, if need be. */
    readonly in: readonly AddressTerm[];
  }
  /** False for any other protocol. */
  | {
    readonly test: "port";
    readonly protocol: number;
    readonly field: "srcPort" | "dstPort";
    readonly in: readonly Interval[];
  }
  /**
   * All flags of `set` are 1 and all of `clear` are 0 (bits of the TCP header); false unless TCP.
   */
  | { readonly test: "tcp-flags"; readonly set: number; readonly clear: number }
  /**
   * `code` null: any. False unless ICMP. The numbers are those of IPv4; over IPv6 what has the same
   * name is meant (`icmp_words.ts`).
   */
  | { readonly test: "icmp"; readonly type: number; readonly code: number | null }
  /** The same with numbers of ICMPv6; false over IPv4. */
  | { readonly test: "icmpv6"; readonly type: number; readonly code: number | null }
  /** Length of the IP packet in bytes, or its TTL (hop limit) as received. */
  | {
    readonly test: "number";
    readonly field: "totalLength" | "ttl";
    readonly in: readonly Interval[];
  }
  /** Part of a fragmented packet. */
  | { readonly test: "fragment" }
  | { readonly test: "state"; readonly state: ConnectionState }
  | { readonly test: "side"; readonly side: "a" | "b" }
  /** A user's pure function; text can only name one that is registered. */
  | { readonly test: "custom"; readonly name: string; readonly holds: CustomPredicate };

/**
 * `new`: may open a connection. `established`: belongs to one. `invalid`: neither. `stray`: an
 * invalid one whose addresses and ports are no connection's, so that a reset can't harm any.
 */
export type ConnectionState = "new" | "established" | "invalid" | "stray";

/**
 * A user's predicate: true if it holds; to throw or return anything else means that it does not.
 */
export type CustomPredicate = (packet: Packet) => boolean;

/**
 * A user's selector: index of the branch to take. To throw or return anything but the index of a
 * branch means the default decision.
 */
export type CustomSelector = (packet: Packet) => number;

// Trees

/** One of a selector's branches, with what it asks. */
export interface Arm {
  /** Must hold for the packet to go on to `then`. */
  readonly when: Predicate;
  /** Where the packet goes on. */
  readonly then: Tree;
}

/** One of a balancer's branches, with its share. */
export interface Branch {
  /** Share of this branch, 1 … 65,535. */
  readonly weight: number;
  /** Where the packet goes on. */
  readonly then: Tree;
}

/**
 * How a balancer chooses a branch, in the words of the text: `in turn`, one counter for all
 * clients; `at random`; `by hash` of addresses, protocol and ports.
 */
export type BalanceMethod = "in turn" | "at random" | "by hash";

/**
 * How a translator chooses a member of its pool, all by weight: as a balancer does; by hash of
 * fewer fields; the member with the fewest connections for its weight; or by consistent hash, which
 * moves few others when a member comes or goes: of the client's address, or of the whole tuple.
 */
export type PickMethod =
  | BalanceMethod
  | "by hash of addresses"
  | "by hash of source"
  | "by hash of destination"
  | "by least connections"
  | "by source"
  | "by maglev";

/**
 * A node with everything below it. A packet enters the tree at its root and goes on, node by node,
 * until one decides.
 */
export type Tree =
  /**
   * Selector: the first arm whose predicate holds; none: the default decision. Two arms or more.
   */
  | { readonly node: "first-match"; readonly arms: readonly Arm[] }
  /** Selector with one branch. */
  | { readonly node: "filter"; readonly when: Predicate; readonly then: Tree }
  /**
   * Load balancer. `per` PDU: each one chooses anew; `per` connection: a tracked connection keeps
   * its branch. `by hash` is over addresses, protocol and ports; of the connection's opening side,
   * if `per` connection.
   */
  | {
    readonly node: "balance";
    readonly by: BalanceMethod;
    readonly per: "pdu" | "connection";
    readonly branches: readonly Branch[];
  }
  /**
   * Selector: on while there are tokens, else the default decision. One bucket, or one a source.
   */
  | {
    readonly node: "limit";
    /** Tokens a second, above 0. */
    readonly perSecond: number;
    /** Most tokens at once, at least 1. */
    readonly burst: number;
    readonly per: "rule" | "source";
    readonly then: Tree;
  }
  /** Selector by a user's pure function; text can only name one that is registered. */
  | {
    readonly node: "select";
    readonly name: string;
    readonly index: CustomSelector;
    readonly branches: readonly Tree[];
  }
  /** Scanner: makes or refreshes the connection's entry. */
  | { readonly node: "track"; readonly then: Tree }
  /**
   * Modifier: to the connection's backend. A new connection gets a member of `pool`, chosen by
   * `backend`, and goes to that member's port; if it has none, to `port`; if that is 0, to its own.
   */
  | {
    readonly node: "translate-a-to-b";
    readonly pool: string;
    readonly port: number;
    readonly backend: PickMethod;
    readonly then: Tree;
  }
  /** Modifier: back to the client. */
  | { readonly node: "translate-b-to-a"; readonly then: Tree }
  /**
   * Modifier: the packet leaves with this TTL, 1 … 255, but never with more than one below its own,
   * so that loops end (RFC 1812 §5.3.1). `raise`: with this one whatever it came with.
   */
  | {
    readonly node: "set-ttl";
    readonly ttl: number;
    readonly raise: boolean;
    readonly then: Tree;
  }
  /** End. The label shows in the log and in the counters. */
  | { readonly node: "decide"; readonly decision: Decision; readonly label: string | null }
  /** A subtree that is defined by name, as if it stood here. */
  | { readonly node: "use"; readonly name: string };

/** A whole policy: the tree, what it decides where the tree does not, and what it uses by name. */
export interface Policy {
  /** For a packet that no branch of a selector takes. */
  readonly default: Decision;
  /** Named pools; a name is that of a pool or of a list. */
  readonly pools: Readonly<Record<string, PoolDefinition>>;
  /** Named address lists, in order of definition; one may use the pools, and lists before it. */
  readonly lists: Readonly<Record<string, readonly AddressTerm[]>>;
  /** Named subtrees, likewise. */
  readonly subtrees: Readonly<Record<string, Tree>>;
  /** The tree. */
  readonly next: Tree;
}

/** All that `$name` can mean in a predicate: the addresses of pools, and the lists. */
export function listsOf(
  { pools, lists }: Pick<Policy, "pools" | "lists">,
): Readonly<Record<string, readonly AddressTerm[]>> {
  const entries = Object.entries(pools).map(([name, { members }]) => {
    const addresses = new Set(members.map(({ address }) => address));
    const terms = [...addresses].map((network) => ({ network, prefixLength: bitsOf(network) }));
    return [name, terms] as const;
  });
  return entries.length === 0 ? lists : Object.fromEntries([...entries, ...Object.entries(lists)]);
}

/** The trees directly below a node, in order; those of a `use` are its definition's. */
export function childrenOf(tree: Tree): readonly Tree[] {
  switch (tree.node) {
    case "first-match":
      return belowAll(tree.arms);
    case "balance":
      return belowAll(tree.branches);
    case "select":
      return tree.branches;
    case "decide":
    case "use":
      return [];
    default:
      return [tree.then];
  }
}

/** The same one at a time: of a hundred thousand it takes long to see all. */
export function* eachChildOf(tree: Tree): Generator<Tree, undefined> {
  if (tree.node === "first-match") { for (const { then } of tree.arms) yield then; }
  else yield* childrenOf(tree);
}

/** A loop: the engine's `map` is slow for frozen arrays. */
function belowAll(parts: readonly { readonly then: Tree }[]): readonly Tree[] {
  const trees: Tree[] = [];
  for (const { then } of parts) trees.push(then);
  return trees;
}
