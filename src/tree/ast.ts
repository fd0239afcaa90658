/**
 * The firewall tree as plain frozen data. Everything else in this folder reads it: `build.ts` makes it
 * in code, `walk.ts` says what it means, `compile.ts` makes it fast.
 *
 *     Policy { default, next } ── Tree ── … ── Decision
 */

export type Decision = "drop" | "forward" | "echo-reply";

/** Number of a decision: what evaluation returns and counters are indexed by. */
export const DECISION_NUMBERS: Readonly<Record<Decision, number>> = {
  "drop": 0,
  "forward": 1,
  "echo-reply": 2,
};

export const DROP = 0;
export const FORWARD = 1;
export const ECHO_REPLY = 2;

/** Number of a decision → its name on the console. */
export const DECISION_NAMES = ["Drop", "Forward", "Echo_reply"] as const;

/** A pure question about a PDU. It never changes state, so evaluation order cannot matter. */
export type Predicate =
  | { readonly test: "always" }
  | { readonly test: "not"; readonly of: Predicate }
  | { readonly test: "protocol"; readonly number: number }
  | { readonly test: "address"; readonly field: "src" | "dst"; readonly list: ListName }
  | {
    readonly test: "port";
    readonly protocol: number;
    readonly field: "srcPort" | "dstPort";
    readonly equals: number;
  }
  | { readonly test: "icmp-type"; readonly equals: number };

/** A list of addresses that is known by name and bound when the policy is compiled. */
export type ListName = "$dst-addrs";

export interface Arm {
  readonly when: Predicate;
  readonly then: Tree;
}

export type Tree =
  /** Selector: the first arm whose predicate holds; none: the default decision. */
  | { readonly node: "first-match"; readonly arms: readonly Arm[] }
  /** Selector with one branch. */
  | { readonly node: "filter"; readonly when: Predicate; readonly then: Tree }
  /** PDU-based load balancer: the branches in turn, starting at the first. */
  | { readonly node: "round-robin"; readonly branches: readonly Tree[] }
  /** Scanner: makes or refreshes the connection's entry. */
  | { readonly node: "track"; readonly then: Tree }
  /** Modifier: to the connection's backend; a new connection gets a random one. */
  | { readonly node: "translate-a-to-b"; readonly then: Tree }
  /** Modifier: back to the client. */
  | { readonly node: "translate-b-to-a"; readonly then: Tree }
  | { readonly node: "decide"; readonly decision: Decision };

export interface Policy {
  readonly default: Decision;
  readonly next: Tree;
}

/** The trees directly below a node, in order. */
export function childrenOf(tree: Tree): readonly Tree[] {
  switch (tree.node) {
    case "first-match":
      return tree.arms.map((arm) => arm.then);
    case "round-robin":
      return tree.branches;
    case "decide":
      return [];
    default:
      return [tree.then];
  }
}

/**
 * Every node with its number: depth first, in writing order, the root 0. Positions and counters are
 * kept by this number. A subtree that is used twice is two nodes.
 */
export function* nodesOf(tree: Tree): Generator<Tree> {
  yield tree;
  for (const child of childrenOf(tree)) yield* nodesOf(child);
}
