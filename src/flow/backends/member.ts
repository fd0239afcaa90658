/** A member of a pool: one server, an address and perhaps a port. */
import { DST_ADDRS, type PoolMember } from "../../policy/language/ast.ts";
import type { Address } from "../../wire/address.ts";
import { formatEndpoint, type HostAddress, isIpv6 } from "../../wire/host_address.ts";
import type { Pool } from "./pool.ts";

/**
 * Not heard of yet / there / not there / takes no new connections, but goes on with those it has /
 * out of service. New connections go to members that are `up`; while none is, to those that are
 * `unknown`.
 */
export const MEMBER_STATUSES = ["unknown", "up", "down", "draining", "maintenance"] as const;

export type MemberStatus = typeof MEMBER_STATUSES[number];

export class Member {
  readonly pool: Pool;
  /** Its number among all members of all pools, which flow entries remember. */
  readonly index: number;
  readonly address: HostAddress;
  /** What packets and connections have for it: the IPv4 address itself, a digest of an IPv6 one. */
  readonly key: Address;
  readonly isIpv6: boolean;
  /** 0: the translator's, or the connection's own. */
  readonly port: number;
  /** Share of new connections, 0 … 256. */
  weight: number;
  /** Gets connections only while no other member can. */
  isBackup: boolean;
  /** Most connections at a time; 0: as many as come. */
  maxconn: number;
  /** Changed by `Backends.setStatus` only. */
  status: MemberStatus;
  /** Since when it has this status. */
  changedMs = 0;
  /**
   * Part of its weight that counts, above 0: below 1 while it starts slowly. Changed by
   * `Backends.setShare` only.
   */
  share = 1;
  /** Connections in the flow table. */
  active = 0;
  /**
   * Of these, those that are not over: what `maxconn` and the method by least connections go by.
   */
  load = 0;
  /** Connections ever opened. */
  opened = 0;
  /** The policy does not have it any more: it goes with its last connection. */
  isLeaving = false;
  /** What the policy says of it: what was changed since stays as long as that does. */
  configured: PoolMember;
  /** Place among the members of its pool that can be chosen; -1: it can't. */
  place = -1;

  constructor(pool: Pool, index: number, options: PoolMember, key: Address) {
    this.pool = pool;
    this.configured = options;
    this.index = index;
    this.address = options.address;
    this.key = key;
    this.isIpv6 = isIpv6(options.address);
    this.port = options.port;
    this.weight = options.weight;
    this.isBackup = options.isBackup;
    this.maxconn = options.maxconn;
    this.status = options.state === "drain" ? "draining" : "unknown";
  }

  /**
   * Weight for methods that go by load: by a hash, a client keeps its member however new that is.
   */
  get currentWeight(): number {
    return this.weight * this.share;
  }

  get isFull(): boolean {
    return this.maxconn !== 0 && this.load >= this.maxconn;
  }
}

/** A member of which only the address is given. */
export function plainMember(address: HostAddress): PoolMember {
  return { address, port: 0, weight: 1, isBackup: false, maxconn: 0, state: null };
}

/** `192.168.0.1`, or `192.168.0.1:8080 of $web`; an IPv6 address is in brackets before a port. */
export function nameOf({ address, port, pool }: Member): string {
  const at = formatEndpoint(address, port);
  return pool.name === DST_ADDRS ? at : `${at} of $${pool.name}`;
}

/** A member that is draining or in maintenance stays so, whether it is there or not. */
export function isInService({ status }: Member): boolean {
  return status !== "draining" && status !== "maintenance";
}
