/**
 * Makes JavaScript functions out of a plan: nested `if`s with the constants in place, which the
 * engine turns into straight machine code. What it must agree with is `walk.ts`.
 *
 * The engine gives up optimizing a function that grows too large, so a policy of any size stays
 * fast by three means:
 *   - a subtree becomes a function of its own when it is large, or when it is in a long list. Its
 *     nodes are numbered relative to a base that is passed in, so equal subtrees share a function;
 *   - long lists of arms are cut into functions of ARMS_PER_FUNCTION;
 *   - a run of arms that each ask for one address or port is not evaluated one by one:
 *     `arm_index.ts` finds the first one that holds by binary search, however many there are.
 *
 * There is a function for each family, with what the family settles left out (`family.ts`).
 *
 * What is compiled is data, texts of some PIECE_LENGTH characters and numbers, so that it need not
 * happen in the packet thread. `link.ts` makes the functions.
 *
 * The text of the functions consists of fixed words and of integers that `int` has checked. No text
 * that comes from outside, such as a label, a name or a file, is ever written into it.
 *
 * Long because what is written for each node and predicate is here, as in `walk.ts`.
 */
import { finish, type Slices } from "../../core/slices.ts";
import { TextWriter } from "../../core/texts.ts";
import { wordsOf } from "../../wire/host_address.ts";
import { PROTOCOL_ICMP, PROTOCOL_TCP } from "../../wire/ipv4.ts";
import { FROM_A, FROM_B, type Pdu, STATE_INVALID } from "../../wire/pdu.ts";
import {
  type AddressTerm,
  type Arm,
  DECISION_NUMBERS,
  type Family,
  type Interval,
  type Predicate,
} from "../language/ast.ts";
import { icmpKindIn } from "../language/icmp_words.ts";
import { indexable, writeArms } from "./arm_index.ts";
import type { Evaluate, LeavingAddresses } from "./environment.ts";
import { inFamily, NEVER, protocolIn } from "./family.ts";
import { NOWHERE, writeRanges, writeRanges6 } from "./interval_map.ts";
import { type Code, link } from "./link.ts";
import { NumberWriter } from "./number_writer.ts";
import { type Interval6, intervals6InSlices, intervalsInSlices } from "./address_ranges.ts";
import { leavingIn, type Plan, type PlanNode } from "./plan.ts";
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

/**
 * Characters after which a list of statements is cut, and functions are made of what has come
 * together.
 */
const PIECE_LENGTH = 8192;

/** Most parts of a predicate in one function. */
const PARTS_PER_FUNCTION = 64;

/**
 * Nodes between two places where the work can be interrupted: below 500 others each costs
 * something.
 */
const NODES_AT_ONCE = 16;

/** What is compiled, and what of it can't cross threads. */
export interface Compiled {
  readonly code: Code;
  /** Addresses of members that are leaving, by the number that the text has for them. */
  readonly leaving: readonly LeavingAddresses[];
  /** Users' predicates, likewise. */
  readonly customs: readonly ((pdu: Readonly<Pdu>) => boolean)[];
}

/** A function for packets of this family. */
export function compile(plan: Plan, family: Family = 4): Evaluate {
  return finish(evaluatorInSlices(plan, family));
}

/** Compiles, and makes the functions. */
export function* evaluatorInSlices(plan: Plan, family: Family = 4): Slices<Evaluate> {
  const { code, leaving, customs } = yield* compileInSlices(plan, family);
  const { environment: { steps }, exits, choosers, targets } = plan;
  const linkage = { steps, exits, choosers, targets, leaving, customs };
  return (yield* link(code, linkage)).at(-1) as Evaluate;
}

export function* compileInSlices(plan: Plan, family: Family): Slices<Compiled> {
  return yield* new Emitter(plan, family).compiled();
}

/** As `compileInSlices`, of functions that ask these of a PDU, and the place of each. */
export function* predicatesInSlices(
  plan: Plan,
  family: Family,
  predicates: readonly Predicate[],
): Slices<Compiled & { readonly places: readonly number[] }> {
  return yield* new Emitter(plan, family).predicates(predicates);
}

class Emitter {
  readonly #plan: Plan;
  readonly #family: Family;
  readonly #names = new Map<string, string>();
  readonly #texts = new TextWriter();
  readonly #numbers = new NumberWriter();
  readonly #leaving: LeavingAddresses[] = [];
  readonly #customs: ((pdu: Readonly<Pdu>) => boolean)[] = [];
  /** Functions in `#texts`. */
  #written = 0;
  /** Bodies of functions that are still to be written, and their length. */
  #bodies: string[] = [];
  #length = 0;
  #nodes = 0;

  constructor(plan: Plan, family: Family) {
    this.#plan = plan;
    this.#family = family;
  }

  *compiled(): Slices<Compiled> {
    const body = yield* this.#subtree(this.#plan.root, 0);
    yield;
    this.#writeBodies();
    this.#write([`function evaluate(p) { const b = 0; let r = 0; ${body} }`]);
    return this.#made();
  }

  *predicates(
    predicates: readonly Predicate[],
  ): Slices<Compiled & { readonly places: readonly number[] }> {
    const places: number[] = [];
    for (const predicate of predicates) {
      const own = inFamily(predicate, this.#family);
      places.push(placeIn(this.#function(`return ${yield* this.#predicate(own)};`)));
      yield;
    }
    this.#writeBodies();
    return { ...this.#made(), places };
  }

  #made(): Compiled {
    const code = { texts: this.#texts.texts(), numbers: this.#numbers.numbers.slice() };
    return { code, leaving: this.#leaving, customs: this.#customs };
  }

  /** Statements that always return; `offset` is the node's number relative to the base `b`. */
  *#subtree(node: PlanNode, offset: number): Slices<string> {
    if (++this.#nodes % NODES_AT_ONCE === 0) yield;
    const { tree } = node;
    switch (tree.node) {
      case "first-match":
        return yield* this.#firstMatch(node, offset, tree.arms);
      case "filter":
        return yield* this.#firstMatch(node, offset, [{ when: tree.when, then: tree.then }]);
      case "balance":
      case "limit":
      case "select":
        return yield* this.#choice(node, offset);
      case "track":
        return yield* this.#step("track(p)", node, offset);
      case "translate-a-to-b":
        return yield* this.#step(
          `translateAToB(p, ${this.#target(node.number)})`,
          node,
          offset,
        );
      case "translate-b-to-a":
        return yield* this.#step("translateBToA(p)", node, offset);
      case "set-ttl":
        return yield* this.#step(
          `setTtl(p, ${int(tree.ttl)}, ${tree.raise === true})`,
          node,
          offset,
        );
      case "decide":
        return this.#exit(offset, int(DECISION_NUMBERS[tree.decision]));
    }
  }

  // Selectors

  *#firstMatch(node: PlanNode, offset: number, arms: readonly Arm[]): Slices<string> {
    return (yield* this.#cut(this.#segments(node, offset, arms))) + this.#default(offset);
  }

  /** Statements for the arms, in order: each returns if its arm holds, or one of its arms does. */
  *#segments(
    node: PlanNode,
    offset: number,
    written: readonly Arm[],
  ): Generator<string | void> {
    const arms = yield* this.#inFamily(written);
    for (let start = 0; start < arms.length;) {
      if (arms[start]!.when === NEVER) {
        if (++start % 1024 === 0) yield;
        continue;
      }
      let end = start;
      let asked = 0;
      for (; end < arms.length; end++) {
        if (end % 1024 === 1023) yield;
        const { when } = arms[end]!;
        if (when === NEVER) continue; // of the other family
        if (!this.#isIndexable(when)) break;
        asked++;
      }
      if (asked >= INDEXED_ARMS) {
        const whens = whensOf(arms, start, end);
        const index = yield* writeArms(this.#numbers, whens, this.#plan, this.#family);
        const isLeftOut = (place: number) => arms[place]!.when === NEVER;
        const called = yield* this.#called(node, offset, start, end, isLeftOut);
        const find = this.#family === 6 ? "find6" : "find";
        yield `r = ${find}(numbers, ${int(index)}, p); if (r !== ${NOWHERE}) { ${called} } `;
        start = end;
      } else {
        const child = node.children[start]!;
        const { when: own } = arms[start++]!;
        const when = yield* this.#predicate(own);
        const then = yield* this.#branch(child, offset + child.number - node.number);
        yield `if (${when}) { ${then} } `;
      }
    }
  }

  /** What the arms ask of packets of the family. */
  *#inFamily(arms: readonly Arm[]): Generator<void, readonly Arm[]> {
    const own: Arm[] = [];
    let isSame = true;
    for (const arm of arms) {
      const when = inFamily(arm.when, this.#family);
      isSame &&= when === arm.when;
      if (own.push(when === arm.when ? arm : { ...arm, when }) % 1024 === 0) yield;
      if (when !== arm.when && when.test === "always") break; // none comes further
    }
    return isSame ? arms : own;
  }

  /**
   * Cuts a long list of statements into functions, which say NOWHERE to go on: as the statements
   * come, so that they are not all there at a time.
   */
  *#cut(segments: Iterable<string | void>): Slices<string> {
    const calls: string[] = [];
    let [group, length] = ["", 0];
    const call = () => {
      const name = this.#function(`${group}return ${NOWHERE};`);
      calls.push(`r = ${name}(p, b); if (r !== ${NOWHERE}) return r; `);
      [group, length] = ["", 0];
    };
    for (const segment of segments) {
      if (segment === undefined) yield;
      else {
        if (length === ARMS_PER_FUNCTION || group.length > PIECE_LENGTH) {
          call();
          yield;
        }
        group += segment;
        length++;
      }
    }
    if (calls.length === 0) return group;
    call();
    return yield* this.#cut(calls);
  }

  /** What a list has for a time is not in the index. */
  #isIndexable(when: Predicate): boolean {
    if (!indexable(when)) return false;
    return when.test !== "address" || leavingIn(when.in, this.#plan).length === 0;
  }

  /** Calls the function for the child whose place among these is `r`. */
  *#called(
    node: PlanNode,
    offset: number,
    start: number,
    end: number,
    isLeftOut: (place: number) => boolean,
  ): Slices<string> {
    const [offsets, shapes] = [new Int32Array(end - start), new Int32Array(end - start)];
    const numbers = new Map<string, number>(); // of the functions
    for (let i = 0; i < offsets.length; i++) {
      if (isLeftOut(start + i)) continue;
      const child = node.children[start + i]!;
      const name = this.#function(yield* this.#subtree(child, 0));
      if (!numbers.has(name)) numbers.set(name, numbers.size);
      offsets[i] = offset + child.number - node.number;
      shapes[i] = numbers.get(name)!;
    }
    const names = [...numbers.keys()];
    const at = this.#numbers.put(offsets);
    const call = (name: string) => `return ${name}(p, b + numbers[${int(at)} + r]); `;
    if (names.length === 1) return call(names[0]!);
    if (names.length > SWITCH_CASES) {
      const functions = names.map(placeIn);
      const which = this.#numbers.put(shapes.map((shape) => functions[shape]!));
      return call(`functions[numbers[${int(which)} + r]]`);
    }
    const shape = this.#numbers.put(shapes);
    return `switch (numbers[${int(shape)} + r]) { ${
      names.map((n, i) => `case ${int(i)}: ${call(n)}`).join("")
    } } `;
  }

  *#choice(node: PlanNode, offset: number): Slices<string> {
    const { children } = node;
    const choose = `r = choosers[b + ${int(offset)}].choose(p); `;
    if (children.length > INLINE_NODES) {
      const called = yield* this.#called(node, offset, 0, children.length, () => false);
      return `${choose}if (r >= 0) { ${called} } ${this.#default(offset)}`;
    }
    let cases = "";
    for (const [i, child] of children.entries()) {
      const then = yield* this.#branch(child, offset + child.number - node.number);
      cases += `case ${int(i)}: { ${then} } `;
    }
    return `${choose}switch (r) { ${cases} } ${this.#default(offset)}`;
  }

  /** The subtree inline, or a call if it is large. */
  *#branch(node: PlanNode, offset: number): Slices<string> {
    if (node.size <= INLINE_NODES) return yield* this.#subtree(node, offset);
    return `return ${this.#function(yield* this.#subtree(node, 0))}(p, b + ${int(offset)}); `;
  }

  *#step(call: string, node: PlanNode, offset: number): Slices<string> {
    const refused = this.#exit(offset, "r");
    return `r = steps.${call}; if (r !== 0) { ${refused} } ` +
      (yield* this.#branch(node.children[0]!, offset + 1));
  }

  /** The number of a translator's target, which is known when the policy begins to run. */
  #target(number: number): string {
    return `targets[${int(this.#plan.destinationOf.get(number)!)}]`;
  }

  #default(offset: number): string {
    return this.#exit(offset, int(DECISION_NUMBERS[this.#plan.policy.default]));
  }

  #exit(offset: number, value: string): string {
    return `p.exit = b + ${int(offset)}; exits[b + ${int(offset)}]++; return ${value}; `;
  }

  // Predicates

  *#predicate(predicate: Predicate): Slices<string> {
    switch (predicate.test) {
      case "always":
        return "true";
      case "not":
        return `!(${yield* this.#predicate(predicate.of)})`;
      case "all":
        return yield* this.#parts(predicate.of, " && ");
      case "any":
        return yield* this.#parts(predicate.of, " || ");
      case "family":
        return `${predicate.family === this.#family}`;
      case "protocol":
        return `p.protocol === ${this.#protocol(predicate.number)}`;
      case "address":
        return yield* this.#address(predicate.field === "src", predicate.in);
      case "port": {
        const field = predicate.field === "srcPort" ? "p.srcPort" : "p.dstPort";
        const within = yield* this.#numberIn(field, predicate.in);
        return `(p.protocol === ${this.#protocol(predicate.protocol)} && ${within})`;
      }
      case "tcp-flags":
        return `(p.protocol === ${this.#protocol(PROTOCOL_TCP)} && (p.tcpFlags & ` +
          `${int(predicate.set | predicate.clear)}) === ${int(predicate.set)})`;
      case "icmp":
      case "icmpv6": {
        const kind = icmpKindIn(predicate, this.#family);
        if (kind === null) return "false";
        const code = kind.code === null ? "" : ` && p.icmpCode === ${int(kind.code)}`;
        return `(p.protocol === ${this.#protocol(PROTOCOL_ICMP)} && ` +
          `p.icmpType === ${int(kind.type)}${code})`;
      }
      case "number":
        return yield* this.#numberIn(
          predicate.field === "ttl" ? "p.ttl" : "p.totalLength",
          predicate.in,
        );
      case "fragment":
        return "p.fragment !== 0";
      case "state":
        return predicate.state === "stray"
          ? `(p.state === ${int(STATE_INVALID)} && p.flow < 0)`
          : `p.state === ${int(STATE_NUMBERS[predicate.state])}`;
      case "side":
        return `p.side === ${int(predicate.side === "b" ? FROM_B : FROM_A)}`;
      case "custom":
        return `customs[${
          int(placeOf(this.#customs, this.#plan.customs.get(predicate)!))
        }](p) === true`;
    }
  }

  *#parts(of: readonly Predicate[], operator: string): Slices<string> {
    let parts: string[] = [];
    for (const part of of) parts.push(yield* this.#predicate(part));
    while (parts.length > PARTS_PER_FUNCTION) {
      const calls: string[] = [];
      for (let i = 0; i < parts.length; i += PARTS_PER_FUNCTION) {
        yield;
        const some = parts.slice(i, i + PARTS_PER_FUNCTION).join(operator);
        calls.push(`${this.#function(`return ${some};`)}(p, b)`);
      }
      parts = calls;
    }
    return `(${parts.join(operator)})`;
  }

  #protocol(number: number): string {
    return int(protocolIn(this.#family, number));
  }

  *#address(isSource: boolean, terms: readonly AddressTerm[]): Slices<string> {
    let text: string;
    let [method, value] = ["has", isSource ? "p.src" : "p.dst"];
    if (this.#family === 6) {
      const [words, at] = ["p.addresses", isSource ? 0 : 4];
      [method, value] = ["has6", `${words}, ${int(at)}`];
      text = yield* this.#address6In(
        at,
        yield* intervals6InSlices(terms, this.#plan.lists6),
      );
    } else {
      text = yield* this.#addressIn(value, yield* intervalsInSlices(terms, this.#plan.lists));
    }
    for (const set of leavingIn(terms, this.#plan).toReversed()) {
      text = `(${text} || leaving[${int(placeOf(this.#leaving, set))}].${method}(${value}))`;
    }
    return text;
  }

  *#addressIn(value: string, intervals: readonly Interval[]): Slices<string> {
    if (intervals.length > INLINE_RANGES) return yield* this.#within(value, intervals);
    const tests = intervals.map(({ first, last }) =>
      first === last
        ? `${value} === ${int(first | 0)}`
        : `(${value} & ${int(~(last - first))}) === ${int(first | 0)}`
    );
    return `(${tests.join(" || ") || "false"})`;
  }

  /** Of the address whose words are at `from`. */
  *#address6In(from: number, intervals: readonly Interval6[]): Slices<string> {
    if (intervals.length <= INLINE_RANGES) {
      return `(${intervals.map((interval) => network6(from, interval)).join(" || ") || "false"})`;
    }
    const ranges: { interval: Interval6; id: number }[] = [];
    for (const interval of intervals) {
      ranges.push({ interval, id: 0 });
      yield;
    }
    const at = int(yield* writeRanges6(this.#numbers, ranges));
    return `has6(numbers, ${at}, p.addresses, ${int(from)})`;
  }

  *#numberIn(value: string, ranges: readonly Interval[]): Slices<string> {
    if (ranges.length > INLINE_RANGES) return yield* this.#within(value, ranges);
    const tests = ranges.map(({ first, last }) =>
      first === last
        ? `${value} === ${int(first)}`
        : `(${value} >= ${int(first)} && ${value} <= ${int(last)})`
    );
    return `(${tests.join(" || ")})`;
  }

  *#within(value: string, intervals: readonly Interval[]): Slices<string> {
    const ranges: { interval: Interval; id: number }[] = [];
    for (const interval of intervals) {
      ranges.push({ interval, id: 0 });
      yield;
    }
    return `has(numbers, ${int(yield* writeRanges(this.#numbers, ranges))}, ${value})`;
  }

  /**
   * Name of the function with this body, of the PDU `p` and the base `b`; equal bodies share one.
   */
  #function(body: string): string {
    let name = this.#names.get(body);
    if (name === undefined) {
      name = `f${int(this.#names.size)}`;
      this.#names.set(body, name);
      this.#bodies.push(body);
      this.#length += body.length;
      if (this.#length > PIECE_LENGTH) this.#writeBodies();
    }
    return name;
  }

  /** Writes functions of all bodies. */
  #writeBodies(): void {
    this.#write(
      this.#bodies.map((body, i) =>
        `function f${int(this.#written + i)}(p, b) { let r = 0; ${body} }`
      ),
    );
    this.#bodies = [];
    this.#length = 0;
  }

  /** Writes these functions, the first of which has the next number. */
  #write(texts: readonly string[]): void {
    if (texts.length === 0) return;
    const first = this.#written;
    const used = texts.flatMap((text) =>
      [...text.matchAll(/\bf(\d+)\b/g)].map(([, n]) => Number(n))
    );
    const others = [...new Set(used)].filter((number) => number < first)
      .map((number) => `const f${int(number)} = functions[${int(number)}]; `);
    // In brackets the engine translates each function now, not when it is first called.
    const own = texts.map((text, i) => `const f${int(first + i)} = (${text}); `);
    const names = texts.map((_, i) => `f${int(first + i)}`);
    this.#texts.add(
      `"use strict"; ${others.join("")}${own.join("")}return [${names.join(", ")}];`,
    );
    this.#written += texts.length;
  }
}

/**
 * True for an address of this network, whose words are at `from`: those that it leaves open go. The
 * last word comes first, as the hosts of one subnet differ there.
 */
function network6(from: number, { first, last }: Interval6): string {
  const masks = wordsOf(first ^ last).map((word) => ~word);
  const words = wordsOf(first);
  const tests: string[] = [];
  for (const [i, mask] of masks.entries()) {
    const word = `p.addresses[${int(from + i)}]`;
    if (mask === 0) continue;
    tests.push(`${mask === -1 ? word : `(${word} & ${int(mask)})`} === ${int(words[i]!)}`);
  }
  return tests.length === 0 ? "true" : `(${tests.reverse().join(" && ")})`;
}

/** Place of the function of that name among all. */
function placeIn(name: string): number {
  return Number(name.slice(1));
}

/** Its place in `all`, where it then is. */
function placeOf<Item>(all: Item[], item: Item): number {
  const place = all.indexOf(item);
  return place < 0 ? all.push(item) - 1 : place;
}

function* whensOf(
  arms: readonly Arm[],
  start: number,
  end: number,
): Generator<Predicate, undefined> {
  for (let i = start; i < end; i++) yield arms[i]!.when;
}

/** The only way from data into the functions' text. */
function int(value: number): string {
  if (!Number.isInteger(value)) {
    throw new TypeError(`Cannot compile "${value}": expected an integer`);
  }
  return String(value);
}
