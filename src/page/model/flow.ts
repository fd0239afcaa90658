/** How much traffic looks like how much: widths of edges, and dots that run along them. */

const MOST_WIDTH = 12;

/** In pixels, by the logarithm of packets a second. */
export function edgeWidth(rate: number): number {
  return Math.min(MOST_WIDTH, 1 + 2 * Math.log10(1 + rate));
}

/** Dots at a time, on all edges. */
export const MOST_DOTS = 60;

/** On one edge. */
const MOST_OF_EDGE = 6;

/** Between two dots of an edge, in pixels. */
const LEAST_APART = 14;

/**
 * How many dots each edge has, by its packets a second and its length in pixels: the busiest first
 * if they are too many.
 */
export function dotsOf(
  edges: readonly { readonly rate: number; readonly length: number }[],
): number[] {
  const rates = edges.map(({ rate }) => rate);
  const dots = edges.map(({ rate, length }) => {
    const most = Math.max(1, Math.min(MOST_OF_EDGE, Math.floor(length / LEAST_APART)));
    return rate > 0 ? Math.min(most, 1 + Math.floor(Math.log10(1 + rate))) : 0;
  });
  let sum = dots.reduce((all, one) => all + one, 0);
  const quietest = rates.map((_, i) => i).sort((a, b) => rates[a]! - rates[b]!);
  for (let least = 1; least >= 0; least--) {
    for (const i of quietest) {
      if (sum <= MOST_DOTS) return dots;
      const fewer = Math.min(dots[i]!, least);
      sum -= dots[i]! - fewer;
      dots[i] = fewer;
    }
  }
  return dots;
}

/** How long a dot takes for an edge, by packets a second: the busier, the faster. */
export function travelMs(rate: number): number {
  return 2400 / (1 + 0.5 * Math.log10(1 + rate));
}
