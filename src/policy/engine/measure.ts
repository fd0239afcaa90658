/**
 * Size and height of what nodes would be if each were written out in every place where it is used:
 * once for each node, without recursion, so that neither sharing, depth nor a circle can do harm.
 */
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
    readonly below: readonly (readonly [Node, Context])[];
  };
  /**
   * `node` has itself somewhere below it; `context` is the lower one. It counts as nothing there.
   */
  circle(node: Node, context: Context): void;
}

/** A function that measures; what it has measured before, it knows. */
export function measurer<Node extends object, Context>(
  { enter, circle }: Measured<Node, Context>,
): (root: Node, context: Context) => Measure {
  const known = new Map<Node, Measure>();
  const open = new Set<Node>();
  return (root, context) => {
    const stack = [frame(root, context)];
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const next = top.below[top.next++];
      if (next === undefined) {
        known.set(top.node, { size: top.size, height: top.height });
        open.delete(top.node);
        stack.pop();
        continue;
      }
      const [child, childContext] = next;
      const measure = known.get(child);
      if (measure !== undefined) {
        top.size += measure.size;
        top.height = Math.max(top.height, measure.height + 1);
      } else if (open.has(child)) {
        circle(child, childContext);
      } else {
        top.next--; // it is known the next time
        stack.push(frame(child, childContext));
      }
    }
    return known.get(root)!;
  };

  function frame(node: Node, context: Context) {
    const measure = known.get(node);
    if (measure !== undefined) return { node, below: [], next: 0, ...measure };
    open.add(node);
    const { size, below } = enter(node, context);
    return { node, below, next: 0, size, height: 0 };
  }
}
