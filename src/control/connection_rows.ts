/**
 * Connections as rows of integers: what the packet thread copies out of the table, a slice at a
 * time, and what another thread makes of them. A row costs a few dozen loads; no object is made for
 * it.
 */
import type { Connections } from "../flow/connections.ts";
import { SIDE_A, SIDE_B } from "../flow/table.ts";
import { type Address, formatAddress } from "../wire/address.ts";
import { type Filter, fits } from "./filter.ts";
import type { ConnectionShape } from "./shapes.ts";
import { protocolName, STATE_NAMES } from "./state_names.ts";

/** Entries of the table that are looked at in one go. */
export const SLICE = 1000;

/**
 * Integers of a row: protocol, state, expires, age, and address and port of client, virtual and
 * backend.
 */
const WIDTH = 10;

/** Part of a walk through the table. */
export interface Rows {
  readonly rows: Int32Array<ArrayBuffer>;
  /** Entry to go on at; null: the end was reached. */
  readonly next: number | null;
}

/** The connections that fit among the next SLICE entries from `from` on, at most `most`. */
export function sliceOf(
  connections: Connections,
  filter: Filter,
  from: number,
  most: number,
  nowMs: number,
): Rows {
  const { table } = connections;
  const end = Math.min(table.end, from + SLICE);
  const rows: number[] = [];
  let entry = from;
  for (; entry < end && rows.length < most * WIDTH; entry++) {
    if (!table.isUsed(entry) || !fits(filter, connections, entry, nowMs)) continue;
    const hasBackend = table.hasSideB(entry);
    rows.push(
      table.protocol(entry),
      table.state(entry),
      connections.expiresInMs(entry, nowMs),
      connections.ageMs(entry, nowMs),
      table.src(entry, SIDE_A),
      table.srcPort(entry, SIDE_A),
      table.dst(entry, SIDE_A),
      table.dstPort(entry, SIDE_A),
      hasBackend ? table.src(entry, SIDE_B) : 0,
      hasBackend ? table.srcPort(entry, SIDE_B) : 0,
    );
  }
  return { rows: Int32Array.from(rows), next: entry < table.end ? entry : null };
}

/** The rows as JSON has them. */
export function connectionsOf({ rows }: Rows): ConnectionShape[] {
  return Array.from({ length: rows.length / WIDTH }, (_, row) => {
    const [
      protocol,
      state,
      expiresMs,
      ageMs,
      client,
      clientPort,
      virtual,
      port,
      backend,
      backendPort,
    ] = rows.subarray(row * WIDTH, (row + 1) * WIDTH);
    return {
      protocol: protocolName(protocol!),
      state: STATE_NAMES[state!]!,
      expiresMs: expiresMs!,
      ageMs: ageMs! >>> 0,
      client: endOf(client!, clientPort!),
      virtual: endOf(virtual!, port!),
      backend: backend === 0 ? null : endOf(backend!, backendPort!),
    };
  });
}

function endOf(address: Address, port: number): string {
  return `${formatAddress(address)}:${port}`;
}
