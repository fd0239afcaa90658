/** How many lines of the screen each section gets, its heading included. */
import { type Section, SECTIONS } from "./view.ts";

/** A heading and a row; with less a section is not shown. */
const LEAST = 2;

/**
 * `wanted` is what a section would fill. Where the screen is short, the one in focus gets twice
 * what the others get, and so does the tree.
 */
export function layout(
  lines: number,
  wanted: Readonly<Record<Section, number>>,
  focus: Section,
): Record<Section, number> {
  const given = { tree: 0, backends: 0, drops: 0 };
  const order = [focus, ...SECTIONS.filter((section) => section !== focus)];
  let shown = order.slice(0, Math.max(1, Math.floor(lines / LEAST)));
  let left = lines;
  while (shown.length > 0 && left > 0) {
    const weightOf = (section: Section) => section === focus || section === "tree" ? 2 : 1;
    const weights = shown.reduce((sum, section) => sum + weightOf(section), 0);
    const part = left / weights;
    const small = shown.find((section) => wanted[section] <= part * weightOf(section));
    if (small !== undefined) { // it wants no more, and the others get the rest
      given[small] = wanted[small];
      left -= wanted[small];
      shown = shown.filter((section) => section !== small);
      continue;
    }
    for (const section of shown) {
      given[section] = Math.max(LEAST, Math.floor(part * weightOf(section)));
    }
    given[shown[0]!] += left - shown.reduce((sum, section) => sum + given[section], 0);
    break;
  }
  return given;
}
