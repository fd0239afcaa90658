/**
 * The lines of the running tree, with how many PDUs came to each node; as the summary shows them:
 *
 *         PDUs  Tree
 *           18  not ip.src in $dst-addrs
 *           18    icmp
 *           18      echo-request -> in turn
 *            9        | drop
 *            9        | track, echo
 *
 * A chain is one line, with how often a step in it refused. PDUs for which a selector had no branch
 * are counted at its end, as `default`.
 */
import type { Plan, PlanNode } from "./plan.ts";
import { visits } from "./plan.ts";
import { printPredicate, printStep } from "../printing/print.ts";

/** Most lines; where a tree has more, only those that were visited are shown, up to this many. */
const MAX_LINES = 200;

export interface AnnotatedTree {
  readonly lines: readonly AnnotatedLine[];
  /** Lines left out. */
  readonly hiddenLines: number;
}

export interface AnnotatedLine {
  /** How many came here. */
  readonly pdus: number;
  /** 0 at the root. */
  readonly depth: number;
  readonly text: string;
}

export function annotate(plan: Plan): AnnotatedTree {
  const counts = visits(plan);
  const all = [...linesOf(plan, counts, plan.root, "", 0)];
  const lines = (all.length <= MAX_LINES ? all : all.filter(({ pdus }) => pdus > 0))
    .slice(0, MAX_LINES);
  return { lines, hiddenLines: all.length - lines.length };
}

/** Lines of the subtree; `head` is what leads to it, e.g. a predicate or `|`. */
function* linesOf(
  plan: Plan,
  counts: Float64Array,
  node: PlanNode,
  head: string,
  depth: number,
): Generator<AnnotatedLine> {
  const pdus = counts[node.number]!;
  const items: string[] = [];
  let last = node;
  while (last.children.length === 1 && last.tree.node !== "filter") {
    const refused = plan.exits[last.number]!;
    items.push(printStep(last.tree) + (refused > 0 ? ` (${refused} refused)` : ""));
    last = last.children[0]!;
  }
  const { tree } = last;
  if (tree.node !== "first-match" && tree.node !== "filter") items.push(printStep(tree));
  const chain = items.join(", ");
  const arrow = chain === "" || head === "|" ? " " : " -> ";
  const text = head === "" ? chain && `-> ${chain}` : `${head}${arrow}${chain}`.trimEnd();
  if (text !== "") yield { pdus, depth, text };
  if (tree.node === "decide") return;
  const inner = text === "" ? depth : depth + 1;
  for (const [index, child] of last.children.entries()) {
    yield* linesOf(plan, counts, child, headOf(last, index), inner);
  }
  const none = plan.exits[last.number]!;
  if (none > 0) yield { pdus: none, depth: inner, text: `default ${plan.policy.default}` };
}

function headOf({ tree }: PlanNode, index: number): string {
  if (tree.node === "first-match") return printPredicate(tree.arms[index]!.when);
  if (tree.node === "filter") return printPredicate(tree.when);
  const weight = tree.node === "balance" ? tree.branches[index]!.weight : 1;
  return weight === 1 ? "|" : `| ${weight}x`;
}
