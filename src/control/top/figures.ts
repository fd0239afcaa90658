/** What `proxy ctl top` shows of two answers of the proxy: counts and rates. */
import type { BackendShape, DropShape, StatusShape, TreeShape } from "../shapes.ts";

/** What the proxy has answered at one time. */
export interface Sample {
  readonly status: StatusShape;
  readonly tree: TreeShape;
  readonly backends: readonly BackendShape[];
  readonly drops: readonly DropShape[];
}

/** A second's; null: nothing is known of the time before. */
export type Rate = number | null;

export interface TreeFigure {
  readonly depth: number;
  readonly text: string;
  readonly pdus: number;
  readonly rate: Rate;
  /** Of all PDUs in the same time, 0 … 1. */
  readonly share: number;
}

export interface BackendFigure {
  readonly shape: BackendShape;
  /** New connections. */
  readonly rate: Rate;
  /** Of all new connections. */
  readonly share: number;
}

export interface DropFigure {
  readonly shape: DropShape;
  readonly rate: Rate;
  /** Of all drops. */
  readonly share: number;
}

export interface Figures {
  readonly status: StatusShape;
  readonly in: TrafficFigure;
  readonly out: TrafficFigure;
  readonly dropped: Rate;
  readonly opened: Rate;
  readonly evicted: Rate;
  /** Of the PDUs in, what the kernel has carried in the same time, 0 … 1. */
  readonly carried: number;
  readonly tree: readonly TreeFigure[];
  readonly hiddenLines: number;
  readonly backends: readonly BackendFigure[];
  readonly drops: readonly DropFigure[];
}

export interface TrafficFigure {
  readonly pdus: Rate;
  readonly bits: Rate;
}

/** `before` is an earlier sample of the same proxy; of another run nothing is taken. */
export function figuresOf(sample: Sample, before: Sample | null): Figures {
  const { status, tree, backends, drops } = sample;
  const earlier = before !== null && before.status.uptimeMs < status.uptimeMs ? before : null;
  const seconds = earlier === null ? 0 : (status.uptimeMs - earlier.status.uptimeMs) / 1000;
  /** Counters of something new begin at zero; one that has shrunk was begun again. */
  const rateOf = (now: number, then: number | undefined): Rate =>
    earlier === null ? null : Math.max(0, now - (then ?? 0)) / seconds;
  const traffic = (now: StatusShape["pdusIn"], then: StatusShape["pdusIn"] | undefined) => ({
    pdus: rateOf(now.count, then?.count),
    bits: rateOf(8 * now.bytes, then === undefined ? undefined : 8 * then.bytes),
  });

  const lines = earlier === null ? new Map<string, number>() : pdusByLine(earlier.tree);
  const paths = pathsOf(tree);
  const treeRates = tree.lines.map(({ pdus }, i) => rateOf(pdus, lines.get(paths[i]!)));
  const all = tree.lines.reduce(
    (sum, { depth }, i) => sum + (depth > 0 ? 0 : treeRates[i] ?? 0),
    0,
  );

  const opened = new Map(earlier?.backends.map((one) => [one.name, one.opened]));
  const openRates = backends.map((one) => rateOf(one.opened, opened.get(one.name)));
  const dropped = new Map(earlier?.drops.map(({ reason, count }) => [reason, count]));
  const dropRates = drops.map(({ reason, count }) => rateOf(count, dropped.get(reason)));
  const into = traffic(status.pdusIn, earlier?.status.pdusIn);
  return {
    status,
    in: into,
    out: traffic(status.pdusOut, earlier?.status.pdusOut),
    dropped: sumOf(dropRates, earlier),
    opened: sumOf(openRates, earlier),
    evicted: rateOf(status.connections.evicted, earlier?.status.connections.evicted),
    carried: shareOf(
      rateOf(status.carried.count, earlier?.status.carried.count),
      into.pdus ?? 0,
    ),
    tree: tree.lines.map(({ depth, text, pdus }, i) => {
      const rate = treeRates[i]!;
      return { depth, text, pdus, rate, share: shareOf(rate, all) };
    }),
    hiddenLines: tree.hiddenLines,
    backends: withShares(backends, openRates),
    drops: withShares(drops, dropRates),
  };
}

function withShares<Shape>(shapes: readonly Shape[], rates: readonly Rate[]) {
  const all = rates.reduce<number>((sum, rate) => sum + (rate ?? 0), 0);
  return shapes.map((shape, i) => ({ shape, rate: rates[i]!, share: shareOf(rates[i]!, all) }));
}

function sumOf(rates: readonly Rate[], earlier: Sample | null): Rate {
  return earlier === null ? null : rates.reduce<number>((sum, rate) => sum + (rate ?? 0), 0);
}

function shareOf(rate: Rate, all: number): number {
  return rate === null || all === 0 ? 0 : Math.min(1, rate / all);
}

function pdusByLine(tree: TreeShape): Map<string, number> {
  const paths = pathsOf(tree);
  return new Map(tree.lines.map(({ pdus }, i) => [paths[i]!, pdus]));
}

/** How often a step has refused is in a line's text, and changes. */
const REFUSED = / \(\d+ refused\)/g;

/** For each line its text and those above it: the same line in another answer has the same path. */
function pathsOf({ lines }: TreeShape): string[] {
  const above: string[] = [];
  const seen = new Map<string, number>();
  return lines.map(({ depth, text }) => {
    const path = `${above[depth - 1] ?? ""}\n${text.replace(REFUSED, "")}`;
    const times = seen.get(path) ?? 0; // two arms of one selector may have the same text
    seen.set(path, times + 1);
    return above[depth] = times === 0 ? path : `${path}\n${times}`;
  });
}
