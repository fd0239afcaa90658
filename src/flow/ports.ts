/**
 * Which source port a new connection leaves with. A port is taken per (backend, port) tuple: the same
 * one may serve another backend or another port there, so connections in all are not limited to one
 * port range.
 *
 * The client's own port is kept where it is free (RFC 4787 REQ-1 calls this port preservation): the
 * backend then sees ports come round as slowly as the client lets them. Else a random start is taken
 * and the range searched from there (RFC 6056 §3.3.2), for a bounded number of steps.
 */
import { below, type Random } from "../core/random.ts";
import type { FlowTable } from "./table.ts";

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** Most ports looked at for one connection. */
const MAX_TRIES = 128;

/**
 * A port that `backend` does not know from us yet on this `backendPort`, or -1. `preferred` is the
 * client's own; the port of entry `successorOf` (-1: none) counts as free, because it is about to go.
 */
export function choosePort(
  table: FlowTable,
  range: PortRange,
  random: Random,
  protocol: number,
  backend: number,
  own: number,
  backendPort: number,
  preferred: number,
  successorOf: number,
): number {
  const free = (port: number): boolean => {
    const reference = table.find(protocol, backend, own, (backendPort << 16) | port);
    return reference < 0 || reference >> 1 === successorOf;
  };
  if (preferred >= range.first && preferred <= range.last && free(preferred)) return preferred;
  const size = range.last - range.first + 1;
  let offset = below(random, size);
  for (let tries = Math.min(size, MAX_TRIES); tries > 0; tries--) {
    if (free(range.first + offset)) return range.first + offset;
    offset = offset + 1 === size ? 0 : offset + 1;
  }
  return -1;
}
