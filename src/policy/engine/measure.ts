/**
 * Size and height of what nodes would be if each were written out in every place where it is used:
 * once for each node, without recursion, so that neither sharing, depth nor a circle can do harm.
 */
import { GrowingMap } from "../../core/growing_map.ts";
import type { Slices } from "../../core/slices.ts";

/** Steps between two places where the work can be interrupted. */
const STEPS_AT_ONCE = 16;

export interface Measure {
  /** Infinity where numbers end. */
  readonly size: number;
  /** Levels below the node. */
  readonly height: number;
}

export interface Measured<Node, Context> {
  /** Called once for each node, in writing order: its own size, and the nodes below it. */
  enter(node: Node, context: Context): {
    readonly size: number;
    /** Is gone through once. */
    readonly below: Iterable<readonly [Node, Context]>;
  };
  /**
   * `node` has itself somewhere below it; `context` is the lower one. It counts as nothing there.
   */
  circle(node: Node, context: Context): void;
}

/** A function that measures; what it has measured before, it knows. */
export function measurer<Node extends object, Context>(
  { enter, circle }: Measured<Node, Context>,
): (root: Node, context: Context) => Slices<Measure> {
  const known = new GrowingMap<Node, Measure>();
  const open = new Set<Node>();
  return function* (root, context) {
    const measured = known.get(root);
    if (measured !== undefined) return measured;
    const stack = [frame(root, context)];
    let steps = 0;
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      if (++steps % STEPS_AT_ONCE === 0) yield;
      const { done, value } = top.next;
      if (done) {
        known.add(top.node, { size: top.size, height: top.height });
        open.delete(top.node);
        stack.pop();
        continue;
      }
      const [child, childContext] = value;
      const measure = known.get(child);
      if (measure === undefined && !open.has(child)) {
        stack.push(frame(child, childContext)); // it is known the next time
        continue;
      }
      if (measure !== undefined) {
        top.size += measure.size;
        top.height = Math.max(top.height, measure.height + 1);
      } else circle(child, childContext);
      top.next = top.below.next();
    }
    return known.get(root)!;
  };

  function frame(node: Node, context: Context) {
    open.add(node);
    const { size, below } = enter(node, context);
    const iterator = below[Symbol.iterator]();
    return { node, below: iterator, next: iterator.next(), size, height: 0 };
  }
}
