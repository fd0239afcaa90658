/** The policy that runs: its plan, the function made of it, what its balancers remember, and its reload. */
import type { LimitedLog } from "../core/limited_log.ts";
import type { Random } from "../core/random.ts";
import type { Backends } from "../flow/backends/backends.ts";
import { Affinity } from "../policy/engine/affinity.ts";
import { annotate, type AnnotatedTree, annotateInPieces } from "../policy/engine/annotate.ts";
import { compile } from "../policy/engine/compile.ts";
import type { Environment, Evaluate, Steps } from "../policy/engine/environment.ts";
import { adopt, makePlan, type Plan } from "../policy/engine/plan.ts";
import { SourceLimits } from "../policy/engine/source_limits.ts";
import {
  ECHO_REPLY,
  FORWARD,
  type Policy,
  type Predicate,
  type Tree,
} from "../policy/language/ast.ts";
import type { Pdu } from "../wire/pdu.ts";
import { checkPools } from "./address_rules.ts";
import type { Config, Links } from "./config.ts";

/** Makes the function that runs the tree: `compile`, or one that can tell what it does. */
export type Evaluator = (plan: Plan) => Evaluate;

export interface RunningPolicyOptions {
  readonly policy: Policy;
  readonly config: Config;
  readonly steps: Steps;
  readonly backends: Backends;
  readonly random: Random;
  /** The time as the appliance has read it. */
  readonly nowMs: () => number;
  readonly limitedLog: LimitedLog;
  /** Default: `compile`. */
  readonly evaluator?: Evaluator | undefined;
}

export class RunningPolicy {
  /** Runs the tree; changes at a reload. */
  evaluate: Evaluate;
  readonly #affinity: Affinity;
  readonly #environment: Environment;
  readonly #evaluator: Evaluator;
  readonly #links: Links;
  readonly #backends: Backends;
  #plan: Plan;

  /** Throws a RangeError for a policy that can't run. */
  constructor(options: RunningPolicyOptions) {
    const { policy, config, steps, backends, random, nowMs, limitedLog } = options;
    this.#affinity = new Affinity(config.maxConn);
    this.#environment = {
      dstAddrs: config.dstAddrs,
      steps,
      target: (pool, port, by) => backends.target(pool, port, by),
      leaving: (pool) => backends.leaving(pool),
      random,
      clock: { nowMs },
      maxConnections: config.maxConn,
      affinity: this.#affinity,
      sourceLimits: new SourceLimits(config.maxLimitSources, random),
      customFailed: (name, error) =>
        limitedLog.write("error", "custom", 10, nowMs(), () => `custom ${name} threw: ${error}`),
    };
    this.#evaluator = options.evaluator ?? compile;
    this.#links = config.links;
    this.#backends = backends;
    this.#plan = makePlan(policy, this.#environment);
    this.evaluate = this.#evaluator(this.#plan);
  }

  /**
   * Runs `policy` from the next PDU on; positions and counters of nodes that both policies have stay.
   * Throws a RangeError for a policy that can't run; then the old one goes on.
   */
  replace(policy: Policy): void {
    checkPools(policy.pools, this.#links);
    this.#backends.check(policy.pools);
    const plan = makePlan(policy, this.#environment);
    this.#backends.define(policy.pools); // nothing fails from here on
    adopt(plan, this.#plan);
    this.evaluate = this.#evaluator(plan);
    this.#plan = plan;
  }

  get policy(): Policy {
    return this.#plan.policy;
  }

  /** A function that asks this of a PDU, which may name the policy's lists. It changes nothing. */
  predicate(when: Predicate): (pdu: Pdu) => boolean {
    const then: Tree = { node: "decide", decision: "forward", label: null };
    const next: Tree = { node: "filter", when, then };
    const { lists, pools } = this.policy;
    const asking: Policy = { default: "drop", lists, pools, subtrees: {}, next };
    const evaluate = compile(makePlan(asking, this.#environment));
    return (pdu) => {
      const { exit } = pdu;
      const holds = evaluate(pdu) === FORWARD;
      pdu.exit = exit;
      return holds;
    };
  }

  /** Forgets what balancers chose in an evaluation that has thrown. */
  forget(): void {
    this.#affinity.settle(-1);
  }

  /** Tells balancers which connection they have chosen for, if it has an entry now. */
  settle(pdu: Pdu, outcome: number): void {
    const affinity = this.#affinity;
    if (pdu.opened !== 0) affinity.opened(pdu.flow >> 1);
    affinity.settle(outcome === FORWARD || outcome === ECHO_REPLY ? pdu.flow >> 1 : -1);
  }

  /** Label of the decision at the node of that number, if it is one and has one. */
  labelOf(node: number): string | null {
    const { tree } = this.#plan.nodes[node]!;
    return tree.node === "decide" ? tree.label : null;
  }

  /** The lines of the tree, with how many PDUs came to each node. */
  annotated(): AnnotatedTree {
    return annotate(this.#plan);
  }

  /** As `annotated`, with a `pause` now and then. */
  annotatedInPieces(pause: () => Promise<void>): Promise<AnnotatedTree> {
    return annotateInPieces(this.#plan, pause);
  }
}
