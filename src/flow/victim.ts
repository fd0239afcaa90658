/**
 * Selects the connection to evict for a new one when the table is full, or all ports towards one
 * (backend, port) are in use:
 *
 *   1. a query that the proxy has answered itself; then
 *   2. an unanswered one (UDP, query or half-open) idle for two seconds: the oldest of the
 *      larger class, so that a flood of one class costs the other nothing;
 *   3. one that was reset; one that is finished;
 *   4. an unanswered one idle for less: UDP and queries at any rate, half-open ones at most
 *      5,000 a second, so that most SYNs of a flood cost one look at a full table.
 *
 * Live connections are never evicted. Steps 1 to 3 have no rate limit. In step 4 new TCP
 * connections and new datagrams have a limit each, and a query that the proxy answers itself evicts
 * nothing.
 */
import { TokenBucket } from "../core/token_bucket.ts";
import {
  type EvictionClasses,
  FINISHED,
  HALF_OPEN,
  ONE_SIDED,
  RESET,
  UNANSWERED,
} from "./eviction.ts";
import { isIpv6, type Pdu } from "../wire/pdu.ts";
import { type FlowTable, SIDE_A } from "./table.ts";
import { WHOLE_WORDS } from "./whole_addresses.ts";

/** What tells who has sent a packet. */
export type Source = Readonly<Pick<Pdu, "protocol" | "src" | "addresses">>;

/** An unanswered one is spared this long: a lost SYN or SYN ACK is sent again after a second. */
const SPARED_MS = 2000;

/** Half-open connections younger than that evicted per second, for new ones of one class. */
const EVICTIONS_PER_SECOND = 5000;

/** How many of a class, from the oldest on, are compared with a source. */
const LOOKS = 16;

export class VictimSelector {
  readonly #table: FlowTable;
  readonly #forUdp = new TokenBucket(EVICTIONS_PER_SECOND, EVICTIONS_PER_SECOND, 0);
  readonly #forTcp = new TokenBucket(EVICTIONS_PER_SECOND, EVICTIONS_PER_SECOND, 0);

  constructor(table: FlowTable) {
    this.#table = table;
  }

  /** The entry of `classes` to evict for a new one of class `newcomer`, or -1. */
  select(classes: EvictionClasses, newcomer: number, nowMs: number): number {
    const oneSided = classes.oldest(ONE_SIDED);
    if (oneSided >= 0) return oneSided;
    const more = classes.size(UNANSWERED) > classes.size(HALF_OPEN) ? UNANSWERED : HALF_OPEN;
    const first = classes.oldest(more);
    if (this.#isSilent(first, nowMs)) return first;
    const second = classes.oldest(UNANSWERED + HALF_OPEN - more);
    if (this.#isSilent(second, nowMs)) return second;
    const reset = classes.oldest(RESET);
    if (reset >= 0) return reset;
    const closed = classes.oldest(FINISHED);
    if (closed >= 0) return closed;
    if (first < 0 || newcomer === ONE_SIDED) return -1;
    if (more === UNANSWERED) return first;
    return (newcomer === UNANSWERED ? this.#forUdp : this.#forTcp).take(nowMs) ? first : -1;
  }

  /**
   * The oldest unanswered one of the source of `pdu`, or -1 if it has none among the 16 oldest. A
   * source that has a quarter of all almost always has.
   */
  oldestFrom(classes: EvictionClasses, pdu: Source): number {
    const udp = this.#oldestFrom(classes, UNANSWERED, pdu);
    return udp >= 0 ? udp : this.#oldestFrom(classes, HALF_OPEN, pdu);
  }

  #oldestFrom(classes: EvictionClasses, evictionClass: number, pdu: Source): number {
    let entry = classes.oldest(evictionClass);
    for (let looks = LOOKS; entry >= 0 && looks > 0; looks--) {
      if (this.#isFrom(entry, pdu)) return entry;
      entry = classes.newer(entry);
    }
    return -1;
  }

  /** Over IPv6 a source is a subnet, as in `shares.ts`. */
  #isFrom(entry: number, { protocol, src, addresses }: Source): boolean {
    const table = this.#table;
    if (isIpv6(table.protocol(entry)) !== isIpv6(protocol)) return false;
    if (!isIpv6(protocol)) return table.src(entry, SIDE_A) === src;
    const { words } = table.whole!;
    const client = WHOLE_WORDS * entry;
    return words[client] === addresses[0] && words[client + 1] === addresses[1];
  }

  #isSilent(entry: number, nowMs: number): boolean {
    return entry >= 0 && this.#table.idleMs(entry, nowMs) >= SPARED_MS;
  }
}
