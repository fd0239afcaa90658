/**
 * What Prometheus reads: each metric with its help and, out of a reading, its series. Names have
 * the prefix `treegate_` and base units; every value of a label is there from the start, and no
 * label is a client's address.
 *
 * Read first: "Exposition formats" and "Metric and label naming" in Prometheus's manual.
 */
import { REASON_NAMES } from "../../core/reason.ts";
import { Count } from "../../datapath/metrics.ts";
import { MEMBER_STATUSES } from "../../flow/backends/member.ts";
import { DECISIONS } from "../../policy/language/ast.ts";
import { OWN_STATES } from "../../stack/own_state.ts";
import { formatEndpoint } from "../../wire/host_address.ts";
import { BOUNDS, CLASS_NAMES, type MemberField } from "./layout.ts";
import type { About } from "./messages.ts";
import { hitsOf, type Reading, type ShownMember } from "./readings.ts";

export type Labels = Readonly<Record<string, string | number>>;

export interface Series {
  readonly labels: Labels;
  readonly value: number;
  /** Of a histogram: the name with `_bucket`, `_sum` or `_count`. */
  readonly metricName?: string;
}

export interface Metric {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly series: (reading: Reading) => readonly Series[];
}

/** Counters of the admin thread itself. */
export interface OwnCounts {
  /** Connections that were not taken. */
  readonly refused: number;
}

export function metricsOf(about: About, own: OwnCounts): Metric[] {
  const { links } = about;
  const deviceLabels = links.map(({ net, side }) => ({ device: net, side }));
  const eachLink = (valueOf: (reading: Reading, link: number) => number) => (reading: Reading) =>
    deviceLabels.map((labels, i) => ({ labels, value: valueOf(reading, i) }));
  const count = ({ board }: Reading, place: number) => board.part("counts")[place]!;
  const inAndOut = (placeIn: number, placeOut: number) => (reading: Reading) =>
    deviceLabels.flatMap((labels, i) => [
      { labels: { ...labels, direction: "in" }, value: count(reading, placeIn + i) },
      { labels: { ...labels, direction: "out" }, value: count(reading, placeOut + i) },
    ]);
  const secondsOf = (clockMs: number) => (about.epochMs + clockMs) / 1000;

  return [
    gauge("build_info", "Always 1; how the program was made is in the labels.", () => [
      { labels: { version: about.version, build: about.build }, value: 1 },
    ]),
    gauge(
      "start_time_seconds",
      "When the program started, as Unix time.",
      one(() => about.startMs / 1000),
    ),
    gauge(
      "device_up",
      "1 while the device is up.",
      eachLink(({ board }, i) => board.link(i, "isUp")),
    ),
    counter(
      "frames_total",
      "Ethernet frames read from the device and taken by it.",
      inAndOut(Count.framesIn, Count.framesOut),
    ),
    counter("arp_frames_total", "Of the frames, those of ARP.", (reading) => [
      { labels: { direction: "in" }, value: count(reading, Count.arpIn) },
      {
        labels: { direction: "out" },
        value: links.reduce((sum, _, i) => sum + reading.board.link(i, "arpOut"), 0),
      },
    ]),
    ...(about.hasIpv6
      ? [
        counter("nd_frames_total", "Of the frames, those of Neighbor Discovery.", (reading) => [
          { labels: { direction: "in" }, value: count(reading, Count.neighborIn) },
          {
            labels: { direction: "out" },
            value: links.reduce((sum, _, i) => sum + reading.board.link(i, "neighborOut"), 0),
          },
        ]),
      ]
      : []),
    gauge(
      "own_address_state",
      "1 for the state that an own address of IPv6 has.",
      ({ own }) =>
        own.flatMap(({ link, address, state: itsState }) =>
          OWN_STATES.map((state) => ({
            labels: { ...deviceLabels[link]!, address, state },
            value: Number(itsState === state),
          }))
        ),
    ),
    counter(
      "packets_total",
      "Packets that entered the policy, and those that left, the kernel's among them.",
      inAndOut(Count.pdusIn, Count.pdusOut),
    ),
    counter(
      "bytes_total",
      "Bytes of these packets, from the IP header on.",
      inAndOut(Count.pduBytesIn, Count.pduBytesOut),
    ),
    gauge(
      "fast_path",
      "1 if the kernel carries established connections.",
      one(() => Number(about.hasFastPath)),
    ),
    counter(
      "carried_packets_total",
      "Of the packets, those that the kernel has carried past the proxy.",
      one((reading) => count(reading, Count.pdusCarried)),
    ),
    counter(
      "carried_bytes_total",
      "Bytes of these packets.",
      one((reading) => count(reading, Count.pduBytesCarried)),
    ),
    counter(
      "decisions_total",
      "Packets by the policy's decision.",
      ({ board }) => named("decision", DECISIONS, board.part("decisions")),
    ),
    counter(
      "drops_total",
      "Frames and packets dropped, by reason.",
      ({ board }) => named("reason", REASON_NAMES, board.part("drops")).slice(1),
    ), // reason 0 is none
    counter("node_hits_total", "Packets that came to a node of the policy.", nodeSeries(false)),
    gauge("nodes", "Nodes of the policy.", one(({ board }) => board.exits.length)),
    gauge(
      "connections",
      "Connections in the table, by state.",
      ({ board }) => named("state", CLASS_NAMES, board.part("classes")),
    ),
    gauge("connections_limit", "Most connections there can be.", one(() => about.connections)),
    counter(
      "connections_opened_total",
      "Connections ever opened.",
      one(({ board }) => board.get("opened")),
    ),
    counter(
      "connections_evicted_total",
      "Connections that made room for others.",
      one(({ board }) => board.get("evicted")),
    ),
    gauge(
      "ports_in_use",
      "Source ports towards backends that are in use.",
      one(({ board }) => board.get("portsInUse")),
    ),
    gauge(
      "ports_in_use_most",
      "Of these, those towards the one port of a backend that has most.",
      one(({ board }) => board.get("portsMost")),
    ),
    gauge(
      "ports_limit",
      "Source ports there are towards each port of a backend.",
      one(() => about.ports),
    ),
    gauge(
      "neighbors",
      "Hosts on the link that ARP and Neighbor Discovery know or ask for.",
      eachLink(({ board }, i) => board.link(i, "neighbors")),
    ),
    gauge(
      "backend_state",
      "1 for the state that the backend has.",
      ({ members }) =>
        members.flatMap((member) =>
          MEMBER_STATUSES.map((state) => ({
            labels: { ...labelsOf(member), state },
            value: Number(member.status === state),
          }))
        ),
    ),
    gauge("backend_weight", "Share of new connections.", eachMember("weight")),
    gauge("backend_connections", "Connections that are not over.", eachMember("open")),
    gauge(
      "backend_tracked_connections",
      "Connections in the table, those that are over too.",
      eachMember("tracked"),
    ),
    counter("backend_connections_opened_total", "Connections ever opened.", eachMember("opened")),
    gauge(
      "backend_last_change_timestamp_seconds",
      "When the state last changed, as Unix time.",
      eachMember("changedMs", secondsOf),
    ),
    counter(
      "backend_checks_total",
      "Checks of the backend by result.",
      ({ members }) =>
        checked(members).flatMap((member) => [
          { labels: { ...labelsOf(member), result: "success" }, value: member.get("succeeded") },
          { labels: { ...labelsOf(member), result: "failure" }, value: member.get("failed") },
        ]),
    ),
    gauge(
      "backend_check_duration_seconds",
      "How long the last check took.",
      ({ members }) =>
        checked(members).map((member) => ({
          labels: labelsOf(member),
          value: member.get("tookMs") / 1000,
        })),
    ),
    counter("check_frames_total", "Frames of the checks of backends.", ({ board }) => [
      { labels: { direction: "in" }, value: board.get("checkFramesIn") },
      { labels: { direction: "out" }, value: board.get("checkFramesOut") },
    ]),
    counter("reloads_total", "Reloads by result.", ({ board }) => [
      { labels: { result: "success" }, value: board.get("reloaded") },
      { labels: { result: "failure" }, value: board.get("notReloaded") },
    ]),
    gauge(
      "last_reload_successful",
      "1 unless the last reload has failed.",
      one(({ board }) => 1 - board.get("reloadFailed")),
    ),
    gauge(
      "last_reload_success_timestamp_seconds",
      "When the last reload succeeded, as Unix time; without one, the start.",
      one(({ board }) => {
        const reloadedMs = board.get("reloadedMs");
        return (reloadedMs < 0 ? about.startMs : reloadedMs) / 1000;
      }),
    ),
    gauge(
      "last_reload_duration_seconds",
      "How long it took, 0 without one.",
      one(({ board }) => board.get("reloadMs") / 1000),
    ),
    histogram("event_loop_turn_seconds", "How long packets wait for other work.", "turns"),
    histogram("burst_frames", "Frames that were read at a time.", "bursts"),
    counter(
      "lost_entries_total",
      "Entries lost because their reader was too slow, or a disk full.",
      ({ board }) => [
        { labels: { stream: "trace" }, value: board.get("traceLost") },
        { labels: { stream: "log" }, value: board.get("logLost") },
        { labels: { stream: "capture" }, value: board.get("captureLost") },
      ],
    ),
    counter(
      "admin_connections_refused_total",
      "Connections to this address that were too many.",
      one(() => own.refused),
    ),
  ];
}

/** Nodes with a label, or all that are shown. */
export function nodeSeries(isOfAll: boolean): (reading: Reading) => readonly Series[] {
  return (reading) => {
    const hits = hitsOf(reading);
    return reading.nodes.flatMap(({ label }, node) =>
      isOfAll || label !== null
        ? [{ labels: { node, label: label ?? "" }, value: hits[node]! }]
        : []
    );
  };
}

function counter(name: string, help: string, series: Metric["series"]): Metric {
  return { name: `treegate_${name}`, help, type: "counter", series };
}

function gauge(name: string, help: string, series: Metric["series"]): Metric {
  return { name: `treegate_${name}`, help, type: "gauge", series };
}

function histogram(shortName: string, help: string, part: keyof typeof BOUNDS): Metric {
  const name = `treegate_${shortName}`;
  const bounds = BOUNDS[part];
  const series = ({ board }: Reading) => {
    const numbers = board.part(part);
    let sum = 0;
    const buckets = [...bounds, "+Inf"].map((le, i) => ({
      labels: { le },
      value: sum += numbers[i]!,
      metricName: `${name}_bucket`,
    }));
    return [
      ...buckets,
      { labels: {}, value: numbers.at(-1)!, metricName: `${name}_sum` },
      { labels: {}, value: sum, metricName: `${name}_count` },
    ];
  };
  return { name, help, type: "histogram", series };
}

function one(valueOf: (reading: Reading) => number): Metric["series"] {
  return (reading) => [{ labels: {}, value: valueOf(reading) }];
}

function named(label: string, names: readonly string[], values: Float64Array): Series[] {
  return names.map((name, i) => ({ labels: { [label]: name }, value: values[i]! }));
}

function eachMember(
  field: MemberField,
  valueOf: (number: number) => number = (number) => number,
): Metric["series"] {
  return ({ members }) =>
    members.map((member) => ({ labels: labelsOf(member), value: valueOf(member.get(field)) }));
}

function checked(members: readonly ShownMember[]): readonly ShownMember[] {
  return members.filter(({ get }) => get("checks") === 1);
}

function labelsOf({ pool, address, port }: ShownMember): { pool: string; backend: string } {
  return { pool, backend: formatEndpoint(address, port) };
}
