/**
 * `deno task soak:health [SECONDS]`: backends that die, are cut off, come back and flap, under 200
 * new connections a second, for a minute each unless told otherwise; the proxy, and HAProxy where
 * it is installed, with the same settings in the same lab. Prints a table.
 */
import { type Paced, pacedResult, startPaced } from "../lab/paced.ts";
import { startEcho } from "../lab/peer.ts";
import { startProxy, usualOptions } from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { backendAddresses, bridged, proxyAddress, type Topology } from "../lab/topology.ts";
import { type Background, which } from "../support/shell.ts";

const RATE = 200;
const PORT = 2000;
const STEADY = 30;
const seconds = Number(Deno.args[0] ?? 60);
if (!(seconds >= 20 && seconds <= 600)) {
  throw new RangeError(`Cannot run for "${Deno.args[0]}" seconds: expected 20 to 600`);
}

type Subject = "Treegate" | "HAProxy";

interface Scene {
  readonly topology: Topology;
  readonly services: Background[];
}

interface Scenario {
  readonly name: string;
  /** What happens after a quarter of the time; ends before it is over. */
  readonly fault: (scene: Scene) => Promise<void>;
}

const cut = ({ topology }: Scene, isUp: boolean) =>
  topology.backends[1]!.host.script(`ip link set eth0 ${isUp ? "up" : "down"}`);

const SCENARIOS: readonly Scenario[] = [
  {
    name: "service killed on one",
    fault: async ({ services }) => void await services[1]!.stop("SIGKILL"),
  },
  { name: "host cut off", fault: async (scene) => void await cut(scene, false) },
  {
    name: "cut off for a quarter of the time",
    fault: async (scene) => {
      await cut(scene, false);
      await delay(seconds * 250);
      await cut(scene, true);
    },
  },
  {
    name: "all services killed",
    fault: async ({ services }) => {
      await Promise.all(services.map((service) => service.stop("SIGKILL")));
    },
  },
  {
    name: "host cut off every 3 s for 3 s",
    fault: async (scene) => {
      for (let ms = 0; ms + 6000 < seconds * 750; ms += 6000) {
        await cut(scene, false);
        await delay(3000);
        await cut(scene, true);
        await delay(3000);
      }
    },
  },
];

const subjects: Subject[] = await which("haproxy") ? ["Treegate", "HAProxy"] : ["Treegate"];
print(
  "| what happens | who | connections | failed | slowest | slowest failure | last failure after | share of the backend, second by second | open ones lost |",
);
print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
for (const scenario of SCENARIOS) {
  for (const subject of subjects) print(await rowOf(scenario, subject));
}

async function rowOf({ name, fault }: Scenario, subject: Subject): Promise<string> {
  await using topology = await bridged("behind a port", "nobody");
  const services: Background[] = [];
  for (const { host, address } of topology.backends) {
    services.push(await startEcho(host, address, PORT));
  }
  if (subject === "Treegate") await startTreegate(topology);
  else await startHaproxy(topology);
  const steady = await SteadyConnections.open(topology.client, proxyAddress, PORT, STEADY);
  const paced = await startPaced(topology.client, proxyAddress, PORT, RATE, seconds);
  await delay(seconds * 250);
  await fault({ topology, services });
  const results = await pacedResult(paced, seconds);
  const lost = (await steady.report()).failures.length;
  const failing = results.map(({ failures }, second) => failures.length > 0 ? second : -1);
  const last = Math.max(...failing);
  const kinds = new Map<string, number>();
  for (const text of results.flatMap(({ failures }) => failures)) {
    const kind = /refused|reset|unreachable|timed out|No route/i.exec(text)?.[0] ?? text;
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  const failed = [...kinds].map(([kind, count]) => `${count} ${kind}`).join(", ") || "0";
  const cells = [
    name,
    subject,
    RATE * seconds,
    failed,
    `${most(results, "slowestMs")} ms`,
    kinds.size === 0 ? "-" : `${most(results, "slowestFailureMs")} ms`,
    kinds.size === 0 ? "-" : `${last - Math.floor(seconds / 4) + 1} s`,
    results.map(({ byServer }) => byServer[backendAddresses[1]!] ?? 0).join(" "),
    `${lost} of ${STEADY}`,
  ];
  return `| ${cells.join(" | ")} |`;
}

function most(results: readonly Paced[], key: "slowestMs" | "slowestFailureMs"): string {
  return Math.max(...results.map((second) => second[key])).toFixed(0);
}

async function startTreegate({ host }: Topology): Promise<void> {
  const check = `tcp ${PORT}, slow-start 10s`;
  const proxy = await startProxy(host, [...usualOptions, `--check=${check}`, "--trace=off"]);
  for (const address of backendAddresses) await proxy.waitFor(`backend ${address} is up: `);
}

async function startHaproxy({ lab, host }: Topology): Promise<void> {
  await host.script(`ip addr add ${proxyAddress}/24 dev br0`);
  const servers = backendAddresses.map((address, i) =>
    `  server backend${i + 1} ${address}:${PORT} check inter 2s fastinter 500ms fall 3 rise 2 ` +
    "slowstart 10s on-marked-down shutdown-sessions\n"
  );
  const file = `${lab.folder}/haproxy.cfg`;
  await Deno.writeTextFile(
    file,
    `defaults
  mode tcp
  balance random
  maxconn 20000
  option redispatch 1
  retries 3
  timeout connect 3s
  timeout check 1s
  timeout client 60s
  timeout server 60s
listen service
  bind ${proxyAddress}:${PORT}
${servers.join("")}`,
  );
  host.start(["haproxy", "-db", "-f", file], { timeoutMs: 1000 * seconds + 60_000 });
  await delay(3000);
}

function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
