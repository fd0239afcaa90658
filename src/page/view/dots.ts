/**
 * Dots that run along the edges in sight, on a canvas over the tree: at most 30 pictures a second,
 * and none where motion is unwanted or nobody looks.
 */
import { dotsOf, travelMs } from "../model/flow.ts";
import { lengthOf, pointOf } from "../model/layout.ts";
import type { Flow, TreeView } from "./tree_view.ts";

const PICTURE_MS = 1000 / 31;
const RADIUS = 3;

export class Dots {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #tree: TreeView;
  readonly #unwanted = matchMedia("(prefers-reduced-motion: reduce)");
  #flows: readonly Flow[] = [];
  #dots: readonly number[] = [];
  #colour = "";
  #lastMs = -Infinity;
  #request = 0;
  /** Of each flow, from 0 to 1, so that a change of speed moves no dot. */
  #phases = new Map<number, number>();

  constructor(canvas: HTMLCanvasElement, tree: TreeView) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d")!;
    this.#tree = tree;
    this.#unwanted.addEventListener("change", () => this.update());
    document.addEventListener("visibilitychange", () => this.update());
    tree.scroller.addEventListener("scroll", () => this.update(), { passive: true });
    new ResizeObserver(() => {
      if (this.#request !== 0) this.update();
    }).observe(tree.scroller);
  }

  /** The edges, or what runs along them, have changed. */
  update(): void {
    this.#flows = this.#tree.flows();
    this.#dots = dotsOf(
      this.#flows.map(({ edge, rate }) => ({ rate, length: lengthOf(edge) })),
    );
    this.#colour = getComputedStyle(this.#canvas).color;
    const count = this.#dots.reduce((sum, dots) => sum + dots, 0);
    if (this.#unwanted.matches || document.hidden || count === 0) return this.stop();
    this.#request ||= requestAnimationFrame((ms) => this.#turn(ms));
    this.#canvas.dataset.dots = String(count);
  }

  stop(): void {
    cancelAnimationFrame(this.#request);
    this.#request = 0;
    this.#clear();
    this.#canvas.dataset.dots = "0";
  }

  #turn(ms: number): void {
    this.#request = requestAnimationFrame((next) => this.#turn(next));
    if (ms - this.#lastMs < PICTURE_MS) return;
    const passedMs = Math.min(100, ms - this.#lastMs);
    this.#lastMs = ms;
    this.#draw(passedMs);
  }

  #clear(): void {
    this.#context.setTransform(1, 0, 0, 1, 0, 0);
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  #draw(passedMs: number): void {
    const { scrollLeft, scrollTop, clientWidth, clientHeight } = this.#tree.scroller;
    const [width, height] = [clientWidth, clientHeight].map((n) =>
      Math.round(n * devicePixelRatio)
    );
    if (this.#canvas.width !== width || this.#canvas.height !== height) {
      this.#canvas.width = width!;
      this.#canvas.height = height!;
    }
    this.#clear();
    const context = this.#context;
    context.setTransform(
      ...[devicePixelRatio, 0, 0, devicePixelRatio] as const,
      -scrollLeft * devicePixelRatio,
      -scrollTop * devicePixelRatio,
    );
    context.fillStyle = this.#colour;
    context.beginPath();
    const phases = new Map<number, number>();
    for (const [i, { id, edge, rate }] of this.#flows.entries()) {
      const dots = this.#dots[i]!;
      if (dots === 0) continue;
      const phase = ((this.#phases.get(id) ?? 0) + passedMs / travelMs(rate)) % 1;
      phases.set(id, phase);
      for (let dot = 0; dot < dots; dot++) {
        const [x, y] = pointOf(edge, (phase + dot / dots) % 1);
        context.moveTo(x + RADIUS, y);
        context.arc(x, y, RADIUS, 0, 2 * Math.PI);
      }
    }
    context.fill();
    this.#phases = phases;
  }
}
