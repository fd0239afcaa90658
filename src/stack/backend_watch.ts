/** What ARP finds out about the next hops towards backends: it decides who gets new connections. */
import type { Log } from "../core/log.ts";
import type { Backend, Backends } from "../flow/backends.ts";
import { formatAddress, formatMac, type Mac } from "../wire/address.ts";
import type { Routes } from "./route.ts";

export class BackendWatch {
  readonly #backends: Backends;
  readonly #routes: Routes;
  readonly #log: Log;

  constructor(backends: Backends, routes: Routes, log: Log) {
    this.#backends = backends;
    this.#routes = routes;
    this.#log = log;
  }

  /** The next hops to keep an eye on: backends on the link, and the gateway if others need it. */
  nextHops(): readonly number[] {
    return [...new Set(this.#backends.all.map(({ address }) => this.#routes.nextHop(address)))];
  }

  resolved(nextHop: number, mac: Mac): void {
    for (const backend of this.#behind(nextHop)) this.#backends.setStatus(backend, "up");
    this.#log.info(`${this.#nameOf(nextHop)} is at ${formatMac(mac)}`);
  }

  unanswered(nextHop: number): void {
    for (const backend of this.#behind(nextHop)) this.#backends.setStatus(backend, "unanswered");
    this.#log.warning(
      `${this.#nameOf(nextHop)} does not answer ARP (3 requests): ` +
        "no new connections to it while another backend answers",
    );
  }

  #behind(nextHop: number): readonly Backend[] {
    return this.#backends.all.filter(({ address }) => this.#routes.nextHop(address) === nextHop);
  }

  #nameOf(nextHop: number): string {
    const role = this.#backends.get(nextHop) === undefined ? "gateway" : "backend";
    return `${role} ${formatAddress(nextHop)}`;
  }
}
