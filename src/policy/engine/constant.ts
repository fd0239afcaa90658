/**
 * Whether a policy treats all plain packets of a connection alike, so that it need not see each of
 * them: a walk of the tree with what is known of them (`unknown.ts`), which must end at one and the
 * same Forward, and meet no limit, no balancer that chooses for each packet and no function of the
 * user's. It tells `explain` who keeps a connection, and `doubts.ts`, which the packet path asks,
 * must agree with it.
 */
import { type Pdu, STEP_A_TO_B, STEP_B_TO_A } from "../../wire/pdu.ts";
import { DECISION_NUMBERS, FORWARD, type Predicate, type Tree } from "../language/ast.ts";
import type { LeavingAddresses } from "./environment.ts";
import { familyOf, inFamily } from "./family.ts";
import { armsOf, type Plan, type PlanNode } from "./plan.ts";
import { asksUnknown, certainly, possibly } from "./unknown.ts";
import { holds } from "./walk.ts";

/**
 * Most arms on a way that ask for something unknown: the packet path asks them one by one. Who
 * meets more is kept.
 */
export const MAX_DOUBTS = 32;

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
  return losesClient([...plan.leaving.values()].flat(), pdu)
    ? { node: null, asked: null, outcome: null }
    : walk(plan, plan.root, pdu, 0);
}

/** True while a list has the client's address, but only until a member of a pool has left. */
export function losesClient(
  leaving: readonly LeavingAddresses[],
  pdu: Readonly<Pdu>,
): boolean {
  if (leaving.length === 0) return false;
  const isFromClient = (pdu.flow & 1) === 0;
  const client = isFromClient ? pdu.src : pdu.dst;
  const isOverIpv6 = familyOf(pdu) === 6;
  for (const addresses of leaving) {
    const isThere = isOverIpv6
      ? addresses.has6(pdu.addresses, isFromClient ? 0 : 4)
      : addresses.has(client);
    if (isThere) return true;
  }
  return false;
}

/** True for a node that may treat the plain packets of any connection differently. */
export function differs(tree: Tree): boolean {
  switch (tree.node) {
    case "limit":
    case "select":
      return true;
    case "balance":
      return tree.per === "pdu" && tree.by !== "by hash";
    default:
      return false;
  }
}

/** `doubts`: arms above that ask for something unknown. */
function walk(plan: Plan, node: PlanNode, pdu: Pdu, doubts: number): Constancy {
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
      : walk(plan, child, pdu, doubts);
  };
  const step = (reason: number): Constancy => reason === 0 ? branch(0) : kept(reason);
  switch (tree.node) {
    case "first-match":
    case "filter":
      for (const [index, arm] of armsOf(tree)!.entries()) {
        const when = inFamily(arm.when, familyOf(pdu));
        if (asksUnknown(when) && ++doubts > MAX_DOUBTS) return kept(null, when);
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
    case "set-ttl":
      return step(steps.setTtl(pdu, tree.ttl, tree.raise));
    case "limit":
    case "select":
      return kept(null);
    case "decide":
      return end(DECISION_NUMBERS[tree.decision]);
  }
}
