/**
 * The picture of a policy as SVG, by Graphviz compiled to WebAssembly. It is large, so nothing
 * imports this file but by `import()`, when a picture is asked for.
 */
import { instance } from "@viz-js/viz";
import type { Graph } from "../policy/picture/graph.ts";
import { renderDot } from "../policy/picture/render.ts";

/**
 * Most nodes. A list of as many arms takes Graphviz a second or two; the worst policies, in which
 * every arm branches, up to a minute on a busy machine.
 */
export const MAX_SVG_NODES = 2000;

/** Throws a RangeError for too large a graph, an Error if Graphviz fails. */
export async function renderSvg(graph: Graph): Promise<string> {
  const { length } = graph.nodes;
  if (length > MAX_SVG_NODES) {
    throw new RangeError(
      `Cannot draw ${length} nodes as SVG: expected at most ${MAX_SVG_NODES}; ` +
        'larger policies can be had by "policy dot" and drawn with sfdp, or read with "policy print"',
    );
  }
  const viz = await instance();
  const { status, output, errors } = layout(() => viz.render(renderDot(graph), { format: "svg" }));
  if (status === "success") return output;
  throw new Error(`Cannot draw policy: ${errors.map(({ message }) => message).join("; ")}`);
}

/** Graphviz gone wrong, e.g. out of memory, is a WebAssembly.RuntimeError or a stack overflow. */
function layout<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new Error(`Cannot draw policy: Graphviz failed: ${error}`);
  }
}
