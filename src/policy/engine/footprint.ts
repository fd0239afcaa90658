/**
 * What a policy takes when it runs, found without making any of it: text of a few hundred bytes can
 * stand for a million nodes. Memory is estimated from above; most of it is touched only when
 * traffic comes there.
 */
import {
  type AddressTerm,
  childrenOf,
  DST_ADDRS,
  listsOf,
  type Policy,
  type Predicate,
  type Tree,
} from "../language/ast.ts";
import { cellBytes } from "./chooser.ts";
import { measurer } from "./measure.ts";

export interface Footprint {
  /** When every use of a subtree is written out. */
  readonly nodes: number;
  /** Networks of each list, those of the lists in it included. */
  readonly lists: ReadonlyMap<string, number>;
  /** Of everything: nodes, lists, and what balancers and limits remember. */
  readonly bytes: number;
  /** Of balancers per connection alone, for this many connections. */
  readonly perConnectionBytes: number;
  readonly maxConnections: number;
}

/** Nodes of the policy when every use of a subtree is written out. */
export function countNodes(policy: Policy): number {
  return measured(policy, () => 1);
}

/** A node, its counter, its chooser and the code that is made of it. */
const NODE_BYTES = 640;

/** A network or a range of ports, in a list or where it is asked for. */
const RANGE_BYTES = 64;

/** A member of a pool, with what methods keep of it. */
const MEMBER_BYTES = 512;

/** The tables of a pool's consistent hash, and what makes them: see `flow/backends/maglev.ts`. */
const CONSISTENT_BYTES = 524_288;

/** The parts of an environment that say how large things get. */
interface Around {
  readonly dstAddrs: readonly number[];
  readonly maxConnections: number;
  readonly sourceLimits: { readonly maxBytes: number };
}

export function footprintOf(
  policy: Policy,
  { dstAddrs, maxConnections, sourceLimits }: Around,
): Footprint {
  const lists = listSizes(policy, dstAddrs.length);
  const total = (own: (tree: Tree) => number): number => measured(policy, own);
  const rangesIn = rangeCounter(lists);
  const nodes = total(() => 1);
  const perConnectionBytes = maxConnections *
    total((tree) => tree.node === "balance" && tree.per === "connection" ? cellBytes(tree) : 0);
  const perSource = total((tree) => tree.node === "limit" && tree.per === "source" ? 1 : 0);
  const ranges = total((tree) => sum(conditionsOf(tree), rangesIn)) + sum(lists.values(), (n) => n);
  return {
    nodes,
    lists,
    bytes: NODE_BYTES * nodes + RANGE_BYTES * ranges + perConnectionBytes +
      (perSource > 0 ? sourceLimits.maxBytes : 0) + poolBytes(policy),
    perConnectionBytes,
    maxConnections,
  };
}

function poolBytes(policy: Policy): number {
  const consistent = new Set<string>();
  measured(policy, (tree) => {
    const isConsistent = tree.node === "translate-a-to-b" &&
      (tree.backend === "by source" || tree.backend === "by maglev");
    if (isConsistent) consistent.add(tree.pool);
    return 1;
  });
  return MEMBER_BYTES * sum(Object.values(policy.pools), ({ members }) => members.length) +
    CONSISTENT_BYTES * consistent.size;
}

/** `own` of all nodes that the policy has when every use is written out. */
function measured({ subtrees, next }: Policy, own: (tree: Tree) => number): number {
  const measure = measurer<Tree, null>({
    enter: (tree) => {
      if (tree.node !== "use") return { size: own(tree), below: below(childrenOf(tree)) };
      const used = Object.hasOwn(subtrees, tree.name) ? [subtrees[tree.name]!] : [];
      return { size: 0, below: below(used) };
    },
    circle: () => {},
  });
  return measure(next, null).size;
}

/** A function that counts the ranges of a predicate and of its parts. */
function rangeCounter(lists: ReadonlyMap<string, number>): (predicate: Predicate) => number {
  const measure = measurer<Predicate, null>({
    enter: (predicate) => {
      switch (predicate.test) {
        case "not":
          return { size: 1, below: below([predicate.of]) };
        case "all":
        case "any":
          return { size: 1, below: below(predicate.of) };
        case "address":
          return { size: networksOf(predicate.in, lists), below: [] };
        case "port":
        case "number":
          return { size: predicate.in.length, below: [] };
        default:
          return { size: 1, below: [] };
      }
    },
    circle: () => {},
  });
  return (predicate) => measure(predicate, null).size;
}

function listSizes(policy: Policy, backends: number): ReadonlyMap<string, number> {
  const sizes = new Map([[DST_ADDRS, backends]]);
  for (const [name, terms] of Object.entries(listsOf(policy))) {
    if (name !== DST_ADDRS) sizes.set(name, networksOf(terms, sizes));
  }
  return sizes;
}

function networksOf(terms: readonly AddressTerm[], lists: ReadonlyMap<string, number>): number {
  return sum(terms, (term) => "list" in term ? lists.get(term.list) ?? 0 : 1);
}

function conditionsOf(tree: Tree): readonly Predicate[] {
  if (tree.node === "first-match") return tree.arms.map(({ when }) => when);
  return tree.node === "filter" ? [tree.when] : [];
}

function below<Node>(nodes: readonly Node[]): readonly (readonly [Node, null])[] {
  return nodes.map((node) => [node, null] as const);
}

function sum<Item>(items: Iterable<Item>, of: (item: Item) => number): number {
  let total = 0;
  for (const item of items) total += of(item);
  return total;
}

/** In KiB, MiB or GiB, rounded up. */
export function formatBytes(bytes: number): string {
  const power = Math.min(3, Math.max(1, Math.floor(Math.log2(Math.max(1, bytes)) / 10)));
  const tenths = Math.ceil(10 * bytes / 1024 ** power);
  return `${tenths / 10} ${["", "KiB", "MiB", "GiB"][power]}`;
}
