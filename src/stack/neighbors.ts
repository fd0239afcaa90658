/**
 * The neighbour cache of a link: MAC addresses, when to ask for which, and the packets that wait
 * for an answer. It knows no protocol: `ask` in its options sends a request, `learn` takes an
 * answer.
 *
 * Each is in the queue of its state (`neighbor_queues.ts`), so that `tick` looks only at those
 * whose timer has expired. One that does not answer is asked three times, a second apart.
 *
 * *Watched* neighbours (backends, gateways) are always kept. When there are too many others, the
 * oldest unresolved one is removed, then the least recently used one. An unknown one that a packet
 * is sent to is CLAIMED if the packet's connection was opened from the link: until ARP is answered,
 * or given up, packets of this connection go to the station that opened it.
 *
 * Requests to all stations are limited by how many go unanswered: an answered one does not count,
 * of the others there are 256 at once and 100 a second. So clients that exist are found as fast as
 * they answer, and spoofed addresses cost the link little.
 *
 * Long because the states, their timers and the packets held for them change together.
 */
import type { Arena } from "../core/arena.ts";
import { Reason } from "../core/reason.ts";
import { TokenBucket } from "../core/token_bucket.ts";
import { LinkedLists, List } from "../core/linked_lists.ts";
import type { Address, Mac } from "../wire/address.ts";
import * as ethernet from "../wire/ethernet.ts";
import { HeldPackets } from "./held_packets.ts";
import {
  ADDRESS,
  atOf,
  CONFIRMED,
  FLAGS,
  MAC_HI,
  MAC_LO,
  NeighborTable,
  numberOf,
  QUEUE,
  REQUESTED,
  SINCE,
  UNANSWERED,
  USED,
} from "./neighbor_table.ts";
import {
  ASKED,
  CLAIMED,
  DUE,
  FRESH,
  LOST,
  NeighborQueues,
  RESTING,
  WAITING,
} from "./neighbor_queues.ts";
import type { Openers } from "./openers.ts";

/** RFC 1122 §2.3.2.1: at most one request a second for the same address. */
const REQUEST_INTERVAL_MS = 1000;
const MAX_UNANSWERED = 3;
/** How often a watched neighbour that was given up is asked again. */
const RETRY_INTERVAL_MS = 5000;

/**
 * A watched neighbour is asked again this long after its last answer; another one when it is used
 * after that.
 */
const FRESH_MS = 30_000;
/**
 * A watched neighbour is also asked when it has owed an answer to something else this long: with
 * three requests it is given up four seconds and a tick after the first SYN or datagram that it
 * does not answer.
 */
const OWED_MS = 1000;
/** A neighbour that no packet was sent to for this long is removed. */
const FORGET_MS = 10 * 60_000;
/** Resolution of the time of last use. */
const USE_INTERVAL_MS = 1000;
/** How long packets wait for the first request for a neighbour. */
const WAIT_MS = 3000;

/** Unanswered requests to all stations: a second, and in a burst. */
const UNANSWERED_PER_SECOND = 100;
const UNANSWERED_AT_ONCE = 256;
/** Requests for watched neighbours between two ticks: a burst that device and link can take. */
const WATCHED_PER_TICK = 256;

/** Bits of a neighbour's FLAGS. */
const KNOWN = 1;
const WATCHED = 2;
/** Packets of a connection may go to the station that opened it. */
const UNCONFIRMED = 4;
/** It owes an answer, and is in the list of those that do. */
const OWES = 8;

/**
 * Another way by which packets leave to the neighbours, by their numbers. Times are ms modulo 2³².
 */
export interface OtherWay {
  /** The neighbour is there from now on; null: it is not known where. */
  moved(number: number, mac: Mac | null): void;
  /** The number may serve for another neighbour. */
  forgotten(number: number): void;
  /** When a packet was last sent that way. */
  usedMs(number: number): number;
  /** When a datagram was last sent that way that wants an answer; and when such an answer came. */
  askedMs(number: number): number;
  answeredMs(number: number): number;
}

export interface NeighborsOptions {
  readonly arena: Arena;
  /** The proxy's own MAC address. */
  readonly mac: Mac;
  readonly watched: readonly Address[];
  /** Most neighbours that are not watched. */
  readonly maxNeighbors: number;
  readonly openers: Openers;
  readonly nowMs: number;
  /** Sends a request for an address, to the station at `mac` or to all; false: no buffer space. */
  ask(address: Address, mac: Mac | null): boolean;
  /** A watched neighbour answers (again), or its MAC address has changed. */
  resolved(address: Address, mac: Mac, nowMs: number): void;
  /** Three requests to a watched neighbour in a row went unanswered. */
  unanswered(address: Address, nowMs: number): void;
  /** Packets that waited for a neighbour were dropped. */
  dropped(reason: number, count: number): void;
  /** Default none. */
  readonly otherWay?: OtherWay | null;
}

/** A neighbour, as data. */
export interface Neighbor {
  readonly address: Address;
  /** Null while it has not said where it is. */
  readonly mac: Mac | null;
  /** A backend or gateway, which is asked again and again. */
  readonly isWatched: boolean;
  /** It is watched and has not answered three requests in a row. */
  readonly isLost: boolean;
  /** Requests since it last said anything. */
  readonly unanswered: number;
  /** How long ago it said where it is; null with `mac`. */
  readonly confirmedMs: number | null;
}

export class Neighbors {
  readonly #options: NeighborsOptions;
  readonly #arena: Arena;
  readonly #hi: number;
  readonly #lo: number;
  readonly #table: NeighborTable;
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #times: Float64Array<ArrayBuffer>;
  readonly #held = new HeldPackets();
  readonly #tokens: TokenBucket;
  #watchedLeft = WATCHED_PER_TICK;
  readonly #queues: NeighborQueues;
  /** Which of WAITING and CLAIMED is next. */
  #turn = WAITING;
  // The others in the order of removal, and the watched ones that owe an answer, longest first.
  readonly #orders: LinkedLists;
  readonly #unresolved = new List();
  readonly #resolved = new List();
  readonly #owing = new List();
  readonly #otherWay: OtherWay | null;
  /** When each was last found to have been used by the other way. */
  readonly #usedMs: Int32Array<ArrayBuffer>;
  /** And to have answered there. */
  readonly #answeredMs: Int32Array<ArrayBuffer>;
  /** The next one that is looked at for that. */
  #cursor = 0;

  constructor(options: NeighborsOptions) {
    const { arena, mac, watched, maxNeighbors, nowMs } = options;
    const capacity = maxNeighbors + watched.length;
    this.#options = options;
    this.#otherWay = options.otherWay ?? null;
    this.#usedMs = new Int32Array(this.#otherWay === null ? 0 : capacity);
    this.#answeredMs = new Int32Array(this.#usedMs.length);
    this.#arena = arena;
    this.#hi = mac.hi;
    this.#lo = mac.lo;
    this.#table = new NeighborTable(capacity);
    this.#words = this.#table.words;
    this.#times = this.#table.times;
    this.#queues = new NeighborQueues(this.#table);
    this.#orders = new LinkedLists(capacity);
    this.#tokens = new TokenBucket(UNANSWERED_PER_SECOND, UNANSWERED_AT_ONCE, nowMs);
    for (const address of watched) this.#insertWatched(address);
  }

  /** Keeps an eye on one more from now on; if all places are taken by such, on none. */
  watch(address: Address, nowMs: number): void {
    const at = this.#table.find(address);
    if (at >= 0 && this.#table.has(at, WATCHED)) return;
    if (at >= 0) this.#remove(at);
    else if (this.#table.count === this.#table.capacity && !this.#removeOldest()) return;
    this.#insertWatched(address);
    this.#askWaiting(nowMs);
  }

  /** Forgets one that was watched. */
  unwatch(address: Address): void {
    const at = this.#table.find(address);
    if (at < 0 || !this.#table.has(at, WATCHED)) return;
    this.#lose(this.#held.take(numberOf(at)).length);
    this.#owesNothing(at);
    this.#queues.move(at, RESTING);
    this.#otherWay?.forgotten(numberOf(at));
    this.#table.remove(at);
  }

  #insertWatched(address: Address): void {
    const at = this.#table.insert(address);
    this.#words[at + FLAGS] = WATCHED;
    this.#table.setTime(at, REQUESTED, -Infinity);
    this.#queues.move(at, DUE);
  }

  /** Makes room; false: there are none but watched ones. */
  #removeOldest(): boolean {
    const { first } = this.#unresolved;
    const oldest = atOf(first >= 0 ? first : this.#resolved.first);
    if (oldest >= 0) this.#remove(oldest);
    return oldest >= 0;
  }

  get count(): number {
    return this.#table.count;
  }

  /** Numbers from here on have never been used. */
  get end(): number {
    return this.#table.end;
  }

  /** The most there can be; numbers are below that. */
  get capacity(): number {
    return this.#table.capacity;
  }

  /** Number of the neighbour of that address, if it is known where it is; else -1. */
  numberOf(address: Address): number {
    const at = this.#table.find(address);
    return at >= 0 && this.#table.has(at, KNOWN) ? numberOf(at) : -1;
  }

  /** What is known of the neighbour of that address; null: nothing. */
  find(address: Address, nowMs: number): Neighbor | null {
    const at = this.#table.find(address);
    return at < 0 ? null : this.look(numberOf(at), nowMs);
  }

  /** What is known of the neighbour of that number, below `end`; null: there is none. */
  look(number: number, nowMs: number): Neighbor | null {
    const at = atOf(number);
    if (!this.#table.isUsed(at)) return null;
    const words = this.#words;
    const isKnown = this.#table.has(at, KNOWN);
    return {
      address: words[at + ADDRESS]!,
      mac: isKnown ? { hi: words[at + MAC_HI]!, lo: words[at + MAC_LO]! } : null,
      isWatched: this.#table.has(at, WATCHED),
      isLost: words[at + QUEUE] === LOST,
      unanswered: words[at + UNANSWERED]!,
      confirmedMs: isKnown ? nowMs - this.#table.time(at, CONFIRMED) : null,
    };
  }

  /**
   * Sends the packet at `frame` to the neighbour: queues it with its Ethernet header, or holds a
   * copy of it and asks for the MAC address. `entry` is its connection's, or -1. Returns 0 or a
   * reason.
   */
  send(frame: number, lengthBytes: number, address: Address, nowMs: number, entry: number): number {
    const at = this.#table.find(address);
    const words = this.#words;
    if (at < 0 || (words[at + FLAGS]! & KNOWN) === 0) {
      return this.#sendUnknown(at, frame, lengthBytes, address, nowMs, entry);
    }
    if (nowMs - this.#times[(at >> 1) + USED]! > USE_INTERVAL_MS) this.#use(at, nowMs);
    const { view } = this.#arena;
    ethernet.setAddresses(
      view,
      frame,
      words[at + MAC_HI]!,
      words[at + MAC_LO]!,
      this.#hi,
      this.#lo,
    );
    return this.#arena.send(frame, lengthBytes) ? 0 : Reason["no-buffer"];
  }

  /**
   * As `send`, but waits for nobody: false if the packet can't leave now. A client that nobody has
   * asked for yet is where it opened its connection from.
   */
  sendNow(frame: number, lengthBytes: number, address: Address, entry: number): boolean {
    const { openers } = this.#options;
    const at = this.#table.find(address);
    const words = this.#words;
    const { view } = this.#arena;
    if (at >= 0 && this.#table.has(at, KNOWN)) {
      const hi = words[at + MAC_HI]!;
      ethernet.setAddresses(view, frame, hi, words[at + MAC_LO]!, this.#hi, this.#lo);
    } else if (!(at >= 0 && this.#table.has(at, WATCHED)) && openers.has(entry)) {
      ethernet.setAddresses(view, frame, openers.hi(entry), openers.lo(entry), this.#hi, this.#lo);
    } else {
      return false;
    }
    return this.#arena.send(frame, lengthBytes);
  }

  /**
   * A packet was sent to a watched neighbour that it will answer, or pass on to a host that will.
   */
  expectAnswer(address: Address, nowMs: number): void {
    const at = this.#table.find(address);
    if (at < 0 || this.#words[at + QUEUE] !== FRESH || this.#table.has(at, OWES)) return;
    this.#words[at + FLAGS]! |= OWES;
    this.#table.setTime(at, SINCE, nowMs);
    this.#orders.append(this.#owing, numberOf(at));
  }

  /** A packet came from the neighbour that counts as such an answer. */
  answered(address: Address): void {
    const at = this.#table.find(address);
    if (at >= 0) this.#owesNothing(at);
  }

  /** The neighbour's MAC address became known; `remember`: even if it is not in the table yet. */
  learn(address: Address, mac: Mac, nowMs: number, remember: boolean): void {
    let at = this.#table.find(address);
    if (at < 0 && !remember) return;
    if (at < 0) at = this.#add(address, nowMs);
    const words = this.#words;
    const wasKnown = this.#table.has(at, KNOWN);
    const isWatched = this.#table.has(at, WATCHED);
    const changed = !wasKnown || words[at + MAC_HI] !== mac.hi || words[at + MAC_LO] !== mac.lo;
    if (!wasKnown && !isWatched) {
      this.#tokens.putBack(words[at + UNANSWERED]!);
      this.#orders.remove(this.#unresolved, numberOf(at));
      this.#orders.append(this.#resolved, numberOf(at));
    }
    words[at + MAC_HI] = mac.hi;
    words[at + MAC_LO] = mac.lo;
    this.#owesNothing(at);
    words[at + FLAGS] = (words[at + FLAGS]! | KNOWN) & ~UNCONFIRMED;
    words[at + UNANSWERED] = 0;
    this.#table.setTime(at, CONFIRMED, nowMs);
    this.#queues.move(at, isWatched ? FRESH : RESTING);
    if (changed) this.#otherWay?.moved(numberOf(at), mac);
    if (changed && isWatched) this.#options.resolved(address, mac, nowMs);
    this.#release(at);
    this.#askWaiting(nowMs);
  }

  /**
   * Tells of every neighbour whose MAC address is known, of the others than watched ones the unused
   * first.
   */
  forEachKnown(tell: (address: Address, mac: Mac, confirmedMs: number) => void): void {
    const words = this.#words;
    const known = (at: number) => {
      const mac = { hi: words[at + MAC_HI]!, lo: words[at + MAC_LO]! };
      tell(words[at + ADDRESS]!, mac, this.#table.time(at, CONFIRMED));
    };
    for (let number = 0; number < this.#table.end; number++) {
      const at = atOf(number);
      const isUsed = this.#table.isUsed(at);
      if (isUsed && this.#table.has(at, WATCHED) && this.#table.has(at, KNOWN)) known(at);
    }
    for (let at = atOf(this.#resolved.first); at >= 0;) {
      known(at);
      at = atOf(this.#orders.newer(numberOf(at)));
    }
  }

  /**
   * Takes a neighbour of an earlier run, which has said where it is at `confirmedMs`: packets go
   * there; a watched one is asked at the next tick, another one as always. False if it is known
   * already, or there is no room.
   */
  resume(address: Address, mac: Mac, confirmedMs: number, nowMs: number): boolean {
    const words = this.#words;
    const found = this.#table.find(address);
    if (found < 0 && this.#table.count === this.#table.capacity) return false;
    const at = found >= 0 ? found : this.#add(address, nowMs);
    if (this.#table.has(at, KNOWN)) return false;
    words[at + FLAGS]! |= KNOWN;
    words[at + MAC_HI] = mac.hi;
    words[at + MAC_LO] = mac.lo;
    this.#table.setTime(at, CONFIRMED, confirmedMs);
    if (this.#table.has(at, WATCHED)) {
      this.#options.resolved(address, mac, nowMs);
      return true;
    }
    this.#orders.remove(this.#unresolved, numberOf(at));
    this.#orders.append(this.#resolved, numberOf(at));
    return true;
  }

  /** Drops the held packets: after the link was down they are too old. */
  dropHeld(): void {
    this.#lose(this.#held.clear());
  }

  /** To be called several times a second. */
  tick(nowMs: number): void {
    this.#watchedLeft = WATCHED_PER_TICK;
    let at: number;
    while ((at = this.#queues.due(ASKED, REQUESTED, REQUEST_INTERVAL_MS, nowMs)) >= 0) {
      this.#timeOut(at, nowMs);
    }
    while ((at = this.#queues.due(FRESH, CONFIRMED, FRESH_MS, nowMs)) >= 0) {
      if (!this.#request(at, nowMs)) break;
    }
    while ((at = this.#queues.due(LOST, REQUESTED, RETRY_INTERVAL_MS, nowMs)) >= 0) {
      if (!this.#request(at, nowMs)) break;
    }
    while ((at = atOf(this.#owing.first)) >= 0) {
      if (nowMs - this.#table.time(at, SINCE) < OWED_MS || !this.#request(at, nowMs)) break;
    }
    if (this.#otherWay !== null) this.#noteUses(this.#otherWay, nowMs);
    this.#askWaiting(nowMs);
    while ((at = this.#queues.due(WAITING, SINCE, WAIT_MS, nowMs)) >= 0) this.#remove(at);
    while ((at = atOf(this.#resolved.first)) >= 0) {
      if (nowMs - this.#table.time(at, USED) <= FORGET_MS) break;
      this.#remove(at);
    }
  }

  /** Sends or holds a packet for a neighbour whose MAC address is not known. */
  #sendUnknown(
    found: number,
    frame: number,
    lengthBytes: number,
    address: Address,
    nowMs: number,
    entry: number,
  ): number {
    const { openers } = this.#options;
    const at = found >= 0 ? found : this.#add(address, nowMs);
    if (this.#words[at + QUEUE] === LOST) return Reason["arp-unanswered"];
    if (!this.#table.has(at, WATCHED) && openers.spend(entry)) {
      this.#words[at + FLAGS]! |= UNCONFIRMED;
      if (this.#words[at + QUEUE] === WAITING) this.#queues.move(at, CLAIMED);
    }
    if (found < 0) this.#want(at, nowMs);
    if (!this.#table.has(at, UNCONFIRMED) || !openers.has(entry)) {
      return this.#held.hold(numberOf(at), this.#arena, frame, lengthBytes);
    }
    const { view } = this.#arena;
    ethernet.setAddresses(view, frame, openers.hi(entry), openers.lo(entry), this.#hi, this.#lo);
    return this.#arena.send(frame, lengthBytes) ? 0 : Reason["no-buffer"];
  }

  /** Notes what was sent by the other way: looks at a tenth of all, so at each once a second. */
  #noteUses(way: OtherWay, nowMs: number): void {
    const { end } = this.#table;
    for (let left = Math.ceil(end / 10); left > 0; left--) {
      if (this.#cursor >= end) this.#cursor = 0;
      const number = this.#cursor++;
      const at = atOf(number);
      if (!this.#table.isUsed(at) || !this.#table.has(at, KNOWN)) continue;
      const usedMs = way.usedMs(number);
      if (usedMs !== this.#usedMs[number]) this.#use(at, nowMs);
      this.#usedMs[number] = usedMs;
      if (!this.#table.has(at, WATCHED)) continue;
      const answeredMs = way.answeredMs(number);
      if (answeredMs !== this.#answeredMs[number]) this.#owesNothing(at);
      this.#answeredMs[number] = answeredMs;
      const isOwed = ((way.askedMs(number) - answeredMs) | 0) > 0;
      if (isOwed) this.expectAnswer(this.#words[at + ADDRESS]!, nowMs);
    }
  }

  /** Notes the first use in a second of a neighbour whose MAC address is known. */
  #use(at: number, nowMs: number): void {
    this.#table.setTime(at, USED, nowMs);
    if (this.#table.has(at, WATCHED)) return;
    this.#orders.remove(this.#resolved, numberOf(at));
    this.#orders.append(this.#resolved, numberOf(at));
    const isOld = nowMs - this.#table.time(at, CONFIRMED) > FRESH_MS;
    if (isOld && this.#words[at + QUEUE] === RESTING) this.#request(at, nowMs);
  }

  #add(address: Address, nowMs: number): number {
    if (this.#table.count === this.#table.capacity) this.#removeOldest();
    const at = this.#table.insert(address);
    this.#table.setTime(at, REQUESTED, -Infinity);
    this.#table.setTime(at, USED, nowMs);
    this.#orders.append(this.#unresolved, numberOf(at));
    return at;
  }

  #remove(at: number): void {
    const number = numberOf(at);
    this.#lose(this.#held.take(number).length);
    this.#queues.move(at, RESTING);
    this.#orders.remove(this.#table.has(at, KNOWN) ? this.#resolved : this.#unresolved, number);
    this.#otherWay?.forgotten(number);
    this.#table.remove(at);
  }

  /** Asks for the neighbour, now or as soon as the limits allow. */
  #want(at: number, nowMs: number): void {
    if (this.#request(at, nowMs)) return;
    this.#table.setTime(at, SINCE, nowMs);
    const hasMac = this.#table.has(at, KNOWN | UNCONFIRMED);
    this.#queues.move(at, this.#table.has(at, WATCHED) ? DUE : hasMac ? CLAIMED : WAITING);
  }

  /** Asks again, or gives the neighbour up after three requests. */
  #timeOut(at: number, nowMs: number): void {
    const unanswered = this.#words[at + UNANSWERED]!;
    if (unanswered < MAX_UNANSWERED) return this.#want(at, nowMs);
    if (!this.#table.has(at, WATCHED)) return this.#remove(at);
    this.#words[at + FLAGS]! &= ~KNOWN;
    this.#otherWay?.moved(numberOf(at), null);
    this.#lose(this.#held.take(numberOf(at)).length);
    this.#queues.move(at, LOST);
    if (unanswered > MAX_UNANSWERED) return;
    this.#options.unanswered(this.#words[at + ADDRESS]!, nowMs);
  }

  /** Asks for those that wait to be asked, as far as the limits allow. */
  #askWaiting(nowMs: number): void {
    for (let at; (at = this.#queues.first(DUE)) >= 0;) {
      if (!this.#request(at, nowMs)) break;
    }
    for (;;) {
      this.#turn = WAITING + CLAIMED - this.#turn;
      const mine = this.#queues.first(this.#turn);
      const next = mine >= 0 ? mine : this.#queues.first(WAITING + CLAIMED - this.#turn);
      if (next < 0 || !this.#request(next, nowMs)) return;
    }
  }

  /**
   * Sends a request: to the neighbour itself while its MAC address is known, else to all. False if
   * the limits do not allow it or there is no buffer space; then it does not count.
   */
  #request(at: number, nowMs: number): boolean {
    const words = this.#words;
    const isWatched = this.#table.has(at, WATCHED);
    const isKnown = this.#table.has(at, KNOWN);
    if (isWatched ? this.#watchedLeft === 0 : !isKnown && !this.#tokens.take(nowMs)) return false;
    const mac = isKnown ? { hi: words[at + MAC_HI]!, lo: words[at + MAC_LO]! } : null;
    if (!this.#options.ask(words[at + ADDRESS]!, mac)) {
      if (!isWatched && !isKnown) this.#tokens.putBack(1);
      return false;
    }
    if (isWatched) this.#watchedLeft--;
    this.#owesNothing(at);
    this.#table.setTime(at, REQUESTED, nowMs);
    words[at + UNANSWERED]!++;
    this.#queues.move(at, ASKED);
    return true;
  }

  /** Sends the packets held for the neighbour. */
  #release(at: number): void {
    const words = this.#words;
    for (const record of this.#held.take(numberOf(at))) {
      const frame = this.#arena.sendCopy(record);
      if (frame < 0) {
        this.#options.dropped(Reason["no-buffer"], 1);
        continue;
      }
      const { view } = this.#arena;
      const [hi, lo] = [words[at + MAC_HI]!, words[at + MAC_LO]!];
      ethernet.setAddresses(view, frame, hi, lo, this.#hi, this.#lo);
    }
  }

  #lose(packets: number): void {
    if (packets > 0) this.#options.dropped(Reason["arp-unanswered"], packets);
  }

  #owesNothing(at: number): void {
    if (!this.#table.has(at, OWES)) return;
    this.#words[at + FLAGS]! &= ~OWES;
    this.#orders.remove(this.#owing, numberOf(at));
  }
}
