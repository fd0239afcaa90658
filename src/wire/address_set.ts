/** Addresses of either family, among which a packet's is found without being made a bigint. */
import { type Address6, isSameAddress6 } from "./address6.ts";
import { type HostAddress, isIpv6, wordsOf } from "./host_address.ts";
import { mixAddress } from "./stable_hash.ts";

export class AddressSet extends Set<HostAddress> {
  /** The IPv6 addresses by a hash. */
  readonly #byHash = new Map<number, Address6[]>();

  static of(addresses: Iterable<HostAddress>): AddressSet {
    const set = new AddressSet();
    for (const address of addresses) set.add(address);
    return set;
  }

  override add(address: HostAddress): this {
    if (isIpv6(address) && !this.has(address)) {
      const words = wordsOf(address);
      const hash = mixAddress(words, 0, 0);
      const known = this.#byHash.get(hash);
      if (known === undefined) this.#byHash.set(hash, [words]);
      else known.push(words);
    }
    return super.add(address);
  }

  override delete(address: HostAddress): boolean {
    if (isIpv6(address) && this.has(address)) {
      const words = wordsOf(address);
      const hash = mixAddress(words, 0, 0);
      const others = this.#byHash.get(hash)!.filter((one) => !isSameAddress6(one, 0, words, 0));
      if (others.length === 0) this.#byHash.delete(hash);
      else this.#byHash.set(hash, others);
    }
    return super.delete(address);
  }

  override clear(): void {
    this.#byHash.clear();
    super.clear();
  }

  /** True for the IPv6 address whose four words are at `at`. */
  has6(words: Int32Array, at: number): boolean {
    const known = this.#byHash.get(mixAddress(words, at, 0));
    if (known === undefined) return false;
    for (const one of known) if (isSameAddress6(one, 0, words, at)) return true;
    return false;
  }
}
