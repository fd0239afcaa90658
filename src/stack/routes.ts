/**
 * Routes of one link: the next hop for an address. Of the matching routes the one with the longest
 * prefix is used (RFC 1812 §5.2.4.3); the default gateway is the route to 0.0.0.0/0. A look-up
 * compares the address with each route in turn: a link has a few of them, not thousands.
 */
import { type Address, maskOf, type Subnet } from "../wire/address.ts";

export interface Route {
  readonly to: Subnet;
  /** Address of a neighbour on the link. */
  readonly nextHop: Address;
}

export class Routes {
  // From the longest prefix to the shortest.
  readonly #networks: Int32Array;
  readonly #masks: Int32Array;
  readonly #prefixLengths: Int32Array;
  /** 0: the destination itself, which is on the link. */
  readonly #nextHops: Int32Array;
  /** Every gateway once. */
  readonly gateways: ReadonlySet<Address>;

  /** `onLink` is the link's own subnet. */
  constructor(onLink: Subnet, routes: readonly Route[]) {
    const all = [{ to: onLink, nextHop: 0 }, ...routes];
    all.sort((a, b) => b.to.prefixLength - a.to.prefixLength);
    this.#networks = Int32Array.from(all, ({ to }) => to.network);
    this.#masks = Int32Array.from(all, ({ to }) => maskOf(to.prefixLength));
    this.#prefixLengths = Int32Array.from(all, ({ to }) => to.prefixLength);
    this.#nextHops = Int32Array.from(all, ({ nextHop }) => nextHop);
    this.gateways = new Set(routes.map(({ nextHop }) => nextHop));
  }

  /** The address to ask for by ARP, or 0: no route to `address`. */
  nextHop(address: Address): number {
    const route = this.#find(address);
    if (route < 0) return 0;
    const nextHop = this.#nextHops[route]!;
    return nextHop === 0 ? address : nextHop;
  }

  /** True for the address of a host on the link that is not a gateway. */
  isOnLinkHost(address: Address): boolean {
    return this.nextHop(address) === address && !this.gateways.has(address);
  }

  /** Prefix length of the route to `address`: longer is better; -1: no route. */
  prefixTo(address: Address): number {
    const route = this.#find(address);
    return route < 0 ? -1 : this.#prefixLengths[route]!;
  }

  #find(address: Address): number {
    const networks = this.#networks;
    for (let i = 0; i < networks.length; i++) {
      if ((address & this.#masks[i]!) === networks[i]) return i;
    }
    return -1;
  }
}
