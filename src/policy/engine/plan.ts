/**
 * A policy made ready to run in one place: subtrees expanded, lists resolved, nodes numbered, and
 * the state that belongs to nodes (counters, choosers) allocated. The walker and the compiler both
 * run it.
 *
 * Nodes are numbered depth first in writing order, the root 0. A PDU is counted once, at the node
 * where it ended; how often a node was visited is the sum over the nodes below it and itself.
 */
import { maskOf } from "../../wire/address.ts";
import type { Pdu } from "../../wire/pdu.ts";
import {
  type AddressTerm,
  childrenOf,
  DST_ADDRS,
  listsOf,
  type Policy,
  type Predicate,
  type Tree,
} from "../language/ast.ts";
import { MAX_DEPTH, MAX_NODES } from "../language/limits.ts";
import { balancer, type Chooser, guarded, limiter, selector } from "./chooser.ts";
import type { Environment } from "./environment.ts";
import { type Footprint, footprintOf, formatBytes } from "./footprint.ts";
import type { Interval } from "../language/ast.ts";
import { samePredicate } from "./same.ts";

export interface PlanNode {
  readonly number: number;
  /** Never a `use`: that is replaced by what it names. */
  readonly tree: Exclude<Tree, { node: "use" }>;
  readonly children: readonly PlanNode[];
  /** Nodes below this one and itself: their numbers follow one another. */
  readonly size: number;
}

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
  /** Targets of translators to side B, by their number; by `bindPools`. */
  readonly targets: Map<number, number>;
  /** Addresses that lists have beside `lists`, as long as members of pools are leaving; by `bindPools`. */
  readonly leaving: Map<string, ReadonlySet<number>[]>;
  /** Named lists as intervals. */
  readonly lists: ReadonlyMap<string, readonly Interval[]>;
  /** Users' predicates, guarded, by name. */
  readonly customs: ReadonlyMap<Predicate, (pdu: Readonly<Pdu>) => boolean>;
}

/** Most memory that a policy may take, by `footprint.ts`. */
export const MAX_BYTES: number = 3 * 2 ** 30;

/**
 * Throws a RangeError for a policy that can't run: an unknown or self-containing definition, or
 * more than MAX_NODES nodes, MAX_DEPTH levels or MAX_BYTES when expanded.
 */
export function makePlan(policy: Policy, environment: Environment): Plan {
  const tooLarge = tooLargeOf(footprintOf(policy, environment));
  if (tooLarge !== null) throw new RangeError(tooLarge);
  const lists = resolveLists(listsOf(policy), environment.dstAddrs);
  const nodes: PlanNode[] = [];
  const choosers: (Chooser | undefined)[] = [];
  const root = expand(policy, policy.next, 0, nodes);
  for (const { tree, number } of nodes) choosers[number] = chooserOf(tree, environment);
  for (const { tree } of nodes) {
    if (tree.node !== "translate-a-to-b" || tree.pool === DST_ADDRS) continue;
    if (!Object.hasOwn(policy.pools, tree.pool)) {
      throw new RangeError(`Cannot use pool "$${tree.pool}": not defined`);
    }
  }
  const customs = new Map<Predicate, (pdu: Readonly<Pdu>) => boolean>();
  for (const { tree } of nodes) {
    for (const predicate of predicatesOf(tree)) {
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
    targets: new Map(),
    leaving: new Map(),
    lists,
    customs,
  };
}

/** Finds out what the plan's pools are at present: they may have changed since it was made. */
export function bindPools(plan: Plan): void {
  const { environment, leaving, nodes, policy, targets } = plan;
  for (const { number, tree } of nodes) {
    if (tree.node !== "translate-a-to-b") continue;
    targets.set(number, environment.target(tree.pool, tree.port, tree.backend));
  }
  for (const name of [DST_ADDRS, ...Object.keys(policy.pools)]) {
    const addresses = environment.leaving(name);
    if (addresses.size > 0) leaving.set(name, [addresses]);
  }
  if (leaving.size === 0) return;
  for (const [name, terms] of Object.entries(policy.lists)) {
    const sets = leavingIn(terms, plan);
    if (sets.length > 0) leaving.set(name, [...sets]);
  }
}

/** What `intervalsOf` does not have of the terms. */
export function leavingIn(
  terms: readonly AddressTerm[],
  { leaving }: Plan,
): readonly ReadonlySet<number>[] {
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

/** How often each node was visited, by number. */
export function visits(plan: Plan): Float64Array {
  const counts = Float64Array.from(plan.exits);
  for (let number = counts.length - 1; number >= 0; number--) {
    for (const child of plan.nodes[number]!.children) counts[number]! += counts[child.number]!;
  }
  return counts;
}

/** Addresses of `terms`, as intervals in writing order. */
export function intervalsOf(
  terms: readonly AddressTerm[],
  lists: ReadonlyMap<string, readonly Interval[]>,
): readonly Interval[] {
  return terms.flatMap((term) => {
    if ("network" in term) {
      const first = term.network >>> 0;
      return [{ first, last: (first | ~maskOf(term.prefixLength)) >>> 0 }];
    }
    const list = lists.get(term.list);
    if (list === undefined) throw new RangeError(`Cannot use list "$${term.list}": not defined`);
    return list;
  });
}

/**
 * Takes counters, positions and buckets of unchanged nodes over from `old` into `plan`. A node is
 * unchanged if it is the same in the same place; arms are matched by their predicates, in any
 * order.
 */
export function adopt(plan: Plan, old: Plan): void {
  adoptNode(plan, plan.root, old, old.root);
}

function adoptNode(plan: Plan, node: PlanNode, old: Plan, oldNode: PlanNode): void {
  if (!sameNode(node.tree, oldNode.tree)) return;
  plan.exits[node.number] = old.exits[oldNode.number]!;
  plan.choosers[node.number] = old.choosers[oldNode.number];
  const [whens, oldWhens] = [whensOf(node.tree), whensOf(oldNode.tree)];
  if (whens === null || oldWhens === null) {
    node.children.forEach((child, i) => adoptNode(plan, child, old, oldNode.children[i]!));
    return;
  }
  const places = new Map<string, number[]>(); // of the old arms, by what they ask
  for (const [place, when] of oldWhens.entries()) {
    const text = JSON.stringify(when);
    const known = places.get(text);
    if (known === undefined) places.set(text, [place]);
    else known.push(place);
  }
  for (const [i, when] of whens.entries()) {
    const candidates = places.get(JSON.stringify(when)) ?? [];
    const at = candidates.findIndex((place) => samePredicate(when, oldWhens[place]!));
    if (at < 0) continue;
    const [place] = candidates.splice(at, 1);
    adoptNode(plan, node.children[i]!, old, oldNode.children[place!]!);
  }
}

/** What the arms of a selector by predicates ask; null: it is none. */
function whensOf(tree: Tree): readonly Predicate[] | null {
  if (tree.node === "first-match") return tree.arms.map(({ when }) => when);
  return tree.node === "filter" ? [tree.when] : null;
}

/** True if the two nodes say the same, whatever is below them. */
function sameNode(a: Tree, b: Tree): boolean {
  if (a.node === "filter" && b.node === "filter") return samePredicate(a.when, b.when);
  if (a.node === "first-match" || a.node === "filter") {
    return b.node === "first-match" || b.node === "filter";
  }
  if (a.node === "select" && b.node === "select" && a.index !== b.index) return false;
  if (childrenOf(a).length !== childrenOf(b).length) return false;
  return JSON.stringify(a, ownFields) === JSON.stringify(b, ownFields);
}

function ownFields(key: string, value: unknown): unknown {
  return key === "then" || (key === "branches" && isTrees(value)) ? undefined : value;
}

function isTrees(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => "node" in item);
}

function expand(policy: Policy, tree: Tree, depth: number, nodes: PlanNode[]): PlanNode {
  if (depth > MAX_DEPTH) {
    throw new RangeError(`Cannot run policy: nested more than ${MAX_DEPTH} levels deep`);
  }
  if (tree.node === "use") {
    const subtree = Object.hasOwn(policy.subtrees, tree.name)
      ? policy.subtrees[tree.name]
      : undefined;
    if (subtree === undefined) throw new RangeError(`Cannot use "${tree.name}": not defined`);
    return expand(policy, subtree, depth + 1, nodes);
  }
  const number = nodes.length;
  const children: PlanNode[] = [];
  const node = { number, tree, children, size: 0 };
  nodes.push(node);
  for (const child of childrenOf(tree)) children.push(expand(policy, child, depth + 1, nodes));
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
  const roots = tree.node === "first-match"
    ? tree.arms.map((arm) => arm.when)
    : tree.node === "filter"
    ? [tree.when]
    : [];
  for (const root of roots) yield* withParts(root);
}

function* withParts(predicate: Predicate): Generator<Predicate> {
  yield predicate;
  if (predicate.test === "not") yield* withParts(predicate.of);
  if (predicate.test === "all" || predicate.test === "any") {
    for (const part of predicate.of) yield* withParts(part);
  }
}

function resolveLists(
  definitions: Readonly<Record<string, readonly AddressTerm[]>>,
  dstAddrs: readonly number[],
): ReadonlyMap<string, readonly Interval[]> {
  const lists = new Map<string, readonly Interval[]>();
  lists.set(DST_ADDRS, dstAddrs.map((a) => ({ first: a >>> 0, last: a >>> 0 })));
  for (const [name, terms] of Object.entries(definitions)) {
    if (name === DST_ADDRS) {
      throw new RangeError(`Cannot define list "$${name}": it exists already`);
    }
    lists.set(name, intervalsOf(terms, lists));
  }
  return lists;
}
