/**
 * The JSON that the control socket answers with. Times end in Ms and are milliseconds, sizes are
 * bytes, counts are since the start; addresses are text. Fields may be added, none changes its
 * meaning.
 */
import type { AnnotatedTree } from "../policy/engine/annotate.ts";
import type { OwnState } from "../stack/own_state.ts";

/** What went wrong, with a status of 400 or more. */
export interface ErrorShape {
  /** One line. */
  readonly error: string;
  /** Of a wrong policy: each error with its line, as the log shows it. */
  readonly details?: readonly string[];
}

export interface VersionShape {
  readonly version: string;
  /** How the program was made: `source`, `compiled` or `portable`. */
  readonly build: string;
}

export interface StatusShape extends VersionShape {
  readonly uptimeMs: number;
  readonly links: readonly LinkShape[];
  /** The policy file; null: the built-in policy. */
  readonly policy: string | null;
  readonly frames: { readonly in: number; readonly out: number };
  readonly arp: { readonly in: number; readonly out: number };
  /** Null: without IPv6. */
  readonly nd: { readonly in: number; readonly out: number } | null;
  readonly pdusIn: { readonly count: number; readonly bytes: number };
  readonly pdusOut: { readonly count: number; readonly bytes: number };
  /** Those of both that the kernel has carried. */
  readonly carried: { readonly count: number; readonly bytes: number };
  readonly decisions: Readonly<Record<string, number>>;
  readonly connections: {
    readonly tracked: number;
    readonly capacity: number;
    readonly evicted: number;
  };
  /** How many backends have each status. */
  readonly backends: Readonly<Record<string, number>>;
  readonly sandbox: SandboxShape;
  /** Connections to the control socket that were not taken, as too many were open. */
  readonly control: { readonly refused: number };
  /** Null: none is under way. */
  readonly capture: CaptureShape | null;
}

/** A capture under way, or as it was when it ended. */
export interface CaptureShape {
  /** Its name or path; of one in several files without their numbers. */
  readonly file: string;
  readonly filter: string | null;
  readonly dropsOnly: boolean;
  readonly packets: number;
  /** Those that it was for, and that found no room. */
  readonly lost: number;
  /** Of all its files. */
  readonly bytes: number;
  /** What has ended it, if nobody has; else null. */
  readonly fault: string | null;
}

/** What the control thread itself knows of the run. */
export type OwnShape = Pick<StatusShape, "sandbox" | "control">;

/** How many threads there are, and of how many it is true. */
export interface ThreadCounts {
  readonly threads: number;
  /** Programs that they would start get no privileges from their files. */
  readonly noNewPrivileges: number;
  readonly noCapabilities: number;
  /** Nor could they get any. */
  readonly emptyBoundingSet: number;
  /** System calls that a run has no need of are refused. */
  readonly filtered: number;
}

/** What the run has given up. */
export interface SandboxShape extends ThreadCounts {
  /** `on`, `strict` or `off`. */
  readonly mode: string;
  /** That of `--user`; null: it is who it was. */
  readonly user: string | null;
  /** The version of Landlock that keeps files from it; null: none does. */
  readonly landlock: number | null;
}

export interface LinkShape {
  /** Name of the device. */
  readonly device: string;
  /** `a`, `b`, or `both`. */
  readonly side: string;
  readonly isUp: boolean;
  /** The proxy's own addresses and their prefixes, as in `192.168.0.100/24, 2001:db8::64/64`. */
  readonly address: string;
  readonly mac: string;
  /** In bytes. */
  readonly mtu: number;
  /** The same of IPv6, of which routers may have told less (`--accept-ra`); null: without IPv6. */
  readonly mtu6: number | null;
  /** Those of IPv6, and the link-local one, which is the last; none without IPv6. */
  readonly own6: readonly {
    readonly address: string;
    /** `in-use`; `on-trial`: somebody else may have it; `withheld`: somebody has, or wants, it. */
    readonly state: OwnState;
  }[];
}

export interface PoolShape {
  /** Without `$`; `dst-addrs` is the one that always exists. */
  readonly name: string;
  /** How many members it has, and how many of them are up. */
  readonly members: number;
  readonly up: number;
  readonly opened: number;
  readonly tracked: number;
}

/** A member of a pool. */
export interface BackendShape {
  /** POOL/ADDRESS or POOL/ADDRESS:PORT: how commands call it. */
  readonly name: string;
  readonly pool: string;
  readonly address: string;
  /** 0: the connection's own. */
  readonly port: number;
  /** `unknown`, `up`, `down`, `draining` or `maintenance`. */
  readonly status: string;
  /** Why its last check failed; null: it did not, or none was made. */
  readonly failure: string | null;
  /** Share of new connections, 0 … 256. */
  readonly weight: number;
  readonly isBackup: boolean;
  /** Most connections at a time; 0: no limit. */
  readonly maxconn: number;
  /** Connections ever opened. */
  readonly opened: number;
  /** Connections that are not over: what a drain waits for. */
  readonly open: number;
  /** Connections that are tracked now, for some time after their end too. */
  readonly tracked: number;
}

export interface ConnectionShape {
  /** `tcp`, `udp`, `icmp`, or a number. */
  readonly protocol: string;
  readonly state: string;
  /** Until it is forgotten, if it is not used. */
  readonly expiresMs: number;
  /** Since it was opened. */
  readonly ageMs: number;
  /** ADDRESS:PORT; of a query, the identifier in place of the port. */
  readonly client: string;
  /** What the client has asked for. */
  readonly virtual: string;
  /** Null: the proxy itself has answered. */
  readonly backend: string | null;
}

/** A walk of some time through a table that changes meanwhile: no connection is listed twice. */
export interface ConnectionsShape {
  readonly connections: readonly ConnectionShape[];
  /** There may be more that fit. */
  readonly more: boolean;
}

export interface DropShape {
  readonly reason: string;
  readonly count: number;
  readonly meaning: string;
}

export interface NeighborShape {
  /** Name of the device. */
  readonly device: string;
  readonly address: string;
  /** Null: it has not said where it is. */
  readonly mac: string | null;
  /** `known`, `asked`, or, of a backend or gateway, `unanswered`. */
  readonly state: string;
  /** A backend or gateway. */
  readonly isWatched: boolean;
  /** A flag names it as a way to other networks, or it is the default router that is taken. */
  readonly isGateway: boolean;
  /** Since it last said where it is. */
  readonly confirmedMs: number | null;
}

/** The policy's tree as lines, as the summary shows it. */
export type TreeShape = AnnotatedTree;

/** What a reload has done. */
export interface ReloadShape {
  /** One line for each thing that was done. */
  readonly done: readonly string[];
}

export interface UpgradeShape {
  readonly upgrading: true;
}

export interface RemoveShape {
  /** Name of the backend that is in its pool no more; it goes with its last connection. */
  readonly removed: string;
}

export interface KillShape {
  /** Connections that were forgotten; both ends of open TCP connections got an RST. */
  readonly killed: number;
}

/** One packet's way, as `proxy explain` prints it. */
export interface ExplainShape {
  readonly explanations: readonly string[];
}

/** A line of a trace: a packet; how many were not looked at; or why the trace has ended. */
export interface TraceShape {
  readonly packet?: string;
  /** `new`, `established`, `invalid` or `related`. */
  readonly state?: string;
  /** The console's words, e.g. `Drop (no-mapping)`. */
  readonly decision?: string;
  readonly backend?: string | null;
  /** PDUs since the last line that were not looked at or found no room. */
  readonly missed?: number;
  readonly ended?: string;
}
