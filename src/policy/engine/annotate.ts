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
import { textAt } from "../../core/texts.ts";
import { NO_TEXT, type Outline } from "./outline.ts";

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

/** `exits`: how many PDUs ended at each node, by number. */
export function annotate(outline: Outline, exits: Float64Array): AnnotatedTree {
  const shown = new ShownLines();
  for (const line of linesOf(counted(outline, exits), 0, 0)) shown.add(line);
  return shown.tree();
}

/** As `annotate`, in small pieces with a `pause` after each; counts are those of the beginning. */
export async function annotateInPieces(
  outline: Outline,
  exits: Float64Array,
  pause: () => Promise<void>,
): Promise<AnnotatedTree> {
  const shown = new ShownLines();
  for (const line of linesOf(counted(outline, exits), 0, 0)) {
    if (shown.add(line) % LINES_A_PIECE === 0) await pause();
  }
  return shown.tree();
}

/** A line whose text is made if it is shown. */
type Line = Omit<AnnotatedLine, "text"> & { readonly text: () => string };

/** Chooses the lines to show. */
class ShownLines {
  readonly #first: AnnotatedLine[] = [];
  readonly #visited: AnnotatedLine[] = [];
  #count = 0;

  /** How many there are so far, this one included. */
  add({ pdus, depth, text }: Line): number {
    const isFirst = this.#first.length < MAX_LINES;
    const isVisited = pdus > 0 && this.#visited.length < MAX_LINES;
    if (isFirst || isVisited) {
      const line = { pdus, depth, text: text() };
      if (isFirst) this.#first.push(line);
      if (isVisited) this.#visited.push(line);
    }
    return ++this.#count;
  }

  tree(): AnnotatedTree {
    const lines = this.#count <= MAX_LINES ? this.#first : this.#visited;
    return { lines, hiddenLines: this.#count - lines.length };
  }
}

interface Counted extends Outline {
  readonly exits: Float64Array;
  /** How many PDUs ended at all nodes below each number: those of a subtree follow one another. */
  readonly before: Float64Array;
}

function counted(outline: Outline, exits: Float64Array): Counted {
  const before = new Float64Array(exits.length + 1);
  for (let node = 0; node < exits.length; node++) before[node + 1] = before[node]! + exits[node]!;
  return { ...outline, exits: exits.slice(), before };
}

/** Lines of the subtree. */
function* linesOf(tree: Counted, node: number, depth: number): Generator<Line> {
  const { sizes, heads, words, exits, before } = tree;
  const pdus = before[node + sizes[node]!]! - before[node]!;
  let last = node;
  while (words[last] !== NO_TEXT && sizes[last]! > 1 && sizes[last + 1] === sizes[last]! - 1) {
    last++; // its only child
  }
  const isShown = heads[node] !== NO_TEXT || words[node] !== NO_TEXT;
  if (isShown) yield { pdus, depth, text: () => lineOf(tree, node, last) };
  const end = last + sizes[last]!;
  if (end === last + 1) return; // a decision
  const inner = isShown ? depth + 1 : depth;
  for (let child = last + 1; child < end; child += sizes[child]!) {
    yield* linesOf(tree, child, inner);
  }
  const none = exits[last]!;
  if (none > 0) yield { pdus: none, depth: inner, text: () => `default ${tree.default}` };
}

/** What leads to the chain from `node` to `last`, and the chain. */
function lineOf({ heads, words, texts, exits }: Counted, node: number, last: number): string {
  const items: string[] = [];
  for (let at = node; at <= last; at++) {
    if (words[at] === NO_TEXT) continue;
    const refused = at < last ? exits[at]! : 0;
    items.push(textAt(texts, words[at]!) + (refused > 0 ? ` (${refused} refused)` : ""));
  }
  const chain = items.join(", ");
  if (heads[node] === NO_TEXT) return `-> ${chain}`;
  const head = textAt(texts, heads[node]!);
  return `${head}${chain === "" || head === "|" ? " " : " -> "}${chain}`.trimEnd();
}
