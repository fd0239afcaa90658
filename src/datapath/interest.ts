/**
 * Which PDUs an observer wants that has a predicate: asked before anything is done for it, so that
 * it costs what it wants, not what passes.
 *
 *     from the headers alone     mayHold        is anything kept of the PDU?
 *     before the tree            holds          does this plain segment leave header prediction?
 *     of a connection            mayHoldLater   may the kernel carry it?
 */
import { possiblyByHeaders } from "../policy/engine/headers_alone.ts";
import { compile } from "../policy/engine/compile.ts";
import type { Environment } from "../policy/engine/environment.ts";
import { familyOf } from "../policy/engine/family.ts";
import { makePlan } from "../policy/engine/plan.ts";
import { possibly } from "../policy/engine/unknown.ts";
import { FORWARD, type Policy, type Predicate, type Tree } from "../policy/language/ast.ts";
import type { Pdu } from "../wire/pdu.ts";
import type { Definitions } from "./running_policy.ts";

/** Asks something of a PDU, and changes nothing. */
export type Ask = (pdu: Pdu) => boolean;

/** PDUs of some kind: none of them, all, or those for which this holds. */
export type Some = "none" | "all" | Ask;

export interface Interest {
  /** Whether `holds` may say yes when the PDU's state and side are known. */
  readonly mayHold: Ask;
  readonly holds: Ask;
  /** Of a plain PDU: whether one of its connection that comes from the same end may be wanted. */
  readonly mayHoldLater: Ask;
}

/** What runs, for those who ask PDUs something in its words. */
export interface Asked {
  readonly policy: Definitions;
  /** A function that asks this of a PDU; it may name the policy's lists. */
  predicate(when: Predicate): Ask;
}

/** A change that is ready, and what can be asked in the words of the policy that runs then. */
export interface ReadyPolicy extends Asked {
  /** Makes it, in one step. */
  readonly run: () => void;
}

/** The interest in PDUs for which `when` holds. */
export function interestIn(when: Predicate, asked: Asked): Interest {
  return {
    mayHold: asked.predicate(possiblyByHeaders(when)),
    holds: asked.predicate(when),
    mayHoldLater: asked.predicate(possibly(when)),
  };
}

/** Those that one of two wants. */
export function either(first: Some, second: Some): Some {
  if (first === "all" || second === "all") return "all";
  if (first === "none") return second;
  if (second === "none") return first;
  return (pdu) => first(pdu) || second(pdu);
}

/** A function that asks `when` in the words of a policy that runs, or will run. */
export function asking(
  when: Predicate,
  { lists, pools }: Definitions,
  environment: Environment,
): Ask {
  const then: Tree = { node: "decide", decision: "forward", label: null };
  const next: Tree = { node: "filter", when, then };
  const policy: Policy = { default: "drop", lists, pools, subtrees: {}, next };
  const plan = makePlan(policy, environment);
  const evaluate = compile(plan, 4);
  const evaluate6 = environment.isIpv6On ? compile(plan, 6) : null;
  return (pdu) => {
    const { exit } = pdu;
    const run = evaluate6 === null || familyOf(pdu) === 4 ? evaluate : evaluate6;
    const holds = run(pdu) === FORWARD;
    pdu.exit = exit;
    return holds;
  };
}
