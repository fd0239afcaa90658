/**
 * IPv6 routes of one link, as `routes.ts` has those of IPv4: of the matching routes the one with
 * the longest prefix is used. fe80::/64 is on every link.
 *
 * A look-up compares the address with each route in turn: a link has a few of them, not thousands.
 * Addresses are four words of an array. One default router may be learned while the proxy runs; a
 * route to ::/0 that was given at the start comes before it.
 */
import type { AddressDigest } from "../wire/address_digest.ts";
import {
  type Address6,
  ADDRESS6_WORDS,
  isSameAddress6,
  maskOfWord,
  type Subnet6,
} from "../wire/address6.ts";
import { addressOfWords, wordsOf } from "../wire/host_address.ts";

export interface Route6 {
  readonly to: Subnet6;
  /** Address of a neighbour on the link, often its link-local one. */
  readonly nextHop: Address6;
}

/** Where a packet goes, and by which next hop. */
export interface Way6 {
  /** Digest of its destination; the words 4 to 7 of `addresses` are the address. */
  readonly dst: number;
  readonly addresses: Int32Array;
  /** Digest of the next hop; its four words are in `hops` from `hopAt` on, until the next route. */
  nextHop: number;
  hops: Int32Array;
  hopAt: number;
}

const TO_DESTINATION = ADDRESS6_WORDS;

const LINK_LOCAL: Subnet6 = { network: Int32Array.of(0xfe80_0000, 0, 0, 0), prefixLength: 64 };

export class Routes6 {
  // Four words for each route, from the longest prefix to the shortest.
  readonly #networks: Int32Array;
  readonly #masks: Int32Array;
  readonly #nextHops: Int32Array;
  /** Digests of `#nextHops`. */
  readonly #keys: Int32Array;
  readonly #prefixLengths: Int32Array;
  /** 1: the next hop is the destination itself, which is on the link. */
  readonly #areOnLink: Uint8Array;
  readonly #learned: Int32Array = new Int32Array(ADDRESS6_WORDS);
  #learnedKey = 0;
  #hasLearned = false;
  readonly #digest: AddressDigest;

  /** `onLink` are the link's own subnets. */
  constructor(digest: AddressDigest, onLink: readonly Subnet6[], routes: readonly Route6[]) {
    this.#digest = digest;
    const own = [LINK_LOCAL, ...onLink].map((to) => ({ to, nextHop: null }));
    const all = [...own, ...routes];
    all.sort((a, b) => b.to.prefixLength - a.to.prefixLength);
    const words = (wordsOf: (route: typeof all[number]) => ArrayLike<number>) =>
      Int32Array.from(all.flatMap((route) => Array.from(wordsOf(route))));
    this.#networks = words(({ to }) => to.network);
    this.#masks = words(({ to }) => to.network.map((_, i) => maskOfWord(to.prefixLength, i)));
    this.#nextHops = words(({ nextHop, to }) => nextHop ?? to.network);
    this.#keys = Int32Array.from(all, (_, i) => digest.ofWords(this.#nextHops, ADDRESS6_WORDS * i));
    this.#prefixLengths = Int32Array.from(all, ({ to }) => to.prefixLength);
    this.#areOnLink = Uint8Array.from(all, ({ nextHop }) => nextHop === null ? 1 : 0);
  }

  /** Says which address to ask for by Neighbor Discovery. False: there is no route. */
  route(to: Way6): boolean {
    return this.routeTo(to, to.addresses, TO_DESTINATION);
  }

  /** As `route`, to the destination at `at` in `words`, whose digest is `to.dst`. */
  routeTo(to: Way6, words: Int32Array, at: number): boolean {
    const route = this.#find(words, at);
    if (route < 0) {
      to.nextHop = this.#learnedKey;
      to.hops = this.#learned;
      to.hopAt = 0;
      return this.#hasLearned;
    }
    const isOnLink = this.#areOnLink[route] !== 0;
    to.nextHop = isOnLink ? to.dst : this.#keys[route]!;
    to.hops = isOnLink ? words : this.#nextHops;
    to.hopAt = isOnLink ? at : ADDRESS6_WORDS * route;
    return true;
  }

  /** The next hop on the way to an address; null: there is no route. */
  nextHopOf(address: bigint): bigint | null {
    const words = wordsOf(address);
    const to = { dst: 0, addresses: words, nextHop: 0, hops: words, hopAt: 0 };
    return this.routeTo(to, words, 0) ? addressOfWords(to.hops, to.hopAt) : null;
  }

  /** True for the address of a host on the link that is not a gateway. */
  isOnLinkHost(words: Int32Array, at: number): boolean {
    const route = this.#find(words, at);
    return route >= 0 && this.#areOnLink[route] !== 0 && !this.#isGateway(words, at);
  }

  /** Prefix length of the route to the address at `at`: longer is better; -1: no route. */
  prefixTo(words: Int32Array, at: number): number {
    const route = this.#find(words, at);
    return route >= 0 ? this.#prefixLengths[route]! : this.#hasLearned ? 0 : -1;
  }

  /** Every gateway once. */
  get gateways(): readonly Address6[] {
    const all: Address6[] = this.learned === null ? [] : [this.learned.slice()];
    for (let route = 0; route < this.#areOnLink.length; route++) {
      const at = ADDRESS6_WORDS * route;
      if (this.#areOnLink[route] !== 0) continue;
      if (all.some((other) => isSameAddress6(other, 0, this.#nextHops, at))) continue;
      all.push(this.#nextHops.slice(at, at + ADDRESS6_WORDS));
    }
    return all;
  }

  /** The default router that `setDefault` has set; its words are those of the next one then. */
  get learned(): Address6 | null {
    return this.#hasLearned ? this.#learned : null;
  }

  /** The default router that routers' advertisements have named; null: none. */
  setDefault(gateway: Address6 | null): void {
    this.#hasLearned = gateway !== null;
    if (gateway === null) return;
    this.#learned.set(gateway);
    this.#learnedKey = this.#digest.ofWords(gateway, 0);
  }

  #isGateway(words: Int32Array, at: number): boolean {
    if (this.#hasLearned && isSameAddress6(words, at, this.#learned, 0)) return true;
    for (let route = 0; route < this.#areOnLink.length; route++) {
      const isHop = this.#areOnLink[route] === 0 &&
        isSameAddress6(words, at, this.#nextHops, ADDRESS6_WORDS * route);
      if (isHop) return true;
    }
    return false;
  }

  #find(words: Int32Array, at: number): number {
    const networks = this.#networks;
    const masks = this.#masks;
    const word0 = words[at]!;
    const word1 = words[at + 1]!;
    const word2 = words[at + 2]!;
    const word3 = words[at + 3]!;
    for (let i = 0; i < networks.length; i += ADDRESS6_WORDS) {
      if (
        (word0 & masks[i]!) === networks[i] && (word1 & masks[i + 1]!) === networks[i + 1] &&
        (word2 & masks[i + 2]!) === networks[i + 2] && (word3 & masks[i + 3]!) === networks[i + 3]
      ) return i / ADDRESS6_WORDS;
    }
    return -1;
  }
}
