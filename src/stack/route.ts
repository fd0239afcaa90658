/** Routing: on-link or through the one gateway. */
import { inSubnet, type Subnet } from "../wire/address.ts";

export class Routes {
  readonly #subnet: Subnet;
  readonly #gateway: number;

  constructor(subnet: Subnet, gateway: number | null) {
    this.#subnet = subnet;
    this.#gateway = gateway ?? 0;
  }

  /** The address to ask for by ARP, or 0: there is no way to `address`. */
  nextHop(address: number): number {
    return inSubnet(address, this.#subnet) ? address : this.#gateway;
  }
}
