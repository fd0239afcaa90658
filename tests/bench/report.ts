/** Results as Markdown and as a picture: medians, spreads and ratios. */
import { overIpv6, type Subject, subjects } from "./subjects.ts";
import type { Metric, Outcome, Workload } from "./workloads.ts";

/** Workload → subject → its runs. */
export type Results = Map<Workload, Map<Subject, Outcome[]>>;

/** What the first subject is compared with, by name. */
const RIVALS = ["C", "HAProxy", "nftables"];

/**
 * Bulk transfers say nothing about a reference that is not itself so many times as fast as HAProxy.
 */
const REFERENCE_OVER_HAPROXY = 1.5;

/** One row: a metric, and each subject's figures by round, NaN for a run that does not count. */
interface Row {
  readonly workload: Workload;
  readonly metric: Metric;
  readonly figures: ReadonlyMap<Subject, readonly number[]>;
}

/** Whether a run counts: nothing failed, and no SYN waited a second for its retransmission. */
export function isValid(run: Outcome): boolean {
  return run.synRetransmissions === 0 && run.failures === 0;
}

/** The middle of `values`, or the mean of the two in the middle; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/**
 * A table of medians, with spreads and ratios, and what there is to say about runs that do not
 * count.
 */
export function markdown(results: Results): string {
  const rows = rowsOf(results);
  const present = subjects.filter((one) => rows.some(({ figures }) => figures.has(one)));
  const [first] = present;
  const rivals = present.filter(({ name }) => RIVALS.includes(name) && name !== first!.name);
  const pairs = [
    ...rivals.map((rival) => ({ of: first!, to: rival, title: `÷ ${rival.name}` })),
    ...present.flatMap((subject) => {
      const over = present.find(({ name }) => name === overIpv6(subject.name));
      return over ? [{ of: over, to: subject, title: `${subject.name}: IPv6 ÷ IPv4` }] : [];
    }),
  ];
  const head = ["", ...present.map(({ name }) => name), ...pairs.map(({ title }) => title)];
  const lines = rows.map(({ metric, figures }) => {
    const cells = present.map((subject) => cellOf(figures.get(subject)));
    const ratios = pairs.map(({ of, to }) => {
      const value = ratio(figures.get(of), figures.get(to));
      return Number.isFinite(value) ? value.toFixed(2) : "–";
    });
    return [`${metric.name}, ${metric.unit}`, ...cells, ...ratios];
  });
  const table = [head, head.map((_, i) => i === 0 ? "---" : "--:"), ...lines]
    .map((cells) => `| ${cells.join(" | ")} |`);
  return [...table, "", ...remarks(results, rows)].join("\n");
}

/** Bars: one group a metric, each scaled to its largest figure. */
export function chart(results: Results): string {
  const barPx = 12;
  const groupPx = 22;
  const leftPx = 170;
  const widthPx = 420;
  const lines: string[] = [];
  let y = 8;
  const text = (x: number, at: number, words: string, more = ""): void => {
    lines.push(`<text x="${x}" y="${at}"${more}>${words}</text>`);
  };
  for (const { metric, figures } of rowsOf(results)) {
    if (figures.size < 2) continue;
    const medians = [...figures].map(([subject, values]) => ({
      subject,
      value: median(values.filter(Number.isFinite)),
    }));
    const largest = Math.max(...medians.map(({ value }) => value));
    y += groupPx;
    const hint = metric.better === "less" ? ", less is better" : "";
    text(8, y, `${metric.name}, ${metric.unit}${hint}`, ' font-weight="bold"');
    y += 6;
    for (const { subject, value } of medians) {
      const lengthPx = Math.round(widthPx * value / largest);
      const fill = subject === subjects[0] ? "#2a6f97" : "#b8c4cc";
      text(leftPx - 6, y + barPx - 2, subject.name, ' text-anchor="end"');
      lines.push(
        `<rect x="${leftPx}" y="${y}" width="${lengthPx}" height="${barPx - 2}" fill="${fill}"/>`,
      );
      text(leftPx + lengthPx + 4, y + barPx - 2, figure(value));
      y += barPx;
    }
  }
  const size = `width="${leftPx + widthPx + 70}" height="${y + 12}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="10">
<rect width="100%" height="100%" fill="#fff"/>
${lines.join("\n")}
</svg>
`;
}

function rowsOf(results: Results): Row[] {
  return [...results].flatMap(([workload, bySubject]) =>
    workload.metrics.map((metric, index) => ({
      workload,
      metric,
      figures: new Map(
        [...bySubject].map(([subject, runs]) => [
          subject,
          runs.map((run) => isValid(run) ? run.figures[index]! : NaN),
        ]),
      ),
    }))
  );
}

function remarks(results: Results, rows: readonly Row[]): string[] {
  const lines: string[] = [];
  for (const [{ name: workload }, bySubject] of results) {
    for (const [{ name }, runs] of bySubject) {
      const bad = runs.filter((run) => !isValid(run));
      if (bad.length === 0) continue;
      const seen = bad.map((run) => `${run.synRetransmissions} and ${run.failures}`).join(", ");
      lines.push(
        `- void: ${bad.length} of ${runs.length} runs of ${workload} with ${name} ` +
          `(SYNs sent again, and failures: ${seen})`,
      );
    }
  }
  const bulk = rows.filter(({ workload, metric }) =>
    workload.name === "bulk" && metric.better === "more"
  );
  const over = bulk.map(({ figures }) => {
    const of = (name: string) => [...figures].find(([subject]) => subject.name === name)?.[1];
    return ratio(of("C"), of("HAProxy"));
  });
  if (over.length > 0 && median(over) < REFERENCE_OVER_HAPROXY) {
    lines.push(
      `- the C reference is void: in bulk it reaches ${median(over).toFixed(2)} × HAProxy, ` +
        `not ${REFERENCE_OVER_HAPROXY}`,
    );
  }
  return lines;
}

function cellOf(values: readonly number[] | undefined): string {
  if (values === undefined) return "–";
  const counting = values.filter(Number.isFinite);
  if (counting.length === 0) return "void";
  return `${figure(median(counting))} (${figure(Math.min(...counting))}–${
    figure(Math.max(...counting))
  })`;
}

/**
 * The median of what each round says: the machine is not the same a few minutes later. NaN if no
 * round has both.
 */
function ratio(mine: readonly number[] = [], other: readonly number[] = []): number {
  return median(mine.map((value, round) => value / other[round]!).filter(Number.isFinite));
}

/** Three significant digits or so, with thousands apart. */
function figure(value: number): string {
  const digits = value < 10 ? 2 : value < 1000 ? 1 : 0;
  return value.toLocaleString("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
}
