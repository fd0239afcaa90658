/**
 * The picture of `proxy ctl top`: what is known, and the size of the screen, to lines of text.
 *
 *     treegate 0.5.0  up 1:02:03  tap100 up  policy web.policy                      live
 *     in 12k/s 98Mbit/s  out 12k/s 97Mbit/s  dropped 3/s  kernel 87%
 *     connections 1204 of 262144 (<1%)  opened 310/s  evicted 0/s
 *     > PDUS/S  SHARE                 TOTAL  TREE (as written)
 *          12k   100%  ██████████  10523311  not ip.src in $dst-addrs
 *       NEW/S  SHARE               STATUS        OPEN  WEIGHT    OPENED  BACKENDS (name)
 *      DROP/S  SHARE                 TOTAL  DROPS (rate)
 *     q quit  p pause  s sort  / filter  tab section  ? help
 */
import { ownText } from "../../stack/own_state.ts";
import { clock } from "../columns.ts";
import type { StatusShape } from "../shapes.ts";
import { arrange, orderOf, type Rows } from "./arrange.ts";
import { cellsOf, clipMiddle, fit } from "./cells.ts";
import type { BackendFigure, DropFigure, Figures, TreeFigure } from "./figures.ts";
import { layout } from "./layout.ts";
import { bar, percent, rateText } from "./numbers.ts";
import { Row, type Style } from "./row.ts";
import { type Section, SECTIONS, type View } from "./view.ts";

/** How it stands between the picture and the proxy. */
export type Contact =
  | { readonly is: "live" }
  /** It answers no more, for so long. */
  | { readonly is: "stale"; readonly ms: number }
  /** It can't be reached, for so long, and why. */
  | { readonly is: "lost"; readonly ms: number; readonly why: string };

export interface Screen {
  readonly columns: number;
  /** Infinity: as many as it takes, and no line about keys. */
  readonly rows: number;
  readonly hasColor: boolean;
}

export interface Picture {
  readonly lines: readonly string[];
  /** The view, scrolled no further than there are rows. */
  readonly view: View;
}

export function picture(figures: Figures, view: View, contact: Contact, screen: Screen): Picture {
  const row = () => new Row(screen.columns, screen.hasColor);
  const head = headLines(figures, view, contact, row);
  if (screen.rows === Infinity) {
    const rows = arrange(figures, view);
    const sections = SECTIONS.flatMap((one) =>
      sectionLines(one, figures, rows, view, Infinity, row)
    );
    return { lines: [...head, ...sections].map(String), view };
  }
  if (screen.rows >= SHORT) head.length = Math.min(head.length, Math.max(1, screen.rows - SHORT));
  const body = Math.max(0, screen.rows - head.length - 1);
  const foot = footLine(view, contact, row());
  if (view.hasHelp) {
    const help = helpLines(row).slice(0, body);
    while (help.length < body) help.push(row());
    return finished([...head, ...help, foot], view, screen);
  }
  const rows = arrange(figures, view);
  const wanted = {
    tree: wantedOf(rows.tree) + (figures.hiddenLines > 0 ? 1 : 0),
    backends: wantedOf(rows.backends),
    drops: wantedOf(rows.drops),
  };
  const heights = layout(body, wanted, view.focus);
  const first = { ...view.first };
  for (const section of SECTIONS) {
    const most = Math.max(0, wanted[section] - heights[section]);
    first[section] = Math.min(first[section], most);
  }
  const shown = { ...view, first };
  const sections = SECTIONS.flatMap((one) =>
    sectionLines(one, figures, rows, shown, heights[one], row)
  );
  while (sections.length < body) sections.push(row());
  return finished([...head, ...sections, foot], shown, screen);
}

/** A short screen ends with the line about keys, too. */
function finished(lines: readonly Row[], view: View, { rows }: Screen): Picture {
  const kept = lines.length <= rows
    ? lines
    : [...lines.slice(0, Math.max(0, rows - 1)), lines.at(-1)!];
  return { lines: kept.slice(0, rows).map(String), view };
}

function wantedOf(rows: readonly unknown[]): number {
  return 1 + Math.max(1, rows.length);
}

/** Rows of a screen with room for one line of the head, two of a section, and the keys. */
const SHORT = 5;

type NewRow = () => Row;

function headLines(figures: Figures, view: View, contact: Contact, row: NewRow): Row[] {
  const { status } = figures;
  const { connections } = status;
  const [mark, style] = contactText(view, contact);
  const title = row();
  const room = title.left - cellsOf(mark) - 2;
  const names = titleOf(status);
  title.add(room === Infinity ? names : fit(names, Math.max(0, room))).add("  ").add(mark, style);
  const traffic = row();
  for (const [name, { pdus, bits }] of [["in", figures.in], ["out", figures.out]] as const) {
    traffic.add(`${name} `, "dim").add(`${rateText(pdus)}/s ${rateText(bits)}bit/s  `);
  }
  traffic.add("dropped ", "dim").add(`${rateText(figures.dropped)}/s`);
  if (status.carried.count > 0) {
    traffic.add("  by the kernel ", "dim").add(percent(figures.carried));
  }
  const { tracked, capacity, evicted } = connections;
  const table = row().add("connections ", "dim")
    .add(`${tracked} of ${capacity} (${percent(tracked / Math.max(1, capacity))})`)
    .add("  opened ", "dim").add(`${rateText(figures.opened)}/s`)
    .add("  evicted ", "dim").add(`${evicted}`, evicted > 0 ? "fair" : "plain");
  return [title, ...unusedLine(status, row), traffic, table];
}

/** Which of the proxy's addresses are not in use, if any. */
function unusedLine({ links }: StatusShape, row: NewRow): Row[] {
  const unused = links.flatMap(({ own6 }) => own6.filter(({ state }) => state !== "in-use"));
  if (unused.length === 0) return [];
  return [row().add("not in use ", "dim").add(unused.map(ownText).join(", "), "fair")];
}

function titleOf({ version, uptimeMs, links, policy }: StatusShape): string {
  const devices = links.map(({ device, isUp }) => `${device} ${isUp ? "up" : "down"}`);
  return [
    `treegate ${version}`,
    `up ${clock(uptimeMs)}`,
    ...devices,
    `policy ${policy ?? "built-in"}`,
  ]
    .join("  ");
}

function contactText({ isPaused }: View, contact: Contact): [string, Style] {
  if (isPaused) return ["‖ paused", "fair"];
  switch (contact.is) {
    case "live":
      return ["● live", "good"];
    case "stale":
      return [`○ stale ${clock(contact.ms)}`, "fair"];
    case "lost":
      return [`✕ lost ${clock(contact.ms)}`, "bad"];
  }
}

function footLine(view: View, contact: Contact, row: Row): Row {
  if (view.isTyping) {
    return row.add("filter: ", "bold").add(view.filter).add("_")
      .add("  enter keep  esc none", "dim");
  }
  if (contact.is === "lost" && !view.isPaused) {
    return row.add(`trying again: ${contact.why}`, "bad");
  }
  const filter = view.filter === "" ? "filter" : `filter: ${view.filter}`;
  for (
    const [key, what] of [
      ["q", "quit"],
      ["p", view.isPaused ? "go on" : "pause"],
      ["s", "sort"],
      ["/", filter],
      ["tab", "section"],
      ["?", "help"],
    ] as const
  ) row.add(key, "bold").add(` ${what}  `);
  return row;
}

const HELP = [
  ["q, ctrl-c", "quit"],
  ["p, space", "pause, and go on"],
  ["tab, shift-tab", "next or previous section: > is in front of the one in use"],
  ["up, down, k, j", "scroll; page-up, page-down, home and end too"],
  ["s", "next order of this section, which its heading names"],
  ["/", "filter: lines with this text, and those above them in the tree"],
  ["esc", "no filter"],
  ["", ""],
  ["PDUS/S", "packets a second that came to a node; SHARE is of all packets"],
  ["NEW/S", "new connections of a backend in a second"],
  ["OPEN", "connections that are not over"],
  ["-", "nothing is known yet of the time before"],
  ["", ""],
  ["any key", "close this page"],
] as const;

function helpLines(row: NewRow): Row[] {
  return HELP.map(([key, what]) => row().add(`  ${key.padEnd(16)}`, "bold").add(what));
}

/** A heading and its rows, in at most so many lines. */
function sectionLines(
  section: Section,
  figures: Figures,
  rows: Rows,
  view: View,
  height: number,
  row: NewRow,
): Row[] {
  if (height < 1) return [];
  const lines = section === "tree"
    ? treeLines(rows.tree, figures.hiddenLines, row)
    : section === "backends"
    ? backendLines(rows.backends, row)
    : dropLines(rows.drops, row);
  const none = view.filter === "" ? "  none" : "  none fits the filter";
  if (lines.length === 0) lines.push(row().add(none, "dim"));
  const before = view.first[section];
  const shown = lines.slice(before, before + height - 1);
  return [headingOf(section, view, [before, shown.length, lines.length], row()), ...shown];
}

/** `rows`: how many are before those that are shown, how many are shown, and how many there are. */
function headingOf(
  section: Section,
  view: View,
  [before, shown, all]: readonly [number, number, number],
  row: Row,
): Row {
  const mark = view.focus === section && row.columns < Infinity ? ">" : " ";
  const place = before === 0 && shown === all ? "" : `, ${before + 1}-${before + shown} of ${all}`;
  const title = `${section.toUpperCase()} (${orderOf(view, section)}${place})`;
  const add = (text: string) => row.add(text, "heading");
  const { share, bar, status, open, weight, total } = columnsOf(section, row.columns);
  add(`${mark}${RATES[section].padStart(RATE_CELLS - 1)}`);
  if (share) add("SHARE".padStart(SHARE_CELLS));
  if (bar) add(" ".repeat(2 + BAR_CELLS));
  if (status > 0) add(`  ${"STATUS".slice(0, status).padEnd(status)}`);
  if (open) add("OPEN".padStart(OPEN_CELLS));
  if (weight) add("WEIGHT".padStart(WEIGHT_CELLS));
  if (total) add((section === "backends" ? "OPENED" : "TOTAL").padStart(TOTAL_CELLS));
  add(`  ${title}`);
  return row.left === Infinity ? row : add(" ".repeat(row.left));
}

const RATES = { tree: "PDUS/S", backends: "NEW/S", drops: "DROP/S" } as const;

const RATE_CELLS = 8;
const SHARE_CELLS = 7;
const BAR_CELLS = 10;
const OPEN_CELLS = 9;
const WEIGHT_CELLS = 8;
const TOTAL_CELLS = 12;

/** What there is room for in front of a row's text, on a screen of so many columns. */
function columnsOf(section: Section, columns: number) {
  if (section !== "backends") {
    return {
      ...{ share: columns >= 44, bar: columns >= 70, total: columns >= 44 },
      ...{ status: 0, open: false, weight: false },
    };
  }
  return {
    ...{ share: columns >= 60, bar: columns >= 100, total: columns >= 90 },
    ...{ status: columns >= 44 ? 13 : 1, open: columns >= 60, weight: columns >= 80 },
  };
}

/** What all rows begin with. */
function start(rate: number | null, share: number, style: Style, row: Row, has: Columns): Row {
  row.add(rateText(rate).padStart(RATE_CELLS));
  if (has.share) row.add(percent(share).padStart(SHARE_CELLS));
  return has.bar ? row.add("  ").add(bar(share, BAR_CELLS), style) : row;
}

type Columns = ReturnType<typeof columnsOf>;

function treeLines(rows: readonly TreeFigure[], hiddenLines: number, row: NewRow): Row[] {
  const has = columnsOf("tree", row().columns);
  const lines = rows.map(({ depth, text, pdus, rate, share }) => {
    const line = start(rate, share, "bar", row(), has);
    if (has.total) line.add(String(pdus).padStart(TOTAL_CELLS));
    return line.add(`  ${"  ".repeat(depth)}`).add(text, pdus === 0 ? "dim" : "plain");
  });
  if (hiddenLines > 0) lines.push(row().add(`  … ${hiddenLines} more lines`, "dim"));
  return lines;
}

/** A sign as well: never a colour alone. */
const SIGNS: Readonly<Record<string, readonly [sign: string, style: Style]>> = {
  up: ["●", "good"],
  down: ["✕", "bad"],
  draining: ["◐", "fair"],
  maintenance: ["□", "fair"],
  unknown: ["○", "dim"],
};

function backendLines(rows: readonly BackendFigure[], row: NewRow): Row[] {
  const has = columnsOf("backends", row().columns);
  return rows.map(({ shape, rate, share }) => {
    const line = start(rate, share, "bar", row(), has);
    const [sign, style] = SIGNS[shape.status] ?? SIGNS["unknown"]!;
    line.add("  ").add(has.status > 1 ? fit(`${sign} ${shape.status}`, has.status) : sign, style);
    if (has.open) line.add(String(shape.open).padStart(OPEN_CELLS));
    if (has.weight) line.add(String(shape.weight).padStart(WEIGHT_CELLS));
    if (has.total) line.add(String(shape.opened).padStart(TOTAL_CELLS));
    line.add("  ");
    line.add(clipMiddle(shape.name, line.left));
    if (shape.isBackup) line.add(" backup", "dim");
    return shape.failure === null ? line : line.add(`: ${shape.failure}`, "bad");
  });
}

function dropLines(rows: readonly DropFigure[], row: NewRow): Row[] {
  const has = columnsOf("drops", row().columns);
  return rows.map(({ shape, rate, share }) => {
    const line = start(rate, share, "bad", row(), has);
    if (has.total) line.add(String(shape.count).padStart(TOTAL_CELLS));
    return line.add(`  ${shape.reason}`).add(`: ${shape.meaning}`, "dim");
  });
}
