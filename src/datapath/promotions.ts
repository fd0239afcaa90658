/**
 * Which connections the kernel carries (`fastpath/program.ts`): those that are established, whose
 * ways are known, and of whose plain packets the policy treats all alike. The proxy decides when it
 * has forwarded some, and one from each end; from then on only those come to it that are not plain.
 *
 *     forwarded ──▶ consider ──▶ promoted ──▶ demoted by the next segment that is not plain;
 *                                             all of them: when the policy changes, when a member
 *                                             goes down, and when somebody would see their packets
 *
 * One whose sides are of different families is never promoted: its packets change their length.
 *
 * What the kernel has forwarded is counted ten times a second, as if the proxy had.
 *
 * Long because what promotes, demotes and counts works on the same arrays.
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
import { NEW_DESTINATION, Translation } from "../flow/translate.ts";
import type { Address } from "../wire/address.ts";
import type { AddressDigest } from "../wire/address_digest.ts";
import { isIpv6, isTcp, type Pdu } from "../wire/pdu.ts";
import { numbersOf } from "./carried_neighbors.ts";
import type { Dispatch } from "./dispatch.ts";
import type { Some } from "./interest.ts";
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
  /** Plain packets of a connection that the proxy sees before it promotes it; at most 254. */
  readonly leastPackets: number;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

const NO_WAY: Way = { neighbor: 0, counter: 0, fromLink: 0, toLink: 0, newTtl: 0 };

export interface PromotionsOptions extends FastPath {
  readonly connections: Connections;
  readonly dispatch: Dispatch;
  readonly links: readonly Link[];
  readonly metrics: Metrics;
  readonly policy: RunningPolicy;
  readonly limitedLog: LimitedLog;
  /** Of IPv6 addresses; null: there are none. */
  readonly digest: AddressDigest | null;
}

/** Ticks whose packets are the rate: a second. */
const RATE_TICKS = 10;

/** A device of which frames have waited for so long without a break gets more than it is read. */
const OVERLOADED_MS = 100;

/** In place of a number of packets: the kernel has carried the connection, and may still do so. */
const PROMOTED = 0xff;

/** In place of a counter, of which there are fewer: the proxy has to see each packet. */
const KEPT = 0xffff;

export class Promotions implements Carrier {
  readonly #options: PromotionsOptions;
  readonly #memory: SharedMemory;
  readonly #limbo: Limbo;
  /**
   * By reference, of the plain packets that come from this end: `epoch << 16 | counter`; they are
   * counted there, and in that epoch one of them was. KEPT: the proxy has to see each of them.
   */
  readonly #ends: Int32Array<ArrayBuffer>;
  /**
   * By entry: plain packets that have come, up to the least; and then PROMOTED, until the entry is
   * another connection's. All that most packets of a short connection look at here.
   */
  readonly #seen: Uint8Array<ArrayBuffer>;
  /** Connections of packets that are queued; one may be there several times. */
  readonly #considered = new Int32Array(2 * BURST_FRAMES);
  #count = 0;
  /**
   * Where packets are counted that end at a node of the policy that runs, and come and go by the
   * same links: `node << 2 | from << 1 | to`.
   */
  readonly #counters = new Map<number, number>();
  /** By counter, what the policy does with the TTL of the packets that are counted there. */
  readonly #newTtls: Uint16Array<ArrayBuffer>;
  /** What has been taken from each counter. */
  readonly #packets: Float64Array<ArrayBuffer>;
  readonly #bytes: Float64Array<ArrayBuffer>;
  /** Numbers of interfaces by link, and the MTUs that the program knows. */
  readonly #ifindex: number[];
  readonly #mtus: number[];
  /** Of packets of IPv6, and whether the program takes such. */
  readonly #mtus6: number[];
  readonly #takesIpv6: boolean[];
  readonly #carriesIpv6: boolean;
  /** Where packets go. */
  readonly #to = new Translation();
  /** Packets of the last ticks. */
  readonly #rates = new Float64Array(RATE_TICKS);
  #tick = 0;
  /** Packets since the last tick. */
  #sinceTick = 0;
  /** Since when frames have always waited to be read; Infinity: none wait. */
  #waitingMs = Infinity;
  /** In the last second. */
  #rate = 0;
  /** Connections that an observer wants to see, told by a packet of them. */
  #kept: Some = "none";
  readonly #fromA: Mutable<Way> = { ...NO_WAY };
  readonly #fromB: Mutable<Way> = { ...NO_WAY };
  readonly #release = (entry: number): void => this.#options.connections.table.release(entry);

  constructor(options: PromotionsOptions) {
    const { memory, wait, links } = options;
    this.#options = options;
    this.#memory = memory;
    this.#limbo = new Limbo(memory, wait);
    this.#ends = new Int32Array(2 * memory.layout.connections);
    this.#seen = new Uint8Array(memory.layout.connections);
    this.#newTtls = new Uint16Array(memory.layout.counters);
    this.#packets = new Float64Array(memory.layout.counters);
    this.#bytes = new Float64Array(memory.layout.counters);
    this.#ifindex = links.map(() => 0);
    this.#mtus = links.map(() => 0);
    this.#mtus6 = links.map(() => 0);
    this.#takesIpv6 = links.map(() => false);
    this.#carriesIpv6 = options.digest !== null && memory.layout.isIpv6On === true;
    if (this.#carriesIpv6) memory.setDigest(options.digest!);
  }

  // Promotion

  hasCarried(entry: number): boolean {
    return this.#seen[entry] === PROMOTED;
  }

  /**
   * A plain packet has been queued, and the policy has settled it: does the proxy have to see the
   * next one? Of IPv6 it does.
   */
  consider(pdu: Pdu, nowMs: number): void {
    if (this.#kept === "all" || (isIpv6(pdu.protocol) && !this.#carriesIpv6)) return;
    const { flow } = pdu;
    const entry = flow >>> 1;
    if (this.#seen[entry]! < this.#options.leastPackets) {
      this.#seen[entry]!++;
      return;
    }
    if (this.#options.connections.table.crosses(entry)) return;
    const { epoch } = this.#memory;
    if (this.#ends[flow]! >>> 16 !== epoch) {
      this.#ends[flow] = (epoch << 16) | this.#counterOf(pdu, nowMs);
    }
    if (!this.#isConstant(entry) || this.#count === this.#considered.length) return;
    this.#considered[this.#count++] = entry;
  }

  /** Whether that is known of the packets from both ends. */
  #isConstant(entry: number): boolean {
    return this.#counterFrom(entry, SIDE_A) !== KEPT && this.#counterFrom(entry, SIDE_B) !== KEPT;
  }

  /** Where the packets from that side are counted; KEPT: nowhere, or none has come. */
  #counterFrom(entry: number, side: number): number {
    const end = this.#ends[(entry << 1) | side]!;
    return end >>> 16 === this.#memory.epoch ? end & 0xffff : KEPT;
  }

  /** Likewise those that come from the same end as this one. */
  #counterOf(pdu: Pdu, nowMs: number): number {
    const { dispatch, limitedLog, policy } = this.#options;
    const kept = this.#kept;
    if (!policy.isConstant(pdu) || (typeof kept === "function" && kept(pdu))) return KEPT;
    const from = dispatch.linkTowards(pdu.flow).number;
    const end = (pdu.exit << 2) | (from << 1) | dispatch.linkTowards(pdu.flow ^ 1).number;
    const known = this.#counters.get(end);
    if (known !== undefined) return known;
    const counter = this.#counters.size;
    if (counter < this.#newTtls.length) {
      this.#counters.set(end, counter);
      this.#newTtls[counter] = pdu.newTtl; // one way leads there
      return counter;
    }
    const text = "fast path: the policy has more ends than counters; some connections do without";
    limitedLog.write("warning", "fast-path-full", 1, nowMs, () => text);
    return KEPT;
  }

  /**
   * What was queued has left. If no more waits to be read, packets that the kernel carries from now
   * on overtake none; else the next ones decide. Where some always wait, they are overtaken, once:
   * that connections leave is what helps there.
   */
  sent(nowMs: number): void {
    let isDrained = true;
    for (const { device } of this.#options.links) {
      if (device.isDrained === false) isDrained = false;
    }
    this.#waitingMs = isDrained ? Infinity : Math.min(this.#waitingMs, nowMs);
    if (isDrained || nowMs - this.#waitingMs >= OVERLOADED_MS) {
      for (let i = 0; i < this.#count; i++) this.#decide(this.#considered[i]!);
    }
    this.#count = 0;
  }

  #decide(entry: number): void {
    const memory = this.#memory;
    if (this.#kept === "all" || !this.#isConstant(entry)) return; // by what has come since
    if (memory.isPromoted(entry) && memory.isCurrent(entry)) return; // left for another reason
    if (!this.#isEstablished(entry)) return;
    if (!this.#findWay(this.#fromA, entry, SIDE_A)) return;
    if (!this.#findWay(this.#fromB, entry, SIDE_B)) return;
    if (memory.promote(entry, this.#fromA, this.#fromB)) this.#seen[entry] = PROMOTED;
  }

  #isEstablished(entry: number): boolean {
    const { connections, connections: { table } } = this.#options;
    if (!table.hasSideB(entry)) return false;
    const state = table.state(entry);
    return isTcp(table.protocol(entry))
      ? state === ESTABLISHED
      : state === UDP_ONGOING && !connections.isLost(entry); // a datagram may open another one
  }

  /** The way of packets that come from that side; false: it is not known where they go. */
  #findWay(way: Mutable<Way>, entry: number, side: number): boolean {
    const { connections: { table }, dispatch, links } = this.#options;
    const reference = (entry << 1) | side;
    const out = dispatch.linkTowards(reference ^ 1);
    const isOver6 = isIpv6(table.protocol(entry));
    const place = { link: out.number, links: links.length, isIpv6: isOver6 };
    const { first, most } = numbersOf(this.#memory, place);
    const number = isOver6
      ? this.#neighborOf6(out, reference)
      : this.#neighborOf(out, table.src(entry, 1 - side));
    if (number < 0 || number >= most) return false;
    way.toLink = out.number;
    way.fromLink = dispatch.linkTowards(reference).number;
    way.neighbor = first + number;
    way.counter = this.#counterFrom(entry, side);
    way.newTtl = this.#newTtls[way.counter]!;
    return true;
  }

  /** Number of the next hop to the address, if it is known where that is; else -1. */
  #neighborOf({ arp, routes }: Link, address: Address): number {
    const nextHop = routes.nextHop(address);
    return nextHop === 0 ? -1 : arp.neighbors.numberOf(nextHop);
  }

  /** Likewise to where packets of the connection over IPv6 go. */
  #neighborOf6({ v6 }: Link, reference: number): number {
    const { connections: { table } } = this.#options;
    const to = this.#to;
    to.dst = table.src(reference >>> 1, 1 - (reference & 1));
    table.whole!.copySource(reference ^ 1, to.addresses, NEW_DESTINATION);
    return v6 !== null && v6.route(to) ? v6.numberOfNextHop(to) : -1;
  }

  // Demotion

  demote(entry: number): void {
    if (this.#seen[entry] === PROMOTED) this.#limbo.demote(entry);
  }

  rests(entry: number): boolean {
    const seen = this.#seen[entry]!;
    if (seen < this.#options.leastPackets) { // the kernel was never at work on it
      this.#seen[entry] = 0;
      return false;
    }
    const reference = entry << 1; // the entry will be another connection's
    this.#ends[reference] = this.#ends[reference | 1] = 0;
    this.#seen[entry] = 0;
    return seen === PROMOTED && this.#limbo.rests(entry);
  }

  /** Entries of connections that have ended, which no new one may have yet. */
  get resting(): number {
    return this.#limbo.count;
  }

  /** Before the policy changes: what has been counted is the old one's, and nothing is promoted. */
  policyChanges(): void {
    this.count();
    this.#demoteAll();
    this.#counters.clear();
  }

  #demoteAll(): void {
    this.#limbo.demoteAll();
    if (this.#memory.epoch === 1) this.#ends.fill(0); // epochs are numbered from the start again
  }

  /**
   * Connections may have lost their members: the proxy knows for which a datagram opens another.
   */
  membersLost(): void {
    this.#demoteAll();
  }

  /** Nothing is carried that the observer would see, or could if it were not carried. */
  follow(observer: Observer | null, nowMs: number): void {
    const kept = observer === null ? "none" : observer.kept(nowMs, this.#rate);
    if (kept === this.#kept) return;
    const wasAll = this.#kept === "all";
    this.#kept = kept;
    if (!wasAll) this.#demoteAll(); // with all that is known of their ends
  }

  // Links and neighbours

  linkDown(link: number): void {
    this.#ifindex[link] = 0;
    this.#memory.setLink(link, null);
  }

  linkUp(link: number): void {
    this.#ifindex[link] = this.#options.attach(link);
    this.#mtus[link] = 0;
    this.#setLinks();
  }

  #setLinks(): void {
    for (let link = 0; link < this.#mtus.length; link++) this.#setLink(link);
  }

  #setLink(link: number): void {
    const { links } = this.#options;
    const { device: { mtu }, mac, v6 } = links[link]!;
    const mtu6 = v6?.mtuOf(mtu) ?? mtu;
    const ifindex = this.#ifindex[link]!;
    // What comes in here leaves with an address of any link.
    const takesIpv6 = v6 !== null && links.every((one) => one.v6?.own.areAllUsable ?? true);
    const isKnown = mtu === this.#mtus[link] && mtu6 === this.#mtus6[link] &&
      takesIpv6 === this.#takesIpv6[link];
    if (ifindex === 0 || isKnown) return;
    this.#mtus[link] = mtu;
    this.#mtus6[link] = mtu6;
    this.#takesIpv6[link] = takesIpv6;
    this.#memory.setLink(link, { mac, ifindex, mtu, mtu6, takesIpv6 });
  }

  // Ten times a second

  tick(observer: Observer | null, nowMs: number): void {
    this.count();
    const packets = this.#sinceTick;
    this.#sinceTick = 0;
    this.#rates[this.#tick++ % RATE_TICKS] = packets;
    this.#rate = this.#rates.reduce((sum, packets) => sum + packets);
    if (packets > 0) observer?.skipped(FORWARD, nowMs, packets);
    this.follow(observer, nowMs);
    this.#setLinks();
    this.#limbo.tick(this.#release);
  }

  /** Counts what the kernel has forwarded since the last time. */
  count(): void {
    const { metrics: { counts, decisions }, policy } = this.#options;
    let all = 0;
    for (const [end, counter] of this.#counters) {
      const packets = this.#memory.packets(counter) - this.#packets[counter]!;
      if (packets === 0) continue;
      const bytes = this.#memory.bytes(counter) - this.#bytes[counter]!;
      this.#packets[counter]! += packets;
      this.#bytes[counter]! += bytes;
      all += packets;
      policy.count(end >>> 2, packets);
      const [from, to] = [(end >>> 1) & 1, end & 1];
      for (const count of [Count.pdusIn + from, Count.pdusOut + to, Count.pdusCarried]) {
        counts[count]! += packets;
      }
      for (
        const count of [Count.pduBytesIn + from, Count.pduBytesOut + to, Count.pduBytesCarried]
      ) counts[count]! += bytes;
    }
    decisions[FORWARD]! += all;
    this.#sinceTick += all;
  }
}
