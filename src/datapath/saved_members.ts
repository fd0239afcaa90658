/**
 * Members of pools in a saved state: each by its pool, address and port, with what it had come to,
 * and what the policy said of it then.
 */
import type { Backends } from "../flow/backends/backends.ts";
import {
  isInService,
  type Member,
  MEMBER_STATUSES,
  type MemberStatus,
} from "../flow/backends/member.ts";
import type { Pool } from "../flow/backends/pool.ts";
import type { PoolMember } from "../policy/language/ast.ts";
import { MAX_MEMBER_WEIGHT } from "../policy/language/limits.ts";
import { formatHostAddress } from "../wire/host_address.ts";

export interface SavedMember {
  readonly pool: string;
  readonly address: string;
  /** 0: the connection's own. */
  readonly port: number;
  readonly status: MemberStatus;
  readonly weight: number;
  /** Connections ever opened. */
  readonly opened: number;
  readonly configured: { readonly weight: number; readonly state: PoolMember["state"] };
}

/** A member that was added to its pool while the proxy ran; or taken out of it: no `weight`. */
export interface SavedChange {
  readonly pool: string;
  readonly address: string;
  readonly port: number;
  readonly weight: number | null;
}

/** All members, and the place of each among them by its number. */
export function saveMembers(
  { all, pools }: Backends,
): { readonly members: SavedMember[]; readonly placeOf: Int32Array<ArrayBuffer> } {
  const placeOf = new Int32Array(all.length);
  const members = pools.flatMap(({ members }) => members).map((member, place) => {
    const { pool, address, port, status, weight, opened, configured, isLeaving } = member;
    placeOf[member.index] = place;
    return {
      pool: pool.name,
      address: formatHostAddress(address),
      port,
      status: isLeaving ? "unknown" : status,
      weight,
      opened,
      configured: { weight: configured.weight, state: configured.state },
    };
  });
  return { members, placeOf };
}

/** Takes up what is known of members: each of `saved` as it is now, null if there is none. */
export function resumeMembers(
  backends: Backends,
  saved: readonly SavedMember[],
): (Member | null)[] {
  const members = backends.pools.flatMap(({ members }) => members);
  const byKey = new Map(members.map((member) => {
    const { pool, address, port } = member;
    return [keyOf(pool.name, formatHostAddress(address), port), member];
  }));
  return saved.map((was) => {
    const member = byKey.get(keyOf(was.pool, was.address, was.port));
    if (member === undefined) return null;
    member.opened += was.opened;
    const { weight, state } = member.configured;
    if (was.configured.weight === weight) backends.setWeight(member, was.weight);
    if (was.configured.state === state) resumeStatus(backends, member, was.status);
    return member;
  });
}

/** Its next hop has answered ARP, or it is never checked: then it is up whatever it was. */
function resumeStatus(backends: Backends, member: Member, was: MemberStatus): void {
  const isUp = was === "down" && member.status === "up";
  if (was === "unknown" ? !isInService(member) : !isUp) backends.setStatus(member, was);
}

/** Ports to which translators send a pool's new connections, beside the connections' own. */
export function targetPortsOf({ targets }: Backends): Map<Pool, Set<number>> {
  const ports = new Map<Pool, Set<number>>();
  for (const { pool, port } of targets) {
    if (port !== 0) ports.set(pool, (ports.get(pool) ?? new Set()).add(port));
  }
  return ports;
}

function keyOf(pool: string, address: string, port: number): string {
  return `${pool} ${address} ${port}`;
}

// What is read

export function areMembers(value: unknown): value is readonly SavedMember[] {
  return areMemberRecords(value) &&
    value.every(({ status, weight, opened, configured }) =>
      (MEMBER_STATUSES as readonly unknown[]).includes(status) &&
      isUpTo(weight, MAX_MEMBER_WEIGHT) &&
      isUpTo(opened, Number.MAX_SAFE_INTEGER) && isRecord(configured) &&
      isUpTo(configured.weight, MAX_MEMBER_WEIGHT) &&
      (configured.state === null || configured.state === "drain")
    );
}

export function areChanges(value: unknown): value is readonly SavedChange[] {
  return areMemberRecords(value) &&
    value.every(({ weight }) => weight === null || isUpTo(weight, MAX_MEMBER_WEIGHT));
}

function areMemberRecords(value: unknown): value is readonly Record<string, unknown>[] {
  return Array.isArray(value) &&
    value.every((one) =>
      isRecord(one) && typeof one.pool === "string" && isAddress(one.address) &&
      isUpTo(one.port, 0xffff)
    );
}

export function isCount(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER;
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** True for text that may be an address, and may stand in a message. */
export function isAddress(value: unknown): value is string {
  return typeof value === "string" && /^([0-9.]{7,15}|[0-9a-f.:]{2,45})$/.test(value);
}

function isUpTo(value: unknown, most: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= most;
}
