/**
 * Watches by ARP and Neighbor Discovery the next hops towards backends, which decides who gets new
 * connections.
 */
import type { LimitedLog } from "../../core/limited_log.ts";
import type { Backends } from "./backends.ts";
import { isInService, type Member, type MemberStatus } from "./member.ts";
import { formatMac, type Mac } from "../../wire/address.ts";
import { formatHostAddress, type HostAddress, isIpv6 } from "../../wire/host_address.ts";

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

export interface ArpWatchEvents {
  /** Whether what is found out about the way to a member is the member's status. */
  isDecisive(member: Member): boolean;
  /** It is down, and its connections are to be reset. */
  lost(member: Member): void;
}

export class BackendWatch {
  readonly #backends: Backends;
  readonly #log: LimitedLog;
  /** The addresses of backends that each next hop leads to. */
  #reachedBy = new Map<HostAddress, Set<HostAddress>>();
  /** What is known of each next hop. */
  readonly #statuses = new Map<HostAddress, MemberStatus>();
  readonly #nextHop: (address: HostAddress) => HostAddress;
  readonly #locations = new Map<HostAddress, Location>();

  readonly #events: ArpWatchEvents;

  /** `nextHop` returns the next hop towards an address. */
  constructor(
    backends: Backends,
    nextHop: (address: HostAddress) => HostAddress,
    log: LimitedLog,
    events: ArpWatchEvents = { isDecisive: () => true, lost: () => {} },
  ) {
    this.#backends = backends;
    this.#events = events;
    this.#log = log;
    this.#nextHop = nextHop;
    this.update();
  }

  /**
   * The backends have changed: next hops that are to be watched now, and those that need be no
   * more.
   */
  update(): { readonly added: readonly HostAddress[]; readonly removed: readonly HostAddress[] } {
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
      this.#locations.delete(hop);
    }
    return { added: this.nextHops().filter((hop) => !before.has(hop)), removed };
  }

  /** The next hops to watch: backends on the link, and gateways for the others. */
  nextHops(): readonly HostAddress[] {
    return [...this.#reachedBy.keys()];
  }

  resolved(nextHop: HostAddress, mac: Mac, nowMs: number): void {
    this.#mark(nextHop, "up");
    const known = this.#locations.get(nextHop);
    const moved = known !== undefined && (known.mac.hi !== mac.hi || known.mac.lo !== mac.lo);
    if (moved && nowMs - known.movedMs < CONFLICT_MS) {
      const other = known.mac;
      this.#log.write(
        "warning",
        "backend-conflict",
        1,
        nowMs,
        () =>
          `${this.#nameOf(nextHop)} is claimed by ${formatMac(other)} and by ${formatMac(mac)}: ` +
          "address conflict, one of the two must be given another address",
        () => ({
          ...this.#fieldsOf(nextHop),
          mac: formatMac(other),
          other_mac: formatMac(mac),
        }),
      );
    } else {
      this.#log.write(
        "info",
        "next-hop-found",
        LINES_AT_ONCE,
        nowMs,
        () => `${this.#nameOf(nextHop)} is at ${formatMac(mac)}`,
        () => ({ ...this.#fieldsOf(nextHop), mac: formatMac(mac) }),
      );
    }
    const movedMs = moved ? nowMs : known?.movedMs ?? -Infinity;
    this.#locations.set(nextHop, { mac, movedMs });
  }

  unanswered(nextHop: HostAddress, nowMs: number): void {
    const decides = this.#mark(nextHop, "down");
    this.#log.write(
      "warning",
      "next-hop-lost",
      LINES_AT_ONCE,
      nowMs,
      () =>
        `${this.#nameOf(nextHop)} does not answer ` +
        (isIpv6(nextHop) ? "neighbor solicitations (3)" : "ARP (3 requests)") +
        (decides ? ": no new connections to it while another backend answers" : ""),
      () => this.#fieldsOf(nextHop),
    );
  }

  /**
   * Marks the members, of all pools, that are reached by this next hop; false if that decides
   * about none.
   */
  #mark(nextHop: HostAddress, status: MemberStatus): boolean {
    this.#statuses.set(nextHop, status);
    const addresses = [...this.#reachedBy.get(nextHop)!];
    const members = addresses.flatMap((address) => this.#backends.at(address))
      .filter(this.#events.isDecisive);
    for (const member of members) {
      if (isInService(member)) this.#backends.setStatus(member, status);
      if (status === "down" && member.pool.health.onDown === "reset") this.#events.lost(member);
    }
    return members.length > 0;
  }

  #nameOf(nextHop: HostAddress): string {
    const { role, address } = this.#fieldsOf(nextHop);
    return `${role} ${address}`;
  }

  #fieldsOf(nextHop: HostAddress) {
    const role = this.#backends.has(nextHop) ? "backend" : "gateway";
    return { role, address: formatHostAddress(nextHop) };
  }
}
