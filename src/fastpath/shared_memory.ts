/**
 * The proxy's view of the memory that it shares with the fast path's program (`layout.ts`). What
 * the program must not see half written is written in this order: demote, change, promote.
 */
import { baseOf, ENTRY_WORDS, PORTS, TUPLE_WORDS } from "../flow/entry.ts";
import { HASH_WORDS } from "../flow/keyed_hash.ts";
import { SIDE_A, SIDE_B, SLOTS_PER_ENTRY, type TableMemory } from "../flow/table.ts";
import { WHOLE_WORDS } from "../flow/whole_addresses.ts";
import type { Mac } from "../wire/address.ts";
import { type AddressDigest, DIGEST_WORDS } from "../wire/address_digest.ts";
import * as at from "./layout.ts";

/** Where packets of one direction go, and what is done with them. */
export interface Way {
  /** Number of the next hop among all neighbours of both links. */
  readonly neighbor: number;
  /** Where they are counted. */
  readonly counter: number;
  readonly fromLink: 0 | 1;
  readonly toLink: 0 | 1;
  /** What the policy does with their TTL, as `Pdu.newTtl` has it. */
  readonly newTtl: number;
}

/** The interface of a link. */
export interface LinkSettings {
  readonly mac: Mac;
  readonly ifindex: number;
  readonly mtu: number;
  /** For packets of IPv6; default the same. */
  readonly mtu6?: number;
  /** Whether those that come in may be forwarded; default yes. */
  readonly takesIpv6?: boolean;
}

const LAST_EPOCH = 0xffff;
const LAST_ISSUE = 0x7ff;
const ISSUE_SHIFT = 48n;

export class SharedMemory {
  readonly layout: at.Layout;
  /** For the flow table. */
  readonly table: TableMemory;
  readonly #settings: Int32Array<ArrayBuffer>;
  readonly #filter: Uint8Array<ArrayBuffer>;
  /** By bucket, tuples of promoted connections: two for each connection. */
  readonly #tuples = new Int32Array(at.BUCKETS);
  readonly #ways: Int32Array<ArrayBuffer>;
  readonly #neighbors: Int32Array<ArrayBuffer>;
  /** The same, and the settings, in words of 64 bits. */
  readonly #neighborPairs: BigUint64Array<ArrayBuffer>;
  readonly #settingPairs: BigUint64Array<ArrayBuffer>;
  /** Halves of 64-bit words. */
  readonly #counters: Uint32Array<ArrayBuffer>;
  readonly #issues: Uint16Array<ArrayBuffer>;
  /** Empty without IPv6. */
  readonly #digest: Int32Array<ArrayBuffer>;
  #epoch = 1;
  #promotions = 0;

  /** `buffer` is `layout.bytes` long, and all 0. */
  constructor(layout: at.Layout, buffer: ArrayBuffer) {
    const words = (part: at.Part, count: number) => new Int32Array(buffer, layout.at[part], count);
    const pairs = (part: at.Part, count: number) => {
      return new BigUint64Array(buffer, layout.at[part], count);
    };
    const { connections, neighbors, counters, processors, isIpv6On = false } = layout;
    const settingWords = at.LINKS + at.MAX_LINKS * at.LINK_WORDS;
    this.layout = layout;
    this.table = {
      entries: words("entries", ENTRY_WORDS * connections),
      index: words("index", SLOTS_PER_ENTRY * connections),
      hash: words("hash", HASH_WORDS),
      whole: isIpv6On ? words("addresses", WHOLE_WORDS * connections) : null,
    };
    this.#settings = words("settings", settingWords);
    this.#filter = new Uint8Array(buffer, layout.at.filter, at.BUCKETS / 8);
    this.#settingPairs = pairs("settings", settingWords / 2);
    this.#ways = words("ways", at.WAY_WORDS * connections);
    this.#neighbors = words("neighbors", at.NEIGHBOR_WORDS * neighbors);
    this.#neighborPairs = pairs("neighbors", at.NEIGHBOR_WORDS * neighbors / 2);
    this.#issues = new Uint16Array(neighbors).fill(1);
    this.#counters = new Uint32Array(
      buffer,
      layout.at.counters,
      at.COUNTER_BYTES / 4 * counters * processors,
    );
    this.#digest = words("digest", isIpv6On ? DIGEST_WORDS : 0);
    Atomics.store(this.#settings, at.EPOCH, this.#epoch);
  }

  /** Sets how addresses of IPv6 become keys, before the first of their connections is promoted. */
  setDigest(digest: AddressDigest): void {
    digest.copyTables(this.#digest);
  }

  /** Sets a link; null: it is down, and nothing is sent there. */
  setLink(link: number, settings: LinkSettings | null): void {
    const base = at.LINKS + link * at.LINK_WORDS;
    Atomics.store(this.#settings, base + at.LINK_IFINDEX, 0);
    if (settings === null) return;
    const { mac, ifindex, mtu, mtu6 = mtu, takesIpv6 = true } = settings;
    Atomics.store(this.#settingPairs, (base + at.LINK_MAC) / 2, packed(mac));
    Atomics.store(this.#settings, base + at.LINK_MTU, mtu);
    Atomics.store(this.#settings, base + at.LINK_MTU6, mtu6);
    Atomics.store(this.#settings, base + at.LINK_TAKES6, takesIpv6 ? 1 : 0);
    Atomics.store(this.#settings, base + at.LINK_IFINDEX, ifindex);
  }

  /** Sets where a neighbour is; null: nobody knows. */
  setNeighbor(number: number, mac: Mac | null): void {
    const pair = (at.NEIGHBOR_WORDS * number + at.MAC) / 2;
    const issue = BigInt(this.#issues[number]!);
    const value = mac === null ? 0n : packed(mac) | (issue << ISSUE_SHIFT);
    Atomics.store(this.#neighborPairs, pair, value);
  }

  /** The neighbour is forgotten; its number may serve for another one. */
  forgetNeighbor(number: number): void {
    this.setNeighbor(number, null);
    const issue = this.#issues[number]!;
    this.#issues[number] = issue === LAST_ISSUE ? 1 : issue + 1;
  }

  /** When a packet was last sent to the neighbour from here, ms modulo 2³²; 0: never. */
  usedMs(number: number): number {
    return this.#neighbors[at.NEIGHBOR_WORDS * number + at.USED]!;
  }

  /** Likewise a datagram to it that wants an answer. */
  askedMs(number: number): number {
    return this.#neighbors[at.NEIGHBOR_WORDS * number + at.ASKED]!;
  }

  /** When such an answer came from it. */
  answeredMs(number: number): number {
    return this.#neighbors[at.NEIGHBOR_WORDS * number + at.ANSWERED]!;
  }

  /**
   * From now on the connection's packets take these ways. False if there is no room for what they
   * need.
   */
  promote(entry: number, fromA: Way, fromB: Way): boolean {
    if (!this.#hasRoom(fromA) || !this.#hasRoom(fromB)) return false;
    this.demote(entry);
    this.#setWay(entry, SIDE_A, fromA);
    this.#setWay(entry, SIDE_B, fromB);
    this.#addTuples(entry, 1);
    this.#promotions = (this.#promotions + 1) & 0xffff;
    this.#setTicket(entry, this.#epoch, this.#promotions);
    return true;
  }

  #hasRoom({ neighbor, counter }: Way): boolean {
    const { neighbors, counters } = this.layout;
    return neighbor >= 0 && neighbor < neighbors && counter >= 0 && counter < counters;
  }

  #setTicket(entry: number, epoch: number, number: number): void {
    Atomics.store(this.#ways, at.WAY_WORDS * entry + at.TICKET, (epoch << 16) | number);
  }

  #setWay(entry: number, side: number, way: Way): void {
    const { neighbor, counter, fromLink, toLink, newTtl } = way;
    const base = at.WAY_WORDS * entry + at.DIRECTION + side * at.DIRECTION_WORDS;
    this.#ways[base + at.NEIGHBOR] = neighbor | (this.#issues[neighbor]! << at.NEIGHBOR_BITS);
    this.#ways[base + at.COUNTER] = counter;
    this.#ways[base + at.WAY] = newTtl | (fromLink === 1 ? at.FROM_LINK_1 : 0) |
      (toLink << at.TO_LINK_1_SHIFT) | (this.#bucketOf(entry, side) << at.BUCKET_SHIFT);
  }

  #bucketOf(entry: number, side: number): number {
    const ports = this.table.entries[baseOf(entry) + side * TUPLE_WORDS + PORTS]!;
    return (ports >>> 16) ^ (ports & 0xffff);
  }

  /** Counts the entry's tuples in the buckets that its ways have, once more or once less. */
  #addTuples(entry: number, more: 1 | -1): void {
    const base = at.WAY_WORDS * entry + at.DIRECTION + at.WAY;
    this.#addTuple(this.#ways[base]! >>> at.BUCKET_SHIFT, more);
    this.#addTuple(this.#ways[base + at.DIRECTION_WORDS]! >>> at.BUCKET_SHIFT, more);
  }

  #addTuple(bucket: number, more: 1 | -1): void {
    const count = this.#tuples[bucket]! + more;
    this.#tuples[bucket] = count;
    const bit = 1 << (bucket & 7);
    if (count > 0) this.#filter[bucket >>> 3]! |= bit;
    else this.#filter[bucket >>> 3]! &= ~bit;
  }

  /** Whether the connection's next hops are still those that it was promoted with. */
  isCurrent(entry: number): boolean {
    return this.#isCurrent(entry, SIDE_A) && this.#isCurrent(entry, SIDE_B);
  }

  #isCurrent(entry: number, side: number): boolean {
    const base = at.WAY_WORDS * entry + at.DIRECTION + side * at.DIRECTION_WORDS;
    const word = this.#ways[base + at.NEIGHBOR]!;
    const number = word & ((1 << at.NEIGHBOR_BITS) - 1);
    return word >>> at.NEIGHBOR_BITS === this.#issues[number];
  }

  isPromoted(entry: number): boolean {
    return this.#ways[at.WAY_WORDS * entry + at.TICKET]! >>> 16 === this.#epoch;
  }

  /** Packets that come from now on are the proxy's. */
  demote(entry: number): void {
    if (this.isPromoted(entry)) this.#addTuples(entry, -1);
    this.#setTicket(entry, 0, 0);
  }

  /** Likewise those of all connections: the next epoch begins. */
  demoteAll(): void {
    if (this.#epoch === LAST_EPOCH) { // numbers begin again: no ticket has one
      for (let entry = 0; entry < this.layout.connections; entry++) {
        if (this.hasTicket(entry)) this.#setTicket(entry, 0, 1);
      }
    }
    this.#epoch = this.#epoch === LAST_EPOCH ? 1 : this.#epoch + 1;
    Atomics.store(this.#settings, at.EPOCH, this.#epoch);
    this.#tuples.fill(0);
    this.#filter.fill(0);
  }

  /** 1 … 0xffff; changes when all are demoted. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Whether the entry has been promoted and not demoted by itself since, in whatever epoch. */
  hasTicket(entry: number): boolean {
    return this.#ways[at.WAY_WORDS * entry + at.TICKET] !== 0;
  }

  barrier(entry: number): number {
    return this.#ways[at.WAY_WORDS * entry + at.BARRIER]!;
  }

  setBarrier(entry: number, barrier: number): void {
    this.#ways[at.WAY_WORDS * entry + at.BARRIER] = barrier;
  }

  /** Packets that all processors have counted there since the start. */
  packets(counter: number): number {
    return this.#counted(counter, 0);
  }

  /** Likewise bytes, from the IP header on. */
  bytes(counter: number): number {
    return this.#counted(counter, 1);
  }

  #counted(counter: number, which: 0 | 1): number {
    const { counters, processors } = this.layout;
    let sum = 0;
    for (let processor = 0; processor < processors; processor++) {
      const word = 4 * (processor * counters + counter) + 2 * which;
      sum += this.#counters[word]! + 2 ** 32 * this.#counters[word + 1]!;
    }
    return sum;
  }
}

/** The address in the first 6 bytes of a little-endian word. */
function packed({ hi, lo }: Mac): bigint {
  let bytes = 0n;
  for (const byte of [lo, lo >>> 8, lo >>> 16, lo >>> 24, hi, hi >>> 8]) {
    bytes = (bytes << 8n) | BigInt(byte & 0xff);
  }
  return bytes;
}
