/** Where a key leads to in the tree, as in the ARIA Authoring Practices' tree view. */
import type { Outline, Row } from "./outline.ts";

/** The node that is selected after a key, and whether others are shown. */
export interface Step {
  readonly id: number;
  readonly hasChanged: boolean;
}

/**
 * `outline` folds and unfolds; null: what is found by a filter stays as it is. To a key that leads
 * nowhere the answer is null.
 */
export function walk(
  key: string,
  selected: number,
  rows: readonly Row[],
  outline: Pick<Outline, "fold"> | null,
): Step | null {
  if (rows.length === 0) return null;
  const at = Math.max(0, rows.findIndex(({ id }) => id === selected));
  const row = rows[at]!;
  const to = (index: number): Step => ({
    id: rows[Math.max(0, Math.min(rows.length - 1, index))]!.id,
    hasChanged: false,
  });
  switch (key) {
    case "ArrowDown":
      return to(at + 1);
    case "ArrowUp":
      return to(at - 1);
    case "Home":
      return to(0);
    case "End":
      return to(rows.length - 1);
    case "ArrowRight":
      if (row.folded > 0 && outline !== null) {
        outline.fold(row.id, false);
        return { id: row.id, hasChanged: true };
      }
      return to(row.hasChildren ? at + 1 : at);
    case "ArrowLeft":
      if (row.hasChildren && row.folded === 0 && outline !== null) {
        outline.fold(row.id, true);
        return { id: row.id, hasChanged: true };
      }
      return to(row.parent < 0 ? at : row.parent);
  }
  return null;
}
