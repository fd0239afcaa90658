/** What can be shown of a plan, as arrays that cross threads: its tree's shape and words. */
import { GrowingMap } from "../../core/growing_map.ts";
import type { Slices } from "../../core/slices.ts";
import { textAt, type Texts, TextWriter } from "../../core/texts.ts";
import { type Decision, DECISIONS, type Tree } from "../language/ast.ts";
import { printPredicate, printStep } from "../printing/print.ts";
import { armsOf, NODES_AT_ONCE, type Plan } from "./plan.ts";

/** What a node is: a kind for each decision, and what the firewall's picture calls the others. */
export const NODE_KINDS = [
  ...DECISIONS,
  ...["selector", "filter", "balancer", "scanner", "translator"] as const,
] as const;

export type NodeKind = typeof NODE_KINDS[number];

/** Where a node has no such text. */
export const NO_TEXT = -1;

/** All but `default` and `texts` by number of the node. */
export interface Outline {
  readonly default: Decision;
  /** Nodes below it and itself, which have the numbers from its own on. */
  readonly sizes: Int32Array<ArrayBuffer>;
  /** The text of what leads to it: its arm's predicate, or a branch with its weight. */
  readonly heads: Int32Array<ArrayBuffer>;
  /** The text of what it is: a step, a balancer, a decision; selectors by predicates have none. */
  readonly words: Int32Array<ArrayBuffer>;
  /** The text of its label, if it is a decision that has one. */
  readonly labels: Int32Array<ArrayBuffer>;
  /** Its place in NODE_KINDS. */
  readonly kinds: Int32Array<ArrayBuffer>;
  readonly texts: Texts;
}

export function* outlineOf({ nodes, policy }: Plan): Slices<Outline> {
  const writer = new TextWriter();
  const numbers = new GrowingMap<string, number>(); // of texts that come often
  const numberOf = (text: string) => {
    let number = numbers.get(text);
    if (number === undefined) numbers.add(text, number = writer.add(text));
    return number;
  };
  const none = () => new Int32Array(nodes.length).fill(NO_TEXT);
  const [sizes, heads, words, labels, kinds] = [none(), none(), none(), none(), none()];
  for (const { number, tree, children, size } of nodes) {
    if (number % NODES_AT_ONCE === 0) yield;
    sizes[number] = size;
    kinds[number] = NODE_KINDS.indexOf(kindOf(tree));
    const arms = armsOf(tree);
    if (arms === null) words[number] = numberOf(printStep(tree));
    if (tree.node === "decide" && tree.label !== null) labels[number] = numberOf(tree.label);
    for (let i = 0; i < children.length; i++) {
      if (i % NODES_AT_ONCE === 0) yield;
      const child = children[i]!.number;
      if (arms !== null) heads[child] = writer.add(printPredicate(arms[i]!.when));
      else if (children.length > 1) heads[child] = numberOf(headOf(tree, i));
    }
  }
  return { default: policy.default, sizes, heads, words, labels, kinds, texts: writer.texts() };
}

function kindOf(tree: Tree): NodeKind {
  switch (tree.node) {
    case "decide":
      return tree.decision;
    case "filter":
    case "limit":
      return "filter";
    case "balance":
      return "balancer";
    case "track":
      return "scanner";
    case "translate-a-to-b":
    case "translate-b-to-a":
    case "set-ttl":
      return "translator";
    default:
      return "selector";
  }
}

function headOf(tree: Tree, index: number): string {
  const weight = tree.node === "balance" ? tree.branches[index]!.weight : 1;
  return weight === 1 ? "|" : `| ${weight}x`;
}

/** Label of the decision at the node, if it is one and has one. */
export function labelAt({ labels, texts }: Outline, node: number): string | null {
  const label = labels[node]!;
  return label === NO_TEXT ? null : textAt(texts, label);
}
