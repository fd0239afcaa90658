/**
 * Makes policies ready to run in another thread than this one: reads and checks their texts, and
 * gives images. It remembers the policy that runs, whose nodes keep what they have counted and
 * chosen.
 */
import { finish } from "../../core/slices.ts";
import type { Surroundings } from "../../datapath/running_policy.ts";
import { adoptInSlices } from "../../policy/engine/adopt.ts";
import { Affinity } from "../../policy/engine/affinity.ts";
import type { Environment, LeavingAddresses } from "../../policy/engine/environment.ts";
import { type Image, imageOf } from "../../policy/engine/image.ts";
import { type Plan, planInSlices } from "../../policy/engine/plan.ts";
import { SourceLimits } from "../../policy/engine/source_limits.ts";
import type { Policy } from "../../policy/language/ast.ts";
import { loadedFrom, type ParsableText, parseSource } from "../policy_file.ts";
import { checkPolicy } from "../policy_findings.ts";
import { AddressSet } from "../../wire/address_set.ts";
import type { Loaded, SourceOutline } from "./messages.ts";
import { sourceOf } from "./texts.ts";

export class Maker {
  #loaded: Policy | null = null;
  #made: Plan | null = null;
  /** What runs. */
  #running: Plan | null = null;
  /** Of the next policy. */
  #texts = "";

  read(piece: string): void {
    this.#texts += piece;
  }

  /** This policy runs, made by somebody else. */
  know(outline: SourceOutline): void {
    const { policy } = finish(parseSource(this.#sourceOf(outline), {}));
    this.#running = policy === null ? null : finish(planInSlices(policy, around(NOWHERE)));
  }

  /** Throws an Error that says what is wrong. */
  load(outline: SourceOutline, isChecked: boolean): Loaded {
    const source = this.#sourceOf(outline);
    this.#loaded = null;
    const parsed = loadedFrom(source.file, finish(parseSource(source, {})));
    const warnings: string[] = [];
    if (isChecked) checkPolicy(parsed, { warning: (text) => void warnings.push(text) });
    this.#loaded = parsed.policy;
    return { pools: parsed.policy.pools, warnings };
  }

  #sourceOf(outline: SourceOutline): ParsableText {
    const source = sourceOf(outline, this.#texts);
    this.#texts = "";
    return source;
  }

  /**
   * The image of the loaded policy, or of the one that runs. Throws a RangeError if it can't run.
   */
  make(isLoaded: boolean, surroundings: Surroundings): Image {
    const policy = isLoaded ? this.#loaded : this.#running?.policy ?? null;
    if (policy === null) throw new Error("Cannot make a policy: there is none");
    const environment = around(surroundings);
    const plan = finish(planInSlices({ ...policy, pools: surroundings.pools }, environment));
    const adopted = this.#running === null
      ? new Int32Array(plan.nodes.length).fill(-1)
      : finish(adoptInSlices(plan, this.#running));
    const poolOf = (members: LeavingAddresses) =>
      surroundings.leaving.find((pool) => environment.leaving(pool, []) === members)!;
    this.#made = plan;
    return finish(imageOf(plan, adopted, poolOf, surroundings.isCarried));
  }

  /** What was made last runs now. */
  took(): void {
    this.#running = this.#made;
    this.#loaded = this.#made = null;
  }
}

const NOWHERE: Surroundings = {
  pools: {},
  dstAddrs: [],
  leaving: [],
  maxConnections: 0,
  maxLimitSources: 0,
  isCarried: false,
  isIpv6On: false,
};

/** An environment for a plan that does not run here. */
function around(surroundings: Surroundings): Environment {
  const { dstAddrs, leaving, maxConnections, maxLimitSources, isIpv6On } = surroundings;
  const never = () => {
    throw new Error("Cannot run a policy where it is made");
  };
  const sets = new Map(leaving.map((pool) => [pool, new AddressSet()]));
  return {
    dstAddrs,
    leaving: (pool) => sets.get(pool) ?? null,
    maxConnections,
    sourceLimits: new SourceLimits(maxLimitSources, { uint32: never }, isIpv6On),
    isIpv6On,
    steps: { track: never, translateAToB: never, translateBToA: never, setTtl: never },
    target: never,
    random: { uint32: never },
    clock: { nowMs: never },
    affinity: new Affinity(0),
    customFailed: never,
  };
}
