/**
 * The policy that runs: its plan, the function made of it, what its balancers remember, and its
 * reload.
 */
import type { LimitedLog } from "../core/limited_log.ts";
import type { Random } from "../core/random.ts";
import { finish, type Slices } from "../core/slices.ts";
import type { Backends } from "../flow/backends/backends.ts";
import { adoptInSlices, takeCounts } from "../policy/engine/adopt.ts";
import { Affinity } from "../policy/engine/affinity.ts";
import { annotate, type AnnotatedTree, annotateInPieces } from "../policy/engine/annotate.ts";
import { compile, compileInSlices } from "../policy/engine/compile.ts";
import { type Constancy, constancyOf } from "../policy/engine/constant.ts";
import type { Environment, Evaluate, Steps } from "../policy/engine/environment.ts";
import { bindTargets, makePlan, type Plan, planInSlices } from "../policy/engine/plan.ts";
import { SourceLimits } from "../policy/engine/source_limits.ts";
import {
  DST_ADDRS,
  ECHO_REPLY,
  FORWARD,
  type Policy,
  type Predicate,
  type Tree,
} from "../policy/language/ast.ts";
import type { Pdu } from "../wire/pdu.ts";
import { checkPools } from "./address_rules.ts";
import type { Config, Links } from "./config.ts";

/** Makes the function that runs the tree: as `compile`, or one that can tell what it does. */
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
  #environment: Environment;
  readonly #evaluator: Evaluator | null;
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
      leaving: (pool, members) => backends.leaving(pool, members),
      random,
      clock: { nowMs },
      maxConnections: config.maxConn,
      affinity: this.#affinity,
      sourceLimits: new SourceLimits(config.maxLimitSources, random),
      customFailed: (name, error) =>
        limitedLog.write("error", "custom", 10, nowMs(), () => `custom ${name} threw: ${error}`),
    };
    this.#evaluator = options.evaluator ?? null;
    this.#links = config.links;
    this.#backends = backends;
    this.#plan = makePlan(policy, this.#environment);
    this.evaluate = finish(this.#evaluatorOf(this.#plan));
  }

  /**
   * Makes `policy` ready, with these `pools` instead of its own and `$dst-addrs` among them, while
   * the old one goes on. What is returned runs it from the next PDU on; positions and counters of
   * nodes that both policies have stay. Throws a RangeError for a policy that can't run. One at a
   * time.
   */
  *prepare(policy: Policy, pools: Policy["pools"]): Slices<() => void> {
    checkPools(pools, this.#links);
    this.#backends.check(pools);
    const old = this.#plan;
    const { [DST_ADDRS]: backends, ...own } = pools;
    const dstAddrs = backends!.members.map(({ address }) => address);
    const environment = { ...this.#environment, dstAddrs };
    const plan = yield* planInSlices({ ...policy, pools: own }, environment);
    const numbers = yield* adoptInSlices(plan, old);
    const evaluate = yield* this.#evaluatorOf(plan);
    return () => {
      this.#backends.check(pools); // members may have got connections since
      this.#backends.define(pools); // nothing fails from here on
      bindTargets(plan);
      takeCounts(plan, old, numbers);
      this.evaluate = evaluate;
      this.#plan = plan;
      this.#environment = environment;
    };
  }

  *#evaluatorOf(plan: Plan): Slices<Evaluate> {
    return this.#evaluator === null ? yield* compileInSlices(plan) : this.#evaluator(plan);
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

  /** What becomes of all plain packets of the connection that come from the same end as `pdu`. */
  constancyOf(pdu: Pdu): Constancy {
    return constancyOf(this.#plan, pdu);
  }

  /** Counts PDUs that have ended at the node of that number without an evaluation. */
  count(node: number, pdus: number): void {
    this.#plan.exits[node]! += pdus;
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
