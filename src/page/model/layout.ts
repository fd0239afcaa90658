/** Where boxes and edges are: from left to right, or as an indented list where that is too wide. */
import type { Row } from "./outline.ts";

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
}

export interface Layout {
  /** By row. */
  readonly boxes: readonly Box[];
  readonly width: number;
  readonly height: number;
  readonly boxHeight: number;
  readonly hasEdges: boolean;
}

const MARGIN = 16;
const BOX_HEIGHT = 60;
const ROW = 72;
const GAP = 52;

/** Boxes are as wide as there is room. */
const [LEAST_WIDTH, MOST_WIDTH] = [164, 240];

/** A parent of many is not so far down that it is out of sight where its first child is. */
const MOST_DOWN = 3 * ROW;

const LIST_ROW = 64;
const LIST_HEIGHT = 58;
const INDENT = 12;

/** The part of the width that the deepest rows of a list are indented by. */
const MOST_INDENTED = 0.35;

/**
 * From left to right: a parent is in the middle of its children. An only child is below its
 * parent, as steps that follow each other are no branches.
 */
export function treeLayout(rows: readonly Row[], width: number): Layout {
  const children = rows.map(() => 0);
  for (const { parent } of rows) if (parent >= 0) children[parent]!++;
  const columns: number[] = [];
  for (const { parent } of rows) {
    columns.push(parent < 0 ? 0 : columns[parent]! + (children[parent] === 1 ? 0 : 1));
  }
  const last = columns.reduce((most, column) => Math.max(most, column), 0);
  const room = (width - 2 * MARGIN - GAP * last) / (last + 1);
  const boxWidth = Math.max(LEAST_WIDTH, Math.min(MOST_WIDTH, Math.floor(room)));
  const [y, height] = heightsOf(rows, children);
  return {
    boxes: rows.map((_, i) => ({
      x: MARGIN + columns[i]! * (boxWidth + GAP),
      y: y[i]!,
      width: boxWidth,
    })),
    width: 2 * MARGIN + last * (boxWidth + GAP) + boxWidth,
    height,
    boxHeight: BOX_HEIGHT,
    hasEdges: true,
  };
}

/** Each subtree has rows of its own, and its root is in one of them. */
function heightsOf(
  rows: readonly Row[],
  children: readonly number[],
): [y: number[], height: number] {
  const y = rows.map(() => 0);
  let next = 0; // row
  /** Gives the end of the subtree. */
  const place = (top: number): number => {
    const at = next++;
    const count = children[at]!;
    y[at] = top;
    if (count === 0) return top + ROW;
    if (count === 1) {
      const bottom = place(top + ROW);
      y[at] = y[at + 1]! - ROW;
      return bottom;
    }
    let bottom = top;
    const places: number[] = [];
    for (let i = 0; i < count; i++) {
      const child = next;
      bottom = place(bottom);
      places.push(y[child]!);
    }
    y[at] = Math.min((places[0]! + places.at(-1)!) / 2, places[0]! + MOST_DOWN);
    return bottom;
  };
  const bottom = rows.length === 0 ? MARGIN + ROW : place(MARGIN);
  return [y, bottom - ROW + BOX_HEIGHT + MARGIN];
}

/** One below the other, within the width. */
export function listLayout(rows: readonly Row[], width: number): Layout {
  const boxes = rows.map(({ depth }, i) => {
    const x = Math.min(INDENT * depth, MOST_INDENTED * width);
    return { x, y: i * LIST_ROW, width: width - x };
  });
  return {
    boxes,
    width,
    height: rows.length * LIST_ROW,
    boxHeight: LIST_HEIGHT,
    hasEdges: false,
  };
}

/** An edge from a parent to a child: a cubic Bézier curve, its ends level, or a line down. */
export interface Edge {
  /** Two ends, and between them what the curve is drawn to. */
  readonly xs: readonly [number, number, number, number];
  readonly ys: readonly [number, number, number, number];
}

/** Where a line down begins, from the left of its box. */
const LINE_AT = 28;

export function edgeTo(row: number, rows: readonly Row[], { boxes, boxHeight }: Layout): Edge {
  const [from, to] = [boxes[rows[row]!.parent]!, boxes[row]!];
  if (from.x === to.x) {
    const x = from.x + LINE_AT;
    const [top, bottom] = [from.y + boxHeight, to.y];
    return { xs: [x, x, x, x], ys: [top, top, bottom, bottom] };
  }
  const [left, right] = [from.x + from.width, to.x];
  const [y, toY] = [from.y + boxHeight / 2, to.y + boxHeight / 2];
  const middle = (left + right) / 2;
  return { xs: [left, middle, middle, right], ys: [y, y, toY, toY] };
}

/** The point of an edge at `t`, from 0 to 1. */
export function pointOf({ xs, ys }: Edge, t: number): [x: number, y: number] {
  const u = 1 - t;
  const parts = [u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t];
  const sum = (at: readonly number[]) => parts.reduce((all, part, i) => all + part * at[i]!, 0);
  return [sum(xs), sum(ys)];
}

/** From end to end, as the crow flies. */
export function lengthOf({ xs, ys }: Edge): number {
  return Math.hypot(xs[3] - xs[0], ys[3] - ys[0]);
}

/** As the attribute `d` of an SVG path. */
export function pathOf({ xs, ys }: Edge): string {
  const at = (i: 0 | 1 | 2 | 3) => `${xs[i]} ${ys[i]}`;
  return `M${at(0)}C${at(1)} ${at(2)} ${at(3)}`;
}
