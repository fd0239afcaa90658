/**
 * Sets of numbers as disjoint intervals, for many small changes: a persistent treap (a search tree
 * that pseudo-random priorities keep balanced). A changed set shares most nodes with the one
 * before. To remove an interval, or to test one, takes time in the logarithm of the set's size.
 */
import type { Interval } from "../language/ast.ts";

/** One interval and those to its left and right; null: the empty set. */
export type IntervalSet = {
  readonly first: number;
  readonly last: number;
  readonly priority: number;
  readonly left: IntervalSet;
  readonly right: IntervalSet;
  /** Number of intervals. */
  readonly count: number;
} | null;

type Node = NonNullable<IntervalSet>;

/** The numbers from `first` to `last`, both included. */
export function interval(first: number, last: number): IntervalSet {
  return { first, last, priority: priorityOf(first), left: null, right: null, count: 1 };
}

/** The union of intervals in any order; they may overlap. */
export function unionOf(intervals: readonly Interval[]): IntervalSet {
  const sorted = [...intervals].sort((a, b) => a.first - b.first);
  let set: IntervalSet = null;
  let open: { first: number; last: number } | null = null;
  for (const { first, last } of sorted) {
    if (open !== null && first <= open.last + 1) {
      open.last = Math.max(open.last, last);
      continue;
    }
    if (open !== null) set = joined(set, interval(open.first, open.last));
    open = { first, last };
  }
  return open === null ? set : joined(set, interval(open.first, open.last));
}

export function has(set: IntervalSet, value: number): boolean {
  while (set !== null && (value < set.first || value > set.last)) {
    set = value < set.first ? set.left : set.right;
  }
  return set !== null;
}

/** The set's only number; null if it has none or several. */
export function onlyOf(set: IntervalSet): number | null {
  return set !== null && set.count === 1 && set.first === set.last ? set.first : null;
}

export function without(set: IntervalSet, first: number, last: number): IntervalSet {
  const [below, rest] = split(set, first);
  return joined(below, split(rest, last + 1)[1]);
}

export function within(set: IntervalSet, first: number, last: number): IntervalSet {
  return split(split(set, first)[1], last + 1)[0];
}

export function union(a: IntervalSet, b: IntervalSet): IntervalSet {
  return unionOf([...intervalsOf(a), ...intervalsOf(b)]);
}

export function intersection(a: IntervalSet, b: IntervalSet): IntervalSet {
  if (a === b) return a;
  if (a === null || b === null) return null;
  const [small, large] = a.count < b.count ? [a, b] : [b, a];
  let set: IntervalSet = null;
  for (const { first, last } of intervalsOf(small)) set = joined(set, within(large, first, last));
  return set;
}

export function intersects(a: IntervalSet, b: IntervalSet): boolean {
  if (a === null || b === null) return false;
  if (a === b) return true;
  const [small, large] = a.count < b.count ? [a, b] : [b, a];
  return anyInterval(small, (first, last) => overlaps(large, first, last));
}

export function difference(a: IntervalSet, b: IntervalSet): IntervalSet {
  if (a === b || a === null) return null;
  if (b === null) return a;
  let set: IntervalSet = a;
  if (b.count <= a.count) {
    for (const { first, last } of intervalsOf(b)) set = without(set, first, last);
    return set;
  }
  for (const own of intervalsOf(a)) {
    for (const { first, last } of intervalsOf(within(b, own.first, own.last))) {
      set = without(set, first, last);
    }
  }
  return set;
}

/** In ascending order. */
export function intervalsOf(set: IntervalSet): readonly Interval[] {
  const intervals: Interval[] = [];
  anyInterval(set, (first, last) => {
    intervals.push({ first, last });
    return false;
  });
  return intervals;
}

function anyInterval(
  set: IntervalSet,
  test: (first: number, last: number) => boolean,
): boolean {
  return set !== null &&
    (anyInterval(set.left, test) || test(set.first, set.last) || anyInterval(set.right, test));
}

function overlaps(set: IntervalSet, first: number, last: number): boolean {
  while (set !== null && (last < set.first || first > set.last)) {
    set = last < set.first ? set.left : set.right;
  }
  return set !== null;
}

/** The numbers below `at`, and the others. */
function split(set: IntervalSet, at: number): readonly [IntervalSet, IntervalSet] {
  if (set === null) return [null, null];
  if (set.last < at) {
    const [below, rest] = split(set.right, at);
    return [rest === null ? set : withSides(set, set.left, below), rest];
  }
  if (set.first >= at) {
    const [below, rest] = split(set.left, at);
    return [below, below === null ? set : withSides(set, rest, set.right)];
  }
  return [
    withSides({ ...set, last: at - 1 }, set.left, null),
    joined(interval(at, set.last), set.right),
  ];
}

/** The union of two sets, all of `a` below all of `b`. */
function joined(a: IntervalSet, b: IntervalSet): IntervalSet {
  if (a === null) return b;
  if (b === null) return a;
  return a.priority > b.priority
    ? withSides(a, a.left, joined(a.right, b))
    : withSides(b, joined(a, b.left), b.right);
}

function withSides(node: Node, left: IntervalSet, right: IntervalSet): Node {
  const { first, last, priority } = node;
  const count = 1 + (left?.count ?? 0) + (right?.count ?? 0);
  return { first, last, priority, left, right, count };
}

/** The finalizer of MurmurHash3. */
function priorityOf(value: number): number {
  let hash = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
