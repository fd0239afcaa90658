/**
 * Whether a policy treats all plain packets of a connection alike, so that it need not see each of
 * them: a walk of the tree with what is known of them (`unknown.ts`), which must end at one and the
 * same Forward, and meet no limit, no balancer that chooses for each packet, no function of the
 * user's and no set TTL.
 */
import { type Pdu, STEP_A_TO_B, STEP_B_TO_A } from "../../wire/pdu.ts";
import { DECISION_NUMBERS, FORWARD, type Predicate } from "../language/ast.ts";
import { armsOf, type Plan, type PlanNode } from "./plan.ts";
import { asksUnknown, certainly, possibly } from "./unknown.ts";
import { holds } from "./walk.ts";

/** Most arms on a way that ask for something unknown. Who meets more is kept. */
export const MAX_UNKNOWN = 32;

/** Number of the node at which all plain packets are forwarded, or why it may not be one. */
export type Constancy = { readonly exit: number } | Keeper;

/** The node because of which the proxy has to see each packet of a connection. */
export interface Keeper {
  /**
   * Null: the client's address is that of a member that is leaving, and lists lose it with the
   * member.
   */
  readonly node: PlanNode | null;
  /** What the node asks that packets may answer differently; null: nothing. */
  readonly asked: Predicate | null;
  /**
   * How all of them end there, a decision or a reason; FORWARD: without a translation. Null: they
   * may differ.
   */
  readonly outcome: number | null;
}

/**
 * What becomes of all plain packets of a connection that come from one of its ends, of which `pdu`
 * is one (`makePlain`). Nothing changes but the notes on it.
 */
export function constancyOf(plan: Plan, pdu: Pdu): Constancy {
  return losesClient(plan, pdu)
    ? { node: null, asked: null, outcome: null }
    : walk(plan, plan.root, pdu, 0);
}

/** True while a list has the client's address, but only until a member of a pool has left. */
function losesClient({ leaving }: Plan, pdu: Readonly<Pdu>): boolean {
  if (leaving.size === 0) return false;
  const client = (pdu.flow & 1) === 0 ? pdu.src : pdu.dst;
  return [...leaving.values()].some((sets) => sets.some((addresses) => addresses.has(client)));
}

/** `asked`: arms above that ask for something unknown. */
function walk(plan: Plan, node: PlanNode, pdu: Pdu, asked: number): Constancy {
  const { tree, number } = node;
  const { steps } = plan.environment;
  const kept = (outcome: number | null, asked: Predicate | null = null): Keeper => {
    return { node, asked, outcome };
  };
  const end = (decision: number): Constancy => {
    const isTranslated = (pdu.steps & (STEP_A_TO_B | STEP_B_TO_A)) !== 0;
    return decision === FORWARD && isTranslated ? { exit: number } : kept(decision);
  };
  const branch = (index: number): Constancy => {
    const child = node.children[index];
    return child === undefined
      ? end(DECISION_NUMBERS[plan.policy.default])
      : walk(plan, child, pdu, asked);
  };
  const step = (reason: number): Constancy => reason === 0 ? branch(0) : kept(reason);
  switch (tree.node) {
    case "first-match":
    case "filter":
      for (const [index, { when }] of armsOf(tree)!.entries()) {
        if (asksUnknown(when) && ++asked > MAX_UNKNOWN) return kept(null, when);
        if (!holds(possibly(when), pdu, plan)) continue;
        return holds(certainly(when), pdu, plan) ? branch(index) : kept(null, when);
      }
      return branch(-1);
    case "balance": {
      const index = plan.choosers[number]!.constant(pdu);
      return index < 0 ? kept(null) : branch(index);
    }
    case "track":
      return step(steps.track(pdu));
    case "translate-a-to-b":
      return step(steps.translateAToB(pdu, plan.targets[plan.destinationOf.get(number)!]!));
    case "translate-b-to-a":
      return step(steps.translateBToA(pdu));
    case "limit":
    case "select":
    case "set-ttl":
      return kept(null);
    case "decide":
      return end(DECISION_NUMBERS[tree.decision]);
  }
}
