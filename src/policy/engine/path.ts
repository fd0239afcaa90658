/**
 * What one PDU meets in the tree, as lines beside one another: the policy's own words, and what
 * came of them. Only what is asked at run time is shown; the walker does the walking.
 *
 *     not ip.src in $dst-addrs   true
 *       icmp                     false
 *       tcp                      true
 *         tcp.dport = 80         false
 *         otherwise              true
 *           translate-a-to-b     taken
 *           forward              Forward
 */
import { reasonName } from "../../core/reason.ts";
import type { Pdu } from "../../wire/pdu.ts";
import {
  DECISION_NAMES,
  DECISION_NUMBERS,
  FORWARD,
  type Policy,
  type Predicate,
} from "../language/ast.ts";
import type { Keeper } from "./constant.ts";
import type { Evaluate } from "./environment.ts";
import { armsOf, type Plan, type PlanNode } from "./plan.ts";
import { printPredicate, printStep } from "../printing/print.ts";
import { unknownIn } from "./unknown.ts";
import { holds, type Visitor, walker } from "./walk.ts";

/** A line of an explanation. */
export interface PathLine {
  readonly depth: number;
  /** A predicate, a step, a balancer or a decision as in the policy's text. */
  readonly text: string;
  /** What it answered, chose or did. */
  readonly outcome: string;
}

/** Evaluates like the walker and tells each PDU's path, line by line. */
export function explaining(plan: Plan, tell: (line: PathLine) => void): Evaluate {
  const path = new PathVisitor(plan, tell);
  const walk = walker(plan, path);
  return (pdu) => {
    path.begin(pdu);
    return walk(pdu);
  };
}

class PathVisitor implements Visitor {
  readonly #plan: Plan;
  readonly #tell: (line: PathLine) => void;
  #pdu: Pdu | null = null;
  #depth = 0;

  constructor(plan: Plan, tell: (line: PathLine) => void) {
    this.#plan = plan;
    this.#tell = tell;
  }

  begin(pdu: Pdu): void {
    this.#pdu = pdu;
    this.#depth = 0;
  }

  enter({ tree }: PlanNode): void {
    if (tree.node !== "decide") return;
    this.#line(printStep(tree), DECISION_NAMES[DECISION_NUMBERS[tree.decision]]!);
  }

  asked(_node: PlanNode, _index: number, predicate: Predicate, value: boolean): void {
    this.#line(printPredicate(predicate), `${value}`);
    this.#parts(predicate, this.#depth + 1);
  }

  chose(node: PlanNode, index: number): void {
    const { tree, children } = node;
    const taken = index >= 0 && index < children.length;
    if (tree.node === "limit") {
      this.#line(printStep(tree), taken ? "within the limit" : "above the limit");
    } else if (tree.node === "balance" || tree.node === "select") {
      const branch = `branch ${index + 1} of ${children.length}`;
      this.#line(printStep(tree), taken ? branch : "no branch");
    }
    if (!taken) {
      const decision = this.#plan.policy.default;
      this.#line(`default ${decision}`, DECISION_NAMES[DECISION_NUMBERS[decision]]!);
    } else if (tree.node !== "limit") this.#depth++;
  }

  stepped({ tree }: PlanNode, reason: number): void {
    this.#line(printStep(tree), reason === 0 ? "taken" : `refused: ${reasonName(reason)}`);
  }

  #line(text: string, outcome: string, depth = this.#depth): void {
    this.#tell({ depth, text, outcome });
  }

  /** What a compound predicate has asked, up to the answer that settled it. */
  #parts(predicate: Predicate, depth: number): void {
    if (predicate.test === "not") return this.#parts(predicate.of, depth);
    if (predicate.test !== "all" && predicate.test !== "any") return;
    for (const part of predicate.of) {
      const value = holds(part, this.#pdu!, this.#plan);
      this.#line(`· ${printPredicate(part)}`, `${value}`, depth);
      this.#parts(part, depth + 1);
      if (value === (predicate.test === "any")) return;
    }
  }
}

/** Why the keeper's node has the proxy see each packet of a connection, in the policy's words. */
export function whyKept(
  { node, asked, outcome }: Keeper,
  { default: decision }: Pick<Policy, "default">,
): string {
  if (node === null) return "the client has the address of a member that is leaving";
  const { tree } = node;
  if (asked !== null) return `${printPredicate(unknownIn(asked)!)} ${whyAsked(unknownIn(asked)!)}`;
  if (outcome !== null) {
    if (outcome < 0) return `${printStep(tree)} refuses them (${reasonName(outcome)})`;
    const end = armsOf(tree) === null ? printStep(tree) : `default ${decision}`;
    return outcome === FORWARD ? `no translator comes before ${end}` : `they end at ${end}`;
  }
  switch (tree.node) {
    case "limit":
      return `${printStep(tree)} counts each`;
    case "balance":
      return `${printStep(tree)} ${
        tree.per === "pdu" ? "chooses for each" : "has not chosen for the connection yet"
      }`;
    default:
      return `${printStep(tree)} is asked about each`;
  }
}

function whyAsked(unknown: Predicate): string {
  switch (unknown.test) {
    case "number":
      return `asks for the ${unknown.field === "ttl" ? "TTL" : "length"} of each`;
    case "tcp-flags":
      return "asks for the flags of each";
    default:
      return "is asked about each";
  }
}

/** Widest column of texts; longer ones push their outcome out of line. */
const MAX_COLUMN = 60;

/** The lines with their outcomes below one another, each ended by a newline. */
export function formatPath(lines: readonly PathLine[]): string {
  const texts = lines.map(({ depth, text }) => "  ".repeat(depth) + text);
  const longest = texts.reduce((longest, { length }) => Math.max(longest, length), 0);
  const width = Math.min(MAX_COLUMN, longest);
  return lines.map(({ outcome }, i) => `${texts[i]!.padEnd(width)}  ${outcome}\n`).join("");
}
