/**
 * Which connection goes when there is no room for a new one, in the table or among the ports towards one
 * (backend, port):
 *
 *   1. a query that the proxy has answered itself; then
 *   2. one without an answer, UDP, query or handshake, that has been silent for two seconds: the oldest
 *      of the class that has more, so that a flood of one costs the other nothing;
 *   3. one that was reset; one that is over;
 *   4. one without an answer that may well come: UDP and queries at any rate, handshakes at most 5,000
 *      times a second. Most of a flood of SYNs then costs one look at a full table.
 *
 * A live one never goes. Steps 1 to 3 have no rate: as long as something old stands about, nobody is
 * refused. Each class of newcomers has a rate of its own for step 4, and what the proxy answers itself
 * has none: it gets no room that a handshake might need.
 */
import { TokenBucket } from "../core/token_bucket.ts";
import { CLOSED, HALF_OPEN, ONE_SIDED, type Population, RESET, UNANSWERED } from "./eviction.ts";
import { type FlowTable, SIDE_A } from "./table.ts";

/** What has no answer is spared this long: a lost SYN or SYN ACK is sent again after a second. */
const SPARED_MS = 2000;

/** Handshakes younger than that which are evicted a second, for newcomers of one class. */
const EVICTIONS_PER_SECOND = 5000;

/** How many of a class, from the oldest on, are asked for their source. */
const LOOKS = 16;

export class Room {
  readonly #table: FlowTable;
  readonly #forUdp = new TokenBucket(EVICTIONS_PER_SECOND, EVICTIONS_PER_SECOND, 0);
  readonly #forTcp = new TokenBucket(EVICTIONS_PER_SECOND, EVICTIONS_PER_SECOND, 0);

  constructor(table: FlowTable) {
    this.#table = table;
  }

  /** The entry of `population` to evict for a newcomer of class `newcomer`, or -1. */
  victim(population: Population, newcomer: number, nowMs: number): number {
    const oneSided = population.oldest(ONE_SIDED);
    if (oneSided >= 0) return oneSided;
    const more = population.size(UNANSWERED) > population.size(HALF_OPEN) ? UNANSWERED : HALF_OPEN;
    const first = population.oldest(more);
    if (this.#isSilent(first, nowMs)) return first;
    const second = population.oldest(UNANSWERED + HALF_OPEN - more);
    if (this.#isSilent(second, nowMs)) return second;
    const reset = population.oldest(RESET);
    if (reset >= 0) return reset;
    const closed = population.oldest(CLOSED);
    if (closed >= 0) return closed;
    if (first < 0 || newcomer === ONE_SIDED) return -1;
    if (more === UNANSWERED) return first;
    return (newcomer === UNANSWERED ? this.#forUdp : this.#forTcp).take(nowMs) ? first : -1;
  }

  /**
   * The oldest one without an answer that came from `src`, or -1 if none is among the oldest ones. A
   * source that has a quarter of them is.
   */
  oldestOf(population: Population, src: number): number {
    const udp = this.#oldestOf(population, UNANSWERED, src);
    return udp >= 0 ? udp : this.#oldestOf(population, HALF_OPEN, src);
  }

  #oldestOf(population: Population, kind: number, src: number): number {
    let entry = population.oldest(kind);
    for (let looks = LOOKS; entry >= 0 && looks > 0; looks--) {
      if (this.#table.src(entry, SIDE_A) === src) return entry;
      entry = population.newer(entry);
    }
    return -1;
  }

  #isSilent(entry: number, nowMs: number): boolean {
    return entry >= 0 && this.#table.idleMs(entry, nowMs) >= SPARED_MS;
  }
}
