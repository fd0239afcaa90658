/** What the appliance counts, and the summary that shows it. */
import { REASON_COUNT, reasonName } from "../core/reason.ts";
import type { Backend } from "../flow/backends/backends.ts";
import type { Connections } from "../flow/connections.ts";
import { DECISION_NAMES } from "../policy/language/ast.ts";
import { formatAddress } from "../wire/address.ts";

/** Places in `Metrics.counts`. */
export const Count = {
  /** Frames that the device delivered. */
  framesIn: 0,
  arpIn: 1,
  /** PDUs that entered the tree. */
  pdusIn: 2,
  pduBytesIn: 3,
  /** Frames that the device took. */
  framesOut: 4,
  /** PDUs that left: forwarded packets, and replies to PDUs. */
  pdusOut: 5,
  pduBytesOut: 6,
} as const;

/**
 * Counts, as doubles from the start: when a field outgrows 31 bits, which in bulk takes two seconds, V8 throws
 * the code away that it has compiled for adding to it.
 */
export class Metrics {
  readonly counts: Float64Array = new Float64Array(Object.keys(Count).length);
  /** By number of the decision. */
  readonly decisions: Float64Array = new Float64Array(DECISION_NAMES.length);
  /** By number of the reason. */
  readonly drops: Float64Array = new Float64Array(REASON_COUNT);

  drop(reason: number, count = 1): void {
    this.drops[reason]! += count;
  }
}

/** The summary's lines, each ended by a newline. */
export function formatSummary(
  metrics: Metrics,
  { table, evicted }: Connections,
  backends: readonly Backend[],
): string {
  const named = (names: readonly string[], counts: Float64Array): string =>
    names.flatMap((name, i) => counts[i]! > 0 ? [`${name} ${counts[i]}`] : []).join(", ") || "none";
  const { counts } = metrics;
  const reasons = Array.from({ length: REASON_COUNT }, (_, reason) => reasonName(reason));
  const lines = [
    [
      "Frames",
      `${counts[Count.framesIn]} in, ${counts[Count.framesOut]} out, ${counts[Count.arpIn]} ARP in`,
    ],
    ["PDUs in", `${counts[Count.pdusIn]}, ${counts[Count.pduBytesIn]} bytes`],
    ["PDUs out", `${counts[Count.pdusOut]}, ${counts[Count.pduBytesOut]} bytes`],
    ["Decisions", named(DECISION_NAMES, metrics.decisions)],
    ["Drops", named(reasons, metrics.drops)],
    ["Connections", `${table.count} of at most ${table.capacity}, ${evicted} evicted`],
    ...backends.map(({ address, status, opened, active }) => [
      "Backend",
      `${formatAddress(address)} ${status}, connections: ${opened} opened, ${active} tracked`,
    ]),
  ];
  return "Summary\n" + lines.map(([name, text]) => `${name!.padEnd(11)} : ${text}\n`).join("");
}
