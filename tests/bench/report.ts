/** Results as a table: medians, spreads and ratios. */
import { subjects } from "./subjects.ts";
import type { Outcome, Workload } from "./workloads.ts";

/** Workload → subject's name → a run each. */
export type Results = Map<Workload, Map<string, Outcome[]>>;

export function table(results: Results): string {
  const lines: string[] = [];
  for (const [workload, bySubject] of results) {
    workload.metrics.forEach((metric, index) => {
      lines.push(`${metric.name}, ${metric.unit}`);
      for (const { name } of subjects) {
        const runs = bySubject.get(name);
        if (runs === undefined) continue;
        const figures = runs.filter(isValid).map((run) => run.figures[index]!);
        const m = median(figures);
        lines.push(
          `  ${name.padEnd(16)} ${m.toFixed(2).padStart(12)}   ${figures.length}/${runs.length}  ${
            Math.min(...figures).toFixed(2)
          }-${Math.max(...figures).toFixed(2)}`,
        );
      }
    });
  }
  return lines.join("\n");
}

/** Whether a run counts: nothing failed, and no SYN waited a second for its retransmission. */
export function isValid(run: Outcome): boolean {
  return run.synRetransmissions === 0 && run.failures === 0;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
