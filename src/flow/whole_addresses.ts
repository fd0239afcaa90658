/**
 * The IPv6 addresses that the keys in a flow table's entries stand for, 16 words beside each entry,
 * one cache line:
 *
 *     | A tuple: client, own | B tuple: member, own, or client where the source is preserved |
 *
 * A tuple has 32 bits of each, an `AddressDigest`. Two addresses may have one key, so what has been
 * found by keys is compared in full here. The half of a side that is of IPv4 has no meaning.
 *
 * The proxy's own addresses have different keys.
 */
import type { AddressDigest } from "../wire/address_digest.ts";
import { ADDRESS6_WORDS, copyAddress6, isSameAddress6 } from "../wire/address6.ts";

/** Source and destination of a tuple. */
export const WHOLE_TUPLE_WORDS: number = 2 * ADDRESS6_WORDS;
/** Both tuples of an entry. */
export const WHOLE_WORDS: number = 2 * WHOLE_TUPLE_WORDS;

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
  readonly #options: WholeAddressesOptions;
  readonly #ownKeys: Int32Array;

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
  }

  /** Key of the address with which forwarded packets leave. */
  get ownKey(): number {
    return this.#ownKeys[0]!;
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
  }

  /** Its packets go to that member, with the source `key`: the proxy's, or else the client's. */
  setSideB(entry: number, member: number, key: number): void {
    const { own, members } = this.#options;
    const { words } = this;
    const to = WHOLE_WORDS * entry + WHOLE_TUPLE_WORDS;
    copyAddress6(members, ADDRESS6_WORDS * member, words, to);
    if (key === this.ownKey) copyAddress6(own, 0, words, to + ADDRESS6_WORDS);
    else copyAddress6(words, WHOLE_WORDS * entry, words, to + ADDRESS6_WORDS);
  }
}

/** Where the addresses of the tuple begin. */
export function wholeTupleAt(reference: number): number {
  return WHOLE_TUPLE_WORDS * reference;
}
