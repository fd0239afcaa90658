/**
 * What the control thread asks of the packet thread, and what comes back: plain data, which crosses
 * threads. A request is a small piece of work, so that each costs one turn of the packet thread
 * little; what is long is asked for in pieces. One is asked at a time.
 */
import type { CaptureOptions } from "../capture/options.ts";
import type { Policy } from "../policy/language/ast.ts";
import type { Killed } from "../datapath/endings.ts";
import type { Link6 } from "../datapath/link6.ts";
import type { Counters, MemberSnapshot } from "../datapath/snapshot.ts";
import type { AnnotatedTree } from "../policy/engine/annotate.ts";
import type { Included } from "../policy/notation/include.ts";
import type { Neighbor } from "../stack/neighbors.ts";
import type { Rows } from "./connection_rows.ts";
import type { Filter } from "./filter.ts";
import type { Change } from "./members.ts";
import type { CaptureShape } from "./shapes.ts";
import type { Traced } from "./tracer.ts";

export type Request =
  | { readonly ask: "counters" }
  | { readonly ask: "tree" }
  /** The next slice of the table from entry `from` on, at most `most` rows. */
  | {
    readonly ask: "connections";
    readonly filter: Filter;
    readonly from: number;
    readonly most: number;
  }
  /** Resets and forgets what fits among the next slice. */
  | { readonly ask: "kill"; readonly filter: Filter; readonly from: number }
  /** Changes a member of a pool. */
  | { readonly ask: "member"; readonly name: string; readonly change: Change }
  /** A new member, by pool, address and port; or one less, which must be in maintenance. */
  | { readonly ask: "add"; readonly name: string; readonly weight: number }
  | { readonly ask: "remove"; readonly name: string }
  /** The next slice of the neighbours on the link of that number. */
  | {
    readonly ask: "neighbors";
    readonly link: number;
    readonly isIpv6: boolean;
    readonly from: number;
  }
  /** Reads the policy again; takes as long as that takes. */
  | { readonly ask: "reload" }
  /** Ends the run for the next one to go on. */
  | { readonly ask: "upgrade" }
  /** The text of the running policy, for a thread that has its own. */
  | { readonly ask: "policy" }
  /** Begins to watch for packets for which the predicate holds. */
  | { readonly ask: "trace"; readonly predicate: string }
  /** What has been seen since. */
  | { readonly ask: "traced"; readonly trace: number }
  | { readonly ask: "untrace"; readonly trace: number }
  /** Begins a capture into a new file of that name; or ends the one that is under way. */
  | { readonly ask: "capture"; readonly name: string; readonly options: CaptureOptions }
  | { readonly ask: "uncapture" };

export type Ask = Request["ask"];

export interface Answers {
  readonly counters: {
    readonly counters: Counters;
    readonly uptimeMs: number;
    /** Path of the policy file that runs; null: the built-in policy. */
    readonly policy: string | null;
    readonly links: readonly LinkState[];
    readonly capture: CaptureShape | null;
  };
  readonly tree: AnnotatedTree;
  readonly connections: Rows;
  readonly kill: Killed;
  readonly member: { readonly pool: string; readonly member: MemberSnapshot };
  readonly add: Answers["member"];
  readonly remove: null;
  readonly neighbors: { readonly neighbors: readonly Known[]; readonly next: number | null };
  readonly reload: Reloaded;
  readonly upgrade: null;
  /** Its pools are as they are now, whatever the text says. */
  readonly policy: PolicyText & { readonly pools: Policy["pools"] };
  /** The trace's number. */
  readonly trace: number;
  readonly traced: Traced;
  readonly untrace: null;
  readonly capture: CaptureShape;
  readonly uncapture: CaptureShape;
}

/** A neighbour, and whether it is a gateway. */
export type Known = Neighbor & { readonly isGateway: boolean };

/** How a link is now. */
export interface LinkState {
  readonly isUp: boolean;
  readonly mtu: number;
  /** Longest packet of IPv6 that leaves there; null: without IPv6. */
  readonly mtu6: number | null;
  /** The proxy's addresses of IPv6 there, and whether each is used; none without IPv6. */
  readonly own6: ReturnType<Link6["ownStates"]>;
}

/** A policy as text, with the files that it includes. */
export interface PolicyText {
  readonly file: string;
  readonly text: string;
  /** By path. */
  readonly included: ReadonlyMap<string, Included>;
}

/** What a reload has done; or what is wrong, and nothing was done. */
export interface Reloaded {
  readonly isDone: boolean;
  readonly lines: readonly string[];
}

/** Why a request was not done: the HTTP status, and words for the operator. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly details: readonly string[] = [],
  ) {
    super(message);
  }
}
