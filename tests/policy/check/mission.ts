/**
 * PDUs that are meant for one branch: drawn from the set that can come there, until one also suits
 * the custom functions and hashes on the way; with the random numbers that lead there, sent again
 * while turns and token buckets stand in the way.
 */
import type { AddressSpace } from "../../../src/policy/check/address_space.ts";
import { below, type Random, SeededRandom } from "../../../src/core/random.ts";
import type { Predicate, Tree } from "../../../src/policy/language/ast.ts";
import type { Plan } from "../../../src/policy/engine/plan.ts";
import { holds } from "../../../src/policy/engine/walk.ts";
import type { Pdu } from "../../../src/wire/pdu.ts";
import { stableHash } from "../../../src/wire/stable_hash.ts";
import type { Branch } from "../engine/branches.ts";
import { REFUSED_AT } from "../engine/environment.ts";
import { LEVELS } from "./prune.ts";
import { fillWithin, type Ranges, rangesOf } from "../engine/random_pdu.ts";

/** Repeatable random numbers that can be told what to say next. */
export class SteeredRandom implements Random {
  readonly next: number[] = [];
  readonly #random: SeededRandom;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
  }

  uint32(): number {
    const own = this.#random.uint32();
    return this.next.shift() ?? own;
  }
}

const MOST_DRAWS = 30;
const MOST_REPEATS = 120;

export class Mission {
  readonly target: Branch;
  /** How often to send the PDU, if it does not get there at once. */
  readonly repeats: number;
  /** True if a bucket is to be drained, so that no time may pass between them. */
  readonly drains: boolean;
  /** Numbers for the random balancers on the way. */
  readonly draws: readonly number[];
  readonly #plan: Plan;
  /** From the root to the target. */
  readonly #path: readonly Branch[];
  readonly #conditions: readonly ((pdu: Pdu) => boolean)[];
  readonly #ranges: readonly Ranges[];
  readonly #space: AddressSpace;

  /** `space` is that of the plan's policy. */
  constructor(plan: Plan, target: Branch, space: AddressSpace) {
    this.target = target;
    this.#plan = plan;
    this.#space = space;
    const path: Branch[] = [];
    for (let at: Branch | null = target; at !== null; at = at.up) path.unshift(at);
    this.#path = path;
    this.#conditions = path.flatMap((branch) => this.#conditionsOf(branch));
    this.#ranges = target.facts.boxes.map(rangesOf);
    this.draws = path.flatMap(({ node: { tree }, index }) => {
      if (tree.node !== "balance" || tree.by !== "at random") return [];
      const [first, share, total] = sharesOf(tree, index);
      return [Math.floor((first + share / 2) / total * 0x1_0000_0000)];
    });
    this.drains = path.some(({ node: { tree }, index }) => tree.node === "limit" && index < 0);
    const turns = path.map(({ node: { tree }, index }) =>
      tree.node === "balance" && tree.by === "in turn"
        ? sharesOf(tree, index)[2]
        : tree.node === "limit" && index < 0
        ? tree.burst + 1
        : 1
    );
    this.repeats = Math.min(MOST_REPEATS, turns.reduce((product, some) => product * some, 1));
  }

  fill(pdu: Pdu, random: Random): void {
    for (let draw = 0; draw < MOST_DRAWS; draw++) {
      const ranges = this.#ranges[below(random, this.#ranges.length)]!;
      fillWithin(pdu, ranges, random, this.#space);
      for (const branch of this.#path) chooseBranch(pdu, branch);
      if (this.#conditions.every((holds) => holds(pdu))) break;
    }
    const steps = this.#path.filter(({ node: { tree } }) => STEPS.includes(tree.node));
    const refused = this.target.index < 0 && steps.at(-1) === this.target;
    pdu.seq = refused ? REFUSED_AT * steps.length : 0;
  }

  /**
   * What must hold for the branch to be taken that its facts do not say, and that changes nothing.
   */
  #conditionsOf({ node: { tree }, index, facts }: Branch): ((pdu: Pdu) => boolean)[] {
    if (tree.node === "first-match" || tree.node === "filter") {
      const whens = tree.node === "filter" ? [tree.when] : tree.arms.map(({ when }) => when);
      return whens.slice(0, index < 0 ? undefined : index + 1).flatMap((when, i) =>
        facts.exact && !isOpaque(when)
          ? []
          : [(pdu: Pdu) => holds(when, pdu, this.#plan) === (i === index)]
      );
    }
    if (tree.node !== "balance" || tree.by !== "by hash") return [];
    const [first, share, total] = sharesOf(tree, index);
    return [(pdu) => {
      const place = (stableHash(pdu) >>> 0) % total;
      return place >= first && place < first + share;
    }];
  }
}

/** Makes a selector of `prune.ts` choose the branch, with `ack` as its steering bits. */
function chooseBranch(pdu: Pdu, { node: { tree }, index }: Branch): void {
  if (tree.node !== "select") return;
  const shift = 3 * LEVELS.indexOf(tree.index);
  pdu.ack = pdu.ack & ~(7 << shift) | (index + 1) << shift;
}

const STEPS: readonly string[] = ["track", "translate-a-to-b", "translate-b-to-a", "set-ttl"];

/** Shares before the branch, its own, and those of all. */
function sharesOf(
  { branches }: Extract<Tree, { node: "balance" }>,
  index: number,
): readonly [number, number, number] {
  const sum = (some: typeof branches) => some.reduce((total, { weight }) => total + weight, 0);
  return [sum(branches.slice(0, index)), branches[index]!.weight, sum(branches)];
}

/** True for a predicate that `facts.ts` knows nothing about. */
function isOpaque(predicate: Predicate): boolean {
  switch (predicate.test) {
    case "custom":
      return true;
    case "not":
      return isOpaque(predicate.of);
    case "all":
    case "any":
      return predicate.of.some(isOpaque);
    default:
      return false;
  }
}
