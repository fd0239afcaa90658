/**
 * The neighbour cache of a link: MAC addresses, when to ask for which, and the packets that wait
 * for an answer. It knows no protocol: `ask` in its options sends a request, `learn` takes an
 * answer. There is one for ARP (`arp.ts`), and one for Neighbor Discovery (`discovery.ts`).
 *
 * Over IPv4 a neighbour's key is its address. Over IPv6 it is the digest of its address, and the
 * four words of the address are told besides: in `whole`, from `from` on.
 *
 * Each is in the queue of its state (`neighbor_queues.ts`), so that `tick` looks only at those
 * whose timer has expired. One that does not answer is asked three times, a second apart.
 *
 * *Watched* neighbours (backends, gateways) are always kept. When there are too many others, the
 * oldest unresolved one is removed, then the oldest that has spoken over IPv6 and was never sent
 * anything, then the least recently used one. An unknown one that a packet
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
import type { Mac } from "../wire/address.ts";
import * as ethernet from "../wire/ethernet.ts";
import { addressOfWords, type HostAddress } from "../wire/host_address.ts";
import { type HeldPacket, HeldPackets } from "./held_packets.ts";
import {
  atOf,
  CONFIRMED,
  FLAGS,
  KEY,
  MAC_HI,
  MAC_LO,
  NeighborTable,
  NO_WORDS,
  numberOf,
  QUEUE,
  REQUESTED,
  SERIAL,
  SINCE,
  UNANSWERED,
  USED,
  wholeAt,
} from "./neighbor_table.ts";
import {
  ASKED,
  CLAIMED,
  DELAYED,
  DUE,
  FRESH,
  LOST,
  NeighborQueues,
  RESTING,
  WAITING,
} from "./neighbor_queues.ts";
import type { Openers } from "./openers.ts";

/** At most one request a second for the same address: RFC 1122 §2.3.2.1, RFC 4861 §7.3.3. */
const REQUEST_INTERVAL_MS = 1000;
const MAX_UNANSWERED = 3;
/** How often a watched neighbour that was given up is asked again. */
const RETRY_INTERVAL_MS = 5000;

/**
 * A watched neighbour is asked again this long after its last answer; another one when it is used
 * after that.
 */
const FRESH_MS = 30_000;
/** Answers of so long ago never count. */
const OUT_OF_DATE_MS = 2 * FRESH_MS;
/** How long one of IPv6 is used while this is out of date before it is asked (RFC 4861 §10). */
const DELAY_MS = 5000;
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
/** Not watched; known by what it has said over IPv6, and never used. */
const HEARD = 16;

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
  /** Default false. */
  readonly isIpv6?: boolean;
  /** Keys; of IPv6, `watch` tells whole addresses later. */
  readonly watched: readonly number[];
  /** Most neighbours that are not watched. */
  readonly maxNeighbors: number;
  readonly openers: Openers;
  readonly nowMs: number;
  /**
   * Sends a request for an address, to the station at `mac` or to all; false: it can't be sent now,
   * as there is no buffer space.
   */
  ask(key: number, mac: Mac | null, whole: Int32Array, from: number): boolean;
  /** A watched neighbour answers (again), or its MAC address has changed. */
  resolved(key: number, mac: Mac, nowMs: number, whole: Int32Array, from: number): void;
  /** Three requests to a watched neighbour in a row went unanswered. */
  unanswered(key: number, nowMs: number, whole: Int32Array, from: number): void;
  /** Packets that waited for a neighbour were dropped. */
  dropped(reason: number, count: number): void;
  /** These of them, as three requests went unanswered. Default: nobody wants to know. */
  undelivered?(packets: readonly HeldPacket[]): void;
  /** Default none. */
  readonly otherWay?: OtherWay | null;
}

/** A neighbour, as data. */
export interface Neighbor {
  readonly address: HostAddress;
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
  readonly #held = new HeldPackets((reason) => this.#options.dropped(reason, 1));
  readonly #tokens: TokenBucket;
  #watchedLeft = WATCHED_PER_TICK;
  readonly #queues: NeighborQueues;
  /** Which of WAITING and CLAIMED is next. */
  #turn = WAITING;
  // The others in the order of removal, and the watched ones that owe an answer, longest first.
  readonly #orders: LinkedLists;
  readonly #unresolved = new List();
  readonly #heard = new List();
  readonly #resolved = new List();
  readonly #owing = new List();
  readonly #otherWay: OtherWay | null;
  /** When each was last found to have been used by the other way. */
  readonly #usedMs: Int32Array<ArrayBuffer>;
  /** And to have answered there. */
  readonly #answeredMs: Int32Array<ArrayBuffer>;
  /** The next one that is looked at for that. */
  #cursor = 0;
  /** How long an answer counts (ReachableTime in RFC 4861 §6.3.2). */
  freshMs: number = FRESH_MS;

  constructor(options: NeighborsOptions) {
    const { arena, mac, isIpv6 = false, watched, maxNeighbors, nowMs } = options;
    const capacity = maxNeighbors + watched.length;
    this.#options = options;
    this.#otherWay = options.otherWay ?? null;
    this.#usedMs = new Int32Array(this.#otherWay === null ? 0 : capacity);
    this.#answeredMs = new Int32Array(this.#usedMs.length);
    this.#arena = arena;
    this.#hi = mac.hi;
    this.#lo = mac.lo;
    this.#table = new NeighborTable(capacity, isIpv6);
    this.#words = this.#table.words;
    this.#times = this.#table.times;
    this.#queues = new NeighborQueues(this.#table);
    this.#orders = new LinkedLists(capacity);
    this.#tokens = new TokenBucket(UNANSWERED_PER_SECOND, UNANSWERED_AT_ONCE, nowMs);
    for (const key of watched) this.#insertWatched(key, NO_WORDS, 0);
  }

  /** Keeps an eye on one more from now on; if all places are taken by such, on none. */
  watch(key: number, nowMs: number, whole: Int32Array = NO_WORDS, from: number = 0): void {
    const at = this.#table.find(key, whole, from);
    if (at >= 0 && this.#table.has(at, WATCHED)) return;
    if (at >= 0) this.#remove(at);
    else if (this.#table.count === this.#table.capacity && !this.#removeOldest()) return;
    this.#insertWatched(key, whole, from);
    this.#askWaiting(nowMs);
  }

  /** Forgets one that was watched. */
  unwatch(key: number, whole: Int32Array = NO_WORDS, from: number = 0): void {
    const at = this.#table.find(key, whole, from);
    if (at < 0 || !this.#table.has(at, WATCHED)) return;
    this.#lose(this.#held.take(numberOf(at)).length);
    this.#owesNothing(at);
    this.#queues.move(at, RESTING);
    this.#otherWay?.forgotten(numberOf(at));
    this.#table.remove(at);
  }

  #insertWatched(key: number, whole: Int32Array, from: number): void {
    const at = this.#table.insert(key, whole, from);
    this.#words[at + FLAGS] = WATCHED;
    this.#table.setTime(at, REQUESTED, -Infinity);
    this.#queues.move(at, DUE);
  }

  /** Makes room; false: there are none but watched ones. */
  #removeOldest(): boolean {
    for (const { first } of [this.#unresolved, this.#heard, this.#resolved]) {
      if (first < 0) continue;
      this.#remove(atOf(first));
      return true;
    }
    return false;
  }

  /** The list in which it is, one that is not watched. */
  #listOf(at: number): List {
    if (this.#table.has(at, HEARD)) return this.#heard;
    return this.#table.has(at, KNOWN) ? this.#resolved : this.#unresolved;
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
  numberOf(key: number, whole: Int32Array = NO_WORDS, from: number = 0): number {
    const at = this.#table.find(key, whole, from);
    return at >= 0 && this.#table.has(at, KNOWN) ? numberOf(at) : -1;
  }

  /** What tells the neighbour of that number from others that have it before or after. */
  serialOf(number: number): number {
    return this.#words[atOf(number) + SERIAL]!;
  }

  /** True if the neighbour with that number and serial is still there, and it is known where. */
  isStill(number: number, serial: number): boolean {
    const at = atOf(number);
    const words = this.#words;
    return words[at + SERIAL] === serial && (words[at + FLAGS]! & KNOWN) !== 0;
  }

  /** What was sent to this neighbour by its number may go elsewhere from now on. */
  endWays(key: number, whole: Int32Array = NO_WORDS, from: number = 0): void {
    const at = this.#table.find(key, whole, from);
    if (at < 0) return;
    this.#table.renew(at);
    if (!this.#table.has(at, KNOWN)) return;
    this.#otherWay?.forgotten(numberOf(at));
    this.#otherWay?.moved(numberOf(at), this.#macOf(at));
  }

  /** What is known of the neighbour of that address; null: nothing. */
  find(
    key: number,
    nowMs: number,
    whole: Int32Array = NO_WORDS,
    from: number = 0,
  ): Neighbor | null {
    const at = this.#table.find(key, whole, from);
    return at < 0 ? null : this.look(numberOf(at), nowMs);
  }

  /** What is known of the neighbour of that number, below `end`; null: there is none. */
  look(number: number, nowMs: number): Neighbor | null {
    const at = atOf(number);
    if (!this.#table.isUsed(at)) return null;
    const words = this.#words;
    const { addresses } = this.#table;
    const isKnown = this.#table.has(at, KNOWN);
    return {
      address: addresses === null ? words[at + KEY]! : addressOfWords(addresses, wholeAt(at)),
      mac: isKnown ? this.#macOf(at) : null,
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
  send(
    frame: number,
    lengthBytes: number,
    key: number,
    nowMs: number,
    entry: number,
    whole: Int32Array = NO_WORDS,
    from: number = 0,
  ): number {
    const at = this.#table.find(key, whole, from);
    const words = this.#words;
    if (at < 0 || (words[at + FLAGS]! & KNOWN) === 0) {
      const added = at >= 0 ? at : this.#add(key, nowMs, whole, from);
      return this.#sendUnknown(added, at < 0, frame, lengthBytes, nowMs, entry);
    }
    return this.#sendKnown(at, frame, lengthBytes, nowMs);
  }

  /** As `send`, to the neighbour of that number, of which it is known where it is. */
  sendTo(number: number, frame: number, lengthBytes: number, nowMs: number): number {
    return this.#sendKnown(atOf(number), frame, lengthBytes, nowMs);
  }

  #sendKnown(at: number, frame: number, lengthBytes: number, nowMs: number): number {
    const words = this.#words;
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
  sendNow(
    frame: number,
    lengthBytes: number,
    key: number,
    entry: number,
    whole: Int32Array = NO_WORDS,
    from: number = 0,
  ): boolean {
    const { openers } = this.#options;
    const at = this.#table.find(key, whole, from);
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
  expectAnswer(key: number, nowMs: number, whole: Int32Array = NO_WORDS, from: number = 0): void {
    const at = this.#table.find(key, whole, from);
    if (at >= 0) this.#owes(at, nowMs);
  }

  #owes(at: number, nowMs: number): void {
    if (this.#words[at + QUEUE] !== FRESH || this.#table.has(at, OWES)) return;
    this.#words[at + FLAGS]! |= OWES;
    this.#table.setTime(at, SINCE, nowMs);
    this.#orders.append(this.#owing, numberOf(at));
  }

  /** A packet came from the neighbour that counts as such an answer. */
  answered(key: number, whole: Int32Array = NO_WORDS, from: number = 0): void {
    const at = this.#table.find(key, whole, from);
    if (at >= 0) this.#owesNothing(at);
  }

  /**
   * The neighbour has answered, or said without being asked where it is, which counts as much in
   * ARP; `remember`: even if it is not in the table yet.
   */
  learn(address: number, mac: Mac, nowMs: number, remember: boolean): void {
    let at = this.#table.find(address);
    if (at < 0 && !remember) return;
    if (at < 0) at = this.#add(address, nowMs, NO_WORDS, 0);
    this.#confirm(at, mac, nowMs);
  }

  /**
   * The neighbour says in a message of its own where it is, which does not show that it is reached
   * there: if that is new, it is out of date at once (RFC 4861 §7.2.3, §7.3.3). `remember`: see
   * `learn`.
   */
  hear(
    key: number,
    mac: Mac,
    nowMs: number,
    remember: boolean,
    whole: Int32Array,
    from: number,
  ): void {
    let at = this.#table.find(key, whole, from);
    if (at < 0 && !remember) return;
    if (at < 0) {
      at = this.#add(key, nowMs, whole, from);
      this.#orders.remove(this.#unresolved, numberOf(at));
      this.#orders.append(this.#heard, numberOf(at));
      this.#words[at + FLAGS]! |= HEARD;
    }
    if (!this.#isAt(at, mac)) this.#moved(at, mac, nowMs);
  }

  /**
   * An advertisement about the neighbour, with a MAC address or without (RFC 4861 §7.2.5).
   */
  advertised(
    key: number,
    mac: Mac | null,
    { isSolicited, isOverride }: { readonly isSolicited: boolean; readonly isOverride: boolean },
    nowMs: number,
    whole: Int32Array,
    from: number,
  ): void {
    const at = this.#table.find(key, whole, from);
    if (at < 0) return;
    const isKnown = this.#table.has(at, KNOWN);
    const told = mac ?? (isKnown ? this.#macOf(at) : null);
    if (told === null) return;
    const isNew = !this.#isAt(at, told);
    if (isKnown && isNew && !isOverride) this.#doubt(at, nowMs);
    else if (isSolicited) this.#confirm(at, told, nowMs);
    else if (isNew) this.#moved(at, told, nowMs);
  }

  #macOf(at: number): Mac {
    return { hi: this.#words[at + MAC_HI]!, lo: this.#words[at + MAC_LO]! };
  }

  /** True if the neighbour is known to be there. */
  #isAt(at: number, mac: Mac): boolean {
    const words = this.#words;
    return this.#table.has(at, KNOWN) && words[at + MAC_HI] === mac.hi &&
      words[at + MAC_LO] === mac.lo;
  }

  /** The neighbour is reached at that MAC address. */
  #confirm(at: number, mac: Mac, nowMs: number): void {
    const isWatched = this.#table.has(at, WATCHED);
    const changed = this.#locate(at, mac);
    this.#table.setTime(at, CONFIRMED, nowMs);
    this.#queues.move(at, isWatched ? FRESH : RESTING);
    if (changed && isWatched) this.#tellResolved(at, mac, nowMs);
    this.#release(at);
    this.#askWaiting(nowMs);
  }

  /** The neighbour is at that other MAC address, where nothing has reached it yet. */
  #moved(at: number, mac: Mac, nowMs: number): void {
    const isWatched = this.#table.has(at, WATCHED);
    this.#locate(at, mac);
    this.#queues.move(at, RESTING);
    this.#doubt(at, nowMs);
    if (isWatched) this.#tellResolved(at, mac, nowMs);
    if (this.#release(at) > 0) this.#use(at, nowMs);
    this.#askWaiting(nowMs);
  }

  /**
   * It is not sure any more that the neighbour is reached where it is; of one that is being asked
   * it wasn't before. The next packet to it counts as its first use.
   */
  #doubt(at: number, nowMs: number): void {
    const queue = this.#words[at + QUEUE]!;
    if (queue !== RESTING && queue !== FRESH) return;
    this.#table.setTime(at, CONFIRMED, nowMs - OUT_OF_DATE_MS);
    if (!this.#table.has(at, WATCHED)) {
      this.#table.setTime(at, USED, nowMs - USE_INTERVAL_MS - 1);
    } else {
      const isAskedJustNow = nowMs - this.#table.time(at, REQUESTED) < REQUEST_INTERVAL_MS;
      this.#queues.move(at, isAskedJustNow ? ASKED : DUE);
    }
  }

  /** Notes where the neighbour is, and that it has said so; true if that is new. */
  #locate(at: number, mac: Mac): boolean {
    const words = this.#words;
    const changed = !this.#isAt(at, mac);
    if (!this.#table.has(at, KNOWN | WATCHED | HEARD)) {
      this.#tokens.putBack(words[at + UNANSWERED]!);
      this.#orders.remove(this.#unresolved, numberOf(at));
      this.#orders.append(this.#resolved, numberOf(at));
    }
    words[at + MAC_HI] = mac.hi;
    words[at + MAC_LO] = mac.lo;
    this.#owesNothing(at);
    words[at + FLAGS] = (words[at + FLAGS]! | KNOWN) & ~UNCONFIRMED;
    words[at + UNANSWERED] = 0;
    if (changed) this.#otherWay?.moved(numberOf(at), mac);
    return changed;
  }

  #tellResolved(at: number, mac: Mac, nowMs: number): void {
    const { addresses } = this.#table;
    const key = this.#words[at + KEY]!;
    this.#options.resolved(key, mac, nowMs, addresses ?? NO_WORDS, wholeAt(at));
  }

  /**
   * Tells of every neighbour whose MAC address is known, and that is watched or was sent something;
   * of those that are not watched the least recently used first.
   */
  forEachKnown(
    tell: (key: number, mac: Mac, confirmedMs: number, whole: Int32Array, from: number) => void,
  ): void {
    const whole = this.#table.addresses ?? NO_WORDS;
    const known = (at: number) => {
      const key = this.#words[at + KEY]!;
      tell(key, this.#macOf(at), this.#table.time(at, CONFIRMED), whole, wholeAt(at));
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
  resume(
    key: number,
    mac: Mac,
    confirmedMs: number,
    nowMs: number,
    whole: Int32Array = NO_WORDS,
    from: number = 0,
  ): boolean {
    const words = this.#words;
    const found = this.#table.find(key, whole, from);
    if (found < 0 && this.#table.count === this.#table.capacity) return false;
    const at = found >= 0 ? found : this.#add(key, nowMs, whole, from);
    if (this.#table.has(at, KNOWN)) return false;
    words[at + FLAGS]! |= KNOWN;
    words[at + MAC_HI] = mac.hi;
    words[at + MAC_LO] = mac.lo;
    this.#table.setTime(at, CONFIRMED, confirmedMs);
    if (this.#table.has(at, WATCHED)) {
      this.#tellResolved(at, mac, nowMs);
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
    while ((at = this.#queues.due(FRESH, CONFIRMED, this.freshMs, nowMs)) >= 0) {
      if (!this.#request(at, nowMs)) break;
    }
    while ((at = this.#queues.due(DELAYED, SINCE, DELAY_MS, nowMs)) >= 0) {
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
    for (const list of [this.#heard, this.#resolved]) {
      while ((at = atOf(list.first)) >= 0) {
        if (nowMs - this.#table.time(at, USED) <= FORGET_MS) break;
        this.#remove(at);
      }
    }
  }

  /**
   * Sends or holds a packet for a neighbour whose MAC address is not known, and who is perhaps in
   * the table only since now.
   */
  #sendUnknown(
    at: number,
    isAdded: boolean,
    frame: number,
    lengthBytes: number,
    nowMs: number,
    entry: number,
  ): number {
    const { openers } = this.#options;
    if (this.#words[at + QUEUE] === LOST) return Reason["arp-unanswered"];
    if (!this.#table.has(at, WATCHED) && openers.spend(entry)) {
      this.#words[at + FLAGS]! |= UNCONFIRMED;
      if (this.#words[at + QUEUE] === WAITING) this.#queues.move(at, CLAIMED);
    }
    if (isAdded) this.#want(at, nowMs);
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
      if (isOwed) this.#owes(at, nowMs);
    }
  }

  /** Notes the first use in a second of a neighbour whose MAC address is known. */
  #use(at: number, nowMs: number): void {
    this.#table.setTime(at, USED, nowMs);
    if (this.#table.has(at, WATCHED)) return;
    this.#orders.remove(this.#listOf(at), numberOf(at));
    this.#words[at + FLAGS]! &= ~HEARD;
    this.#orders.append(this.#resolved, numberOf(at));
    const isOld = nowMs - this.#table.time(at, CONFIRMED) > this.freshMs;
    if (!isOld || this.#words[at + QUEUE] !== RESTING) return;
    if (this.#table.addresses === null) {
      this.#request(at, nowMs);
    } else {
      this.#table.setTime(at, SINCE, nowMs);
      this.#queues.move(at, DELAYED);
    }
  }

  #add(key: number, nowMs: number, whole: Int32Array, from: number): number {
    if (this.#table.count === this.#table.capacity) this.#removeOldest();
    const at = this.#table.insert(key, whole, from);
    this.#table.setTime(at, REQUESTED, -Infinity);
    this.#table.setTime(at, USED, nowMs);
    this.#orders.append(this.#unresolved, numberOf(at));
    return at;
  }

  #remove(at: number): void {
    const number = numberOf(at);
    this.#lose(this.#held.take(number).length);
    this.#queues.move(at, RESTING);
    this.#orders.remove(this.#listOf(at), number);
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
    const undelivered = this.#held.take(numberOf(at));
    this.#lose(undelivered.length);
    if (this.#table.has(at, WATCHED)) this.#giveUp(at, nowMs);
    else this.#remove(at);
    if (undelivered.length > 0) this.#options.undelivered?.(undelivered);
  }

  #giveUp(at: number, nowMs: number): void {
    this.#words[at + FLAGS]! &= ~KNOWN;
    this.#otherWay?.moved(numberOf(at), null);
    this.#queues.move(at, LOST);
    if (this.#words[at + UNANSWERED]! > MAX_UNANSWERED) return;
    const { addresses } = this.#table;
    const key = this.#words[at + KEY]!;
    this.#options.unanswered(key, nowMs, addresses ?? NO_WORDS, wholeAt(at));
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
    const mac = isKnown ? this.#macOf(at) : null;
    const whole = this.#table.addresses ?? NO_WORDS;
    if (!this.#options.ask(words[at + KEY]!, mac, whole, wholeAt(at))) {
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

  /** Sends the packets held for the neighbour; returns their number. */
  #release(at: number): number {
    const words = this.#words;
    const held = this.#held.take(numberOf(at));
    for (const record of held) {
      const frame = this.#arena.sendCopy(record);
      if (frame < 0) {
        this.#options.dropped(Reason["no-buffer"], 1);
        continue;
      }
      const { view } = this.#arena;
      const [hi, lo] = [words[at + MAC_HI]!, words[at + MAC_LO]!];
      ethernet.setAddresses(view, frame, hi, lo, this.#hi, this.#lo);
    }
    return held.length;
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
