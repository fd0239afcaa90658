/**
 * What the dashboard is told (`src/page/model/feed.ts`). A new `tree` number means that the former
 * has changed and is to be asked for again.
 */
import { REASON_NAMES } from "../../core/reason.ts";
import { Count, ofLinks } from "../../datapath/metrics.ts";
import type { BackendState, Counters, EventShape, TreeShape } from "../../page/model/feed.ts";
import { type Decision, DECISIONS } from "../../policy/language/ast.ts";
import { formatEndpoint } from "../../wire/host_address.ts";
import type { About } from "./messages.ts";
import { hitsOf, type Reading, type ShownMember, type ShownNode } from "./readings.ts";

export function treeOf(reading: Reading, about: About): TreeShape {
  const { tree, board, nodes, hiddenNodes, members } = reading;
  return {
    tree,
    name: about.name,
    version: about.version,
    devices: about.links.map((link, i) => ({ ...link, mtu: board.link(i, "mtu") })),
    fast_path: about.hasFastPath,
    max_connections: about.connections,
    nodes: nodes.map(({ parent, text, kind, arm, label }, id) => {
      const shared = { id, parent, text, arm, label };
      return isDecision(kind)
        ? { ...shared, kind: "decision", decision: kind }
        : { ...shared, kind, decision: null };
    }),
    hidden_nodes: hiddenNodes,
    backends: members.map(({ address, port, pool, check, get }) => ({
      address: formatEndpoint(address, port),
      pool,
      weight: get("weight"),
      check,
    })),
    reasons: REASON_NAMES.slice(1),
  };
}

function isDecision(kind: ShownNode["kind"]): kind is Decision {
  return (DECISIONS as readonly string[]).includes(kind);
}

export function fullOf(reading: Reading, { startMs }: About): Counters {
  const { tree, wallMs, board, members, own } = reading;
  const counts = board.part("counts");
  const drops = [...board.part("drops")];
  return {
    tree,
    ms: wallMs,
    uptime_s: Math.round((wallMs - startMs) / 100) / 10,
    in: { packets: ofLinks(counts, Count.pdusIn), bytes: ofLinks(counts, Count.pduBytesIn) },
    out: { packets: ofLinks(counts, Count.pdusOut), bytes: ofLinks(counts, Count.pduBytesOut) },
    dropped: drops.reduce((sum, count) => sum + count),
    connections: board.get("tracked"),
    opened: board.get("opened"),
    carried: counts[Count.pdusCarried]!,
    hits: hitsOf(reading),
    drops: Object.fromEntries(
      drops.flatMap((count, reason) => count > 0 ? [[REASON_NAMES[reason]!, count]] : []),
    ),
    backends: Object.fromEntries(members.map((member, i) => [i, stateOf(member)])),
    not_in_use: own.filter(({ state }) => state !== "in-use"),
  };
}

function stateOf({ status, failure, get }: ShownMember): BackendState {
  const checks = get("succeeded") + get("failed");
  return {
    state: status,
    weight: get("weight"),
    connections: get("open"),
    opened: get("opened"),
    check: checks === 0 ? null : failure === null ? "ok" : `failed: ${failure}`,
  };
}

/** What is new in an event of the same tree. */
export function deltaOf(before: EventShape, now: EventShape): EventShape {
  return {
    ...now,
    hits: changed(before.hits, now.hits),
    drops: changed(before.drops, now.drops),
    backends: changed(before.backends, now.backends),
  };
}

function changed<T>(
  before: Readonly<Record<string, T>> | readonly T[],
  now: Readonly<Record<string, T>> | readonly T[],
): Record<string, T> {
  const old = before as Readonly<Record<string, T>>;
  return Object.fromEntries(
    Object.entries(now).filter(([key, value]) => !isSame(old[key], value)),
  );
}

function isSame(a: unknown, b: unknown): boolean {
  return a === b || (typeof b === "object" && JSON.stringify(a) === JSON.stringify(b));
}
