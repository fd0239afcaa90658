/**
 * Makes one JavaScript function out of a policy: nested `if`s with the constants in place, which the
 * engine turns into straight machine code. Measured against closures and against the walker, see
 * `deno task bench`.
 *
 * The text of the function consists of fixed words and of integers that `int` has checked. No text that
 * comes from outside, such as a label, a list name or a file, is ever written into it.
 */
import { PROTOCOL_ICMP } from "../wire/ipv4.ts";
import {
  type Decision,
  DECISION_NUMBERS,
  nodesOf,
  type Policy,
  type Predicate,
  type Tree,
} from "./ast.ts";
import type { Bindings, Evaluate } from "./evaluate.ts";
import { IntSet } from "./int_set.ts";

/** Longest list that is written out as comparisons; longer ones are looked up. */
const INLINE_LIST = 8;

export function compile(policy: Policy, bindings: Bindings): Evaluate {
  const emitter = new Emitter(policy.default, bindings);
  const body = emitter.tree(policy.next);
  const make = new Function(
    "track",
    "translateAToB",
    "translateBToA",
    "positions",
    "sets",
    `"use strict"; return function evaluate(p) { let r = 0; ${body} };`,
  );
  const { track, translateAToB, translateBToA } = bindings.steps;
  return make(track, translateAToB, translateBToA, bindings.positions, emitter.sets);
}

/** A new positions array for `policy`, every balancer at its first branch. */
export function newPositions(policy: Policy): Int32Array {
  return new Int32Array([...nodesOf(policy.next)].length);
}

class Emitter {
  readonly sets: IntSet[] = [];
  readonly #default: string;
  readonly #bindings: Bindings;
  #number = 0;

  constructor(defaultDecision: Decision, bindings: Bindings) {
    this.#default = this.#return(defaultDecision);
    this.#bindings = bindings;
  }

  /** Statements that always return. Called once a node, in the order of the nodes' numbers. */
  tree(tree: Tree): string {
    const number = this.#number++;
    switch (tree.node) {
      case "first-match":
        return tree.arms.map((arm) => this.#if(arm.when, arm.then)).join("") + this.#default;
      case "filter":
        return this.#if(tree.when, tree.then) + this.#default;
      case "round-robin":
        return this.#roundRobin(number, tree.branches);
      case "track":
        return this.#step("track", tree.then);
      case "translate-a-to-b":
        return this.#step("translateAToB", tree.then);
      case "translate-b-to-a":
        return this.#step("translateBToA", tree.then);
      case "decide":
        return this.#return(tree.decision);
    }
  }

  #if(when: Predicate, then: Tree): string {
    return `if (${this.#predicate(when)}) { ${this.tree(then)} } `;
  }

  #step(name: "track" | "translateAToB" | "translateBToA", then: Tree): string {
    return `r = ${name}(p); if (r !== 0) return -r; ${this.tree(then)}`;
  }

  #roundRobin(number: number, branches: readonly Tree[]): string {
    const at = `positions[${int(number)}]`;
    const cases = branches.map((branch, index) => `case ${int(index)}: { ${this.tree(branch)} } `);
    return `r = ${at}; ${at} = r + 1 === ${int(branches.length)} ? 0 : r + 1; ` +
      `switch (r) { ${cases.join("")} } ${this.#default}`;
  }

  #return(decision: Decision): string {
    return `return ${int(DECISION_NUMBERS[decision])}; `;
  }

  #predicate(predicate: Predicate): string {
    switch (predicate.test) {
      case "always":
        return "true";
      case "not":
        return `!(${this.#predicate(predicate.of)})`;
      case "protocol":
        return `p.protocol === ${int(predicate.number)}`;
      case "address":
        return this.#oneOf(predicate.field, this.#bindings.lists[predicate.list]);
      case "port": {
        const field = predicate.field === "srcPort" ? "p.srcPort" : "p.dstPort";
        return `(p.protocol === ${int(predicate.protocol)} && ${field} === ${
          int(predicate.equals)
        })`;
      }
      case "icmp-type":
        return `(p.protocol === ${int(PROTOCOL_ICMP)} && p.icmpType === ${int(predicate.equals)})`;
    }
  }

  #oneOf(field: "src" | "dst", addresses: readonly number[]): string {
    const value = field === "src" ? "p.src" : "p.dst";
    if (addresses.length > INLINE_LIST) {
      return `sets[${int(this.sets.push(new IntSet(addresses)) - 1)}].has(${value})`;
    }
    return addresses.map((address) => `${value} === ${int(address)}`).join(" || ") || "false";
  }
}

/** The only way from data into the function's text. */
function int(value: number): string {
  if (!Number.isInteger(value)) {
    throw new TypeError(`Cannot compile "${value}": expected an integer`);
  }
  return String(value);
}
