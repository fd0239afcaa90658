/**
 * The summary as text: one view of the appliance's snapshot. The console's line about a decision,
 * too.
 */
import { Reason, reasonName } from "../core/reason.ts";
import type { Outcome } from "../datapath/observer.ts";
import type { MemberSnapshot, Snapshot } from "../datapath/snapshot.ts";
import { DECISION_NAMES, DST_ADDRS } from "../policy/language/ast.ts";
import { printLabel } from "../policy/printing/print.ts";
import { ownText } from "../stack/own_state.ts";
import { formatEndpoint } from "../wire/host_address.ts";

const COUNT_WIDTH = 12;
const INDENT = "  ";

/**
 * The summary's lines, each ended by a newline. `captured`: packets of captures; null: there were
 * none.
 */
export function formatSummary(
  snapshot: Snapshot,
  captured: { readonly packets: number; readonly lost: number } | null = null,
): string {
  const { frames, pdusIn, pdusOut, carried, checks, connections, pools } = snapshot;
  const unused = snapshot.own6.filter(({ state }) => state !== "in-use");
  const lines = [
    ...(unused.length === 0 ? [] : [["Not in use", unused.map(ownText).join(", ")]]),
    [
      "Frames",
      `${frames.in} in, ${frames.out} out, ${frames.arpIn} ARP in, ${frames.arpOut} ARP out` +
      formatNeighbors(frames.neighbors),
    ],
    ["PDUs in", `${pdusIn.count}, ${pdusIn.bytes} bytes`],
    ["PDUs out", `${pdusOut.count}, ${pdusOut.bytes} bytes`],
    ...(carried.count === 0 ? [] : [["Carried", formatCarried(snapshot)]]),
    ["Decisions", formatCounts(snapshot.decisions)],
    ["Drops", formatCounts(snapshot.drops)],
    [
      "Connections",
      `${connections.tracked} of at most ${connections.capacity}, ${connections.evicted} evicted`,
    ],
    ...(checks === null
      ? []
      : [["Checks", `${checks.framesOut} frames out, ${checks.framesIn} frames in`]]),
    ...(captured === null
      ? []
      : [["Captured", `${captured.packets} packets, ${captured.lost} lost`]]),
    ...pools.flatMap(({ name, members }) =>
      members.map((member) => ["Backend", formatMember(name, member)])
    ),
  ];
  return "Summary\n" + lines.map(([name, text]) => `${name!.padEnd(11)} : ${text}\n`).join("") +
    formatTree(snapshot.policy);
}

/** What the proxy has said to its neighbours over IPv6, and heard from them; none without IPv6. */
export function formatNeighbors(neighbors: Snapshot["frames"]["neighbors"]): string {
  return neighbors === null ? "" : `, ${neighbors.in} ND in, ${neighbors.out} ND out`;
}

/** What the kernel has carried of the PDUs, and its share. */
export function formatCarried({ carried, pdusIn }: Pick<Snapshot, "carried" | "pdusIn">): string {
  const share = Math.floor(100 * carried.count / Math.max(1, pdusIn.count));
  return `${carried.count} by the kernel, ${carried.bytes} bytes (${share}%)`;
}

function formatMember(pool: string, member: MemberSnapshot): string {
  const { address, port, status, failure, opened, tracked } = member;
  const at = formatEndpoint(address, port);
  const where = pool === DST_ADDRS ? at : `${at} of $${pool}`;
  const why = failure === null ? "" : ` (${failure})`;
  return `${where} ${status}${why}, connections: ${opened} opened, ${tracked} tracked`;
}

function formatCounts(counts: Readonly<Record<string, number>>): string {
  const shown = Object.entries(counts).filter(([, count]) => count > 0);
  return shown.map(([name, count]) => `${name} ${count}`).join(", ") || "none";
}

/** The lines of a tree with their counts, each ended by a newline. */
export function formatTree({ lines, hiddenLines }: Snapshot["policy"]): string {
  const shown = lines.map(({ pdus, depth, text }) =>
    `${String(pdus).padStart(COUNT_WIDTH)}  ${INDENT.repeat(depth)}${text}\n`
  );
  if (hiddenLines > 0) shown.push(`${" ".repeat(COUNT_WIDTH)}  … ${hiddenLines} more lines\n`);
  return `${"PDUs".padStart(COUNT_WIDTH)}  Tree\n${shown.join("")}`;
}

/**
 * The console's line about a PDU: the decision, its label, and why where the policy did not choose
 * it.
 */
export function formatDecision(
  { decision, reason, label, isRelated }: Pick<
    Outcome,
    "decision" | "reason" | "label" | "isRelated"
  >,
): string {
  const why = reason === 0 || reason === Reason.policy ? "" : ` (${reasonName(reason)})`;
  const shownLabel = isRelated ? "related" : label;
  const labelled = shownLabel === null ? "" : ` ${printLabel(shownLabel)}`;
  return `Decision : ${DECISION_NAMES[decision]}${labelled}${why}`;
}
