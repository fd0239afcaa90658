/**
 * The flow table: one entry a connection, found from both directions.
 *
 *     client ──(A tuple: client → proxy)──▶ entry ◀──(B tuple: backend → proxy)── backend
 *
 * A *reference* is `entry << 1 | direction`: what a look-up returns, and what an index slot holds
 * together with some bits of the hash. A *tuple* is source, destination and ports of a packet as it
 * arrives from that side. Entries live in one Int32Array, the index is open addressing at a load of
 * at most one half, and removal shifts the following slots back, so that there are no tombstones.
 *
 * An entry takes 78 bytes here, 16 in the index, 16 in the lists of `eviction.ts`, and 8 in the
 * counts of `shares.ts`: 118; with IPv6, whose tuples are of keys, 96 more for whole addresses
 * and what is noted of them (`whole_addresses.ts`).
 *
 * A look-up in a large table has two cache misses, the slot and the entry. `findAll` looks up a
 * whole burst, so that these overlap.
 *
 * Long because index, entries and accessors work on the same arrays, which nothing else writes.
 */
import type { Address } from "../wire/address.ts";
import type { Random } from "../core/random.ts";
import { acrossOf } from "../wire/pdu.ts";
import {
  baseOf,
  CROSSED,
  DATA,
  DST,
  ENTRY_WORDS,
  EXTRA_WORDS,
  LAST_SEEN,
  MEMBER,
  META,
  OFFERS_SHIFT,
  ONE_TUPLE,
  PORTS,
  PROTOCOL_MASK,
  REFERENCE_BITS,
  REFERENCE_MASK,
  SIDE_A,
  SIDE_B,
  SRC,
  STATE_MASK,
  STATE_SHIFT,
  TUPLE_WORDS,
} from "./entry.ts";
import { HASH_WORDS, KeyedHash } from "./keyed_hash.ts";
import { WholeAddresses, type WholeAddressesOptions } from "./whole_addresses.ts";

export { SIDE_A, SIDE_B } from "./entry.ts";

/** The most entries that fit into a reference. */
export const MAX_CAPACITY = 1_000_000;

/**
 * A large ArrayBuffer begins 16 bytes into a page: skip 48 so that each entry is one cache line.
 */
const ENTRIES_OFFSET_BYTES = 48;

/** Slots of the index for each entry: with both its tuples in it, at most half are in use. */
export const SLOTS_PER_ENTRY = 4;

// An index slot: reference + 1 in the bits of a reference (0: free), hash bits above. The home slot
// is the whole hash scaled to the index's length, which need not be a power of 2.

/** Where a table has its words, all 0: memory of its own, or what the kernel sees, too. */
export interface TableMemory {
  /** ENTRY_WORDS for each entry. */
  readonly entries: Int32Array<ArrayBuffer>;
  /** SLOTS_PER_ENTRY for each entry. */
  readonly index: Int32Array<ArrayBuffer>;
  /** HASH_WORDS. */
  readonly hash: Int32Array<ArrayBuffer>;
  /** WHOLE_WORDS for each entry; null: the table has its own, if any. */
  readonly whole: Int32Array<ArrayBuffer> | null;
}

function ownMemory(capacity: number): TableMemory {
  const bytes = ENTRIES_OFFSET_BYTES + 4 * capacity * ENTRY_WORDS;
  return {
    entries: new Int32Array(new ArrayBuffer(bytes), ENTRIES_OFFSET_BYTES),
    index: new Int32Array(SLOTS_PER_ENTRY * capacity),
    hash: new Int32Array(HASH_WORDS),
    whole: null,
  };
}

export class FlowTable {
  readonly capacity: number;
  /** Entries in use. */
  count = 0;

  /** All entries, laid out as in `entry.ts`. */
  readonly words: Int32Array<ArrayBuffer>;
  /** Addresses of IPv6; null: there are none. */
  readonly whole: WholeAddresses | null;
  readonly #extra: Int32Array<ArrayBuffer>;
  readonly #members: Uint16Array<ArrayBuffer>;
  readonly #index: Int32Array<ArrayBuffer>;
  readonly #indexScale: number;
  readonly #hash: KeyedHash;
  /** Entries from here on have never been used. */
  #untouched = 0;
  /** Chain of freed entries through their SRC word; -1 ends it. */
  #freed = -1;
  #cursor = 0;
  /** What `findAll` read of entries: it reads them only to load them into the cache. */
  #touched = 0;

  /** Throws RangeError for a capacity outside 1 … 1,000,000. */
  constructor(
    capacity: number,
    random: Random,
    memory?: TableMemory | null,
    whole: WholeAddressesOptions | null = null,
  ) {
    if (!(capacity >= 1 && capacity <= MAX_CAPACITY)) {
      throw new RangeError(
        `Cannot make a flow table of "${capacity}" entries: expected 1 to ${MAX_CAPACITY}`,
      );
    }
    this.capacity = capacity;
    const { entries, index, hash, whole: shared } = memory ?? ownMemory(capacity);
    this.words = entries;
    this.#extra = new Int32Array(EXTRA_WORDS * capacity);
    this.#members = new Uint16Array(capacity);
    this.#index = index;
    this.#indexScale = this.#index.length / 0x1_0000_0000;
    this.#hash = new KeyedHash(random, hash);
    this.whole = whole === null ? null : new WholeAddresses(whole, capacity, shared);
  }

  /** Reference of the entry with this tuple, or -1. `ports` is `srcPort << 16 | dstPort`. */
  find(protocol: number, src: Address, dst: Address, ports: number): number {
    const slot = this.#slotOf(protocol, src, dst, ports);
    return (this.#index[slot]! & REFERENCE_MASK) - 1;
  }

  /** As `find`, over IPv6: source and destination are keys of `addresses`, eight words. */
  find6(
    protocol: number,
    src: number,
    dst: number,
    ports: number,
    addresses: Readonly<Int32Array>,
  ): number {
    const hash = this.#hash.of(protocol, src, dst, ports);
    const tag = tagOf(hash);
    for (let slot = this.#home(hash);; slot = this.#after(slot)) {
      const value = this.#index[slot]!;
      if (value === 0) return -1;
      if ((value & ~REFERENCE_MASK) !== tag) continue;
      const reference = (value & REFERENCE_MASK) - 1;
      if (this.has6(reference, protocol, src, dst, ports, addresses)) return reference;
    }
  }

  /** Hash of a tuple, for `findAll`. */
  hashOf(protocol: number, src: Address, dst: Address, ports: number): number {
    return this.#hash.of(protocol, src, dst, ports);
  }

  /**
   * Looks up `count` tuples by their hashes: writes to `found` a reference for each, to be
   * confirmed by `has`, or -1.
   */
  findAll(hashes: Readonly<Int32Array>, count: number, found: Int32Array): void {
    // Keep each loop small so more loads are in flight.
    const index = this.#index;
    for (let i = 0; i < count; i++) found[i] = index[this.#home(hashes[i]!)]!;
    for (let i = 0; i < count; i++) {
      const value = found[i]!;
      const hash = hashes[i]!;
      const isHome = value === 0 || (value & ~REFERENCE_MASK) === tagOf(hash);
      found[i] = ((isHome ? value : this.#afterHome(hash)) & REFERENCE_MASK) - 1;
    }
    const { words } = this;
    let touched = 0;
    for (let i = 0; i < count; i++) touched ^= words[baseOf(Math.max(0, found[i]!) >>> 1)]!;
    this.#touched = touched;
  }

  /** True if `reference` is that of the entry with this tuple. */
  has(reference: number, protocol: number, src: Address, dst: Address, ports: number): boolean {
    const base = baseOf(reference >>> 1);
    const tuple = base + (reference & 1) * TUPLE_WORDS;
    const { words } = this;
    // Never matches the second tuple of an entry that has only one, or one of the other family.
    const mask = PROTOCOL_MASK | ((reference & 1) * (ONE_TUPLE | CROSSED));
    return words[tuple + SRC] === src && words[tuple + PORTS] === ports &&
      words[tuple + DST] === dst &&
      ((words[base + META]! & mask) === protocol || this.#isAcross(reference, protocol));
  }

  /** True if that is the side B, with that protocol, of a connection that crosses the families. */
  #isAcross(reference: number, protocol: number): boolean {
    return (reference & 1) === SIDE_B && this.crosses(reference >>> 1) &&
      this.protocolOf(reference) === protocol;
  }

  /** As `has`, over IPv6. */
  has6(
    reference: number,
    protocol: number,
    src: number,
    dst: number,
    ports: number,
    addresses: Readonly<Int32Array>,
  ): boolean {
    return this.has(reference, protocol, src, dst, ports) && this.whole!.has(reference, addresses);
  }

  /**
   * Adds a connection whose two tuples are not in the table; if it `crosses`, side B is of the
   * other family. Returns its entry, or -1 when the table is full. Of IPv6 its client and member
   * are for the caller to set at once.
   */
  insert(
    protocol: number,
    aSrc: number,
    aDst: number,
    aPorts: number,
    bSrc: number,
    bDst: number,
    bPorts: number,
    crosses = false,
  ): number {
    const entry = this.insertOneSided(protocol, aSrc, aDst, aPorts);
    if (entry < 0) return -1;
    this.words[baseOf(entry) + META] = crosses ? protocol | CROSSED : protocol;
    this.#writeTuple(entry, SIDE_B, bSrc, bDst, bPorts);
    this.#link(entry, SIDE_B);
    return entry;
  }

  /** Gives the connection another tuple on side B, which is not in the table; all else stays. */
  moveSideB(entry: number, src: number, dst: number, ports: number, crosses = false): void {
    this.#unlink(entry, SIDE_B);
    const meta = baseOf(entry) + META;
    this.words[meta] = crosses ? this.words[meta]! | CROSSED : this.words[meta]! & ~CROSSED;
    this.#writeTuple(entry, SIDE_B, src, dst, ports);
    this.#link(entry, SIDE_B);
  }

  /** As `insert`, for a connection that the proxy answers itself: it has no side B. */
  insertOneSided(protocol: number, src: Address, dst: Address, ports: number): number {
    const entry = this.#allocate();
    if (entry < 0) return -1;
    const base = baseOf(entry);
    this.words.fill(0, base + DATA, base + ENTRY_WORDS);
    this.#extra.fill(0, EXTRA_WORDS * entry, EXTRA_WORDS * (entry + 1));
    this.words[base + META] = protocol | ONE_TUPLE;
    this.#writeTuple(entry, SIDE_A, src, dst, ports);
    this.#link(entry, SIDE_A);
    this.count++;
    return entry;
  }

  /**
   * Takes the entry out of the table. It may serve again at once; or, if it `rests`, when it is
   * released, and counts until then.
   */
  remove(entry: number, rests = false): void {
    this.#unlink(entry, SIDE_A);
    if (this.hasSideB(entry)) this.#unlink(entry, SIDE_B);
    this.words[baseOf(entry) + META] = 0;
    if (!rests) this.release(entry);
  }

  /** An entry that rests may serve again. */
  release(entry: number): void {
    this.words[baseOf(entry) + SRC] = this.#freed;
    this.#freed = entry;
    this.count--;
  }

  /** With the family of the client. */
  protocol(entry: number): number {
    return this.words[baseOf(entry) + META]! & PROTOCOL_MASK;
  }

  /** The protocol, with its family, on the side that the reference tells. */
  protocolOf(reference: number): number {
    const protocol = this.protocol(reference >>> 1);
    return (reference & 1) === SIDE_B && this.crosses(reference >>> 1)
      ? acrossOf(protocol)
      : protocol;
  }

  /** True if the connection's sides are of different families. */
  crosses(entry: number): boolean {
    return (this.words[baseOf(entry) + META]! & CROSSED) !== 0;
  }

  hasSideB(entry: number): boolean {
    return (this.words[baseOf(entry) + META]! & ONE_TUPLE) === 0;
  }

  src(entry: number, side: number): number {
    return this.words[baseOf(entry) + side * TUPLE_WORDS + SRC]!;
  }

  dst(entry: number, side: number): number {
    return this.words[baseOf(entry) + side * TUPLE_WORDS + DST]!;
  }

  srcPort(entry: number, side: number): number {
    return this.words[baseOf(entry) + side * TUPLE_WORDS + PORTS]! >>> 16;
  }

  dstPort(entry: number, side: number): number {
    return this.words[baseOf(entry) + side * TUPLE_WORDS + PORTS]! & 0xffff;
  }

  /** The connection's state, 0 … 63: its meaning belongs to `tcp_state.ts`. */
  state(entry: number): number {
    return (this.words[baseOf(entry) + META]! >>> STATE_SHIFT) & STATE_MASK;
  }

  setState(entry: number, state: number): void {
    const at = baseOf(entry) + META;
    this.words[at] = (this.words[at]! & ~(STATE_MASK << STATE_SHIFT)) | (state << STATE_SHIFT);
  }

  /** Word `word` (0 … 7) of those that belong to the connection's protocol. */
  data(entry: number, word: number): number {
    return this.words[baseOf(entry) + DATA + word]!;
  }

  setData(entry: number, word: number, value: number): void {
    this.words[baseOf(entry) + DATA + word] = value;
  }

  /** Word `word` (0 … 2) of EXTRA. */
  extra(entry: number, word: number): number {
    return this.#extra[EXTRA_WORDS * entry + word]!;
  }

  setExtra(entry: number, word: number, value: number): void {
    this.#extra[EXTRA_WORDS * entry + word] = value;
  }

  /**
   * Writes to `to` from `at` on the entry's words, those of EXTRA, and its member's number:
   * SAVED_WORDS in all.
   */
  copyOut(entry: number, to: Int32Array, at: number): void {
    const base = baseOf(entry);
    for (let word = 0; word < ENTRY_WORDS; word++) to[at + word] = this.words[base + word]!;
    for (let word = 0; word < EXTRA_WORDS; word++) {
      to[at + ENTRY_WORDS + word] = this.#extra[EXTRA_WORDS * entry + word]!;
    }
    to[at + MEMBER] = this.#members[entry]!;
  }

  /**
   * Adds an entry from words as `copyOut` writes them, whose tuples are not in the table; -1: it is
   * full.
   */
  copyIn(from: Readonly<Int32Array>, at: number): number {
    const entry = this.#allocate();
    if (entry < 0) return -1;
    const base = baseOf(entry);
    for (let word = 0; word < ENTRY_WORDS; word++) this.words[base + word] = from[at + word]!;
    for (let word = 0; word < EXTRA_WORDS; word++) {
      this.#extra[EXTRA_WORDS * entry + word] = from[at + ENTRY_WORDS + word]!;
    }
    this.#members[entry] = from[at + MEMBER]!;
    this.#link(entry, SIDE_A);
    if (this.hasSideB(entry)) this.#link(entry, SIDE_B);
    this.count++;
    return entry;
  }

  /** The number of the member that the connection goes to; of no meaning without side B. */
  member(entry: number): number {
    return this.#members[entry]!;
  }

  setMember(entry: number, member: number): void {
    this.#members[entry] = member;
  }

  /** What the connection's SYNs offered, 15 bits. */
  offers(entry: number): number {
    return this.words[baseOf(entry) + META]! >>> OFFERS_SHIFT;
  }

  setOffers(entry: number, offers: number): void {
    const at = baseOf(entry) + META;
    this.words[at] = (this.words[at]! & ((1 << OFFERS_SHIFT) - 1)) | (offers << OFFERS_SHIFT);
  }

  /** Time since the connection was last used, in milliseconds; correct for up to 24 days. */
  idleMs(entry: number, nowMs: number): number {
    return (nowMs - this.words[baseOf(entry) + LAST_SEEN]!) | 0;
  }

  /** Marks the connection as used now. */
  touch(entry: number, nowMs: number): void {
    this.words[baseOf(entry) + LAST_SEEN] = nowMs;
  }

  /**
   * Looks at the next slice of entries and calls `remove` for each that has been idle longer than
   * `timeoutsMs[state]`. Called every tick, it visits every entry in about 512 ticks, sooner in a
   * small table; the cost of a tick is bounded.
   */
  expire(nowMs: number, timeoutsMs: Readonly<Int32Array>, remove: (entry: number) => void): void {
    let slice = Math.min(this.#untouched, Math.max(256, this.#untouched >>> 9));
    for (; slice > 0; slice--) {
      if (this.#cursor >= this.#untouched) this.#cursor = 0;
      const entry = this.#cursor++;
      const base = baseOf(entry);
      if (this.words[base + META] === 0) continue;
      if (this.idleMs(entry, nowMs) >= timeoutsMs[this.state(entry)]!) remove(entry);
    }
  }

  /** Entries from here on have never been in use: an end for those who go through all of them. */
  get end(): number {
    return this.#untouched;
  }

  isUsed(entry: number): boolean {
    return this.words[baseOf(entry) + META] !== 0;
  }

  /** Every entry in use; for summaries and tests, not for the packet path. */
  *[Symbol.iterator](): Generator<number> {
    for (let entry = 0; entry < this.#untouched; entry++) {
      if (this.words[baseOf(entry) + META] !== 0) yield entry;
    }
  }

  #allocate(): number {
    const freed = this.#freed;
    if (freed >= 0) {
      this.#freed = this.words[baseOf(freed) + SRC]!;
      return freed;
    }
    return this.#untouched < this.capacity ? this.#untouched++ : -1;
  }

  #writeTuple(entry: number, side: number, src: Address, dst: Address, ports: number): void {
    const base = baseOf(entry) + side * TUPLE_WORDS;
    this.words[base + SRC] = src;
    this.words[base + DST] = dst;
    this.words[base + PORTS] = ports;
  }

  /** The index slot of this tuple, or the free slot where it would go. */
  #slotOf(protocol: number, src: Address, dst: Address, ports: number): number {
    const hash = this.#hash.of(protocol, src, dst, ports);
    const tag = tagOf(hash);
    for (let slot = this.#home(hash);; slot = this.#after(slot)) {
      const value = this.#index[slot]!;
      if (value === 0) return slot;
      if ((value & ~REFERENCE_MASK) !== tag) continue;
      const reference = (value & REFERENCE_MASK) - 1;
      if (this.has(reference, protocol, src, dst, ports)) return slot;
    }
  }

  /** Content of the first slot after the hash's home that is free or has its tag. */
  #afterHome(hash: number): number {
    let slot = this.#home(hash);
    let value: number;
    do {
      slot = this.#after(slot);
      value = this.#index[slot]!;
    } while (value !== 0 && (value & ~REFERENCE_MASK) !== tagOf(hash));
    return value;
  }

  /** The home slot of a hash. */
  #home(hash: number): number {
    return ((hash >>> 0) * this.#indexScale) | 0;
  }

  #after(slot: number): number {
    return slot + 1 === this.#index.length ? 0 : slot + 1;
  }

  /** Distance from one slot to another, wrapping around the end. */
  #steps(from: number, to: number): number {
    return to >= from ? to - from : to - from + this.#index.length;
  }

  #hashOf(reference: number): number {
    const base = baseOf(reference >>> 1);
    const tuple = base + (reference & 1) * TUPLE_WORDS;
    return this.#hash.of(
      this.protocolOf(reference),
      this.words[tuple + SRC]!,
      this.words[tuple + DST]!,
      this.words[tuple + PORTS]!,
    );
  }

  #link(entry: number, side: number): void {
    const reference = (entry << 1) | side;
    const hash = this.#hashOf(reference);
    let slot = this.#home(hash);
    while (this.#index[slot] !== 0) slot = this.#after(slot);
    this.#index[slot] = tagOf(hash) | (reference + 1);
  }

  /** Frees the slot, and moves back the following ones that would no longer be found. */
  #unlink(entry: number, side: number): void {
    const reference = (entry << 1) | side;
    let hole = this.#home(this.#hashOf(reference));
    while ((this.#index[hole]! & REFERENCE_MASK) !== reference + 1) hole = this.#after(hole);
    for (let slot = this.#after(hole);; slot = this.#after(slot)) {
      const value = this.#index[slot]!;
      if (value === 0) break;
      const home = this.#home(this.#hashOf((value & REFERENCE_MASK) - 1));
      // Movable if its home is not between the hole and this slot.
      if (this.#steps(home, slot) >= this.#steps(hole, slot)) {
        this.#index[hole] = value;
        hole = slot;
      }
    }
    this.#index[hole] = 0;
  }
}

/** Hash bits stored with a reference: the lower ones, since the upper ones determine the slot. */
function tagOf(hash: number): number {
  return hash << REFERENCE_BITS;
}
