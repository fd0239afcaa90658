/**
 * What the page is told, as JSON: the policy's tree and the backends once (`/api/tree`), then
 * counters, which only grow (`/events`).
 */
import type { MemberStatus } from "../../flow/backends/member.ts";
import type { Decision } from "../../policy/language/ast.ts";
import type { NodeKind } from "../../policy/engine/outline.ts";
import type { OwnState } from "../../stack/own_state.ts";

/** The answer of `/api/tree`. */
export interface TreeShape {
  /** Another one after each change. */
  readonly tree: number;
  /** The host's. */
  readonly name: string;
  readonly version: string;
  readonly devices: readonly {
    readonly net: string;
    readonly side: "a" | "b" | "both";
    readonly address: string;
    /** In bytes. */
    readonly mtu: number;
  }[];
  readonly fast_path: boolean;
  readonly max_connections: number;
  /** A node after its parent; what comes below it before its next sibling. */
  readonly nodes: readonly NodeShape[];
  /** How many more there are, which are not shown. */
  readonly hidden_nodes: number;
  readonly backends: readonly BackendShape[];
  readonly reasons: readonly string[];
}

export interface NodeShape {
  readonly id: number;
  /** -1: it is the root. */
  readonly parent: number;
  readonly text: string;
  readonly kind: Exclude<NodeKind, Decision> | "decision";
  /** What leads to it from its parent, if anything has to. */
  readonly arm: string | null;
  readonly label: string | null;
  readonly decision: Decision | null;
}

export interface BackendShape {
  /** With its port, if it has one of its own. */
  readonly address: string;
  readonly pool: string;
  readonly weight: number;
  /** As `--check` has it. */
  readonly check: string;
}

export interface Traffic {
  readonly packets: number;
  readonly bytes: number;
}

export interface BackendState {
  readonly state: MemberStatus;
  readonly weight: number;
  /** Those that are not over. */
  readonly connections: number;
  readonly opened: number;
  /** Of its last check: `ok`, or `failed: ` and why; null: there was none. */
  readonly check: string | null;
}

/** The data of an event: of `full` all, of `delta` what has changed since the one before. */
export interface EventShape {
  /** Of the tree that `hits` and `backends` belong to. */
  readonly tree: number;
  /** Unix time, in milliseconds. */
  readonly ms: number;
  readonly uptime_s: number;
  /** What entered the policy, and what left. */
  readonly in: Traffic;
  readonly out: Traffic;
  readonly dropped: number;
  readonly connections: number;
  readonly opened: number;
  /** Packets that the kernel has carried. */
  readonly carried: number;
  /** Packets that came to each node, by its id. */
  readonly hits: readonly number[] | Readonly<Record<string, number>>;
  /** By reason, those above 0. */
  readonly drops: Readonly<Record<string, number>>;
  /** By place in the tree's `backends`. */
  readonly backends: Readonly<Record<string, BackendState>>;
  /** Those of the proxy's IPv6 addresses that are not, with the place of the device. */
  readonly not_in_use: readonly {
    readonly link: number;
    readonly address: string;
    readonly state: OwnState;
  }[];
}

/** The data of an event with everything. */
export interface Counters extends EventShape {
  readonly hits: readonly number[];
}

/** What is known after a `delta`. */
export function merged(before: Counters, delta: EventShape): Counters {
  const hits = [...before.hits];
  for (const [id, count] of Object.entries(delta.hits)) hits[Number(id)] = count;
  return {
    ...delta,
    hits,
    drops: { ...before.drops, ...delta.drops },
    backends: { ...before.backends, ...delta.backends },
  };
}
