/** What `check` finds in a policy, and how it says where. */
import type { Predicate } from "../language/ast.ts";
import { printPredicate } from "../printing/print.ts";

export type CheckName =
  | "unknown-name"
  | "reserved-name"
  | "used-before-definition"
  | "contains-itself"
  | "empty-pool"
  | "too-large"
  | "too-deep"
  | "unused-definition"
  | "otherwise-not-last"
  | "unreachable"
  | "never-holds"
  | "always-holds"
  | "translated-twice"
  | "no-counterpart"
  | "raised-ttl"
  | "decision-misfit";

export interface Finding {
  /** `error`: this can't run, or a part of it can never do anything. */
  readonly level: "error" | "warning";
  readonly check: CheckName;
  /** What it is about: an arm, a tree, a predicate, a list, a pool, or the policy. */
  readonly node: object;
  readonly message: string;
  /** Where it is: the tests above it, as `not ip.src in $dst-addrs / tcp`; `start`: the root. */
  readonly path: string;
}

/** The way from the root to a place; null: the root. */
export type Path = { readonly step: Predicate | string; readonly up: Path } | null;

/** Longest text of one predicate in a message. */
const MAX_LABEL = 80;

/** Most steps of a path, from its end. */
const MAX_STEPS = 20;

export function formatPath(path: Path): string {
  const steps: string[] = [];
  for (let at = path; at !== null; at = at.up) {
    if (steps.length === MAX_STEPS) {
      steps.push("…");
      break;
    }
    steps.push(typeof at.step === "string" ? at.step : labelOf(at.step));
  }
  return steps.length === 0 ? "start" : steps.reverse().join(" / ");
}

/** The predicate as policy text, cut where it is long. */
export function labelOf(predicate: Predicate): string {
  const text = printPredicate(predicate);
  return text.length <= MAX_LABEL ? text : `${text.slice(0, MAX_LABEL - 1)}…`;
}

/** The same, in quotes. */
export function quoted(predicate: Predicate): string {
  return `"${labelOf(predicate)}"`;
}
