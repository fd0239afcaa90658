/**
 * The reference: what a tree means, in the fewest words. The compiled function must agree with it on
 * every tree and packet; it is also what explains a decision.
 */
import { PROTOCOL_ICMP } from "../wire/ipv4.ts";
import type { Pdu } from "../wire/pdu.ts";
import { DECISION_NUMBERS, nodesOf, type Policy, type Predicate, type Tree } from "./ast.ts";
import type { Bindings, Evaluate, Step } from "./evaluate.ts";

export function walker(policy: Policy, bindings: Bindings): Evaluate {
  return (pdu) => walk(policy, policy.next, 0, pdu, bindings);
}

/** `number` is the node's number, as `nodesOf` counts. */
function walk(
  policy: Policy,
  tree: Tree,
  number: number,
  pdu: Pdu,
  bindings: Bindings,
): number {
  const go = (branch: Tree, before: readonly Tree[]): number =>
    walk(policy, branch, number + 1 + before.reduce((n, t) => n + sizeOf(t), 0), pdu, bindings);
  const step = (act: Step, then: Tree): number => {
    const reason = act(pdu);
    return reason === 0 ? go(then, []) : -reason;
  };
  switch (tree.node) {
    case "first-match": {
      const index = tree.arms.findIndex((arm) => holds(arm.when, pdu, bindings));
      const arms = tree.arms.map((arm) => arm.then);
      return index < 0 ? DECISION_NUMBERS[policy.default] : go(arms[index]!, arms.slice(0, index));
    }
    case "filter":
      return holds(tree.when, pdu, bindings) ? go(tree.then, []) : DECISION_NUMBERS[policy.default];
    case "round-robin": {
      const index = bindings.positions[number]!;
      bindings.positions[number] = (index + 1) % tree.branches.length;
      return go(tree.branches[index]!, tree.branches.slice(0, index));
    }
    case "track":
      return step(bindings.steps.track, tree.then);
    case "translate-a-to-b":
      return step(bindings.steps.translateAToB, tree.then);
    case "translate-b-to-a":
      return step(bindings.steps.translateBToA, tree.then);
    case "decide":
      return DECISION_NUMBERS[tree.decision];
  }
}

export function holds(predicate: Predicate, pdu: Pdu, bindings: Bindings): boolean {
  switch (predicate.test) {
    case "always":
      return true;
    case "not":
      return !holds(predicate.of, pdu, bindings);
    case "protocol":
      return pdu.protocol === predicate.number;
    case "address":
      return bindings.lists[predicate.list].includes(pdu[predicate.field]);
    case "port":
      return pdu.protocol === predicate.protocol && pdu[predicate.field] === predicate.equals;
    case "icmp-type":
      return pdu.protocol === PROTOCOL_ICMP && pdu.icmpType === predicate.equals;
  }
}

function sizeOf(tree: Tree): number {
  return [...nodesOf(tree)].length;
}
