/** Fifteen minutes of in, out and drops. */
import uPlot from "uplot";
import { type History, HISTORY_S } from "../model/history.ts";
import type { Rates } from "../model/rates.ts";
import { short } from "../model/words.ts";
import { byId, setAttribute, setText } from "./dom.ts";

const HEIGHT = 150;

/** How much time the chart of a page that was just opened has. */
const LEAST_SHOWN_S = 60;

export class Chart {
  readonly #frame = byId("chart");
  readonly #dark = matchMedia("(prefers-color-scheme: dark)");
  readonly #history: History;
  #plot: uPlot | null = null;

  constructor(history: History) {
    this.#history = history;
    this.#dark.addEventListener("change", () => this.#make());
    new ResizeObserver(() => {
      this.#plot?.setSize({ width: this.#frame.clientWidth, height: HEIGHT });
    }).observe(this.#frame);
    this.#make();
  }

  show(nowMs: number, rates: Rates | null): void {
    this.#draw(nowMs);
    const texts = [rates?.packetsIn, rates?.packetsOut, rates?.dropped]
      .map((rate) => rate === undefined ? "–" : `${short(rate)}/s`);
    for (const [i, id] of ["in-now", "out-now", "drops-now"].entries()) {
      setText(byId(id), texts[i]!);
    }
    const [incoming, outgoing, drops] = texts;
    setAttribute(
      this.#frame,
      "aria-label",
      `The last fifteen minutes; now ${incoming} in, ${outgoing} out, ${drops} dropped`,
    );
  }

  #draw(nowMs: number): void {
    const { times, in: incoming, out, drops } = this.#history;
    const now = nowMs / 1000;
    const shown = Math.min(HISTORY_S, Math.max(LEAST_SHOWN_S, now - (times[0] ?? now)));
    this.#plot?.batch(() => {
      this.#plot!.setData([times, incoming, out, drops], false);
      this.#plot!.setScale("x", { min: now - shown, max: now });
    });
  }

  #make(): void {
    this.#plot?.destroy();
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
    const axis = {
      stroke: colour("muted"),
      font: "12px system-ui, sans-serif",
      grid: { stroke: colour("line"), width: 1 },
      ticks: { show: false },
    };
    const line = (name: string, dash: number[]): uPlot.Series => ({
      stroke: colour(name),
      width: 2,
      dash,
      points: { show: false },
    });
    this.#plot = new uPlot(
      {
        width: this.#frame.clientWidth,
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        series: [{}, line("in", []), line("out", [6, 4]), line("drop", [2, 2])],
        scales: { y: { range: (_, __, most) => [0, Math.max(1, (most ?? 0) * 1.1)] } },
        axes: [
          {
            ...axis,
            size: 26,
            space: 90,
            values: (_, times) =>
              times.map((time) => timeOf(time, (times[1] ?? 0) - times[0]! < 60)),
          },
          {
            ...axis,
            size: 56,
            space: 30,
            values: (_, rates) => rates.map((rate) => `${short(rate)}/s`),
          },
        ],
      },
      [[], [], [], []],
      this.#frame,
    );
    this.#draw(Date.now());
  }
}

function timeOf(seconds: number, isExact: boolean): string {
  return new Date(seconds * 1000).toTimeString().slice(0, isExact ? 8 : 5);
}
