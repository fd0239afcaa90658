/** The JSON of `shapes.ts` as tables for a person: what `proxy ctl` prints. */
import { formatCarried, formatNeighbors, formatTree } from "../console/summary.ts";
import { sandboxText } from "./sandbox_text.ts";
import { clock, columns, pairs } from "./columns.ts";
import { quote } from "../core/text.ts";
import { ownText } from "../stack/own_state.ts";
import type {
  BackendShape,
  CaptureShape,
  ConnectionsShape,
  DropShape,
  ExplainShape,
  KillShape,
  LinkShape,
  NeighborShape,
  PoolShape,
  ReloadShape,
  RemoveShape,
  StatusShape,
  TraceShape,
  TreeShape,
  UpgradeShape,
  VersionShape,
} from "./shapes.ts";

/** Each command's answer as text, by the command's name. */
export const TABLES = {
  version: ({ version, build }: VersionShape) => `treegate ${version} (${build} build)\n`,

  status: (status: StatusShape) =>
    pairs([
      ["Version", `${status.version} (${status.build} build)`],
      ["Uptime", clock(status.uptimeMs)],
      ...status.links.flatMap(linkLines),
      ["Policy", status.policy ?? "built-in"],
      ["Backends", counts(status.backends)],
      [
        "Connections",
        `${status.connections.tracked} of at most ${status.connections.capacity}, ` +
        `${status.connections.evicted} evicted`,
      ],
      [
        "Frames",
        `${status.frames.in} in, ${status.frames.out} out, ` +
        `${status.arp.in} ARP in, ${status.arp.out} ARP out${formatNeighbors(status.nd)}`,
      ],
      ["PDUs in", `${status.pdusIn.count}, ${status.pdusIn.bytes} bytes`],
      ["PDUs out", `${status.pdusOut.count}, ${status.pdusOut.bytes} bytes`],
      ...(status.carried.count === 0 ? [] : [["Carried", formatCarried(status)] as const]),
      ["Decisions", counts(status.decisions)],
      ...(status.capture === null ? [] : [["Capture", captureText(status.capture)] as const]),
      ["Sandbox", sandboxText(status.sandbox)],
      ["Control", `${status.control.refused} connections refused`],
    ]),

  pools: (pools: readonly PoolShape[]) =>
    columns(
      ["POOL", ">MEMBERS", ">UP", ">TRACKED", ">OPENED"],
      pools.map((
        { name, members, up, tracked, opened },
      ) => [name, `${members}`, `${up}`, `${tracked}`, `${opened}`]),
    ),

  backends: (backends: readonly BackendShape[]) =>
    columns(
      [
        "BACKEND",
        "STATUS",
        ">WEIGHT",
        ">MAXCONN",
        "ROLE",
        ">OPEN",
        ">TRACKED",
        ">OPENED",
        "FAILURE",
      ],
      backends.map((backend) => [
        backend.name,
        backend.status,
        `${backend.weight}`,
        backend.maxconn === 0 ? "-" : `${backend.maxconn}`,
        backend.isBackup ? "backup" : "active",
        `${backend.open}`,
        `${backend.tracked}`,
        `${backend.opened}`,
        backend.failure ?? "-",
      ]),
    ),

  drain: (backend: BackendShape): string => TABLES.backends([backend]),
  maintenance: (backend: BackendShape): string => TABLES.backends([backend]),
  ready: (backend: BackendShape): string => TABLES.backends([backend]),
  add: (backend: BackendShape): string => {
    const { address, pool, port } = backend;
    const where = port === 0 ? "the port of each connection" : `port ${port}`;
    return `added to $${pool}: host ${address}, ${where}\n${TABLES.backends([backend])}`;
  },
  remove: ({ removed }: RemoveShape) => `${removed} is removed\n`,
  weight: (backend: BackendShape): string => TABLES.backends([backend]),

  connections: ({ connections, more }: ConnectionsShape) =>
    columns(
      ["PROTO", ">EXPIRES", "STATE", "CLIENT", "VIRTUAL", "BACKEND", ">AGE"],
      connections.map((one) => [
        one.protocol,
        clock(one.expiresMs),
        one.state,
        one.client,
        one.virtual,
        one.backend ?? "-",
        clock(one.ageMs),
      ]),
    ) + (more ? `… there are more than ${connections.length}: limit=N shows them\n` : ""),

  drops: (drops: readonly DropShape[]) =>
    columns(
      [">COUNT", "REASON", "MEANING"],
      drops.map(({ count, reason, meaning }) => [`${count}`, reason, meaning]),
    ),

  neighbors: (neighbors: readonly NeighborShape[]) =>
    columns(
      ["DEVICE", "ADDRESS", "MAC", "STATE", "ROLE", ">CONFIRMED"],
      neighbors.map(({ device, address, mac, state, isWatched, isGateway, confirmedMs }) => [
        device,
        address,
        mac ?? "-",
        state,
        isGateway ? "gateway" : isWatched ? "backend" : "other",
        confirmedMs === null ? "-" : clock(confirmedMs),
      ]),
    ),

  tree: (tree: TreeShape) => formatTree(tree),

  upgrade: (_: UpgradeShape) =>
    "the proxy saves its state and ends; its supervisor starts the new one\n",

  reload: ({ done }: ReloadShape) => done.map((line) => `${line}\n`).join(""),

  kill: ({ killed }: KillShape) =>
    `${killed} ${killed === 1 ? "connection" : "connections"} killed\n`,

  explain: ({ explanations }: ExplainShape) => explanations.join("\n"),

  capture: (capture: CaptureShape) => `capture ${captureText(capture)}\n`,

  trace: ({ packet, state, decision, backend, missed, ended }: TraceShape) => {
    if (ended !== undefined) return `… ended: ${ended}\n`;
    if (missed !== undefined) return `… ${missed} more PDUs were not looked at\n`;
    const via = backend === null ? "" : ` (backend ${backend})`;
    return `${packet}  ${state}  ${decision}${via}\n`;
  },
};

function linkLines(link: LinkShape): (readonly [name: string, value: string])[] {
  const { device, side, isUp, address, mac, mtu, mtu6, own6 } = link;
  const whole = side === "both";
  const about = `${device} ${isUp ? "up" : "down"}, ${address}, MAC ${mac}, MTU ${mtu}` +
    (mtu6 === null || mtu6 === mtu ? "" : `, of IPv6 ${mtu6}`);
  const own = own6.map(ownText).join(", ");
  return [
    [whole ? "Interface" : `Side ${side}`, about],
    ...(own === "" ? [] : [[whole ? "IPv6" : `IPv6 on ${side}`, own] as const]),
  ];
}

function captureText(
  { file, filter, dropsOnly, packets, lost, bytes, fault }: CaptureShape,
): string {
  const what = [...(dropsOnly ? ["drops only"] : []), ...(filter === null ? [] : [filter])];
  const of = what.length === 0 ? "" : ` of ${what.join(", ")}`;
  const why = fault === null ? "" : `; ended: ${fault}`;
  return `${quote(file)}${of}: ${packets} packets, ${lost} lost, ${bytes} bytes${why}`;
}

function counts(counted: Readonly<Record<string, number>>): string {
  const shown = Object.entries(counted).filter(([, count]) => count > 0);
  return shown.map(([name, count]) => `${name} ${count}`).join(", ") || "none";
}
