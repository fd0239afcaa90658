/**
 * The IPv6 addresses that the keys in a flow table's entries stand for:
 *
 *     A tuple   client → own          B tuple   member → own, or member → client (source preserved)
 *
 * A tuple has 32 bits of each, an `AddressDigest`. Four words of the client are kept beside each
 * entry; members and the proxy's own addresses are few, and known by number. Two addresses may have
 * one key, so what has been found by keys is compared in full here.
 *
 * The proxy's own addresses have different keys.
 */
import type { AddressDigest } from "../wire/address_digest.ts";
import { ADDRESS6_WORDS, copyAddress6, isSameAddress6 } from "../wire/address6.ts";
import { baseOf, DST, SIDE_A, TUPLE_WORDS } from "./entry.ts";

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
  /** Four words of the client for each entry; of no meaning over IPv4. */
  readonly clients: Int32Array<ArrayBuffer>;
  readonly #options: WholeAddressesOptions;
  readonly #ownKeys: Int32Array;
  /** The table's entries, and the number of each one's member. */
  readonly #entries: Int32Array;
  readonly #members: Uint16Array;

  constructor(options: WholeAddressesOptions, entries: Int32Array, members: Uint16Array) {
    const { digest, own } = options;
    this.#options = options;
    this.#ownKeys = Int32Array.from(
      { length: own.length / ADDRESS6_WORDS },
      (_, i) => digest.ofWords(own, ADDRESS6_WORDS * i),
    );
    this.#entries = entries;
    this.#members = members;
    this.clients = new Int32Array(ADDRESS6_WORDS * members.length);
  }

  /** Key of the address with which forwarded packets leave. */
  get ownKey(): number {
    return this.#ownKeys[0]!;
  }

  /**
   * True if source and destination, eight words, are those of the entry's tuple; `reference` is
   * that of an entry whose tuple has their keys, or may have.
   */
  has(reference: number, addresses: Readonly<Int32Array>): boolean {
    const entry = reference >>> 1;
    const { clients } = this;
    const key = this.#destinationOf(reference);
    if ((reference & 1) === SIDE_A) {
      return isSameAddress6(addresses, 0, clients, ADDRESS6_WORDS * entry) &&
        this.#isOwn(key, addresses);
    }
    const { members } = this.#options;
    return isSameAddress6(addresses, 0, members, ADDRESS6_WORDS * this.#members[entry]!) &&
      (key === this.#ownKeys[0]
        ? isSameAddress6(addresses, ADDRESS6_WORDS, this.#options.own, 0)
        : isSameAddress6(addresses, ADDRESS6_WORDS, clients, ADDRESS6_WORDS * entry));
  }

  /** Copies the source of the entry's tuple to `to` from `at` on. */
  copySource(reference: number, to: Int32Array, at: number): void {
    const entry = reference >>> 1;
    if ((reference & 1) === SIDE_A) copyAddress6(this.clients, ADDRESS6_WORDS * entry, to, at);
    else copyAddress6(this.#options.members, ADDRESS6_WORDS * this.#members[entry]!, to, at);
  }

  /** Copies its destination likewise. */
  copyDestination(reference: number, to: Int32Array, at: number): void {
    const entry = reference >>> 1;
    const own = this.#placeOfOwn(this.#destinationOf(reference));
    const isOwn = own === 0 || (own > 0 && (reference & 1) === SIDE_A);
    if (isOwn) copyAddress6(this.#options.own, ADDRESS6_WORDS * own, to, at);
    else copyAddress6(this.clients, ADDRESS6_WORDS * entry, to, at);
  }

  /** The entry's client is the one at `at`. */
  setClient(entry: number, words: Readonly<Int32Array>, at: number): void {
    copyAddress6(words, at, this.clients, ADDRESS6_WORDS * entry);
  }

  #destinationOf(reference: number): number {
    return this.#entries[baseOf(reference >>> 1) + (reference & 1) * TUPLE_WORDS + DST]!;
  }

  /** True if the destination is the own address that has this key. */
  #isOwn(key: number, addresses: Readonly<Int32Array>): boolean {
    const place = this.#placeOfOwn(key);
    return place >= 0 &&
      isSameAddress6(addresses, ADDRESS6_WORDS, this.#options.own, ADDRESS6_WORDS * place);
  }

  #placeOfOwn(key: number): number {
    const keys = this.#ownKeys;
    for (let place = 0; place < keys.length; place++) if (keys[place] === key) return place;
    return -1;
  }
}
