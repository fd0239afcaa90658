/** What is measured. Each run creates a network of its own and deletes it. */
import { IPV4 } from "../lab/families.ts";
import type { Host } from "../lab/lab.ts";
import { kernelCounter } from "../lab/traffic.ts";
import { makeNetwork, type Network } from "./network.ts";
import type { Demand, Subject } from "./subjects.ts";
import type { Tools } from "./tools.ts";

/** One row of the report. */
export interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly better: "more" | "less";
}

/** What one run gave. */
export interface Outcome {
  /** A figure for each metric of the workload. */
  readonly figures: readonly number[];
  /**
   * SYNs that some host sent again, and requests that failed: unless both are 0, the run is void.
   */
  readonly synRetransmissions: number;
  readonly failures: number;
}

export interface Workload {
  readonly name: string;
  readonly metrics: readonly Metric[];
  readonly takes: (subject: Subject) => boolean;
  readonly run: (subject: Subject, tools: Tools) => Promise<Outcome>;
}

const BULK_SECONDS = 3;
const REQUEST_SECONDS = 3;
/** Before a measurement: by then every subject's code is warm, V8's too. */
const WARM_UP_SECONDS = 2;
const FRAMES_SECONDS = 2;
const CONNECTIONS_AT_ONCE = 64;
const FIRST_CONNECTIONS = 3_000;
const FEW_CONNECTIONS = 1_000;
const MANY_CONNECTIONS = 1_000_000;
const DEFAULT_CONNECTIONS = 262_144;
const HTTP_PORT = 8080;
const POLICY_RULES = [10, 1_000, 10_000];
const programTimeoutMs = 180_000;

const everyone = (): boolean => true;
const ordinary: Demand = { connections: DEFAULT_CONNECTIONS, policy: "" };

const bulk: Workload = {
  name: "bulk",
  metrics: [
    ...[1, 8].flatMap((streams) =>
      ["to", "from"].map((way): Metric => ({
        name: `bulk TCP ${way} the backend, ${streams} stream${streams === 1 ? "" : "s"}`,
        unit: "Gbit/s",
        better: "more",
      }))
    ),
    { name: "bulk TCP segments sent again", unit: "of 1,000", better: "less" },
  ],
  takes: everyone,
  run: async (subject, tools) => {
    // All streams of an iperf3 client must come to the same server.
    await using network = await makeNetwork(subject.family, 1, true);
    const target = await subject.start(network, tools, ordinary);
    await network.backends[0]!.host.start(["iperf3", "-s", "--forceflush"]).waitFor(
      "Server listening",
    );
    const figures: number[] = [];
    for (const streams of [1, 8]) {
      for (const direction of [[], ["-R"]]) {
        const words = ["iperf3", "-c", target, "-J", "-P", `${streams}`, ...direction];
        const text = await network.client.must([
          ...words,
          "-O",
          `${WARM_UP_SECONDS}`,
          "-t",
          `${BULK_SECONDS}`,
        ]);
        figures.push(JSON.parse(text).end.sum_received.bits_per_second / 1e9);
      }
    }
    const hosts = [network.client, network.backends[0]!.host];
    const again = await total(hosts, "TcpRetransSegs");
    figures.push(1000 * again / await total(hosts, "TcpOutSegs"));
    return { figures, synRetransmissions: await synRetransmissions(network), failures: 0 };
  },
};

const connect: Workload = {
  name: "connect",
  metrics: [{ name: "new connections, one HTTP request each", unit: "1/s", better: "more" }],
  takes: everyone,
  run: (subject, tools) =>
    withServers(subject, tools, async (network, target) => {
      const words = [String(CONNECTIONS_AT_ONCE)];
      const report = await requests(network, tools, "connect", target, words);
      return { figures: [report.done / report.seconds], failures: report.failed };
    }),
};

const cold: Workload = {
  name: "cold",
  metrics: [{
    name: `the first ${FIRST_CONNECTIONS.toLocaleString("en")} connections after a start`,
    unit: "1/s",
    better: "more",
  }],
  takes: everyone,
  run: (subject, tools) =>
    withServers(subject, tools, async (network, target) => {
      const words = [String(CONNECTIONS_AT_ONCE), String(FIRST_CONNECTIONS)];
      const report = await requestsOnce(network, tools, "first", target, words);
      return { figures: [report.done / report.seconds], failures: report.failed };
    }),
};

const keepalive: Workload = {
  name: "keepalive",
  metrics: [
    { name: "keep-alive request, median", unit: "µs", better: "less" },
    { name: "keep-alive request, 99th percentile", unit: "µs", better: "less" },
  ],
  takes: everyone,
  run: (subject, tools) =>
    withServers(subject, tools, async (network, target) => {
      const report = await requests(network, tools, "keepalive", target, []);
      return { figures: [report.p50, report.p99], failures: report.failed };
    }),
};

const frames: Workload = {
  name: "frames",
  metrics: [{
    name: `bare ACKs over ${FEW_CONNECTIONS.toLocaleString("en")} connections`,
    unit: "1/s",
    better: "more",
  }],
  takes: (subject) => subject.terminates !== true,
  run: async (subject, tools) => {
    const senders = navigator.hardwareConcurrency;
    const flood = await floodThrough(subject, tools, FEW_CONNECTIONS, ordinary, senders);
    return { figures: [flood.perSecond], synRetransmissions: 0, failures: flood.failures };
  },
};

const million: Workload = {
  name: "million",
  metrics: [
    {
      name: `handshakes until ${MANY_CONNECTIONS.toLocaleString("en")} connections are open`,
      unit: "1/s",
      better: "more",
    },
    { name: "bare ACKs over random ones of them", unit: "1/s", better: "more" },
  ],
  // Over IPv6 all clients here are one source, which may not have a whole table.
  takes: ({ terminates, mostConnections = Infinity, family }) =>
    terminates !== true && mostConnections >= MANY_CONNECTIONS && family === IPV4,
  run: async (subject, tools) => {
    const demand: Demand = { ...ordinary, connections: MANY_CONNECTIONS };
    const flood = await floodThrough(subject, tools, MANY_CONNECTIONS, demand);
    const figures = [flood.filledPerSecond, flood.perSecond];
    return { figures, synRetransmissions: 0, failures: flood.failures };
  },
};

const rules: Workload = {
  name: "rules",
  metrics: POLICY_RULES.map((count) => ({
    name: `bare ACKs, policy of ${count.toLocaleString("en")} rules`,
    unit: "1/s",
    better: "more",
  })),
  takes: ({ name }) => name === "proxy without fast path",
  run: async (subject, tools) => {
    const figures: number[] = [];
    let failures = 0;
    for (const count of POLICY_RULES) {
      const policy = await Deno.makeTempFile({ suffix: ".policy" });
      try {
        await Deno.writeTextFile(policy, policyOf(count));
        const demand = { ...ordinary, policy };
        const flood = await floodThrough(subject, tools, FEW_CONNECTIONS, demand);
        figures.push(flood.perSecond);
        failures += flood.failures;
      } finally {
        await Deno.remove(policy);
      }
    }
    return { figures, synRetransmissions: 0, failures };
  },
};

export const workloads: readonly Workload[] = [
  bulk,
  frames,
  connect,
  cold,
  keepalive,
  million,
  rules,
];

/** A policy of so many rules for side A, of which only the last, port 2000 to 2031, ever holds. */
export function policyOf(rules: number): string {
  const arms = Array.from(
    { length: rules - 1 },
    (_, i) =>
      i % 2 === 0
        ? `  tcp.dport = ${10_000 + i} -> drop`
        : `  ip.src = 10.${i >> 16}.${(i >> 8) & 255}.${i & 255} -> reject`,
  );
  return `default drop
not ip.src in $dst-addrs
${arms.join("\n")}
  tcp.dport in 2000-2031 -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`;
}

interface Flood {
  readonly perSecond: number;
  readonly filledPerSecond: number;
  /** Connections that could not be opened. */
  readonly failures: number;
}

/**
 * Opens connections and sends frames over random ones: how many reached the backends. The senders
 * share the connections. They have the last processors, one each, so that each competes with the
 * same programs in each run; what the kernel forwards at once it forwards there.
 */
async function floodThrough(
  subject: Subject,
  tools: Tools,
  connections: number,
  demand: Demand,
  senders = 1,
): Promise<Flood> {
  await using network = await makeNetwork(subject.family, 3, false);
  for (const { host, address } of network.backends) {
    await host.start([tools.frames, "answer", "eth0", address]).waitFor("listening");
  }
  const target = await subject.start(network, tools, demand);
  const seconds = [String(WARM_UP_SECONDS), String(FRAMES_SECONDS)];
  const each = Math.floor(connections / senders);
  const floods = Array.from({ length: senders }, (_, i) => {
    const words = ["flood", "eth0", target, String(i * each), String(each), ...seconds];
    const pinned = ["taskset", "-c", String(navigator.hardwareConcurrency - 1 - i), tools.frames];
    return network.client.start([...pinned, ...words], { stdin: "" });
  });
  let opened = 0;
  let fillSeconds = 0;
  for (const flood of floods) {
    const [, filledText] = await flood.waitFor(/filled\n(\{.*\})\n/, programTimeoutMs);
    const filled = JSON.parse(filledText!);
    opened += filled.connections;
    fillSeconds = Math.max(fillSeconds, filled.seconds);
  }
  const before = await received(network);
  for (const flood of floods) await flood.write("go\n", { close: true });
  let sentSeconds = 0;
  for (const flood of floods) {
    if (!await flood.ended(programTimeoutMs)) throw new Error("Cannot end the flood");
    const sent = lastLine((await flood.result()).stdout) as { readonly seconds: number };
    sentSeconds = Math.max(sentSeconds, sent.seconds);
  }
  await new Promise((resolve) => setTimeout(resolve, 200)); // what is still queued
  return {
    perSecond: (await received(network) - before) / sentSeconds,
    filledPerSecond: opened / fillSeconds,
    failures: each * senders - opened,
  };
}

/** Frames that have reached the backends. */
async function received({ backends }: Network): Promise<number> {
  let sum = 0;
  for (const { host } of backends) {
    const [link] = JSON.parse(await host.must(["ip", "-json", "-stats", "link", "show", "eth0"]));
    sum += link.stats64.rx.packets;
  }
  return sum;
}

async function withServers(
  subject: Subject,
  tools: Tools,
  run: (
    network: Network,
    target: string,
  ) => Promise<{ figures: readonly number[]; failures: number }>,
): Promise<Outcome> {
  await using network = await makeNetwork(subject.family, 3, true);
  for (const { host, address } of network.backends) {
    const words = [tools.requests, "serve", address, String(HTTP_PORT)];
    await host.start(words).waitFor("listening");
  }
  const target = await subject.start(network, tools, ordinary);
  const { figures, failures } = await run(network, target);
  return { figures, failures, synRetransmissions: await synRetransmissions(network) };
}

/** What the client of requests.c says; latencies are of `keepalive` alone, in µs. */
interface Requests {
  readonly done: number;
  readonly failed: number;
  readonly seconds: number;
  readonly p50: number;
  readonly p99: number;
}

async function requests(
  network: Network,
  tools: Tools,
  mode: string,
  target: string,
  words: readonly string[],
): Promise<Requests> {
  await requestsOnce(network, tools, mode, target, [...words, String(WARM_UP_SECONDS)]);
  return await requestsOnce(network, tools, mode, target, [...words, String(REQUEST_SECONDS)]);
}

async function requestsOnce(
  network: Network,
  tools: Tools,
  mode: string,
  target: string,
  words: readonly string[],
): Promise<Requests> {
  const argv = [tools.requests, mode, target, String(HTTP_PORT), ...words];
  return lastLine(await network.client.must(argv)) as Requests;
}

function synRetransmissions({ client, host, backends }: Network): Promise<number> {
  const hosts = [client, host, ...backends.map(({ host }) => host)];
  return total(hosts, "TcpExtTCPSynRetrans");
}

/** The sum of what the hosts' kernels have counted under that name. */
async function total(hosts: readonly Host[], counter: string): Promise<number> {
  let sum = 0;
  for (const host of hosts) sum += await kernelCounter(host, counter);
  return sum;
}

function lastLine(text: string): unknown {
  return JSON.parse(text.trimEnd().split("\n").at(-1)!);
}
