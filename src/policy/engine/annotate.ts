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

/** Lines made between two pauses, some tenths of a millisecond's work. */
const LINES_A_PIECE = 200;

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
  const shown = new ShownLines();
  for (const line of linesOf(plan, visits(plan), plan.root, "", 0)) shown.add(line);
  return shown.tree();
}

/** As `annotate`, in small pieces with a `pause` after each; counts are those of the beginning. */
export async function annotateInPieces(
  plan: Plan,
  pause: () => Promise<void>,
): Promise<AnnotatedTree> {
  const shown = new ShownLines();
  for (const line of linesOf(plan, visits(plan), plan.root, "", 0)) {
    if (shown.add(line) % LINES_A_PIECE === 0) await pause();
  }
  return shown.tree();
}

/** Chooses the lines to show. */
class ShownLines {
  readonly #first: AnnotatedLine[] = [];
  readonly #visited: AnnotatedLine[] = [];
  #count = 0;

  /** How many there are so far, this one included. */
  add(line: AnnotatedLine): number {
    if (this.#first.length < MAX_LINES) this.#first.push(line);
    if (line.pdus > 0 && this.#visited.length < MAX_LINES) this.#visited.push(line);
    return ++this.#count;
  }

  tree(): AnnotatedTree {
    const lines = this.#count <= MAX_LINES ? this.#first : this.#visited;
    return { lines, hiddenLines: this.#count - lines.length };
  }
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
