/**
 * Makes policies whose branches can be taken out of any policies, whose branches often cannot: what
 * no PDU can come to is left out, and what selectors ask does not depend on what others above them
 * ask.
 */
import { below, type Random } from "../../../src/core/random.ts";
import type { CustomSelector, Policy, Tree } from "../../../src/policy/language/ast.ts";
import * as build from "../../../src/policy/language/build.ts";
import type { Plan, PlanNode } from "../../../src/policy/engine/plan.ts";
import { branchesOf } from "../engine/branches.ts";

/** What the selectors below choose by: to be set for each PDU before it is evaluated. */
export const steering = { bits: 0 };

/** Selectors that depend on nothing that predicates ask for; one for each level. */
export const LEVELS: readonly CustomSelector[] = Array.from(
  { length: 10 },
  (_, level) => () => ((steering.bits >>> (3 * level)) & 7) - 1,
);

/** Heavier branches and larger buckets would take a hundred PDUs each time, or a billion. */
const MOST_WEIGHT = 9;
const MOST_TOKENS = 7;

/** What is above a node. */
interface Above {
  readonly selects: number;
  readonly hashes: number;
  readonly limits: number;
}

/** The plan's policy, so changed; some subtrees become definitions. */
export function prune(plan: Plan, random: Random): Policy {
  const branches = branchesOf(plan);
  const subtrees: Record<string, Tree> = {};
  const pruned = (node: PlanNode, above: Above): Tree => {
    const tree = rebuilt(node, above);
    if (tree.node === "decide" || below(random, 40) > 0) return tree;
    const name = `tree-${node.number}`;
    subtrees[name] = tree;
    return build.use(name);
  };
  const rebuilt = ({ tree, number, children }: PlanNode, above: Above): Tree => {
    const { selects, hashes, limits } = above;
    switch (tree.node) {
      case "first-match":
      case "filter": {
        const arms = (tree.node === "filter" ? [tree] : tree.arms)
          .map(({ when }, index) => ({ when, index }))
          .filter(({ index }) => branches[number]![index + 1]!.facts.boxes.length > 0);
        if (arms.length === 0) return build.decide(plan.policy.default, "pruned");
        return build.firstMatch(
          arms.map(({ when, index }) => [when, pruned(children[index]!, above)]),
        );
      }
      case "balance": {
        const by = tree.by === "by hash" && hashes > 0 ? "at random" : tree.by;
        const inside = { ...above, hashes: hashes + (by === "by hash" ? 1 : 0) };
        return {
          ...tree,
          by,
          branches: tree.branches.map(({ weight }, i) => ({
            weight: Math.min(weight, MOST_WEIGHT),
            then: pruned(children[i]!, inside),
          })),
        };
      }
      case "select": {
        const level = selects % LEVELS.length;
        const inside = { ...above, selects: selects + 1 };
        return build.customSelector(
          `level-${level}`,
          LEVELS[level]!,
          children.map((child) => pruned(child, inside)),
        );
      }
      case "limit":
        return {
          ...tree,
          perSecond: 1,
          // Fewer than those above, so that they can run dry.
          burst: Math.max(1, MOST_TOKENS - 2 * limits),
          then: pruned(children[0]!, { ...above, limits: limits + 1 }),
        };
      case "decide":
        return tree;
      default:
        return { ...tree, then: pruned(children[0]!, above) };
    }
  };
  const next = pruned(plan.root, { selects: 0, hashes: 0, limits: 0 });
  const { default: decision, pools, lists } = plan.policy;
  return { ...build.policy(decision, next, { lists, subtrees }), pools };
}
