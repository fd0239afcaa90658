/**
 * What nodes of a plan that another one has too take over from there: at a reload nobody starts
 * again.
 */
import { finish, type Slices } from "../../core/slices.ts";
import { childrenOf, type Predicate, type Tree } from "../language/ast.ts";
import { armsOf, NODES_AT_ONCE, type Plan, type PlanNode } from "./plan.ts";
import { samePredicate } from "./same.ts";

/** Most parts of a list that its hash is made of. */
const MAX_HASHED_PARTS = 8;

/**
 * Takes counters, positions and buckets of unchanged nodes over from `old` into `plan`. A node is
 * unchanged if it is the same in the same place; arms are matched by their predicates, in any
 * order.
 */
export function adopt(plan: Plan, old: Plan): void {
  takeCounts(plan, old, finish(runsOf(finish(adoptInSlices(plan, old)))));
}

/**
 * Takes positions and buckets over, which both plans then share, so that `old` may go on; for each
 * node of `plan` the number of the unchanged one in `old`, or -1.
 */
export function* adoptInSlices(plan: Plan, old: Plan): Slices<Int32Array<ArrayBuffer>> {
  const numbers = new Int32Array(plan.nodes.length).fill(-1);
  yield* adoptNode(plan, plan.root, old, old.root, numbers);
  return numbers;
}

/** Most numbers that are looked at in one go. */
const NUMBERS_AT_ONCE = 1024;

/**
 * The same as runs of numbers that follow one another on both sides: in turn the first one, the old
 * one of it, and how many.
 */
export function* runsOf(numbers: Int32Array): Slices<readonly number[]> {
  const runs: number[] = [];
  let end = 0;
  while (end < numbers.length) {
    const at = end;
    const old = numbers[at]!;
    do {
      if (++end % NUMBERS_AT_ONCE === 0) yield;
    } while (end < numbers.length && numbers[end] === (old < 0 ? -1 : old + end - at));
    if (old >= 0) runs.push(at, old, end - at);
  }
  return runs;
}

/** Up to so many are copied one by one: a view of them would cost more. */
const SHORT_RUN = 16;

/** Takes the counters over, when `old` counts no more. */
export function takeCounts(
  plan: Pick<Plan, "exits">,
  old: Pick<Plan, "exits">,
  runs: readonly number[],
): void {
  for (let i = 0; i < runs.length; i += 3) {
    const [at, from, count] = [runs[i]!, runs[i + 1]!, runs[i + 2]!];
    if (count > SHORT_RUN) plan.exits.set(old.exits.subarray(from, from + count), at);
    else for (let k = 0; k < count; k++) plan.exits[at + k] = old.exits[from + k]!;
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
  // The old arms by what they ask: first[hash] and next[place] chain places, 1 more than each.
  const first = new Int32Array(2 ** Math.ceil(Math.log2(oldArms.length + 1)));
  const next = new Int32Array(oldArms.length);
  for (let place = oldArms.length - 1; place >= 0; place--) {
    yield;
    const bucket = hashOf(oldArms[place]!.when) & (first.length - 1);
    next[place] = first[bucket]!;
    first[bucket] = place + 1;
  }
  for (const [i, { when }] of arms.entries()) {
    yield;
    const bucket = hashOf(when) & (first.length - 1);
    let before = -1;
    let place = first[bucket]! - 1;
    while (place >= 0 && !samePredicate(when, oldArms[place]!.when)) {
      before = place;
      place = next[place]! - 1;
    }
    if (place < 0) continue;
    if (before < 0) first[bucket] = next[place]!; // each is taken once
    else next[before] = next[place]!;
    yield* adoptNode(plan, node.children[i]!, old, oldNode.children[place]!, numbers);
  }
}

/** Equal for predicates that ask the same. */
function hashOf(when: Predicate): number {
  const text = JSON.stringify(
    when,
    (_, value) =>
      typeof value === "bigint"
        ? `${value}`
        : Array.isArray(value) && value.length > MAX_HASHED_PARTS
        ? [value.length, ...value.slice(0, MAX_HASHED_PARTS)]
        : value,
  );
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash ^ hash >>> 15) >>> 0;
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
