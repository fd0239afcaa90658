/** Watches by ARP the next hops towards backends, which decides who gets new connections. */
import type { LimitedLog } from "../../core/limited_log.ts";
import type { Backend, Backends } from "./backends.ts";
import { formatAddress, formatMac, type Mac } from "../../wire/address.ts";

/** Burst of log lines about next hops that are found or lost. */
const LINES_AT_ONCE = 100;

/**
 * A next hop whose MAC address changes again this soon is claimed by two hosts; one change is a new
 * host.
 */
const CONFLICT_MS = 60_000;

/** MAC address of a next hop, and when it last changed. */
interface Location {
  mac: Mac;
  movedMs: number;
}

export class BackendWatch {
  readonly #backends: Backends;
  readonly #log: LimitedLog;
  readonly #reachedBy = new Map<number, Backend[]>();
  readonly #locations = new Map<number, Location>();

  /** `nextHop` returns the next hop towards an address. */
  constructor(backends: Backends, nextHop: (address: number) => number, log: LimitedLog) {
    this.#backends = backends;
    this.#log = log;
    for (const backend of backends.all) {
      const hop = nextHop(backend.address);
      const reached = this.#reachedBy.get(hop);
      if (reached === undefined) this.#reachedBy.set(hop, [backend]);
      else reached.push(backend);
    }
  }

  /** The next hops to watch: backends on the link, and gateways for the others. */
  nextHops(): readonly number[] {
    return [...this.#reachedBy.keys()];
  }

  resolved(nextHop: number, mac: Mac, nowMs: number): void {
    for (const backend of this.#reachedBy.get(nextHop)!) this.#backends.setStatus(backend, "up");
    const known = this.#locations.get(nextHop);
    const moved = known !== undefined && (known.mac.hi !== mac.hi || known.mac.lo !== mac.lo);
    if (moved && nowMs - known.movedMs < CONFLICT_MS) {
      const other = known.mac;
      this.#log.write(
        "warning",
        "address conflict",
        1,
        nowMs,
        () =>
          `${this.#nameOf(nextHop)} is claimed by ${formatMac(other)} and by ${formatMac(mac)}: ` +
          "address conflict, one of the two must be given another address",
      );
    } else {
      this.#log.write(
        "info",
        "next hop found",
        LINES_AT_ONCE,
        nowMs,
        () => `${this.#nameOf(nextHop)} is at ${formatMac(mac)}`,
      );
    }
    const movedMs = moved ? nowMs : known?.movedMs ?? -Infinity;
    this.#locations.set(nextHop, { mac, movedMs });
  }

  unanswered(nextHop: number, nowMs: number): void {
    const reached = this.#reachedBy.get(nextHop)!;
    for (const backend of reached) this.#backends.setStatus(backend, "unanswered");
    this.#log.write(
      "warning",
      "next hop lost",
      LINES_AT_ONCE,
      nowMs,
      () =>
        `${this.#nameOf(nextHop)} does not answer ARP (3 requests): ` +
        "no new connections to it while another backend answers",
    );
  }

  #nameOf(nextHop: number): string {
    const role = this.#backends.get(nextHop) === undefined ? "gateway" : "backend";
    return `${role} ${formatAddress(nextHop)}`;
  }
}
