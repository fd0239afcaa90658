/** A member of a pool: one server, an address and perhaps a port. */
import { DST_ADDRS } from "../../policy/language/ast.ts";
import { formatAddress } from "../../wire/address.ts";
import type { Pool } from "./pool.ts";

/**
 * Not heard of yet / there / not there / takes no new connections, but goes on with those it has / out of
 * service. New connections go to members that are `up`; while none is, to those that are `unknown`.
 */
export type MemberStatus = "unknown" | "up" | "down" | "draining" | "maintenance";

/** What a policy or the command line says of a member. */
export interface MemberOptions {
  readonly address: number;
  /** 0: the connection's own. */
  readonly port: number;
  /** Share of new connections, 0 … 256. */
  readonly weight: number;
  /** Gets connections only when no other member can. */
  readonly isBackup: boolean;
  /** Most connections at a time; 0: as many as come. */
  readonly maxconn: number;
}

export interface Member extends MemberOptions {
  readonly pool: Pool;
  /** Its number among all members of all pools, which flow entries remember. */
  readonly index: number;
  /** Changed by `Backends.setStatus` only. */
  status: MemberStatus;
  /** Connections in the flow table. */
  active: number;
  /** Connections ever opened. */
  opened: number;
}

/** A member of which only the address is given. */
export function plainMember(address: number): MemberOptions {
  return { address, port: 0, weight: 1, isBackup: false, maxconn: 0 };
}

/** `192.168.0.1`, or `192.168.0.1:8080 of $web`. */
export function nameOf({ address, port, pool }: Member): string {
  const at = formatAddress(address) + (port === 0 ? "" : `:${port}`);
  return pool.name === DST_ADDRS ? at : `${at} of $${pool.name}`;
}
