/**
 * The policy that runs: its plan, the functions made of it, one for each family, what its balancers
 * remember, and its reload.
 *
 * Long because a policy is made ready in two ways, here or as an image of another thread's, and
 * both end in the same swap.
 */
import type { LimitedLog } from "../core/limited_log.ts";
import { printable } from "../core/text.ts";
import type { Random } from "../core/random.ts";
import { finish, type Slices } from "../core/slices.ts";
import type { Backends } from "../flow/backends/backends.ts";
import { adoptInSlices, runsOf, takeCounts } from "../policy/engine/adopt.ts";
import { Affinity } from "../policy/engine/affinity.ts";
import { annotate, type AnnotatedTree, annotateInPieces } from "../policy/engine/annotate.ts";
import type { Chooser } from "../policy/engine/chooser.ts";
import { evaluatorInSlices } from "../policy/engine/compile.ts";
import { type Constancy, constancyOf } from "../policy/engine/constant.ts";
import { Doubts } from "../policy/engine/doubts.ts";
import type {
  Environment,
  Evaluate,
  LeavingAddresses,
  Steps,
} from "../policy/engine/environment.ts";
import { familyOf } from "../policy/engine/family.ts";
import {
  choosersOf,
  destinationsOf,
  type FamilyImage,
  type Image,
  listsIn,
} from "../policy/engine/image.ts";
import { link } from "../policy/engine/link.ts";
import { labelAt, type Outline, outlineOf } from "../policy/engine/outline.ts";
import {
  addChoosers,
  bindTargets,
  makePlan,
  type Plan,
  planInSlices,
} from "../policy/engine/plan.ts";
import { SourceLimits } from "../policy/engine/source_limits.ts";
import {
  DST_ADDRS,
  ECHO_REPLY,
  FORWARD,
  type Policy,
  type Predicate,
} from "../policy/language/ast.ts";
import { AddressSet } from "../wire/address_set.ts";
import type { HostAddress } from "../wire/host_address.ts";
import type { Pdu } from "../wire/pdu.ts";
import { checkPools } from "./address_rules.ts";
import type { Config, Links } from "./config.ts";
import { type Ask, asking, type ReadyPolicy } from "./interest.ts";

/** Makes a function that runs the tree for either family: the walker, which tells what it does. */
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
  /** Default: `compile`, for each family. */
  readonly evaluator?: Evaluator | undefined;
  /** The kernel carries connections: `isConstant` is asked. */
  readonly isCarried: boolean;
  /** Packets of IPv6 come, too. */
  readonly isIpv6On: boolean;
}

/** What a policy says beside its tree. */
export type Definitions = Pick<Policy, "default" | "pools" | "lists">;

/** What an image is made for. */
export interface Surroundings {
  /** Without `$dst-addrs`. */
  readonly pools: Policy["pools"];
  readonly dstAddrs: readonly HostAddress[];
  /** Pools of which members are leaving, or will be. */
  readonly leaving: readonly string[];
  readonly maxConnections: number;
  readonly maxLimitSources: number;
  /** The kernel carries connections. */
  readonly isCarried: boolean;
  /** The tree is compiled for both families. */
  readonly isIpv6On: boolean;
}

/** Memory that is first written takes long: so many counters at a time, before the swap. */
const EXITS_AT_ONCE = 4096;

/** A tree that runs, for those who show it. */
export interface Nodes {
  /** Made when it is first asked for. */
  readonly outline: () => Slices<Outline>;
  /** How many PDUs ended at each node, by number. */
  readonly exits: Float64Array<ArrayBuffer>;
}

/** A policy that runs. */
interface Running extends Nodes {
  /** Null: it was made by another thread. */
  readonly plan: Plan | null;
  readonly definitions: Definitions;
  readonly choosers: readonly (Chooser | undefined)[];
  /** Null: nobody asks. */
  readonly doubts: Doubts | null;
  readonly doubts6: Doubts | null;
  /** Of nodes that were asked for. */
  readonly labels: Map<number, string | null>;
}

/** Functions that run one tree, each for packets of its family. */
interface Evaluators {
  readonly evaluate: Evaluate;
  readonly evaluate6: Evaluate;
}

export class RunningPolicy {
  /** Runs the tree for a packet of IPv4; changes at a reload. */
  evaluate: Evaluate;
  /** The same for one of IPv6; throws where IPv6 is not on. */
  evaluate6: Evaluate;
  readonly #affinity: Affinity;
  #environment: Environment;
  readonly #evaluator: Evaluator | null;
  readonly #links: Links;
  readonly #backends: Backends;
  readonly #limitSources: number;
  readonly #isCarried: boolean;
  #running: Running;

  /** Throws a RangeError for a policy that can't run. */
  constructor(options: RunningPolicyOptions) {
    const { policy, config, steps, backends, random, nowMs, limitedLog, isIpv6On } = options;
    this.#affinity = new Affinity(config.maxConn);
    this.#environment = {
      isIpv6On,
      dstAddrs: config.dstAddrs,
      steps,
      target: (pool, port, by) => backends.target(pool, port, by),
      leaving: (pool, members) => backends.leaving(pool, members),
      random,
      clock: { nowMs },
      maxConnections: config.maxConn,
      affinity: this.#affinity,
      sourceLimits: new SourceLimits(config.maxLimitSources, random, isIpv6On),
      customFailed: (name, error) =>
        limitedLog.write(
          "error",
          "custom-failed",
          10,
          nowMs(),
          () => `custom ${name} threw: ${printable(String(error))}`,
          () => ({ custom: name, error: String(error) }),
        ),
    };
    this.#evaluator = options.evaluator ?? null;
    this.#links = config.links;
    this.#backends = backends;
    this.#limitSources = config.maxLimitSources;
    this.#isCarried = options.isCarried;
    const plan = makePlan(policy, this.#environment);
    ({ evaluate: this.evaluate, evaluate6: this.evaluate6 } = finish(this.#evaluatorsOf(plan)));
    this.#running = finish(this.#runningOf(plan));
  }

  /**
   * Makes `policy` ready, null is the one that runs, with these `pools` instead of its own and
   * `$dst-addrs` among them, while the old one goes on. What is returned can run it from the next
   * PDU on; positions and counters of nodes that both policies have stay. Throws a RangeError for a
   * policy that can't run. One at a time.
   */
  *prepare(policy: Policy | null, pools: Policy["pools"]): Slices<ReadyPolicy> {
    const { environment, own } = this.#around(pools);
    const old = this.#running;
    const next = policy ?? old.plan?.policy;
    if (next === undefined) throw new Error("Cannot make the policy again: it is another thread's");
    const plan = yield* planInSlices({ ...next, pools: own }, environment);
    const adopted = old.plan === null ? new Int32Array() : yield* adoptInSlices(plan, old.plan);
    yield* addChoosers(plan);
    const evaluators = yield* this.#evaluatorsOf(plan);
    const running = yield* this.#runningOf(plan);
    const runs = yield* runsOf(adopted);
    return this.#swap(pools, runs, evaluators, running, environment, () => {
      bindTargets(plan);
    });
  }

  /** What another thread needs to make an image for these `pools`. Throws as `prepare`. */
  surroundings(pools: Policy["pools"]): Surroundings {
    const { environment: { dstAddrs, maxConnections }, own } = this.#around(pools);
    const leaving = Object.entries(pools)
      .filter(([name, { members }]) => this.#backends.leaving(name, members) !== null)
      .map(([name]) => name);
    return {
      pools: own,
      dstAddrs,
      leaving,
      maxConnections,
      maxLimitSources: this.#limitSources,
      isCarried: this.#isCarried,
      isIpv6On: this.#environment.isIpv6On,
    };
  }

  /** As `prepare`, of an image that has been made for these `pools` and the policy that runs. */
  *prepareImage(image: Image, pools: Policy["pools"]): Slices<ReadyPolicy> {
    const { environment, own } = this.#around(pools);
    const { choosers: known } = this.#running;
    const { outline, adopted } = image;
    const choosers = yield* choosersOf(image, environment, (node) => known[adopted[node]!]);
    yield;
    const destinations = [...destinationsOf(image)];
    const targets = new Int32Array(destinations.length);
    const exits = new Float64Array(adopted.length);
    for (let at = 0; at < exits.length; at += EXITS_AT_ONCE) {
      exits.fill(0, at, at + EXITS_AT_ONCE);
      yield;
    }
    const leavingOf = (pool: string): LeavingAddresses =>
      this.#backends.leaving(pool, pools[pool]?.members ?? []) ?? new AddressSet();
    const { steps } = environment;
    const linkage = { steps, exits, choosers, targets, customs: [] };
    const ofAllPools = Object.entries(pools).flatMap(([pool, { members }]) =>
      this.#backends.leaving(pool, members) ?? []
    );
    function* linked({ code, leaving }: FamilyImage): Slices<Evaluate> {
      const around = { ...linkage, leaving: leaving.map(leavingOf) };
      return (yield* link(code, around)).at(-1) as Evaluate;
    }
    function* doubtsOf({ doubts }: FamilyImage): Slices<Doubts | null> {
      if (doubts === null) return null;
      const around = { ...linkage, leaving: doubts.leaving.map(leavingOf) };
      return yield* Doubts.link(doubts, around, ofAllPools);
    }
    const evaluators = {
      evaluate: yield* linked(image.ipv4),
      evaluate6: image.ipv6 === null ? withoutIpv6 : yield* linked(image.ipv6),
    };
    const doubts = yield* doubtsOf(image.ipv4);
    const doubts6 = image.ipv6 === null ? null : yield* doubtsOf(image.ipv6);
    const definitions = {
      default: outline.default,
      pools: own,
      get lists() {
        return listsIn(image);
      },
    };
    const running = {
      plan: null,
      definitions,
      *outline() {
        yield;
        return outline;
      },
      exits,
      choosers,
      doubts,
      doubts6,
      labels: new Map(),
    };
    const runs = yield* runsOf(adopted);
    return this.#swap(pools, runs, evaluators, running, environment, () => {
      bindTargets({ destinations, environment, targets });
    });
  }

  /** What a policy with these pools has around it, and its own pools. */
  #around(pools: Policy["pools"]): { environment: Environment; own: Policy["pools"] } {
    checkPools(pools, this.#links);
    this.#backends.check(pools);
    const { [DST_ADDRS]: backends, ...own } = pools;
    const dstAddrs = backends!.members.map(({ address }) => address);
    return { environment: { ...this.#environment, dstAddrs }, own };
  }

  #swap(
    pools: Policy["pools"],
    runs: readonly number[],
    { evaluate, evaluate6 }: Evaluators,
    running: Running,
    environment: Environment,
    bind: () => void,
  ): ReadyPolicy {
    const run = () => {
      this.#backends.check(pools); // members may have got connections since
      this.#backends.define(pools); // nothing fails from here on
      bind();
      takeCounts(running, this.#running, runs);
      this.evaluate = evaluate;
      this.evaluate6 = evaluate6;
      this.#running = running;
      this.#environment = environment;
    };
    const { definitions } = running;
    return {
      run,
      policy: definitions,
      predicate: (when) => asking(when, definitions, environment),
    };
  }

  *#evaluatorsOf(plan: Plan): Slices<Evaluators> {
    if (this.#evaluator !== null) {
      const evaluate = this.#evaluator(plan);
      return { evaluate, evaluate6: evaluate };
    }
    const { isIpv6On } = plan.environment;
    const evaluate = yield* evaluatorInSlices(plan, 4);
    const evaluate6 = isIpv6On ? yield* evaluatorInSlices(plan, 6) : withoutIpv6;
    return { evaluate, evaluate6 };
  }

  *#runningOf(plan: Plan): Slices<Running> {
    const { policy: definitions, exits, choosers } = plan;
    const { isIpv6On } = plan.environment;
    const doubts = this.#isCarried ? yield* Doubts.of(plan, 4) : null;
    const doubts6 = this.#isCarried && isIpv6On ? yield* Doubts.of(plan, 6) : null;
    let shown: Outline | null = null;
    function* outline(): Slices<Outline> {
      return shown ??= yield* outlineOf(plan);
    }
    return { plan, definitions, outline, exits, choosers, doubts, doubts6, labels: new Map() };
  }

  /** What the policy says beside its tree. */
  get definitions(): Definitions {
    return this.#running.definitions;
  }

  /** A function that asks this of a PDU, which may name the policy's lists. It changes nothing. */
  predicate(when: Predicate): Ask {
    return asking(when, this.definitions, this.#environment);
  }

  /**
   * True if all plain packets of the connection that come from the same end as `pdu` end as it has,
   * a plain one that was forwarded and settled.
   */
  isConstant(pdu: Readonly<Pdu>): boolean {
    const { doubts, doubts6 } = this.#running;
    return (familyOf(pdu) === 4 ? doubts : doubts6)?.isConstant(pdu) ?? false;
  }

  /** What becomes of them, of which `pdu` could be one; it says more, and takes longer. */
  constancyOf(pdu: Pdu): Constancy {
    return constancyOf(this.#running.plan!, pdu);
  }

  /** Counts PDUs that have ended at the node of that number without an evaluation. */
  count(node: number, pdus: number): void {
    this.#running.exits[node]! += pdus;
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
    const { labels, outline } = this.#running;
    let label = labels.get(node);
    if (label === undefined) labels.set(node, label = labelAt(finish(outline()), node));
    return label;
  }

  get nodes(): Nodes {
    return this.#running;
  }

  /** The lines of the tree, with how many PDUs came to each node. */
  annotated(): AnnotatedTree {
    const { outline, exits } = this.#running;
    return annotate(finish(outline()), exits);
  }

  /** As `annotated`, with a `pause` now and then. */
  annotatedInPieces(pause: () => Promise<void>): Promise<AnnotatedTree> {
    const { outline, exits } = this.#running;
    return annotateInPieces(finish(outline()), exits, pause);
  }
}

function withoutIpv6(): never {
  throw new Error("Cannot run the tree for IPv6: it is not on");
}
