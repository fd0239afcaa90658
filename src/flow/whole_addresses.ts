/**
 * The IPv6 addresses that the keys in a flow table's entries stand for, 16 words beside each entry,
 * one cache line:
 *
 *     | A tuple: client, own | B tuple: member, own, or client where the source is preserved |
 *
 * A tuple has 32 bits of each, an `AddressDigest`. Two addresses may have one key, so what has been
 * found by keys is compared in full here. The half of a side that is of IPv4 has no meaning. What
 * header prediction needs of each packet is noted once for each tuple, in 16 bytes more.
 *
 * The proxy's own addresses have different keys.
 */
import type { AddressDigest } from "../wire/address_digest.ts";
import { ADDRESS6_WORDS, copyAddress6, isSameAddress6 } from "../wire/address6.ts";
import { halves } from "../wire/checksum.ts";

/** Source and destination of a tuple. */
export const WHOLE_TUPLE_WORDS: number = 2 * ADDRESS6_WORDS;
/** Both tuples of an entry. */
export const WHOLE_WORDS: number = 2 * WHOLE_TUPLE_WORDS;

/** Words that are noted of each tuple. The sum of its addresses' 16-bit words, not folded: */
export const SUM = 0;
/** Number and serial of the neighbour to which packets to its source go (`stack/neighbors.ts`). */
export const HOP = 1;
export const HOP_SERIAL = 2;
const NOTE_WORDS = 4;

/** No neighbour has it. */
const NO_SERIAL = -1;

/** As that of entries in `table.ts`. */
const OFFSET_BYTES = 48;

export interface WholeAddressesOptions {
  readonly digest: AddressDigest;
  /**
   * Four words for each of the proxy's addresses, on all links; that with which forwarded packets
   * leave is first.
   */
  readonly own: Int32Array;
  /** Four words for each member, by its number; live. */
  readonly members: Int32Array;
}

export class WholeAddresses {
  /** Of each entry, WHOLE_WORDS. */
  readonly words: Int32Array<ArrayBuffer>;
  /** Of each tuple, from `noteAt` on: what header prediction would find out each time. */
  readonly notes: Int32Array<ArrayBuffer>;
  readonly #options: WholeAddressesOptions;
  readonly #ownKeys: Int32Array;
  /** What `load` has read: it reads it for nothing else. */
  #loaded = 0;

  /** `words`: WHOLE_WORDS for each of `capacity` entries; null: memory of its own. */
  constructor(
    options: WholeAddressesOptions,
    capacity: number,
    words: Int32Array<ArrayBuffer> | null,
  ) {
    const { digest, own } = options;
    this.#options = options;
    this.#ownKeys = Int32Array.from(
      { length: own.length / ADDRESS6_WORDS },
      (_, i) => digest.ofWords(own, ADDRESS6_WORDS * i),
    );
    this.words = words ??
      new Int32Array(new ArrayBuffer(OFFSET_BYTES + 4 * WHOLE_WORDS * capacity), OFFSET_BYTES);
    this.notes = new Int32Array(
      new ArrayBuffer(OFFSET_BYTES + 4 * 2 * NOTE_WORDS * capacity),
      OFFSET_BYTES,
    );
  }

  /** Key of the address with which forwarded packets leave. */
  get ownKey(): number {
    return this.#ownKeys[0]!;
  }

  /** Loads into the cache what belongs to the first `count` candidates that `places` name. */
  load(candidates: Readonly<Int32Array>, places: Readonly<Int32Array>, count: number): void {
    const { words, notes } = this;
    let loaded = 0;
    for (let i = 0; i < count; i++) {
      const reference = Math.max(0, candidates[places[i]!]!);
      loaded ^= words[wholeTupleAt(reference)]! ^ notes[noteAt(reference)]!;
    }
    this.#loaded = loaded;
  }

  /** True if source and destination, eight words, are those of the entry's tuple. */
  has(reference: number, addresses: Readonly<Int32Array>): boolean {
    const { words } = this;
    const at = wholeTupleAt(reference);
    return isSameAddress6(words, at, addresses, 0) &&
      isSameAddress6(words, at + ADDRESS6_WORDS, addresses, ADDRESS6_WORDS);
  }

  /** Copies the source of the entry's tuple to `to` from `at` on. */
  copySource(reference: number, to: Int32Array, at: number): void {
    copyAddress6(this.words, wholeTupleAt(reference), to, at);
  }

  /** Copies its destination likewise. */
  copyDestination(reference: number, to: Int32Array, at: number): void {
    copyAddress6(this.words, wholeTupleAt(reference) + ADDRESS6_WORDS, to, at);
  }

  /** The entry's client is the one at `at` in `words`, and has asked for the own address `key`. */
  setSideA(entry: number, words: Readonly<Int32Array>, at: number, key: number): void {
    const { own } = this.#options;
    const to = WHOLE_WORDS * entry;
    copyAddress6(words, at, this.words, to);
    const place = Math.max(0, this.#ownKeys.indexOf(key));
    copyAddress6(own, ADDRESS6_WORDS * place, this.words, to + ADDRESS6_WORDS);
    this.#note(entry << 1);
  }

  /** Its packets go to that member, with the source `key`: the proxy's, or else the client's. */
  setSideB(entry: number, member: number, key: number): void {
    const { own, members } = this.#options;
    const { words } = this;
    const to = WHOLE_WORDS * entry + WHOLE_TUPLE_WORDS;
    copyAddress6(members, ADDRESS6_WORDS * member, words, to);
    if (key === this.ownKey) copyAddress6(own, 0, words, to + ADDRESS6_WORDS);
    else copyAddress6(words, WHOLE_WORDS * entry, words, to + ADDRESS6_WORDS);
    this.#note((entry << 1) | 1);
  }

  /** Notes to which neighbour packets to the tuple's source go, as long as it has that serial. */
  noteHop(reference: number, number: number, serial: number): void {
    this.notes[noteAt(reference) + HOP] = number;
    this.notes[noteAt(reference) + HOP_SERIAL] = serial;
  }

  /** The tuple has other addresses now. */
  #note(reference: number): void {
    let sum = 0;
    for (let i = 0; i < WHOLE_TUPLE_WORDS; i++) {
      sum += halves(this.words[wholeTupleAt(reference) + i]!);
    }
    this.notes[noteAt(reference) + SUM] = sum;
    this.noteHop(reference, 0, NO_SERIAL);
  }
}

/** Where the notes of the tuple begin. */
export function noteAt(reference: number): number {
  return NOTE_WORDS * reference;
}

/** Where the addresses of the tuple begin. */
export function wholeTupleAt(reference: number): number {
  return WHOLE_TUPLE_WORDS * reference;
}
