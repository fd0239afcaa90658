/**
 * The policy's tree: a box for each node that is in sight, edges between them, and who is selected.
 * Boxes are of HTML at computed places, so that a tree of ten thousand nodes costs what fits on the
 * screen; for the keyboard and for those who hear it, it is a `role=tree`.
 */
import { edgeWidth } from "../model/flow.ts";
import { type Edge, edgeTo, type Layout, listLayout, pathOf, treeLayout } from "../model/layout.ts";
import type { Outline, Row } from "../model/outline.ts";
import type { Shown } from "../model/session.ts";
import { walk } from "../model/walk.ts";
import { nodeWords, percent, short, whole } from "../model/words.ts";
import { byId, make, setAttribute, setText } from "./dom.ts";

/** A narrower tree is a list. */
const LIST_BELOW = 640;

/** Boxes so far out of sight are there, too. */
const AHEAD = 300;

/** Most edges that are drawn. */
const MOST_EDGES = 1500;

const SVG = "http://www.w3.org/2000/svg";

/** An edge that is drawn, with its packets a second. */
export interface Flow {
  /** The node that it leads to. */
  readonly id: number;
  readonly edge: Edge;
  readonly rate: number;
}

export class TreeView {
  readonly scroller: HTMLElement = byId("tree");
  readonly #content = byId("boxes");
  readonly #svg = document.getElementById("edges")!;
  readonly #boxes = new Map<number, HTMLElement>();
  readonly #edges = new Map<number, SVGPathElement>();
  readonly #open: (id: number) => void;
  #shown: Shown | null = null;
  #outline: Outline | null = null;
  #rows: readonly Row[] = [];
  #rowOf = new Map<number, number>();
  #layout: Layout = listLayout([], 0);
  #filter = "";
  #matches = new Set<number>();
  selected = 0;

  /** Calls `open` with the node whose details are wanted. */
  constructor(open: (id: number) => void) {
    this.#open = open;
    this.scroller.addEventListener("scroll", () => this.#place(), { passive: true });
    this.scroller.addEventListener("keydown", (event) => this.#key(event));
    this.scroller.addEventListener("click", (event) => this.#click(event));
    new ResizeObserver(() => this.#layOut()).observe(this.scroller);
  }

  /** Edges in sight, with what runs along them. */
  flows(): Flow[] {
    if (!this.#layout.hasEdges) return [];
    return [...this.#edges.keys()].map((id) => ({
      id,
      edge: edgeTo(this.#rowOf.get(id)!, this.#rows, this.#layout),
      rate: this.#rateOf(id),
    }));
  }

  show(shown: Shown, outline: Outline, hasOtherRows: boolean): void {
    this.#shown = shown;
    if (outline !== this.#outline) {
      this.#outline = outline;
      if (this.selected >= outline.nodes.length) this.selected = 0;
      for (const box of this.#boxes.values()) box.remove();
      this.#boxes.clear();
    }
    if (hasOtherRows) this.#arrange();
    else this.#fill();
  }

  /** Shows only nodes with these words; returns how many have them. */
  filter(words: string): number {
    this.#filter = words.trim();
    this.#arrange();
    return this.#matches.size;
  }

  focus(): void {
    this.#reveal();
    this.#boxes.get(this.selected)?.focus({ preventScroll: true });
  }

  /** The first node that the filter has found. */
  focusMatch(): void {
    const [first] = this.#matches;
    if (first !== undefined) this.selected = first;
    this.focus();
  }

  #rateOf(id: number): number {
    return this.#shown?.rates?.hits[id] ?? 0;
  }

  #arrange(): void {
    const outline = this.#outline;
    if (outline === null) return;
    this.#rows = outline.rows(this.#filter);
    this.#matches = new Set(this.#filter === "" ? [] : outline.matches(this.#filter));
    this.#rowOf = new Map(this.#rows.map(({ id }, row) => [id, row]));
    while (!this.#rowOf.has(this.selected) && this.selected > 0) {
      this.selected = outline.nodes[this.selected]!.parent;
    }
    this.#layOut();
  }

  #layOut(): void {
    const width = this.scroller.clientWidth;
    const isList = width < LIST_BELOW;
    this.#layout = isList ? listLayout(this.#rows, width) : treeLayout(this.#rows, width);
    this.scroller.classList.toggle("list", isList);
    for (const element of [this.#content, this.#svg]) {
      element.style.width = `${this.#layout.width}px`;
      element.style.height = `${this.#layout.height}px`;
    }
    this.#place();
  }

  /** Makes what has come into sight, and takes away what has gone out of it. */
  #place(): void {
    const { scrollTop, clientHeight } = this.scroller;
    const [top, bottom] = [scrollTop - AHEAD, scrollTop + clientHeight + AHEAD];
    const { boxes, boxHeight, hasEdges } = this.#layout;
    const [inSight, edges] = [new Set<number>(), new Set<number>()];
    for (const [i, { id, parent }] of this.#rows.entries()) {
      const { y } = boxes[i]!;
      if ((y + boxHeight >= top && y <= bottom) || id === this.selected) inSight.add(id);
      if (!hasEdges || parent < 0 || edges.size >= MOST_EDGES) continue;
      const from = boxes[parent]!.y;
      if (Math.max(y, from) + boxHeight >= top && Math.min(y, from) <= bottom) edges.add(id);
    }
    for (const [id, box] of this.#boxes) {
      if (inSight.has(id)) continue;
      box.remove();
      this.#boxes.delete(id);
    }
    for (const [id, path] of this.#edges) {
      if (edges.has(id)) continue;
      path.remove();
      this.#edges.delete(id);
    }
    let last: HTMLElement | null = null;
    for (const id of inSight) { // in the policy's order, for those who hear it
      let box = this.#boxes.get(id);
      if (box === undefined) {
        this.#boxes.set(id, box = this.#makeBox(id));
        if (last === null) this.#content.prepend(box);
        else last.after(box);
      }
      last = box;
      const { x, y, width } = boxes[this.#rowOf.get(id)!]!;
      const { style } = box;
      style.transform = `translate(${x}px, ${y}px)`;
      style.width = `${width}px`;
      style.height = `${boxHeight}px`;
    }
    for (const id of edges) {
      let path = this.#edges.get(id);
      if (path === undefined) {
        path = document.createElementNS(SVG, "path") as SVGPathElement;
        this.#edges.set(id, path);
        this.#svg.append(path);
      }
      const edge = edgeTo(this.#rowOf.get(id)!, this.#rows, this.#layout);
      setAttribute(path, "d", pathOf(edge));
    }
    this.#fill();
  }

  #makeBox(id: number): HTMLElement {
    const node = this.#shown!.tree.nodes[id]!;
    const words = make("span", "words");
    if (node.arm !== null) words.append(make("b", "", node.arm), " → ");
    words.append(node.text);
    const bar = make("span", "bar", make("i"));
    bar.hidden = node.parent < 0;
    const numbers = [make("span", "heard"), make("span", "numbers"), make("span", "heard")];
    const box = make("div", "box", words, ...numbers, bar);
    box.dataset.id = String(id);
    box.dataset.decision = node.decision ?? node.kind;
    box.title = nodeWords(node);
    box.setAttribute("role", "treeitem");
    return box;
  }

  /** The numbers of what is in sight. */
  #fill(): void {
    const shown = this.#shown;
    if (shown === null) return;
    const { tree: { nodes }, counters: { hits }, rates } = shown;
    for (const [id, box] of this.#boxes) {
      const row = this.#rows[this.#rowOf.get(id)!]!;
      const node = nodes[id]!;
      const rate = rates?.hits[id] ?? 0;
      const [part, all] = shareOf(shown, id);
      const share = percent(part, all);
      const [, packets, numbers, rest, barFrame] = box.children;
      const folded = row.folded > 0 ? ` · +${whole(row.folded)}` : "";
      setText(packets!, `, ${whole(hits[id]!)} packets, `);
      setText(numbers!, `${short(rate)}/s${node.parent < 0 ? "" : ` · ${share}`}${folded}`);
      setText(rest!, row.folded > 0 ? " folded" : "");
      const bar = barFrame!.firstElementChild as HTMLElement;
      const scale = `scaleX(${all > 0 ? Math.min(1, part / all).toFixed(3) : 0})`;
      if (bar.style.transform !== scale) bar.style.transform = scale;
      box.classList.toggle("busy", rate > 0);
      box.classList.toggle("folded", row.folded > 0);
      box.classList.toggle("found", this.#matches.has(id));
      const isSelected = id === this.selected;
      setAttribute(box, "tabindex", isSelected ? "0" : "-1");
      setAttribute(box, "aria-selected", String(isSelected));
      setAttribute(box, "aria-level", String(row.depth + 1));
      setAttribute(box, "aria-posinset", String(row.place));
      setAttribute(box, "aria-setsize", String(row.siblings));
      const isExpanded = row.hasChildren ? String(row.folded === 0) : null;
      setAttribute(box, "aria-expanded", isExpanded);
    }
    for (const [id, path] of this.#edges) {
      const rate = this.#rateOf(id);
      setAttribute(path, "stroke-width", edgeWidth(rate).toFixed(1));
      setAttribute(path, "class", rate > 0 ? "busy" : null);
    }
  }

  #click({ target }: MouseEvent): void {
    const box = (target as Element).closest<HTMLElement>(".box");
    if (box === null) return;
    this.selected = Number(box.dataset.id);
    this.focus();
    this.#open(this.selected);
  }

  #key(event: KeyboardEvent): void {
    const { key, ctrlKey, altKey, metaKey } = event;
    if (ctrlKey || altKey || metaKey || !(event.target as Element).matches(".box")) return;
    if (key === "Enter" || key === " ") {
      event.preventDefault();
      this.#open(this.selected);
      return;
    }
    const step = walk(
      key,
      this.selected,
      this.#rows,
      this.#filter === "" ? this.#outline! : null,
    );
    if (step === null) return;
    event.preventDefault();
    this.selected = step.id;
    if (step.hasChanged) this.#arrange();
    this.focus();
  }

  /** Scrolls so that the selected box is in sight. */
  #reveal(): void {
    const row = this.#rowOf.get(this.selected);
    if (row === undefined) return;
    const { x, y, width } = this.#layout.boxes[row]!;
    const { boxHeight } = this.#layout;
    const { scrollLeft, scrollTop, clientWidth, clientHeight } = this.scroller;
    const left = inSight(scrollLeft, clientWidth, x - 16, x + width + 16);
    const top = inSight(scrollTop, clientHeight, y - 16, y + boxHeight + 16);
    if (left !== scrollLeft || top !== scrollTop) this.scroller.scrollTo(left, top);
    this.#place();
  }
}

/** Where to scroll to, so that `from` to `to` is in sight. */
function inSight(at: number, size: number, from: number, to: number): number {
  if (from < at) return Math.max(0, from);
  return to > at + size ? Math.max(0, Math.min(from, to - size)) : at;
}

/** A node's part of what came to its parent: now, or if that was nothing, in all. */
export function shareOf(
  { tree: { nodes }, counters: { hits }, rates }: Shown,
  id: number,
): [part: number, all: number] {
  const { parent } = nodes[id]!;
  if (parent < 0) return [hits[id]!, hits[id]!];
  const now = rates?.hits[parent] ?? 0;
  return now > 0 ? [rates!.hits[id]!, now] : [hits[id]!, hits[parent]!];
}
