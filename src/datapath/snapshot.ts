/** Everything the summary shows, as plain frozen data that can be written as JSON. */
import type { OwnState } from "../stack/own_state.ts";
import { formatHostAddress, type HostAddress } from "../wire/host_address.ts";
import { REASON_NAMES, type ReasonName } from "../core/reason.ts";
import type { Member, MemberStatus } from "../flow/backends/member.ts";
import type { Pool } from "../flow/backends/pool.ts";
import type { Connections } from "../flow/connections.ts";
import { DECISION_NAMES } from "../policy/language/ast.ts";
import type { AnnotatedTree } from "../policy/engine/annotate.ts";
import type { HealthChecks } from "./health_checks.ts";
import type { Link } from "./link.ts";
import { Count, type Metrics, ofLinks } from "./metrics.ts";

/**
 * What is counted, and how the backends are; the tree apart, which may have a hundred thousand
 * nodes.
 */
export interface Counters {
  readonly frames: {
    readonly in: number;
    readonly out: number;
    readonly arpIn: number;
    /** ARP frames that were queued for sending. */
    readonly arpOut: number;
    /** The same of Neighbor Discovery and of listeners to groups; null: without IPv6. */
    readonly neighbors: { readonly in: number; readonly out: number } | null;
  };
  readonly pdusIn: Traffic;
  /** PDUs that left: forwarded packets, and replies to PDUs. */
  readonly pdusOut: Traffic;
  /** Those of both that the kernel has carried. */
  readonly carried: Traffic;
  /** By name, all of them, in the order of their numbers. */
  readonly decisions: Readonly<Record<string, number>>;
  /** By reason, all of them, in the order of `core/reason.ts`. */
  readonly drops: Readonly<Record<ReasonName, number>>;
  readonly connections: {
    readonly tracked: number;
    readonly capacity: number;
    /** Removed before their time. */
    readonly evicted: number;
  };
  /** Frames of the proxy's own checks of backends; null: it makes none. */
  readonly checks: { readonly framesOut: number; readonly framesIn: number } | null;
  /** `dst-addrs` first. */
  readonly pools: readonly PoolSnapshot[];
  /** The proxy's addresses of IPv6, on each link those given and the link-local one. */
  readonly own6: readonly OwnSnapshot[];
}

/** Counts are since the start; addresses are 32-bit integers, as everywhere here. */
export interface Snapshot extends Counters {
  readonly policy: AnnotatedTree;
}

export interface Traffic {
  readonly count: number;
  readonly bytes: number;
}

export interface OwnSnapshot {
  /** Number of the link. */
  readonly link: number;
  readonly address: string;
  readonly state: OwnState;
}

export interface PoolSnapshot {
  readonly name: string;
  readonly members: readonly MemberSnapshot[];
}

export interface MemberSnapshot {
  readonly address: HostAddress;
  /** 0: the connection's own. */
  readonly port: number;
  readonly weight: number;
  readonly isBackup: boolean;
  /** 0: no limit. */
  readonly maxconn: number;
  readonly status: MemberStatus;
  /** Why its last check failed; null: it did not, or none was made. */
  readonly failure: string | null;
  /** Connections ever opened. */
  readonly opened: number;
  /** Connections that are not over. */
  readonly open: number;
  /** Connections in the table now, those that are over too. */
  readonly tracked: number;
}

export function countersOf(
  { counts, decisions, drops }: Metrics,
  { table, evicted }: Connections,
  links: readonly Link[],
  pools: readonly Pool[],
  checks: HealthChecks | null,
): Counters {
  return frozen<Counters>({
    frames: {
      in: ofLinks(counts, Count.framesIn),
      out: ofLinks(counts, Count.framesOut),
      arpIn: counts[Count.arpIn]!,
      arpOut: links.reduce((sum, { arp }) => sum + arp.sent, 0),
      neighbors: links.every(({ v6 }) => v6 === null) ? null : {
        in: counts[Count.neighborIn]!,
        out: links.reduce((sum, { v6 }) => sum + (v6?.nd.sent ?? 0), 0),
      },
    },
    pdusIn: { count: ofLinks(counts, Count.pdusIn), bytes: ofLinks(counts, Count.pduBytesIn) },
    pdusOut: { count: ofLinks(counts, Count.pdusOut), bytes: ofLinks(counts, Count.pduBytesOut) },
    carried: { count: counts[Count.pdusCarried]!, bytes: counts[Count.pduBytesCarried]! },
    decisions: named(DECISION_NAMES, decisions),
    drops: named(REASON_NAMES, drops),
    connections: { tracked: table.count, capacity: table.capacity, evicted },
    checks: checks === null || checks.count === 0
      ? null
      : { framesOut: checks.frames.out, framesIn: checks.frames.in },
    pools: pools.map(({ name, members }) => ({
      name,
      members: members.map((member) => snapshotOfMember(member, checks)),
    })),
    own6: ownOf(links),
  });
}

export function ownOf(links: readonly Link[]): OwnSnapshot[] {
  return links.flatMap(({ v6 }, link) =>
    (v6?.ownStates() ?? []).map(({ address, state }) => ({
      link,
      address: formatHostAddress(address),
      state,
    }))
  );
}

export function snapshotOfMember(member: Member, checks: HealthChecks | null): MemberSnapshot {
  const { address, port, weight, isBackup, maxconn, status, opened, load, active } = member;
  const failure = checks?.of(member)?.failure ?? null;
  const counts = { opened, open: load, tracked: active };
  return { address, port, weight, isBackup, maxconn, status, failure, ...counts };
}

/** The names with their counts, in the order of the numbers. */
function named<Name extends string>(
  names: readonly Name[],
  counts: Float64Array,
): Record<Name, number> {
  return Object.fromEntries(names.map((name, i) => [name, counts[i]!])) as Record<Name, number>;
}

/** Freezes the data and all that it holds. */
export function frozen<T>(data: T): T {
  if (typeof data === "object" && data !== null) {
    for (const value of Object.values(data)) frozen(value);
    Object.freeze(data);
  }
  return data;
}
