/** Why a predicate can never hold somewhere, in words. */
import type { HostAddress } from "../../wire/host_address.ts";
import { listsOf, type Policy, type Predicate } from "../language/ast.ts";
import type { AddressSpace } from "./address_space.ts";
import { type Kind, SHAPES } from "./box.ts";
import { ADMITTED } from "./coming.ts";
import { EVERYTHING, Restrictor } from "./facts.ts";
import { quoted } from "./finding.ts";

/** Tests that held above, the nearest first; null: none. */
export type Tests = { readonly held: Predicate; readonly up: Tests } | null;

export class Contradictions {
  readonly #policy: Policy;
  readonly #dstAddrs: readonly HostAddress[] | null;
  readonly #space: AddressSpace;
  readonly #coming: Restrictor;
  #shaped: Restrictor | null = null;
  #admitted: Restrictor | null = null;

  /** `coming` knows what comes to the policy. */
  constructor(
    policy: Policy,
    dstAddrs: readonly HostAddress[] | null,
    space: AddressSpace,
    coming: Restrictor,
  ) {
    this.#policy = policy;
    this.#dstAddrs = dstAddrs;
    this.#space = space;
    this.#coming = coming;
  }

  /** The reason, if it is the predicate alone, or one of `tests`; else null. */
  why(when: Predicate, tests: Tests): string | null {
    const never = `${quoted(when)} can never hold`;
    const alone = this.#coming.restrict(EVERYTHING, when);
    if (alone.boxes.length === 0) return `${never}: ${this.#whyAlone(when)}`;
    for (let at = tests; at !== null; at = at.up) {
      if (this.#coming.restrict(alone, at.held).boxes.length > 0) continue;
      return `${never} below ${quoted(at.held)}`;
    }
    return null;
  }

  #whyAlone(when: Predicate): string {
    this.#shaped ??= this.#among(SHAPES);
    if (this.#shaped.restrict(EVERYTHING, when).boxes.length === 0) return "it contradicts itself";
    this.#admitted ??= this.#among(ADMITTED);
    return this.#admitted.restrict(EVERYTHING, when).boxes.length === 0
      ? "such packets are dropped before they come to the policy"
      : "no such packet has that state";
  }

  #among(kinds: readonly Kind[]): Restrictor {
    return new Restrictor(listsOf(this.#policy), this.#dstAddrs, kinds, this.#space);
  }
}
