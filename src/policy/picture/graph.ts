/**
 * A policy as the nodes and edges of its picture, for `render.ts`. A subtree that is used by name
 * is drawn wherever it is used, in a frame with its name: a node `n7` of the picture is node 7 of
 * the running tree. What a limit refuses goes to an end of its own, `n7d`, which is none.
 */
import { type Arm, childrenOf, type Policy, type Tree } from "../language/ast.ts";
import { captionOf, defaultCaption, noteOf, protocolBelow } from "./captions.ts";
import { MAX_DEPTH, MAX_NODES } from "../language/limits.ts";

export type NodeKind =
  | "start"
  | "selector"
  | "filter"
  | "balancer"
  | "scanner"
  | "translator"
  | "modifier"
  | "end";

export interface GraphNode {
  /**
   * `pdu` for the start, `n` and the number in the plan, or `d` after that: its default decision.
   */
  readonly id: string;
  readonly kind: NodeKind;
  /** What the node is, e.g. `Load balancer`. */
  readonly label: string;
  /** What it does in particular, e.g. `Decision : Drop`; null: nothing to say. */
  readonly note: string | null;
  /** The frame around it, null: none. */
  readonly frame: string | null;
}

export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  readonly label: string | null;
}

/** One use of a named subtree. */
export interface GraphFrame {
  readonly id: string;
  readonly name: string;
  /** The frame around this one, null: none. */
  readonly frame: string | null;
}

/** Nodes and frames in writing order, a node before those below it. */
export interface Graph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
  readonly frames: readonly GraphFrame[];
}

/** A tree that has no node yet. */
interface Pending {
  /** Null: the default decision. */
  readonly tree: Tree | null;
  readonly from: string;
  readonly label: string | null;
  readonly frame: string | null;
  /** Known of every PDU that gets here. */
  readonly protocol: number | null;
  readonly depth: number;
}

const LOOKS: Readonly<Record<Exclude<Tree["node"], "use">, readonly [NodeKind, label: string]>> = {
  "first-match": ["selector", "Selector"],
  "filter": ["filter", "Filter"],
  "balance": ["balancer", "Load balancer"],
  "limit": ["selector", "Rate limit"],
  "select": ["selector", "Selector"],
  "track": ["scanner", "Scanner"],
  "translate-a-to-b": ["translator", "Translator A to B"],
  "translate-b-to-a": ["translator", "Translator B to A"],
  "set-ttl": ["modifier", "Modifier"],
  "decide": ["end", "End"],
};

/**
 * Throws a RangeError for an unknown subtree, or one that contains itself, and for a policy with
 * more nodes or levels than can run.
 */
export function graphOf(policy: Policy): Graph {
  const nodes: GraphNode[] = [startOf(policy)];
  const edges: GraphEdge[] = [];
  const frames: GraphFrame[] = [];
  let number = 0; // of the next node, as in the plan
  const pending: Pending[] = [
    { tree: policy.next, from: "pdu", label: null, frame: null, protocol: null, depth: 0 },
  ];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { tree, from, label, frame, protocol, depth } = next;
    if (depth > MAX_DEPTH) {
      throw new RangeError(`Cannot draw policy: nested more than ${MAX_DEPTH} levels deep`);
    }
    if (tree === null) {
      const id = `${from}d`;
      nodes.push({ id, kind: "end", label: "End", note: defaultCaption(policy.default), frame });
      edges.push({ from, to: id, label });
      continue;
    }
    if (tree.node === "use") {
      const inner = `f${frames.length}`;
      frames.push({ id: inner, name: tree.name, frame });
      pending.push({ ...next, tree: subtree(policy, tree.name), frame: inner, depth: depth + 1 });
      continue;
    }
    if (number >= MAX_NODES) {
      throw new RangeError(`Cannot draw policy: more than ${MAX_NODES} nodes`);
    }
    const id = `n${number++}`;
    const [kind, name] = LOOKS[tree.node];
    nodes.push({ id, kind, label: name, note: noteOf(tree, protocol), frame });
    edges.push({ from, to: id, label });
    const below = branchesOf(tree, protocol)
      .map((branch) => ({ ...branch, from: id, frame, depth: depth + 1 }));
    for (const branch of below.reverse()) pending.push(branch);
  }
  return { nodes, edges, frames };
}

function startOf(policy: Policy): GraphNode {
  const note = defaultCaption(policy.default);
  return { id: "pdu", kind: "start", label: "PDU", note, frame: null };
}

function subtree(policy: Policy, name: string): Tree {
  const found = Object.hasOwn(policy.subtrees, name) ? policy.subtrees[name] : undefined;
  if (found === undefined) throw new RangeError(`Cannot use "${name}": not defined`);
  return found;
}

/** The trees below a node, with the labels of their edges and what is known of a PDU there. */
function branchesOf(
  tree: Tree,
  protocol: number | null,
): Pick<Pending, "tree" | "label" | "protocol">[] {
  const known = (when: Arm["when"]) => protocolBelow(when, protocol);
  switch (tree.node) {
    case "first-match":
      return tree.arms.map(({ when, then }) => ({
        tree: then,
        label: captionOf(when, protocol),
        protocol: known(when),
      }));
    case "filter":
      return [{ tree: tree.then, label: null, protocol: known(tree.when) }];
    case "balance": {
      const weighted = tree.branches.some(({ weight }) => weight !== 1);
      return tree.branches.map(({ weight, then }) => ({
        tree: then,
        label: weighted ? `${weight}x` : null,
        protocol,
      }));
    }
    case "limit":
      return [
        { tree: tree.then, label: "Within limit", protocol },
        { tree: null, label: "Above limit", protocol },
      ];
    case "select":
      return tree.branches.map((then, index) => ({ tree: then, label: `${index}`, protocol }));
    default:
      return childrenOf(tree).map((then) => ({ tree: then, label: null, protocol }));
  }
}
