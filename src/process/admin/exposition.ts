/** Renders the metrics: once for each reading, whoever asks for it. */
import { Registry } from "prom-client";
import { type Metric, metricsOf, nodeSeries, type OwnCounts } from "./metrics.ts";
import type { About } from "./messages.ts";
import type { Reading } from "./readings.ts";

/** What `Registry` asks of a metric. The library's own ones count by themselves. */
interface Rendered extends Omit<Metric, "series"> {
  get(): Promise<unknown>;
}

export class Exposition {
  readonly contentType: string;
  readonly #labelled: Renderer;
  readonly #all: Renderer;

  constructor(about: About, own: OwnCounts) {
    const metrics = metricsOf(about, own);
    const all = metrics.map((metric) =>
      metric.name === "treegate_node_hits_total" ? { ...metric, series: nodeSeries(true) } : metric
    );
    this.#labelled = new Renderer(metrics);
    this.#all = new Renderer(all);
    this.contentType = this.#labelled.contentType;
  }

  /** With the nodes that have labels, or with all. */
  text(reading: Reading, hasAllNodes: boolean): Promise<string> {
    return (hasAllNodes ? this.#all : this.#labelled).text(reading);
  }
}

class Renderer {
  readonly #registry = new Registry();
  #reading: Reading | null = null;
  #text: Promise<string> = Promise.resolve("");

  constructor(metrics: readonly Metric[]) {
    for (const { name, help, type, series } of metrics) {
      const rendered: Rendered = {
        name,
        help,
        type,
        get: () =>
          Promise.resolve({
            name,
            help,
            type,
            values: series(this.#reading!),
            aggregator: "omit",
          }),
      };
      this.#registry.registerMetric(rendered as never);
    }
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  text(reading: Reading): Promise<string> {
    if (reading !== this.#reading) {
      this.#reading = reading;
      this.#text = this.#registry.metrics();
    }
    return this.#text;
  }
}
