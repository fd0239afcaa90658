/**
 * The branches of a plan, each with the set of PDUs that may take it, as far as predicates tell.
 * What they count as one branch each:
 *
 *   - every arm of a selector, branch of a balancer or custom selector, and way on behind a limit;
 *   - the default decision of every selector that does not end in `otherwise`, and of every custom
 *     selector and limit;
 *   - every step taken, and every step refused.
 */
import { AddressSpace } from "../../../src/policy/check/address_space.ts";
import { SHAPES } from "../../../src/policy/check/box.ts";
import { EVERYTHING, type Facts, Restrictor } from "../../../src/policy/check/facts.ts";
import type { Plan, PlanNode } from "../../../src/policy/engine/plan.ts";

export interface Branch {
  readonly node: PlanNode;
  /** Place among the node's children; -1: the default decision, or the step refused. */
  readonly index: number;
  /** An upper bound of the PDUs that take the branch; without boxes: none can. */
  readonly facts: Facts;
  /** The branch that leads to the node; null: it is the root. */
  readonly up: Branch | null;
}

/** By the number of the node, then by `index + 1`. */
export type Branches = readonly (readonly (Branch | undefined)[])[];

export function branchesOf(plan: Plan): Branches {
  const { policy, environment: { dstAddrs } } = plan;
  const space = AddressSpace.of(policy, dstAddrs);
  const restrictor = new Restrictor(policy.lists, dstAddrs, SHAPES, space);
  const branches: (Branch | undefined)[][] = plan.nodes.map(() => []);
  const visit = (node: PlanNode, facts: Facts, up: Branch | null): void => {
    const add = (index: number, facts: Facts): void => {
      const branch = { node, index, facts, up };
      branches[node.number]![index + 1] = branch;
      const child = node.children[index];
      if (child !== undefined) visit(child, facts, branch);
    };
    const { tree, children } = node;
    if (tree.node === "first-match" || tree.node === "filter") {
      const whens = tree.node === "filter" ? [tree.when] : tree.arms.map(({ when }) => when);
      let rest = facts;
      for (const [index, when] of whens.entries()) {
        add(index, restrictor.restrict(rest, when));
        rest = restrictor.restrict(rest, when, false);
      }
      if (whens.at(-1)!.test !== "always") add(-1, rest);
      return;
    }
    children.forEach((_, index) => add(index, facts));
    if (tree.node !== "balance" && tree.node !== "decide") add(-1, facts);
  };
  visit(plan.root, EVERYTHING, null);
  return branches;
}
