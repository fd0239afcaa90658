/**
 * What a policy takes when it runs, found without making any of it: text of a few hundred bytes can
 * stand for a million nodes. Memory is estimated from above; most of it is touched only when
 * traffic comes there.
 */
import type { HostAddress } from "../../wire/host_address.ts";
import { finish, type Slices } from "../../core/slices.ts";
import {
  type AddressTerm,
  DST_ADDRS,
  eachChildOf,
  listsOf,
  type PickMethod,
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
export function* countNodes(policy: Policy): Slices<number> {
  return yield* measured(policy, () => 1, null);
}

/** A node, its counter, its chooser and the code that is made of it. */
const NODE_BYTES = 640;

/** The code of a node that is made for IPv6 besides. */
const NODE_BYTES_6 = 640;

/** A network or a range of ports, in a list or where it is asked for. */
const RANGE_BYTES = 64;

/** A member of a pool, with what methods keep of it. */
const MEMBER_BYTES = 512;

/** The tables of a pool's consistent hash, and what makes them: see `flow/backends/maglev.ts`. */
const CONSISTENT_BYTES = 524_288;

/** The parts of an environment that say how large things get. */
interface Around {
  readonly isIpv6On: boolean;
  readonly dstAddrs: readonly HostAddress[];
  readonly maxConnections: number;
  readonly sourceLimits: { readonly maxBytes: number };
}

export function footprintOf(policy: Policy, around: Around): Footprint {
  return finish(footprintInSlices(policy, around));
}

export function* footprintInSlices(
  policy: Policy,
  { isIpv6On, dstAddrs, maxConnections, sourceLimits }: Around,
): Slices<Footprint> {
  const lists = listSizes(policy, dstAddrs.length);
  const total = (own: (tree: Tree) => number) => measured(policy, own, null);
  let perSource = false;
  const consistent = new Set<string>(); // pools
  const nodes = yield* total((tree) => {
    perSource ||= tree.node === "limit" && tree.per === "source";
    if (tree.node === "translate-a-to-b" && isConsistent(tree.backend)) consistent.add(tree.pool);
    return 1;
  });
  const perConnectionBytes = maxConnections *
    (yield* total((tree) =>
      tree.node === "balance" && tree.per === "connection" ? cellBytes(tree) : 0
    ));
  const ranges = yield* measured(policy, () => 0, (predicate) => rangesOf(predicate, lists));
  const bytes = (isIpv6On ? NODE_BYTES + NODE_BYTES_6 : NODE_BYTES) * nodes +
    RANGE_BYTES * (ranges + sum(lists.values(), (n) => n)) +
    perConnectionBytes + (perSource ? sourceLimits.maxBytes : 0) +
    MEMBER_BYTES * sum(Object.values(policy.pools), ({ members }) => members.length) +
    CONSISTENT_BYTES * consistent.size;
  return { nodes, lists, bytes, perConnectionBytes, maxConnections };
}

function isConsistent(method: PickMethod): boolean {
  return method === "by source" || method === "by maglev";
}

/**
 * The sum of what all nodes and predicates have that the policy has when every use is written out.
 */
function* measured(
  { subtrees, next }: Policy,
  ownOfTree: (tree: Tree) => number,
  ownOfPredicate: ((predicate: Predicate) => number) | null,
): Slices<number> {
  const measure = measurer<Tree | Predicate, null>({
    enter: (part) => {
      if ("test" in part) return { size: ownOfPredicate!(part), below: below(partsOf(part)) };
      if (part.node !== "use") {
        const conditions = ownOfPredicate === null ? [] : conditionsOf(part);
        return { size: ownOfTree(part), below: below(conditions, eachChildOf(part)) };
      }
      const used = Object.hasOwn(subtrees, part.name) ? [subtrees[part.name]!] : [];
      return { size: 0, below: below(used) };
    },
    circle: () => {},
  });
  return (yield* measure(next, null)).size;
}

function partsOf(predicate: Predicate): readonly Predicate[] {
  if (predicate.test === "not") return [predicate.of];
  return predicate.test === "all" || predicate.test === "any" ? predicate.of : [];
}

/** Ranges of a predicate, without those of its parts. */
function rangesOf(predicate: Predicate, lists: ReadonlyMap<string, number>): number {
  switch (predicate.test) {
    case "address":
      return networksOf(predicate.in, lists);
    case "port":
    case "number":
      return predicate.in.length;
    default:
      return 1;
  }
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

function* conditionsOf(tree: Tree): Generator<Predicate, undefined> {
  if (tree.node === "filter") yield tree.when;
  if (tree.node === "first-match") { for (const { when } of tree.arms) yield when; }
}

function* below(
  ...groups: Iterable<Tree | Predicate>[]
): Generator<readonly [Tree | Predicate, null], undefined> {
  for (const parts of groups) for (const part of parts) yield [part, null];
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
