/**
 * Which connections the kernel carries (`fastpath/program.ts`): those that are established, whose
 * ways are known, and of whose plain packets the policy treats all alike. The proxy decides when it
 * has forwarded a packet of one; from then on only those come to it that are not plain.
 *
 *     forwarded ──▶ consider ──▶ promoted ──▶ demoted by the next segment that is not plain;
 *                                             all of them: when the policy changes, and while the
 *                                             console would show their packets
 *
 * What the kernel has forwarded is counted ten times a second, as if the proxy had.
 */
import { BURST_FRAMES } from "../core/arena.ts";
import type { LimitedLog } from "../core/limited_log.ts";
import { Limbo } from "../fastpath/limbo.ts";
import type { SharedMemory, Way } from "../fastpath/shared_memory.ts";
import type { Carrier, Connections } from "../flow/connections.ts";
import { UDP_ONGOING } from "../flow/lifetimes.ts";
import { SIDE_A, SIDE_B } from "../flow/table.ts";
import { ESTABLISHED } from "../flow/tcp_state.ts";
import { FORWARD } from "../policy/language/ast.ts";
import type { OtherWay } from "../stack/neighbors.ts";
import { PROTOCOL_TCP } from "../wire/ipv4.ts";
import type { Dispatch } from "./dispatch.ts";
import { plainPdu } from "./keeper.ts";
import type { Link } from "./link.ts";
import { Count, type Metrics } from "./metrics.ts";
import type { Observer } from "./observer.ts";
import type { RunningPolicy } from "./running_policy.ts";

/** What an appliance needs so that the kernel may carry connections. */
export interface FastPath {
  readonly memory: SharedMemory;
  /** Resolves when every program that runs now has ended. */
  readonly wait: () => Promise<void>;
  /**
   * Has the program run for the frames of that link; the number of its interface, or 0: it can't.
   */
  readonly attach: (link: number) => number;
}

export interface PromotionsOptions extends FastPath {
  readonly connections: Connections;
  readonly dispatch: Dispatch;
  readonly links: readonly Link[];
  readonly metrics: Metrics;
  readonly policy: RunningPolicy;
  readonly limitedLog: LimitedLog;
}

/** Ticks whose packets are the rate: a second. */
const RATE_TICKS = 10;

export class Promotions implements Carrier {
  readonly #options: PromotionsOptions;
  readonly #memory: SharedMemory;
  readonly #limbo: Limbo;
  /** By entry: the epoch in which the connection was refused; 0: in none. */
  readonly #refused: Uint16Array<ArrayBuffer>;
  /** Connections of packets that are queued; one may be there several times. */
  readonly #considered = new Int32Array(2 * BURST_FRAMES);
  #count = 0;
  /** Where packets are counted that end at a node of the policy that runs. */
  readonly #counters = new Map<number, number>();
  /** What has been taken from each counter. */
  readonly #packets: Float64Array<ArrayBuffer>;
  readonly #bytes: Float64Array<ArrayBuffer>;
  /** Numbers of interfaces by link, and the MTUs that the program knows. */
  readonly #ifindex: number[];
  readonly #mtus: number[];
  readonly #neighborsPerLink: number;
  /** Packets of the last ticks. */
  readonly #rates = new Float64Array(RATE_TICKS);
  #tick = 0;
  /** Packets since the last tick. */
  #sinceTick = 0;
  #isPaused = false;
  readonly #release = (entry: number): void => this.#options.connections.table.release(entry);

  constructor(options: PromotionsOptions) {
    const { memory, wait, links } = options;
    this.#options = options;
    this.#memory = memory;
    this.#limbo = new Limbo(memory, wait);
    this.#refused = new Uint16Array(memory.layout.connections);
    this.#packets = new Float64Array(memory.layout.counters);
    this.#bytes = new Float64Array(memory.layout.counters);
    this.#ifindex = links.map(() => 0);
    this.#mtus = links.map(() => 0);
    this.#neighborsPerLink = neighborsPerLink(memory, links.length);
  }

  // Promotion

  /** Whether the kernel may be at work on the connection. */
  has(entry: number): boolean {
    return this.#memory.isPromoted(entry);
  }

  /** A plain packet of the connection has been queued: does the proxy have to see the next one? */
  consider(entry: number): void {
    if (this.#isPaused || this.#refused[entry] === this.#memory.epoch) return;
    if (this.#count < this.#considered.length) this.#considered[this.#count++] = entry;
  }

  /**
   * What was queued has left. If no more waits to be read, packets that the kernel carries from now
   * on overtake none; else the next ones decide.
   */
  sent(nowMs: number): void {
    const isQuiet = this.#options.links.every(({ device }) => device.isDrained ?? true);
    for (let i = 0; isQuiet && i < this.#count; i++) this.#decide(this.#considered[i]!, nowMs);
    this.#count = 0;
  }

  #decide(entry: number, nowMs: number): void {
    const memory = this.#memory;
    if (this.#isPaused || this.#refused[entry] === memory.epoch) return;
    if (memory.isPromoted(entry) && memory.isCurrent(entry)) return; // left for another reason
    if (!this.#isEstablished(entry)) return;
    const fromA = this.#wayFrom(entry, SIDE_A);
    const fromB = this.#wayFrom(entry, SIDE_B);
    if (fromA === null || fromB === null) return; // as long as it is not known where they are
    const a = this.#counterFrom(entry, SIDE_A, nowMs);
    const b = a < 0 ? a : this.#counterFrom(entry, SIDE_B, nowMs);
    const isPromoted = b >= 0 &&
      memory.promote(entry, { ...fromA, counter: a }, { ...fromB, counter: b });
    if (!isPromoted) this.#refused[entry] = memory.epoch;
  }

  #isEstablished(entry: number): boolean {
    const { table } = this.#options.connections;
    const expected = table.protocol(entry) === PROTOCOL_TCP ? ESTABLISHED : UDP_ONGOING;
    return table.state(entry) === expected && table.hasSideB(entry);
  }

  /** The way of packets that come from that side; null: it is not known. */
  #wayFrom(entry: number, side: number): Omit<Way, "counter"> | null {
    const { connections: { table }, dispatch, links } = this.#options;
    const reference = (entry << 1) | side;
    const out = dispatch.linkTowards(reference ^ 1);
    const nextHop = out.routes.nextHop(table.src(entry, 1 - side));
    const number = nextHop === 0 ? -1 : out.arp.neighbors.numberOf(nextHop);
    if (number < 0 || number >= this.#neighborsPerLink) return null;
    const toLink = out === links[0] ? 0 : 1;
    const fromLink = dispatch.linkTowards(reference) === links[0] ? 0 : 1;
    const neighbor = toLink * this.#neighborsPerLink + number;
    return { neighbor, fromLink, toLink, ttl: 0, raisesTtl: false };
  }

  /** Where packets that come from that side are counted; -1: the proxy has to see each of them. */
  #counterFrom(entry: number, side: number, nowMs: number): number {
    const { policy } = this.#options;
    const constancy = policy.constancyOf(plainPdu((entry << 1) | side, this.#options));
    if (!("exit" in constancy)) return -1;
    const { exit } = constancy;
    const counter = this.#counters.get(exit) ?? this.#counters.size;
    if (counter < this.#memory.layout.counters) this.#counters.set(exit, counter);
    else this.#tellFull(nowMs);
    return counter < this.#memory.layout.counters ? counter : -1;
  }

  #tellFull(nowMs: number): void {
    const { limitedLog } = this.#options;
    const text = "fast path: the policy has more ends than counters; some connections do without";
    limitedLog.write("warning", "fast-path", 1, nowMs, () => text);
  }

  // Demotion

  demote(entry: number): void {
    this.#limbo.demote(entry);
  }

  rests(entry: number): boolean {
    this.#refused[entry] = 0;
    return this.#limbo.rests(entry);
  }

  /** Before the policy changes: what has been counted is the old one's, and nothing is promoted. */
  policyChanges(): void {
    this.count();
    this.#limbo.demoteAll();
    this.#counters.clear();
  }

  /** Nothing is carried while the observer would see it, or could if it were not carried. */
  follow(observer: Observer | null, nowMs: number): void {
    const most = observer?.mostPerSecond ?? Infinity;
    const isAllowed = observer === null ||
      (most < Infinity && (observer.isBusy(nowMs) || this.#rate > most));
    if (this.#isPaused === !isAllowed) return;
    this.#isPaused = !isAllowed;
    if (this.#isPaused) this.#limbo.demoteAll();
  }

  /** Packets in the last second. */
  get #rate(): number {
    return this.#rates.reduce((sum, packets) => sum + packets);
  }

  // Links and neighbours

  linkDown(link: number): void {
    this.#ifindex[link] = 0;
    this.#memory.setLink(link, null);
  }

  linkUp(link: number): void {
    this.#ifindex[link] = this.#options.attach(link);
    this.#mtus[link] = 0;
    this.#setLink(link);
  }

  #setLink(link: number): void {
    const { device: { mtu }, mac } = this.#options.links[link]!;
    const ifindex = this.#ifindex[link]!;
    if (ifindex === 0 || mtu === this.#mtus[link]) return;
    this.#mtus[link] = mtu;
    this.#memory.setLink(link, { mac, ifindex, mtu });
  }

  // Ten times a second

  tick(observer: Observer | null, nowMs: number): void {
    this.count();
    const packets = this.#sinceTick;
    this.#sinceTick = 0;
    this.#rates[this.#tick++ % RATE_TICKS] = packets;
    if (packets > 0) observer?.skipped(FORWARD, nowMs, packets);
    this.follow(observer, nowMs);
    for (let link = 0; link < this.#mtus.length; link++) this.#setLink(link);
    this.#limbo.tick(this.#release);
  }

  /** Counts what the kernel has forwarded since the last time. */
  count(): void {
    const { metrics: { counts, decisions }, policy } = this.#options;
    let all = 0;
    for (const [exit, counter] of this.#counters) {
      const packets = this.#memory.packets(counter) - this.#packets[counter]!;
      if (packets === 0) continue;
      const bytes = this.#memory.bytes(counter) - this.#bytes[counter]!;
      this.#packets[counter]! += packets;
      this.#bytes[counter]! += bytes;
      all += packets;
      policy.count(exit, packets);
      for (const count of [Count.pdusIn, Count.pdusOut, Count.pdusCarried]) {
        counts[count]! += packets;
      }
      for (const count of [Count.pduBytesIn, Count.pduBytesOut, Count.pduBytesCarried]) {
        counts[count]! += bytes;
      }
    }
    decisions[FORWARD]! += all;
    this.#sinceTick += all;
  }
}

/** What ARP on a link is told of packets that the kernel sends, and tells of who is where. */
export function otherWayOf({ memory }: FastPath, link: number, links: number): OtherWay {
  const most = neighborsPerLink(memory, links);
  const first = link * most;
  return {
    moved: (number, mac) => {
      if (number < most) memory.setNeighbor(first + number, mac);
    },
    forgotten: (number) => {
      if (number < most) memory.forgetNeighbor(first + number);
    },
    usedMs: (number) => number < most ? memory.usedMs(first + number) : 0,
    askedMs: (number) => memory.askedMs(first + number),
    answeredMs: (number) => memory.answeredMs(first + number),
  };
}

/** Each link has as many of them. */
function neighborsPerLink({ layout }: SharedMemory, links: number): number {
  return Math.floor(layout.neighbors / links);
}
