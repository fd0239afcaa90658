/**
 * Checks of a policy's structure, before those of its meaning: names that are not defined or never
 * used, definitions that contain themselves, trees that get too large when expanded. Text can't
 * have most of these mistakes, a policy made in code can.
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
import { type CheckName, type Finding, formatPath, labelOf, type Path } from "./finding.ts";
import { type Measure, measurer } from "../engine/measure.ts";
import { MAX_DEPTH, MAX_NODES } from "../language/limits.ts";

/** Most parts of one predicate. */
const MAX_PARTS = MAX_NODES;

/** Most networks of one list, those of the lists in it included. */
const MAX_NETWORKS = MAX_NODES;

export interface Structure {
  readonly findings: readonly Finding[];
  /** False if an analysis of the tree might not end in reasonable time. */
  readonly sound: boolean;
}

/** Where a tree is: its path, and the subtree whose definition it is part of, if any. */
interface Position {
  readonly path: Path;
  readonly within: string | null;
}

export function checkStructure(policy: Policy): Structure {
  const check = new StructureCheck(policy);
  check.run();
  return { findings: check.findings, sound: check.sound };
}

class StructureCheck {
  readonly findings: Finding[] = [];
  sound = true;
  readonly #policy: Policy;
  /** Places of the definitions in their order, by name. */
  readonly #order: ReadonlyMap<string, number>;
  /** What `$name` can mean, pools among it. */
  readonly #lists: ReturnType<typeof listsOf>;
  readonly #usedLists = new Set<string>();
  readonly #usedSubtrees = new Set<string>();
  readonly #measureTree = measurer<Tree, Position>({
    enter: (tree, position) => this.#enterTree(tree, position),
    circle: (tree, position) => this.#circle(tree, position),
  });
  readonly #measurePredicate = measurer<Predicate, Path>({
    enter: (predicate, path) => this.#enterPredicate(predicate, path),
    circle: (predicate, path) => {
      this.#unsound("contains-itself", predicate, "This predicate contains itself", path);
    },
  });

  constructor(policy: Policy) {
    this.#policy = policy;
    this.#lists = listsOf(policy);
    this.#order = new Map(Object.keys(policy.subtrees).map((name, i) => [name, i]));
  }

  run(): void {
    const { lists, subtrees, next } = this.#policy;
    this.#checkTree(next, { path: null, within: null });
    const usedLists = new Set(this.#usedLists);
    const usedSubtrees = new Set(this.#usedSubtrees);
    this.#checkLists(usedLists);
    this.#checkPools(usedLists);
    for (const name of Object.keys(lists)) {
      if (usedLists.has(name)) continue;
      const message = `List "$${name}" is never used`;
      this.#find("warning", "unused-definition", lists[name]!, message, definition(`$${name}`));
    }
    for (const name of Object.keys(subtrees)) {
      if (usedSubtrees.has(name)) continue;
      const tree = subtrees[name]!;
      const path = definition(name);
      this.#find("warning", "unused-definition", tree, `Subtree "${name}" is never used`, path);
      this.#checkTree(tree, { path, within: name });
    }
  }

  #checkPools(used: ReadonlySet<string>): void {
    for (const [name, pool] of Object.entries(this.#policy.pools)) {
      const path: Path = { step: `pool $${name}`, up: null };
      const { members } = pool;
      if (name === DST_ADDRS) {
        const message = `Cannot define pool "$${name}": it is given by --dst-addrs`;
        this.#find("error", "reserved-name", pool, message, path);
      } else if (members.length === 0) {
        this.#find("error", "empty-pool", pool, `Pool "$${name}" has no members`, path);
      } else if (Object.hasOwn(this.#policy.lists, name)) {
        const message = `"$${name}" is the name of a pool and of a list`;
        this.#find("error", "reserved-name", pool, message, path);
      } else if (members.every(({ weight }) => weight === 0)) {
        const message = `Pool "$${name}" takes no connection: every member has weight 0`;
        this.#find("error", "empty-pool", pool, message, path);
      } else if (members.every(({ weight, state }) => weight === 0 || state === "drain")) {
        const message = `Pool "$${name}" takes no connection: every member drains or has weight 0`;
        this.#find("warning", "empty-pool", pool, message, path);
      } else if (!used.has(name)) {
        const message = `Pool "$${name}" is never used`;
        this.#find("warning", "unused-definition", pool, message, path);
      }
    }
  }

  /** Adds the lists that used ones use. */
  #checkLists(used: Set<string>): void {
    const { lists } = this.#policy;
    const names = Object.keys(lists);
    for (const name of names.toReversed()) {
      if (!used.has(name)) continue;
      for (const term of lists[name]!) if ("list" in term) used.add(term.list);
    }
    const sizes = new Map<string, number>();
    for (const name of names) {
      const path = definition(`$${name}`);
      if (name === DST_ADDRS) {
        const message = `Cannot define list "$${name}": it is given by --dst-addrs`;
        this.#find("error", "reserved-name", lists[name]!, message, path);
        continue;
      }
      const size = this.#checkList(name, lists[name]!, sizes, path);
      if (size > MAX_NETWORKS) {
        const message = `List "$${name}" has more than ${decimal(MAX_NETWORKS)} networks`;
        this.#unsound("too-large", lists[name]!, message, path);
      }
      sizes.set(name, Math.min(size, MAX_NETWORKS)); // a list is to blame for itself only
    }
  }

  /** Number of networks; `sizes` has the lists before this one. */
  #checkList(
    name: string,
    terms: readonly AddressTerm[],
    sizes: ReadonlyMap<string, number>,
    path: Path,
  ): number {
    let networks = 0;
    for (const term of terms) {
      const isPool = "list" in term && Object.hasOwn(this.#policy.pools, term.list);
      networks += !("list" in term)
        ? 1
        : isPool
        ? this.#lists[term.list]!.length
        : sizes.get(term.list) ?? 0;
      if (isPool) continue;
      if (!("list" in term) || term.list === DST_ADDRS || sizes.has(term.list)) continue;
      if (term.list === name) {
        this.#find("error", "contains-itself", terms, `List "$${name}" contains itself`, path);
      } else if (Object.hasOwn(this.#policy.lists, term.list)) {
        const message = `List "$${name}" uses "$${term.list}", which is defined below it`;
        this.#find("error", "used-before-definition", terms, message, path);
      } else {
        const message = `List "$${term.list}" is not defined`;
        this.#find("error", "unknown-name", terms, message, path);
      }
    }
    return networks;
  }

  #checkTree(tree: Tree, position: Position): void {
    const { size, height } = this.#measureTree(tree, position);
    if (size > MAX_NODES) {
      const message = `The tree has more than ${decimal(MAX_NODES)} nodes` +
        " when every use of a subtree is written out";
      this.#unsound("too-large", tree, message, position.path);
    }
    if (height > MAX_DEPTH) {
      const message = `The tree is more than ${MAX_DEPTH} levels deep`;
      this.#unsound("too-deep", tree, message, position.path);
    }
  }

  #enterTree(tree: Tree, position: Position): {
    readonly size: number;
    readonly below: readonly (readonly [Tree, Position])[];
  } {
    const { path, within } = position;
    const on = (child: Tree, step: Predicate | string): readonly [Tree, Position] => [
      child,
      { path: { step, up: path }, within },
    ];
    switch (tree.node) {
      case "first-match":
        return {
          size: 1,
          below: tree.arms.map((arm) => on(arm.then, this.#checkPredicate(arm.when, path))),
        };
      case "filter":
        return { size: 1, below: [on(tree.then, this.#checkPredicate(tree.when, path))] };
      case "use": {
        const subtree = this.#use(tree, position);
        if (subtree === null) return { size: 0, below: [] };
        const inside = { path: { step: `use ${tree.name}`, up: path }, within: tree.name };
        return { size: 0, below: [[subtree, inside]] };
      }
      default: {
        if (tree.node === "translate-a-to-b") this.#checkTarget(tree, path);
        const children = childrenOf(tree);
        return {
          size: 1,
          below: children.length === 1
            ? [[children[0]!, position]]
            : children.map((child, i) => on(child, `branch ${i + 1}`)),
        };
      }
    }
  }

  #checkTarget(tree: Extract<Tree, { node: "translate-a-to-b" }>, path: Path): void {
    const { pool } = tree;
    this.#usedLists.add(pool);
    if (pool === DST_ADDRS || Object.hasOwn(this.#policy.pools, pool)) return;
    this.#find("error", "unknown-name", tree, `Pool "$${pool}" is not defined`, path);
  }

  /** The subtree that is used; null: there is none. */
  #use(tree: Extract<Tree, { node: "use" }>, { path, within }: Position): Tree | null {
    const { name } = tree;
    const { subtrees } = this.#policy;
    if (!Object.hasOwn(subtrees, name)) {
      this.#find("error", "unknown-name", tree, `Subtree "${name}" is not defined`, path);
      return null;
    }
    this.#usedSubtrees.add(name);
    if (within !== null && this.#order.get(name)! > this.#order.get(within)!) {
      const message = `Subtree "${within}" uses "${name}", which is defined below it`;
      this.#find("error", "used-before-definition", tree, message, path);
    }
    return subtrees[name]!;
  }

  #circle(tree: Tree, { path, within }: Position): void {
    const message = within === null || this.#policy.subtrees[within] !== tree
      ? "This tree contains itself"
      : `Subtree "${within}" contains itself`;
    this.#unsound("contains-itself", tree, message, path);
  }

  /** What to call the predicate in a path. */
  #checkPredicate(predicate: Predicate, path: Path): Predicate | string {
    const { size, height }: Measure = this.#measurePredicate(predicate, path);
    if (size <= MAX_PARTS && height <= MAX_DEPTH && this.sound) return predicate;
    if (size > MAX_PARTS) {
      const message = `The predicate has more than ${decimal(MAX_PARTS)} parts`;
      this.#unsound("too-large", predicate, message, path);
    }
    if (height > MAX_DEPTH) {
      const message = `The predicate is more than ${MAX_DEPTH} levels deep`;
      this.#unsound("too-deep", predicate, message, path);
    }
    return "…";
  }

  #enterPredicate(predicate: Predicate, path: Path): {
    readonly size: number;
    readonly below: readonly (readonly [Predicate, Path])[];
  } {
    switch (predicate.test) {
      case "not":
        return { size: 1, below: [[predicate.of, path]] };
      case "all":
      case "any":
        return { size: 1, below: predicate.of.map((part) => [part, path]) };
      case "address":
        this.#checkTerms(predicate, path);
        return { size: 1, below: [] };
      default:
        return { size: 1, below: [] };
    }
  }

  #checkTerms(predicate: Extract<Predicate, { test: "address" }>, path: Path): void {
    for (const term of predicate.in) {
      if (!("list" in term)) continue;
      this.#usedLists.add(term.list);
      if (term.list === DST_ADDRS || Object.hasOwn(this.#lists, term.list)) continue;
      const message = `List "$${term.list}" is not defined`;
      const own = { step: labelOf(predicate), up: path };
      this.#find("error", "unknown-name", predicate, message, own);
    }
  }

  #unsound(check: CheckName, node: object, message: string, path: Path): void {
    this.sound = false;
    this.#find("error", check, node, message, path);
  }

  #find(
    level: Finding["level"],
    check: CheckName,
    node: object,
    message: string,
    path: Path,
  ): void {
    this.findings.push({ level, check, node, message, path: formatPath(path) });
  }
}

function definition(name: string): Path {
  return { step: `define ${name}`, up: null };
}

function decimal(number: number): string {
  return number.toLocaleString("en-US");
}
