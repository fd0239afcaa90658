/** The rows of a section in the order, and with the filter, that the user has chosen. */
import type { BackendFigure, DropFigure, Figures, TreeFigure } from "./figures.ts";
import { ORDERS, type Section, type View } from "./view.ts";

export interface Rows {
  readonly tree: readonly TreeFigure[];
  readonly backends: readonly BackendFigure[];
  readonly drops: readonly DropFigure[];
}

export function arrange(figures: Figures, view: View): Rows {
  const wanted = view.filter.toLowerCase();
  const fits = (text: string) => text.toLowerCase().includes(wanted);
  return {
    tree: arrangedTree(figures.tree, orderOf(view, "tree"), fits),
    backends: sorted(
      figures.backends.filter(({ shape }) => fits(`${shape.name} ${shape.status}`)),
      BY_BACKEND[orderOf(view, "backends")]!,
    ),
    drops: sorted(
      figures.drops.filter(({ shape }) => fits(`${shape.reason} ${shape.meaning}`)),
      BY_DROP[orderOf(view, "drops")]!,
    ),
  };
}

export function orderOf(view: View, section: Section): string {
  return ORDERS[section][view.order[section]]!;
}

/** Greater first: what rows are compared by. */
type Keys<Row> = Readonly<Record<string, (row: Row) => number | string>>;

const BY_BACKEND: Keys<BackendFigure> = {
  name: () => 0, // as the proxy has them, by pool
  rate: ({ rate }) => rate ?? 0,
  open: ({ shape }) => shape.open,
  status: ({ shape }) => shape.status,
};

const BY_DROP: Keys<DropFigure> = {
  rate: ({ rate }) => rate ?? 0,
  total: ({ shape }) => shape.count,
  name: ({ shape }) => shape.reason,
};

const BY_LINE: Keys<TreeFigure> = {
  "as written": () => 0,
  rate: ({ rate }) => rate ?? 0,
  total: ({ pdus }) => pdus,
};

/** Numbers from the greatest, words from A; equal ones stay as they are. */
function sorted<Row>(rows: readonly Row[], key: (row: Row) => number | string): Row[] {
  return rows.toSorted((a, b) => {
    const [one, other] = [key(a), key(b)];
    if (typeof one === "number" && typeof other === "number") return other - one;
    return one < other ? -1 : one > other ? 1 : 0;
  });
}

interface Branch {
  readonly row: TreeFigure;
  readonly below: Branch[];
}

/** Siblings are ordered among themselves; a line that fits keeps those above it. */
function arrangedTree(
  rows: readonly TreeFigure[],
  order: string,
  fits: (text: string) => boolean,
): TreeFigure[] {
  const roots: Branch[] = [];
  const above: Branch[] = [];
  for (const row of rows) {
    const branch = { row, below: [] };
    above.length = Math.min(above.length, row.depth);
    (above.at(-1)?.below ?? roots).push(branch);
    above.push(branch);
  }
  const ordered = (branches: readonly Branch[]): TreeFigure[] =>
    sorted(branches, ({ row }) => BY_LINE[order]!(row)).flatMap(({ row, below }) => {
      const kept = ordered(below);
      return kept.length > 0 || fits(row.text) ? [row, ...kept] : [];
    });
  return ordered(roots);
}
