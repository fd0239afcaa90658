/**
 * Initial sequence numbers as Linux makes them (RFC 6528): a keyed hash of addresses and ports,
 * plus a clock of 64 ns ticks, which comes round in 274.9 s. So the numbers of one tuple grow, and
 * after more than 137 s a later one looks like an earlier one.
 */
import type { Random } from "../../src/core/random.ts";

const TICKS_PER_MS = 15_625;

export class LinuxIsns {
  readonly #key: number;

  constructor(random: Random) {
    this.#key = random.uint32();
  }

  at(nowMs: number, local: number, localPort: number, remote: number, remotePort: number): number {
    let hash = this.#key;
    for (const word of [local, localPort, remote, remotePort]) {
      hash = Math.imul(hash ^ word, 0x9e37_79b1);
      hash ^= hash >>> 15;
    }
    // Below 2^53 for 18 years.
    return (hash + nowMs * TICKS_PER_MS) | 0;
  }
}

/** The number of a connection that follows one in TIME-WAIT, on its own port. */
export function isnAfter(sendNext: number): number {
  return (sendNext + 65_537) | 0;
}
