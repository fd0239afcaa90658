/**
 * A policy made ready to run in one place: subtrees expanded, lists resolved, nodes numbered, and
 * the state that belongs to nodes (counters, choosers) allocated. The walker and the compiler both
 * run it.
 *
 * Nodes are numbered depth first in writing order, the root 0. A PDU is counted once, at the node
 * where it ended; how often a node was visited is the sum over the nodes below it and itself.
 */
import { GrowingMap } from "../../core/growing_map.ts";
import { finish, type Slices } from "../../core/slices.ts";
import type { Pdu } from "../../wire/pdu.ts";
import {
  type AddressTerm,
  type Arm,
  DST_ADDRS,
  eachChildOf,
  listsOf,
  type Policy,
  type Predicate,
  type Tree,
} from "../language/ast.ts";
import { MAX_DEPTH, MAX_NODES } from "../language/limits.ts";
import { type Interval6, type ListsOf, resolveLists, resolveLists6 } from "./address_ranges.ts";
import { balancer, type Chooser, guarded, limiter, selector } from "./chooser.ts";
import type { Environment, LeavingAddresses, Place } from "./environment.ts";
import { type Footprint, footprintInSlices, formatBytes } from "./footprint.ts";
import type { Interval } from "../language/ast.ts";

export interface PlanNode {
  readonly number: number;
  /** Never a `use`: that is replaced by what it names. */
  readonly tree: Exclude<Tree, { node: "use" }>;
  readonly children: readonly PlanNode[];
  /** Nodes below this one and itself: their numbers follow one another. */
  readonly size: number;
}

/** Where a translator to side B sends new connections. */
export type Destination = Pick<
  Extract<Tree, { node: "translate-a-to-b" }>,
  "pool" | "port" | "backend"
>;

export interface Plan {
  readonly policy: Policy;
  readonly environment: Environment;
  readonly root: PlanNode;
  /** By number. */
  readonly nodes: readonly PlanNode[];
  /** How many PDUs ended at each node, by number. */
  readonly exits: Float64Array<ArrayBuffer>;
  /** Of balancers, limits and custom selectors, by number. */
  readonly choosers: (Chooser | undefined)[];
  /** Where translators to side B send new connections, each once. */
  readonly destinations: readonly Destination[];
  /** Place in `destinations` of a translator to side B, by number. */
  readonly destinationOf: Pick<ReadonlyMap<number, number>, "get">;
  /** Numbers of the targets, by place in `destinations`; by `bindTargets`. */
  readonly targets: Int32Array<ArrayBuffer>;
  /** Addresses that lists have beside `lists`, as long as members of pools are leaving. */
  readonly leaving: ReadonlyMap<string, readonly LeavingAddresses[]>;
  /** Named lists as intervals. */
  readonly lists: ListsOf<Interval>;
  /** What they have of IPv6; nothing without it. */
  readonly lists6: ListsOf<Interval6>;
  /** Users' predicates, guarded, by name. */
  readonly customs: ReadonlyMap<Predicate, (pdu: Readonly<Pdu>) => boolean>;
}

/** Of all leaves, half of the nodes of a long policy. */
const NO_CHILDREN = Object.freeze<PlanNode[]>([]) as PlanNode[];

/** Most memory that a policy may take, by `footprint.ts`. */
export const MAX_BYTES: number = 3 * 2 ** 30;

/**
 * Nodes between two places where the work can be interrupted: below 500 others each costs
 * something.
 */
export const NODES_AT_ONCE = 16;

/**
 * Throws a RangeError for a policy that can't run: an unknown or self-containing definition, or
 * more than MAX_NODES nodes, MAX_DEPTH levels or MAX_BYTES when expanded.
 */
export function makePlan(policy: Policy, environment: Environment): Plan {
  const plan = finish(planInSlices(policy, environment));
  finish(addChoosers(plan));
  bindTargets(plan);
  return plan;
}

/**
 * As `makePlan`, without choosers and targets: the pools of `policy` need not be there yet.
 */
export function* planInSlices(policy: Policy, environment: Environment): Slices<Plan> {
  const tooLarge = tooLargeOf(yield* footprintInSlices(policy, environment));
  if (tooLarge !== null) throw new RangeError(tooLarge);
  const definitions = listsOf(policy);
  const { dstAddrs } = environment;
  const lists = yield* resolveLists(definitions, dstAddrs);
  const lists6 = environment.isIpv6On ? yield* resolveLists6(definitions, dstAddrs) : new Map();
  const nodes: PlanNode[] = [];
  const root = yield* expand(policy, policy.next, 0, nodes);
  const choosers: (Chooser | undefined)[] = [];
  const destinations: Destination[] = [];
  const destinationOf = new GrowingMap<number, number>();
  const places = new Map<string, number>(); // of destinations
  for (const { tree, number } of nodes) {
    if (number % NODES_AT_ONCE === 0) yield;
    choosers.push(undefined);
    if (tree.node !== "translate-a-to-b") continue;
    const { pool, port, backend } = tree;
    if (pool !== DST_ADDRS && !Object.hasOwn(policy.pools, pool)) {
      throw new RangeError(`Cannot use pool "$${pool}": not defined`);
    }
    const key = `${pool} ${port} ${backend}`;
    if (!places.has(key)) places.set(key, destinations.push(tree) - 1);
    destinationOf.add(number, places.get(key)!);
  }
  const customs = new Map<Predicate, (pdu: Readonly<Pdu>) => boolean>();
  for (const { tree } of nodes) {
    yield;
    for (const predicate of predicatesOf(tree)) {
      yield;
      if (predicate.test !== "custom") continue;
      customs.set(predicate, guarded(predicate.name, predicate.holds, false, environment));
    }
  }
  return {
    policy,
    environment,
    root,
    nodes,
    exits: new Float64Array(nodes.length),
    choosers,
    destinations,
    destinationOf,
    targets: new Int32Array(destinations.length),
    leaving: yield* leavingOf(policy, environment),
    lists,
    lists6,
    customs,
  };
}

/** Makes choosers of the nodes that have none yet. */
export function* addChoosers({ nodes, choosers, environment }: Plan): Slices<void> {
  for (const { tree, number } of nodes) {
    choosers[number] ??= chooserOf(tree, environment);
    if (choosers[number] !== undefined || number % NODES_AT_ONCE === 0) yield;
  }
}

/** Finds the targets, now that the pools of the policy are there. */
export function bindTargets(
  { destinations, environment, targets }: Pick<Plan, "destinations" | "environment" | "targets">,
): void {
  for (const [i, { pool, port, backend }] of destinations.entries()) {
    targets[i] = environment.target(pool, port, backend);
  }
}

/** The live sets of addresses that pools may still have beside those of the policy, by list. */
function* leavingOf(
  { pools, lists }: Policy,
  environment: Environment,
): Slices<ReadonlyMap<string, readonly LeavingAddresses[]>> {
  const leaving = new Map<string, readonly LeavingAddresses[]>();
  const note = (name: string, members: readonly Place[]) => {
    const addresses = environment.leaving(name, members);
    if (addresses !== null) leaving.set(name, [addresses]);
  };
  note(DST_ADDRS, environment.dstAddrs.map((address) => ({ address, port: 0 })));
  for (const [name, { members }] of Object.entries(pools)) {
    yield;
    note(name, members);
  }
  if (leaving.size === 0) return leaving;
  for (const [name, terms] of Object.entries(lists)) {
    yield;
    const sets = leavingIn(terms, { leaving });
    if (sets.length > 0) leaving.set(name, sets);
  }
  return leaving;
}

/** What `intervalsOf` does not have of the terms. */
export function leavingIn(
  terms: readonly AddressTerm[],
  { leaving }: Pick<Plan, "leaving">,
): readonly LeavingAddresses[] {
  if (leaving.size === 0) return [];
  const sets = terms.flatMap((term) => "list" in term ? leaving.get(term.list) ?? [] : []);
  return [...new Set(sets)];
}

/** Why a policy that takes this much can't run; null: it can. */
export function tooLargeOf(footprint: Footprint): string | null {
  const { nodes, lists, bytes, perConnectionBytes, maxConnections } = footprint;
  for (const [name, networks] of lists) {
    if (networks > MAX_NODES && name !== DST_ADDRS) {
      return `Cannot use list "$${name}": more than ${MAX_NODES} networks`;
    }
  }
  if (nodes > MAX_NODES) return `Cannot run policy: more than ${MAX_NODES} nodes`;
  if (bytes <= MAX_BYTES) return null;
  return `Cannot run policy: it would hold up to ${formatBytes(bytes)}, of which balancers per ` +
    `connection ${formatBytes(perConnectionBytes)} at --max-conn=${maxConnections}: ` +
    `expected at most ${formatBytes(MAX_BYTES)}`;
}

/** The arms of a selector by predicates; null: it is none. */
export function armsOf(tree: Tree): readonly Arm[] | null {
  if (tree.node === "first-match") return tree.arms;
  return tree.node === "filter" ? [tree] : null;
}

function* expand(
  policy: Policy,
  tree: Tree,
  depth: number,
  nodes: PlanNode[],
): Slices<PlanNode> {
  if (depth > MAX_DEPTH) {
    throw new RangeError(`Cannot run policy: nested more than ${MAX_DEPTH} levels deep`);
  }
  if (tree.node === "use") {
    const subtree = Object.hasOwn(policy.subtrees, tree.name)
      ? policy.subtrees[tree.name]
      : undefined;
    if (subtree === undefined) throw new RangeError(`Cannot use "${tree.name}": not defined`);
    return yield* expand(policy, subtree, depth + 1, nodes);
  }
  const number = nodes.length;
  if (number % NODES_AT_ONCE === 0) yield;
  const children = tree.node === "decide" ? NO_CHILDREN : [];
  const node = { number, tree, children, size: 0 };
  nodes.push(node);
  for (const child of eachChildOf(tree)) {
    children.push(yield* expand(policy, child, depth + 1, nodes));
  }
  node.size = nodes.length - number;
  return node;
}

function chooserOf(tree: Tree, environment: Environment): Chooser | undefined {
  switch (tree.node) {
    case "balance":
      return balancer(tree, environment);
    case "limit":
      return limiter(tree, environment);
    case "select":
      return selector(tree, environment);
    default:
      return undefined;
  }
}

function* predicatesOf(tree: Tree): Generator<Predicate> {
  for (const { when } of armsOf(tree) ?? []) yield* withParts(when);
}

function* withParts(predicate: Predicate): Generator<Predicate> {
  yield predicate;
  if (predicate.test === "not") yield* withParts(predicate.of);
  if (predicate.test === "all" || predicate.test === "any") {
    for (const part of predicate.of) yield* withParts(part);
  }
}
