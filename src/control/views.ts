/** From what the packet thread answers to the JSON that `shapes.ts` describes. */
import { formatDecision } from "../console/summary.ts";
import { Reason, reasonText } from "../core/reason.ts";
import { type Config, ownTexts, sideOf } from "../datapath/config.ts";
import { formatPacket } from "../offline/packet_text.ts";
import { formatMac } from "../wire/address.ts";
import { formatEndpoint, formatHostAddress } from "../wire/host_address.ts";
import { STATE_ESTABLISHED, STATE_NEW } from "../wire/pdu.ts";
import type { MemberSnapshot } from "../datapath/snapshot.ts";
import type { Answers, Known } from "./request.ts";
import type {
  BackendShape,
  DropShape,
  LinkShape,
  NeighborShape,
  OwnShape,
  PoolShape,
  StatusShape,
  TraceShape,
  VersionShape,
} from "./shapes.ts";
import type { TracedPacket } from "./tracer.ts";

export function statusOf(
  { capture, counters, links, policy, uptimeMs }: Answers["counters"],
  config: Config,
  about: VersionShape,
  own: OwnShape,
): StatusShape {
  const { frames, pdusIn, pdusOut, carried, decisions, connections } = counters;
  const backends: Record<string, number> = {};
  for (const { status } of counters.pools.flatMap(({ members }) => members)) {
    backends[status] = (backends[status] ?? 0) + 1;
  }
  return {
    version: about.version,
    build: about.build,
    uptimeMs: Math.round(uptimeMs),
    links: config.links.map((link, i): LinkShape => ({
      device: link.net,
      side: sideOf(config.links, link),
      address: ownTexts(link).join(", "),
      mac: formatMac(link.mac),
      isUp: links[i]!.isUp,
      mtu: links[i]!.mtu,
      mtu6: links[i]!.mtu6,
      own6: links[i]!.own6.map(({ address, state }) => ({
        address: formatHostAddress(address),
        state,
      })),
    })),
    policy,
    frames: { in: frames.in, out: frames.out },
    arp: { in: frames.arpIn, out: frames.arpOut },
    nd: frames.neighbors,
    pdusIn,
    pdusOut,
    carried,
    decisions,
    connections,
    backends,
    ...own,
    capture,
  };
}

export function backendsOf({ counters }: Answers["counters"]): BackendShape[] {
  return counters.pools.flatMap(({ name, members }) =>
    members.map((member) => backendOf(name, member))
  );
}

export function backendOf(pool: string, { address, port, ...rest }: MemberSnapshot): BackendShape {
  const name = `${pool}/${formatEndpoint(address, port)}`;
  return { name, pool, address: formatHostAddress(address), port, ...rest };
}

export function poolsOf({ counters }: Answers["counters"]): PoolShape[] {
  return counters.pools.map(({ name, members }) => ({
    name,
    members: members.length,
    up: members.filter(({ status }) => status === "up").length,
    opened: members.reduce((sum, { opened }) => sum + opened, 0),
    tracked: members.reduce((sum, { tracked }) => sum + tracked, 0),
  }));
}

/** Those that have happened, most frequent first. */
export function dropsOf({ counters: { drops } }: Answers["counters"]): DropShape[] {
  return Object.entries(drops)
    .filter(([, count]) => count > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([reason, count]) => ({
      reason,
      count,
      meaning: reasonText(Reason[reason as keyof typeof Reason]),
    }));
}

export function neighborOf(neighbor: Known, device: string): NeighborShape {
  const { address, mac, isLost, isWatched, isGateway, confirmedMs } = neighbor;
  return {
    device,
    address: formatHostAddress(address),
    mac: mac === null ? null : formatMac(mac),
    state: mac !== null ? "known" : isLost ? "unanswered" : "asked",
    isWatched,
    isGateway,
    confirmedMs: confirmedMs === null ? null : Math.round(confirmedMs),
  };
}

export function traceOf(traced: TracedPacket): TraceShape {
  const { packet, state, isRelated, backend } = traced;
  return {
    packet: formatPacket(packet),
    state: isRelated
      ? "related"
      : state === STATE_NEW
      ? "new"
      : state === STATE_ESTABLISHED
      ? "established"
      : "invalid",
    decision: formatDecision(traced).replace("Decision : ", ""),
    backend: backend === null ? null : formatHostAddress(backend),
  };
}
