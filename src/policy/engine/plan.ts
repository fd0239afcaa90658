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
import { maskOf } from "../../wire/address.ts";
import type { Pdu } from "../../wire/pdu.ts";
import {
  type AddressTerm,
  type Arm,
  childrenOf,
  DST_ADDRS,
  eachChildOf,
  type Policy,
  type Predicate,
  type Tree,
} from "../language/ast.ts";
import { MAX_DEPTH, MAX_NODES } from "../language/limits.ts";
import { balancer, type Chooser, guarded, limiter, selector } from "./chooser.ts";
import type { Environment } from "./environment.ts";
import { type Footprint, footprintInSlices, formatBytes } from "./footprint.ts";
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
  /** Named lists as intervals. */
  readonly lists: ReadonlyMap<string, readonly Interval[]>;
  /** Users' predicates, guarded, by name. */
  readonly customs: ReadonlyMap<Predicate, (pdu: Readonly<Pdu>) => boolean>;
}

/** Most memory that a policy may take, by `footprint.ts`. */
export const MAX_BYTES: number = 3 * 2 ** 30;

/** Nodes between two places where the work can be interrupted: below 500 others each costs something. */
const NODES_AT_ONCE = 16;

/** Most parts of a list that its key names. */
const MAX_KEY_PARTS = 8;

/**
 * Throws a RangeError for a policy that can't run: an unknown or self-containing definition, or
 * more than MAX_NODES nodes, MAX_DEPTH levels or MAX_BYTES when expanded.
 */
export function makePlan(policy: Policy, environment: Environment): Plan {
  return finish(planInSlices(policy, environment));
}

export function* planInSlices(policy: Policy, environment: Environment): Slices<Plan> {
  const tooLarge = tooLargeOf(yield* footprintInSlices(policy, environment));
  if (tooLarge !== null) throw new RangeError(tooLarge);
  const lists = yield* resolveLists(policy, environment.dstAddrs);
  const nodes: PlanNode[] = [];
  const choosers: (Chooser | undefined)[] = [];
  const root = yield* expand(policy, policy.next, 0, nodes);
  for (const { tree, number } of nodes) {
    choosers.push(chooserOf(tree, environment));
    if (choosers[number] !== undefined || number % NODES_AT_ONCE === 0) yield;
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
    lists,
    customs,
  };
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
  return finish(intervalsInSlices(terms, lists));
}

export function* intervalsInSlices(
  terms: readonly AddressTerm[],
  lists: ReadonlyMap<string, readonly Interval[]>,
): Slices<readonly Interval[]> {
  const intervals: Interval[] = [];
  for (const term of terms) {
    yield;
    if ("network" in term) {
      const first = term.network >>> 0;
      intervals.push({ first, last: (first | ~maskOf(term.prefixLength)) >>> 0 });
      continue;
    }
    const list = lists.get(term.list);
    if (list === undefined) throw new RangeError(`Cannot use list "$${term.list}": not defined`);
    for (const interval of list) {
      intervals.push(interval);
      if (intervals.length % NODES_AT_ONCE === 0) yield;
    }
  }
  return intervals;
}

/**
 * Takes counters, positions and buckets of unchanged nodes over from `old` into `plan`. A node is
 * unchanged if it is the same in the same place; arms are matched by their predicates, in any
 * order.
 */
export function adopt(plan: Plan, old: Plan): void {
  takeCounts(plan, old, finish(adoptInSlices(plan, old)));
}

/**
 * Takes positions and buckets over, which both plans then share, so that `old` may go on; for each node of
 * `plan` the number of the unchanged one in `old`, or -1.
 */
export function* adoptInSlices(plan: Plan, old: Plan): Slices<Int32Array> {
  const numbers = new Int32Array(plan.nodes.length).fill(-1);
  yield* adoptNode(plan, plan.root, old, old.root, numbers);
  return numbers;
}

/** Takes the counters over, when `old` counts no more. */
export function takeCounts(plan: Plan, old: Plan, numbers: Int32Array): void {
  for (let number = 0; number < numbers.length; number++) {
    const from = numbers[number]!;
    if (from >= 0) plan.exits[number] = old.exits[from]!;
  }
}

function* adoptNode(
  plan: Plan,
  node: PlanNode,
  old: Plan,
  oldNode: PlanNode,
  numbers: Int32Array,
): Slices<void> {
  if (node.number % NODES_AT_ONCE === 0) yield;
  if (!sameNode(node.tree, oldNode.tree)) return;
  numbers[node.number] = oldNode.number;
  plan.choosers[node.number] = old.choosers[oldNode.number];
  const [arms, oldArms] = [armsOf(node.tree), armsOf(oldNode.tree)];
  if (arms === null || oldArms === null) {
    for (const [i, child] of node.children.entries()) {
      yield* adoptNode(plan, child, old, oldNode.children[i]!, numbers);
    }
    return;
  }
  const places = new GrowingMap<string, number[]>(); // of the old arms, by what they ask
  for (const [place, { when }] of oldArms.entries()) {
    yield;
    const text = keyOf(when);
    const known = places.get(text);
    if (known === undefined) places.add(text, [place]);
    else known.push(place);
  }
  for (const [i, { when }] of arms.entries()) {
    yield;
    const candidates = places.get(keyOf(when)) ?? [];
    const at = candidates.findIndex((place) => samePredicate(when, oldArms[place]!.when));
    if (at < 0) continue;
    const [place] = candidates.splice(at, 1);
    yield* adoptNode(plan, node.children[i]!, old, oldNode.children[place!]!, numbers);
  }
}

/** Equal for predicates that ask the same, and short. */
function keyOf(when: Predicate): string {
  return JSON.stringify(
    when,
    (_, value) =>
      Array.isArray(value) && value.length > MAX_KEY_PARTS
        ? [value.length, ...value.slice(0, MAX_KEY_PARTS)]
        : value,
  );
}

/** The arms of a selector by predicates; null: it is none. */
function armsOf(tree: Tree): readonly Arm[] | null {
  if (tree.node === "first-match") return tree.arms;
  return tree.node === "filter" ? [tree] : null;
}

/** True if the two nodes say the same, whatever is below them. */
function sameNode(a: Tree, b: Tree): boolean {
  if (a.node === "filter" && b.node === "filter") return samePredicate(a.when, b.when);
  if (a.node === "first-match" || a.node === "filter") {
    return b.node === "first-match" || b.node === "filter";
  }
  if (a.node === "select" && b.node === "select" && a.index !== b.index) return false;
  if (childrenOf(a).length !== childrenOf(b).length) return false;
  return ownText(a) === ownText(b);
}

/** What a node says for itself. */
function ownText(tree: Tree): string {
  if (tree.node !== "balance") return JSON.stringify({ ...tree, then: null, branches: null });
  return JSON.stringify({ ...tree, branches: tree.branches.map(({ weight }) => weight) });
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
  const children: PlanNode[] = [];
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

function* resolveLists(
  policy: Policy,
  dstAddrs: readonly number[],
): Slices<ReadonlyMap<string, readonly Interval[]>> {
  const lists = new Map<string, readonly Interval[]>();
  lists.set(DST_ADDRS, dstAddrs.map((a) => ({ first: a >>> 0, last: a >>> 0 })));
  for (const [name, terms] of Object.entries(policy.lists)) {
    if (name === DST_ADDRS) {
      throw new RangeError(`Cannot define list "$${name}": it exists already`);
    }
    lists.set(name, yield* intervalsInSlices(terms, lists));
  }
  return lists;
}
