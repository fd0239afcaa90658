/** Environments for tests: steps that note themselves on the PDU, and refuse it when told to. */
import { ManualClock } from "../../../src/core/clock.ts";
import { type Random, SeededRandom } from "../../../src/core/random.ts";
import { Affinity } from "../../../src/policy/engine/affinity.ts";
import type { Environment, Steps } from "../../../src/policy/engine/environment.ts";
import { DST_ADDRS } from "../../../src/policy/language/ast.ts";
import type { Plan } from "../../../src/policy/engine/plan.ts";
import { SourceLimits } from "../../../src/policy/engine/source_limits.ts";
import { AddressSet } from "../../../src/wire/address_set.ts";
import type { HostAddress } from "../../../src/wire/host_address.ts";
import { Pdu, STEP_A_TO_B, STEP_B_TO_A, STEP_TRACK } from "../../../src/wire/pdu.ts";

/**
 * The n-th step that is asked refuses a PDU whose `seq` is this times n; no predicate asks for
 * `seq`.
 */
export const REFUSED_AT = 2;

/** The reasons for which steps refuse. */
export const REFUSALS = { track: -7, translateAToB: -8, translateBToA: -9, setTtl: -10 } as const;

export interface TestEnvironment extends Environment {
  readonly clock: ManualClock;
  /**
   * What was asked of the steps, with their arguments, e.g. `translateAToB at random`. To be
   * emptied before each PDU that is to be refused.
   */
  readonly asked: string[];
  /** Names for which `customFailed` was called. */
  readonly failed: string[];
}

export interface EnvironmentOptions {
  readonly dstAddrs?: readonly HostAddress[];
  readonly leaving?: Readonly<Record<string, ReadonlySet<HostAddress>>>;
  readonly random?: Random;
  readonly maxConnections?: number;
  readonly maxLimitSources?: number;
  readonly isIpv6On?: boolean;
}

export function environmentOf(options: EnvironmentOptions = {}): TestEnvironment {
  const { dstAddrs = [], random = new SeededRandom(1), maxConnections = 8 } = options;
  const { maxLimitSources = 65_536, isIpv6On = false } = options;
  const asked: string[] = [];
  const failed: string[] = [];
  const step = (pdu: Pdu, name: keyof Steps, argument: string | number = ""): boolean => {
    asked.push(argument === "" ? name : `${name} ${argument}`);
    return asked.length * REFUSED_AT !== pdu.seq;
  };
  const noted = (pdu: Pdu, bit: number): number => {
    pdu.steps |= bit;
    return 0;
  };
  const targets: string[] = [];
  const leaving = new Map(
    Object.entries(options.leaving ?? {}).map(([pool, set]) =>
      [pool, set instanceof AddressSet ? set : AddressSet.of(set)] as const
    ),
  );
  return {
    dstAddrs,
    leaving: (pool) => leaving.get(pool) ?? null,
    target: (pool, port, by) => {
      const place = pool === DST_ADDRS && port === 0 ? by : `${pool} ${port} ${by}`;
      return targets.includes(place) ? targets.indexOf(place) : targets.push(place) - 1;
    },
    steps: {
      track: (pdu) => step(pdu, "track") ? noted(pdu, STEP_TRACK) : REFUSALS.track,
      translateAToB: (pdu, target) =>
        step(pdu, "translateAToB", targets[target])
          ? noted(pdu, STEP_A_TO_B)
          : REFUSALS.translateAToB,
      translateBToA: (pdu) =>
        step(pdu, "translateBToA") ? noted(pdu, STEP_B_TO_A) : REFUSALS.translateBToA,
      setTtl: (pdu, ttl, raise) => {
        if (!step(pdu, "setTtl", raise ? `${ttl} raise` : ttl)) return REFUSALS.setTtl;
        pdu.newTtl = ttl;
        return 0;
      },
    },
    random,
    clock: new ManualClock(1000),
    maxConnections,
    affinity: new Affinity(maxConnections),
    sourceLimits: new SourceLimits(maxLimitSources, new SeededRandom(2), isIpv6On),
    isIpv6On,
    customFailed: (name) => void failed.push(name),
    asked,
    failed,
  };
}

export function pduOf(fields: Partial<Pdu> = {}): Pdu {
  return Object.assign(new Pdu(), { flow: -1 }, fields);
}

/** How often each node was visited, by number. */
export function visits(plan: Plan): Float64Array {
  const counts = Float64Array.from(plan.exits);
  for (let number = counts.length - 1; number >= 0; number--) {
    for (const child of plan.nodes[number]!.children) counts[number]! += counts[child.number]!;
  }
  return counts;
}
