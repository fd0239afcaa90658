/**
 * What the readers of a policy text share: what is defined so far, where each node stands, and where
 * errors go.
 */
import { MAX_TEXT_DEPTH } from "../language/limits.ts";
import type { AddressTerm, CustomPredicate, CustomSelector, Tree } from "../language/ast.ts";
import { type Line, LineError, type Report } from "./lex.ts";
import type { Position } from "./policy_error.ts";

/** A user's functions that a policy text may name: what `custom NAME` means in it. */
export interface Customs {
  /** By the name that the text writes in front of `->`. */
  readonly predicates?: Readonly<Record<string, CustomPredicate>>;
  /** By the name that the text writes in front of `:` and branches. */
  readonly selectors?: Readonly<Record<string, CustomSelector>>;
}

/** A list that is defined; what is wrong with it is already reported. */
export interface List {
  readonly terms: readonly AddressTerm[];
  /** With those of the lists in it. */
  readonly size: number;
  /** Lists on the longest way through the lists in it. */
  readonly depth: number;
}

/** A subtree that is defined, likewise. */
export interface Subtree {
  readonly tree: Tree;
  /** Nodes on the longest path, those of the subtrees in it included. */
  readonly depth: number;
}

/** Stands for a tree that could not be read. */
export const UNREADABLE: Tree = Object.freeze({ node: "decide", decision: "drop", label: null });

export class Scope {
  /** Where each node stands. */
  readonly positions: Map<object, Position> = new Map();
  /** Lists that are defined above, by name without `$`. */
  readonly lists: Map<string, List> = new Map();
  /** Subtrees that are defined above. */
  readonly subtrees: Map<string, Subtree> = new Map();
  /** Every definition of the file, lists with their `$` → its line. */
  readonly definedIn: Map<string, number> = new Map();
  /** Nodes on the longest path of the tree or definition that is being read. */
  deepest = 0;

  constructor(readonly customs: Customs, readonly report: Report) {}

  /** Freezes a node and remembers where it stands. */
  mark<Node extends object>(node: Node, position: Position): Node {
    this.positions.set(node, position);
    return Object.freeze(node);
  }

  /** Reads of a line what `read` does; if that can't be read, reports it and gives `otherwise`. */
  attempt<Result>(line: Line, read: () => Result, otherwise: Result): Result {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      this.report(line, error.token.start, error.token.end, error.complaint);
      return otherwise;
    }
  }

  /** Counts a node with `depth` nodes above it; too deep a tree is reported once. */
  enter(line: Line, depth: number): void {
    if (depth >= MAX_TEXT_DEPTH && this.deepest <= MAX_TEXT_DEPTH) {
      this.report(line, line.start, line.text.length, {
        found: `a path of more than ${MAX_TEXT_DEPTH} nodes`,
        expected: "a flatter tree",
      });
    }
    this.deepest = Math.max(this.deepest, depth + 1);
  }
}
