/**
 * Connections as rows of integers: what the packet thread copies out of the table, a slice at a
 * time, and what another thread makes of them. A row costs a few dozen loads; no object is made for
 * it.
 */
import type { Connections } from "../flow/connections.ts";
import { type FlowTable, SIDE_A, SIDE_B } from "../flow/table.ts";
import { addressOfWords, formatSocket } from "../wire/host_address.ts";
import { isIpv6 } from "../wire/pdu.ts";
import { type Filter, fits } from "./filter.ts";
import type { ConnectionShape } from "./shapes.ts";
import { protocolName, STATE_NAMES } from "./state_names.ts";

/** Entries of the table that are looked at in one go. */
export const SLICE = 1000;

/** Words of its addresses: client, virtual and backend; an IPv4 address is the last of four. */
const ADDRESSES = 12;
/** Where the backend's begins. */
const BACKEND = 8;

/**
 * Integers of a row: protocol at the client and at the backend, state, expires, age, ports of
 * client, virtual and backend, and their addresses.
 */
const WIDTH = 8 + ADDRESSES;

/** Instead of its port: there is none. */
const NO_BACKEND = -1;

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
  const addresses = new Int32Array(ADDRESSES);
  let entry = from;
  for (; entry < end && rows.length < most * WIDTH; entry++) {
    if (!table.isUsed(entry) || !fits(filter, connections, entry, nowMs)) continue;
    writeAddresses(table, entry, addresses);
    rows.push(
      table.protocol(entry),
      table.protocolOf((entry << 1) | SIDE_B),
      table.state(entry),
      connections.expiresInMs(entry, nowMs),
      connections.ageMs(entry, nowMs),
      table.srcPort(entry, SIDE_A),
      table.dstPort(entry, SIDE_A),
      table.hasSideB(entry) ? table.srcPort(entry, SIDE_B) : NO_BACKEND,
      ...addresses,
    );
  }
  return { rows: Int32Array.from(rows), next: entry < table.end ? entry : null };
}

function writeAddresses(table: FlowTable, entry: number, to: Int32Array): void {
  const [a, b] = [(entry << 1) | SIDE_A, (entry << 1) | SIDE_B];
  to.fill(0);
  if (isIpv6(table.protocolOf(a))) {
    table.whole!.copySource(a, to, 0);
    table.whole!.copyDestination(a, to, 4);
  } else {
    to[3] = table.src(entry, SIDE_A);
    to[7] = table.dst(entry, SIDE_A);
  }
  if (!table.hasSideB(entry)) return;
  if (isIpv6(table.protocolOf(b))) table.whole!.copySource(b, to, BACKEND);
  else to[BACKEND + 3] = table.src(entry, SIDE_B);
}

/** The rows as JSON has them. */
export function connectionsOf({ rows }: Rows): ConnectionShape[] {
  return Array.from({ length: rows.length / WIDTH }, (_, row) => {
    const [protocol, backendProtocol, state, expiresMs, ageMs, clientPort, port, backendPort] = rows
      .subarray(row * WIDTH);
    const addresses = rows.subarray((row + 1) * WIDTH - ADDRESSES, (row + 1) * WIDTH);
    const endOf = (at: number, port: number) => {
      const isOver6 = isIpv6(at === BACKEND ? backendProtocol! : protocol!);
      return formatSocket(isOver6 ? addressOfWords(addresses, at) : addresses[at + 3]!, port);
    };
    return {
      protocol: protocolName(protocol!),
      state: STATE_NAMES[state!]!,
      expiresMs: expiresMs!,
      ageMs: ageMs! >>> 0,
      client: endOf(0, clientPort!),
      virtual: endOf(4, port!),
      backend: backendPort === NO_BACKEND ? null : endOf(BACKEND, backendPort!),
    };
  });
}
