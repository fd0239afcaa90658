/**
 * What nodes of a plan that another one has too take over from there: at a reload nobody starts
 * again.
 */
import { GrowingMap } from "../../core/growing_map.ts";
import { finish, type Slices } from "../../core/slices.ts";
import { childrenOf, type Predicate, type Tree } from "../language/ast.ts";
import { armsOf, NODES_AT_ONCE, type Plan, type PlanNode } from "./plan.ts";
import { samePredicate } from "./same.ts";

/** Most parts of a list that its key names. */
const MAX_KEY_PARTS = 8;

/**
 * Takes counters, positions and buckets of unchanged nodes over from `old` into `plan`. A node is
 * unchanged if it is the same in the same place; arms are matched by their predicates, in any
 * order.
 */
export function adopt(plan: Plan, old: Plan): void {
  takeCounts(plan, old, finish(adoptInSlices(plan, old)));
}

/**
 * Takes positions and buckets over, which both plans then share, so that `old` may go on; for each
 * node of `plan` the number of the unchanged one in `old`, or -1.
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
