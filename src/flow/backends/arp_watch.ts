/** What ARP finds out about the next hops towards backends: it decides who gets new connections. */
import type { LimitedLog } from "../../core/limited_log.ts";
import type { Backends } from "./backends.ts";
import type { Member, MemberStatus } from "./member.ts";
import { formatAddress, formatMac, type Mac } from "../../wire/address.ts";

/** Lines at once, of those that tell of each next hop when it is found or lost. */
const LINES_AT_ONCE = 100;

/** A next hop that moves once has a new host; one that moves again so soon has two. */
const CONFLICT_MS = 60_000;

/** Where a next hop is, and when it moved there from elsewhere. */
interface Place {
  mac: Mac;
  movedMs: number;
}

export class BackendWatch {
  readonly #backends: Backends;
  readonly #log: LimitedLog;
  /** The addresses of backends that each next hop leads to. */
  #reachedBy = new Map<number, Set<number>>();
  /** What is known of each next hop. */
  readonly #statuses = new Map<number, MemberStatus>();
  readonly #nextHop: (address: number) => number;
  readonly #places = new Map<number, Place>();

  /** `nextHop` tells by which next hop an address is reached. */
  constructor(backends: Backends, nextHop: (address: number) => number, log: LimitedLog) {
    this.#backends = backends;
    this.#log = log;
    this.#nextHop = nextHop;
    this.update();
  }

  /** The backends have changed: next hops that are to be watched now, and those that need be no more. */
  update(): { readonly added: readonly number[]; readonly removed: readonly number[] } {
    const before = this.#reachedBy;
    this.#reachedBy = new Map();
    for (const address of this.#backends.addresses()) {
      const hop = this.#nextHop(address);
      const reached = this.#reachedBy.get(hop);
      if (reached === undefined) this.#reachedBy.set(hop, new Set([address]));
      else reached.add(address);
      const status = this.#statuses.get(hop);
      if (status !== undefined) this.#mark(hop, status);
    }
    const removed = [...before.keys()].filter((hop) => !this.#reachedBy.has(hop));
    for (const hop of removed) {
      this.#statuses.delete(hop);
      this.#places.delete(hop);
    }
    return { added: this.nextHops().filter((hop) => !before.has(hop)), removed };
  }

  /** The next hops to keep an eye on: backends on the link, and the gateway if others need it. */
  nextHops(): readonly number[] {
    return [...this.#reachedBy.keys()];
  }

  resolved(nextHop: number, mac: Mac, nowMs: number): void {
    this.#mark(nextHop, "up");
    const place = this.#places.get(nextHop);
    const moved = place !== undefined && (place.mac.hi !== mac.hi || place.mac.lo !== mac.lo);
    if (moved && nowMs - place.movedMs < CONFLICT_MS) {
      const other = place.mac;
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
    const movedMs = moved ? nowMs : place?.movedMs ?? -Infinity;
    this.#places.set(nextHop, { mac, movedMs });
  }

  unanswered(nextHop: number, nowMs: number): void {
    this.#mark(nextHop, "down");
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

  /** Marks all members, of all pools, that are reached by this next hop. */
  #mark(nextHop: number, status: MemberStatus): void {
    this.#statuses.set(nextHop, status);
    for (const address of this.#reachedBy.get(nextHop)!) {
      for (const member of this.#backends.at(address)) {
        if (isInService(member)) this.#backends.setStatus(member, status);
      }
    }
  }

  #nameOf(nextHop: number): string {
    const role = this.#backends.has(nextHop) ? "backend" : "gateway";
    return `${role} ${formatAddress(nextHop)}`;
  }
}

/** A member that is draining or in maintenance stays so, whether it is there or not. */
function isInService({ status }: Member): boolean {
  return status !== "draining" && status !== "maintenance";
}
