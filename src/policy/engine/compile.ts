/**
 * Makes JavaScript functions out of a plan: nested `if`s with the constants in place, which the
 * engine turns into straight machine code. What it must agree with is `walk.ts`.
 *
 * The engine gives up optimizing a function that grows too large, so a policy of any size stays
 * fast by three means:
 *   - a subtree becomes a function of its own when it is large, or when it is in a long list. Its
 *     nodes are numbered relative to a base that is passed in, so equal subtrees share a function;
 *   - long lists of arms are cut into functions of ARMS_PER_FUNCTION;
 *   - a run of arms that each ask for one address or port is not evaluated one by one: `arm_index.ts`
 *     finds the first one that holds by binary search, however many there are.
 *
 * The text of the functions consists of fixed words and of integers that `int` has checked. No text
 * that comes from outside, such as a label, a name or a file, is ever written into it.
 */
import { PROTOCOL_ICMP, PROTOCOL_TCP } from "../../wire/ipv4.ts";
import { FROM_A, FROM_B, STATE_INVALID } from "../../wire/pdu.ts";
import { type Arm, DECISION_NUMBERS, type Interval, type Predicate } from "../language/ast.ts";
import { ArmIndex, indexable } from "./arm_index.ts";
import type { Evaluate } from "./environment.ts";
import { IntervalMap, NOWHERE } from "./interval_map.ts";
import { bindPools, intervalsOf, leavingIn, type Plan, type PlanNode } from "./plan.ts";
import { STATE_NUMBERS } from "./state_numbers.ts";

/** Longest list of ranges that is written out as comparisons; longer ones are looked up. */
const INLINE_RANGES = 4;

/** Shortest run of arms that is worth an index. */
const INDEXED_ARMS = 8;

/** Most arms that are asked one after another in one function. */
const ARMS_PER_FUNCTION = 32;

/** Largest subtree that is inlined; larger ones become functions. */
const INLINE_NODES = 24;

/**
 * Most different functions that an indexed run switches over; beyond, they are called from a table.
 */
const SWITCH_CASES = 16;

export function compile(plan: Plan): Evaluate {
  bindPools(plan);
  const emitter = new Emitter(plan);
  const body = emitter.subtree(plan.root, 0);
  const { steps } = plan.environment;
  const make = new Function(
    ...["steps", "exits", "choosers", "tables"],
    `"use strict"; ${emitter.functions.join(" ")} ` +
      `return function evaluate(p) { const b = 0; let r = 0; ${body} };`,
  );
  return make(steps, plan.exits, plan.choosers, emitter.tables);
}

/** An arm, the node below it, and that node's number relative to the base. */
interface PlannedArm {
  readonly arm: Arm;
  readonly node: PlanNode;
  readonly offset: number;
}

class Emitter {
  /** Texts of the functions made so far. */
  readonly functions: string[] = [];
  /** Objects that the text refers to as `tables[i]`. */
  readonly tables: unknown[] = [];
  readonly #plan: Plan;
  readonly #names = new Map<string, string>();
  readonly #tableNumbers = new Map<unknown, number>();

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  /** Statements that always return; `offset` is the node's number relative to the base `b`. */
  subtree(node: PlanNode, offset: number): string {
    const { tree } = node;
    switch (tree.node) {
      case "first-match":
        return this.#firstMatch(node, offset, tree.arms);
      case "filter":
        return this.#firstMatch(node, offset, [{ when: tree.when, then: tree.then }]);
      case "balance":
      case "limit":
      case "select":
        return this.#choice(node, offset);
      case "track":
        return this.#step("track(p)", node, offset);
      case "translate-a-to-b":
        return this.#step(
          `translateAToB(p, ${int(this.#plan.targets.get(node.number)!)})`,
          node,
          offset,
        );
      case "translate-b-to-a":
        return this.#step("translateBToA(p)", node, offset);
      case "set-ttl":
        return this.#step(`setTtl(p, ${int(tree.ttl)}, ${tree.raise === true})`, node, offset);
      case "decide":
        return this.#exit(offset, int(DECISION_NUMBERS[tree.decision]));
    }
  }

  // Selectors

  #firstMatch(node: PlanNode, offset: number, arms: readonly Arm[]): string {
    const planned = arms.map((arm, i): PlannedArm => {
      const child = node.children[i]!;
      return { arm, node: child, offset: offset + child.number - node.number };
    });
    return this.#cut(this.#segments(planned)) + this.#default(offset);
  }

  /** Statements for the arms, in order: each returns if its arm holds, or one of its arms does. */
  #segments(arms: readonly PlannedArm[]): string[] {
    const segments: string[] = [];
    for (let start = 0; start < arms.length;) {
      let end = start;
      while (end < arms.length && this.#isIndexable(arms[end]!.arm.when)) end++;
      if (end - start >= INDEXED_ARMS) {
        segments.push(this.#indexed(arms.slice(start, end)));
        start = end;
      } else {
        const { arm, node, offset } = arms[start++]!;
        segments.push(`if (${this.#predicate(arm.when)}) { ${this.#branch(node, offset)} } `);
      }
    }
    return segments;
  }

  /** Cuts a long list of statements into functions, which say NOWHERE to go on. */
  #cut(segments: readonly string[]): string {
    if (segments.length <= ARMS_PER_FUNCTION) return segments.join("");
    const calls: string[] = [];
    for (let i = 0; i < segments.length; i += ARMS_PER_FUNCTION) {
      const body = segments.slice(i, i + ARMS_PER_FUNCTION).join("") + `return ${NOWHERE};`;
      calls.push(`r = ${this.#function(body)}(p, b); if (r !== ${NOWHERE}) return r; `);
    }
    return this.#cut(calls);
  }

  /** What a list has for a time is not in the index. */
  #isIndexable(when: Predicate): boolean {
    if (!indexable(when)) return false;
    return when.test !== "address" || leavingIn(when.in, this.#plan).length === 0;
  }

  #indexed(arms: readonly PlannedArm[]): string {
    const { lists } = this.#plan;
    const index = this.#table(new ArmIndex(arms.map(({ arm }) => arm.when), lists));
    const offsets = this.#table(Int32Array.from(arms, ({ offset }) => offset));
    const shapes = arms.map(({ node }) => this.#function(this.subtree(node, 0)));
    const names = [...new Set(shapes)];
    const numbers = new Map(names.map((name, number) => [name, number]));
    const shape = this.#table(Int32Array.from(shapes, (name) => numbers.get(name)!));
    const call = (name: string) => `return ${name}(p, b + ${offsets}[r]); `;
    const dispatch = names.length === 1
      ? call(names[0]!)
      : names.length <= SWITCH_CASES
      ? `switch (${shape}[r]) { ${names.map((n, i) => `case ${int(i)}: ${call(n)}`).join("")} } `
      : call(`${this.#constant(`[${names.join(", ")}]`)}[${shape}[r]]`);
    return `r = ${index}.find(p); if (r !== ${NOWHERE}) { ${dispatch} } `;
  }

  #choice(node: PlanNode, offset: number): string {
    const cases = node.children.map((child, i) =>
      `case ${int(i)}: { ${this.#branch(child, offset + child.number - node.number)} } `
    );
    return `r = choosers[b + ${int(offset)}].choose(p); ` +
      `switch (r) { ${cases.join("")} } ${this.#default(offset)}`;
  }

  /** The subtree inline, or a call if it is large. */
  #branch(node: PlanNode, offset: number): string {
    if (node.size <= INLINE_NODES) return this.subtree(node, offset);
    return `return ${this.#function(this.subtree(node, 0))}(p, b + ${int(offset)}); `;
  }

  #step(call: string, node: PlanNode, offset: number): string {
    const refused = this.#exit(offset, "r");
    return `r = steps.${call}; if (r !== 0) { ${refused} } ` +
      this.#branch(node.children[0]!, offset + 1);
  }

  #default(offset: number): string {
    return this.#exit(offset, int(DECISION_NUMBERS[this.#plan.policy.default]));
  }

  #exit(offset: number, value: string): string {
    return `p.exit = b + ${int(offset)}; exits[b + ${int(offset)}]++; return ${value}; `;
  }

  // Predicates

  #predicate(predicate: Predicate): string {
    switch (predicate.test) {
      case "always":
        return "true";
      case "not":
        return `!(${this.#predicate(predicate.of)})`;
      case "all":
        return `(${predicate.of.map((part) => this.#predicate(part)).join(" && ")})`;
      case "any":
        return `(${predicate.of.map((part) => this.#predicate(part)).join(" || ")})`;
      case "protocol":
        return `p.protocol === ${int(predicate.number)}`;
      case "address":
        return this.#addressIn(
          predicate.field === "src" ? "p.src" : "p.dst",
          intervalsOf(predicate.in, this.#plan.lists),
          leavingIn(predicate.in, this.#plan),
        );
      case "port": {
        const field = predicate.field === "srcPort" ? "p.srcPort" : "p.dstPort";
        const within = this.#numberIn(field, predicate.in);
        return `(p.protocol === ${int(predicate.protocol)} && ${within})`;
      }
      case "tcp-flags":
        return `(p.protocol === ${PROTOCOL_TCP} && (p.tcpFlags & ` +
          `${int(predicate.set | predicate.clear)}) === ${int(predicate.set)})`;
      case "icmp": {
        const code = predicate.code === null ? "" : ` && p.icmpCode === ${int(predicate.code)}`;
        return `(p.protocol === ${PROTOCOL_ICMP} && p.icmpType === ${int(predicate.type)}${code})`;
      }
      case "number":
        return this.#numberIn(predicate.field === "ttl" ? "p.ttl" : "p.totalLength", predicate.in);
      case "fragment":
        return "p.fragment !== 0";
      case "state":
        return predicate.state === "stray"
          ? `(p.state === ${int(STATE_INVALID)} && p.flow < 0)`
          : `p.state === ${int(STATE_NUMBERS[predicate.state])}`;
      case "side":
        return `p.side === ${int(predicate.side === "b" ? FROM_B : FROM_A)}`;
      case "custom":
        return `${this.#table(this.#plan.customs.get(predicate))}(p) === true`;
    }
  }

  #addressIn(
    value: string,
    intervals: readonly Interval[],
    leaving: readonly ReadonlySet<number>[],
  ): string {
    const [set, ...others] = leaving;
    if (set !== undefined) {
      return `(${this.#addressIn(value, intervals, others)} || ${this.#table(set)}.has(${value}))`;
    }
    if (intervals.length > INLINE_RANGES) return `${this.#intervalMap(intervals)}.has(${value})`;
    const tests = intervals.map(({ first, last }) =>
      first === last
        ? `${value} === ${int(first | 0)}`
        : `(${value} & ${int(~(last - first))}) === ${int(first | 0)}`
    );
    return `(${tests.join(" || ") || "false"})`;
  }

  #numberIn(value: string, ranges: readonly Interval[]): string {
    if (ranges.length > INLINE_RANGES) return `${this.#intervalMap(ranges)}.has(${value})`;
    const tests = ranges.map(({ first, last }) =>
      first === last
        ? `${value} === ${int(first)}`
        : `(${value} >= ${int(first)} && ${value} <= ${int(last)})`
    );
    return `(${tests.join(" || ")})`;
  }

  #intervalMap(intervals: readonly Interval[]): string {
    return this.#table(new IntervalMap(intervals.map((interval) => ({ interval, id: 0 }))));
  }

  /** Name of a constant beside the functions. */
  #constant(value: string): string {
    const name = `c${int(this.functions.length)}`;
    this.functions.push(`const ${name} = ${value};`);
    return name;
  }

  /** How the text refers to an object. */
  #table(value: unknown): string {
    let number = this.#tableNumbers.get(value);
    if (number === undefined) {
      number = this.tables.push(value) - 1;
      this.#tableNumbers.set(value, number);
    }
    return `tables[${int(number)}]`;
  }

  /**
   * Name of the function with this body, of the PDU `p` and the base `b`; equal bodies share one.
   */
  #function(body: string): string {
    let name = this.#names.get(body);
    if (name === undefined) {
      name = `f${int(this.#names.size)}`;
      this.#names.set(body, name);
      this.functions.push(`function ${name}(p, b) { let r = 0; ${body} }`);
    }
    return name;
  }
}

/** The only way from data into the functions' text. */
function int(value: number): string {
  if (!Number.isInteger(value)) {
    throw new TypeError(`Cannot compile "${value}": expected an integer`);
  }
  return String(value);
}
