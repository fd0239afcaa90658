/** What is compared of the memory that the fast path's program works on. */
import { LAST_SEEN } from "../../src/flow/entry.ts";
import * as at from "../../src/fastpath/layout.ts";
import { LAYOUT } from "./twin.ts";

/** The memory without what tells the time and the processor. */
export function timeless(memory: Uint8Array): string {
  const copy = memory.slice();
  const words = new Int32Array(copy.buffer);
  for (let entry = 0; entry < LAYOUT.connections; entry++) {
    words[LAYOUT.at.entries / 4 + 16 * entry + LAST_SEEN] = 0;
  }
  for (let neighbor = 0; neighbor < LAYOUT.neighbors; neighbor++) {
    const base = LAYOUT.at.neighbors / 4 + at.NEIGHBOR_WORDS * neighbor;
    for (const time of [at.USED, at.ASKED, at.ANSWERED]) words[base + time] &&= 1;
  }
  const counters = new BigUint64Array(copy.buffer, LAYOUT.at.counters);
  const perProcessor = 2 * LAYOUT.counters;
  for (let i = 0; i < perProcessor; i++) {
    counters[i]! += counters[perProcessor + i]!;
    counters[perProcessor + i] = 0n;
  }
  return copy.toHex();
}
