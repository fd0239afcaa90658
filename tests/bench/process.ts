/**
 * What the proxy costs as a process, on a real TAP device in a lab: processor time when idle, time
 * from its start to its first answer, memory, what showing PDUs costs bulk TCP, and how long the
 * event loop waits under load. It measures the executable that PROXY names, or the sources.
 *
 *     PROXY=./proxy deno run -A tests/bench/process.ts
 */
import { fileURLToPath } from "node:url";
import { V8_FLAGS } from "../../src/pack/package.ts";
import type { Host } from "../lab/lab.ts";
import { proxyCommand, startProxy } from "../lab/proxy.ts";
import { bridged, proxyAddress, tap, type Topology } from "../lab/topology.ts";
import type { LoopDelay } from "./loop_delay.ts";

export interface ProcessFigures {
  /** Processor time of a proxy without traffic, in percent of one core. */
  readonly idlePercent: number;
  /** From starting the command to its first ARP reply, each start. */
  readonly startMs: readonly number[];
  /** Resident memory without a connection and with 1,000 open ones. */
  readonly emptyMiB: number;
  readonly loadedMiB: number;
  /**
   * Bulk TCP with `--trace=auto` and the console in a file or a terminal, relative to
   * `--trace=off`.
   */
  readonly traceToFile: number;
  readonly traceToTerminal: number;
  /** Of the event loop beside 8 streams. */
  readonly loopDelay: LoopDelay;
}

const STARTS = 10;
const IDLE_S = 10;
const CONNECTIONS = 1000;
const BULK_S = 3;
const BULK_ROUNDS = 5;

const backend = "192.168.0.1";
const options: readonly string[] = [`--net=${tap}`, `--dst-addrs=${backend}`];
/** Another TAP device on the bridge. */
const asker = "tap101";
const quiet: readonly string[] = [...options, "--trace=off"];

/** Measures everything; takes about two minutes, in which nothing else should run. */
export async function measureProcess(): Promise<ProcessFigures> {
  const { emptyMiB, loadedMiB } = await memory();
  const { file, terminal } = await traceCost();
  return {
    idlePercent: await idle(),
    startMs: await starts(),
    ...{ emptyMiB, loadedMiB },
    ...{ traceToFile: file, traceToTerminal: terminal },
    loopDelay: await loopDelay(),
  };
}

const lab = (): Promise<Topology> => bridged("behind a port", "nobody");

async function idle(): Promise<number> {
  await using topology = await lab();
  const proxy = await startProxy(topology.host, quiet, [backend]);
  await sleep(5000); // probes and announcements are over
  const before = processorMs(proxy.pid);
  await sleep(IDLE_S * 1000);
  const percent = (processorMs(proxy.pid) - before) / (IDLE_S * 10);
  await proxy.stop();
  return percent;
}

async function starts(): Promise<number[]> {
  const times: number[] = [];
  while (times.length < STARTS) times.push(await startMs());
  return times;
}

async function startMs(): Promise<number> {
  await using topology = await lab();
  const { host } = topology;
  await host.script(`
    ip tuntap add dev ${asker} mode tap
    ip link set ${asker} master br0
    ip link set ${asker} up`);
  const program = fileURLToPath(new URL("first_answer.ts", import.meta.url));
  const asking = host.start([Deno.execPath(), "run", "-A", program, asker, proxyAddress]);
  await asking.waitFor("asking");
  await sleep(500);
  const startedMs = performance.timeOrigin + performance.now();
  const proxy = host.start(proxyCommand(quiet));
  const [, answeredMs] = await asking.waitFor(/^(\d[\d.]+)$/m, 20_000);
  await proxy.stop();
  return Number(answeredMs) - startedMs;
}

async function memory(): Promise<{ emptyMiB: number; loadedMiB: number }> {
  await using topology = await lab();
  const { client, host, backends } = topology;
  const proxy = await startProxy(host, quiet, [backend]);
  const emptyMiB = residentMiB(proxy.pid);
  const server = `
    const listener = Deno.listen({ hostname: "${backend}", port: 2000 });
    console.log("listening");
    for await (const connection of listener) connection.write(new Uint8Array(1000));`;
  const serving = backends[0]!.host.start([Deno.execPath(), "eval", server]);
  await serving.waitFor("listening");
  const connect = `
    const all = [];
    for (let i = 0; i < ${CONNECTIONS}; i++) {
      const connection = await Deno.connect({ hostname: "${proxyAddress}", port: 2000 });
      await connection.read(new Uint8Array(1000));
      all.push(connection);
    }
    console.log("open");
    await new Promise((resolve) => setTimeout(resolve, 30_000));`;
  await client.start([Deno.execPath(), "eval", connect]).waitFor("open", 20_000);
  const loadedMiB = residentMiB(proxy.pid);
  await proxy.stop();
  return { emptyMiB, loadedMiB };
}

/**
 * Bulk TCP with the console in a file and in a terminal, in parts of that without; medians of
 * rounds.
 */
async function traceCost(): Promise<{ file: number; terminal: number }> {
  const words = (...more: string[]): string => proxyCommand([...options, ...more]).join(" ");
  const commands: Record<string, string> = {
    off: `${words("--trace=off")} > /dev/null`,
    file: `${words("--trace=auto")} > OUT`,
    terminal: `script -qefc '${words("--trace=auto")}' OUT > /dev/null`,
  };
  const gbits: Record<string, number[]> = { off: [], file: [], terminal: [] };
  for (let round = 0; round < BULK_ROUNDS; round++) {
    for (const [name, command] of Object.entries(commands)) {
      await using topology = await lab();
      const { lab: { folder }, host } = topology;
      const out = `${folder}/console`;
      const proxy = host.start(["sh", "-c", `exec ${command.replace("OUT", out)}`]);
      await answers(topology.client);
      gbits[name]!.push(await bulk(topology, 1));
      await proxy.stop();
    }
  }
  const off = median(gbits.off!);
  return { file: median(gbits.file!) / off, terminal: median(gbits.terminal!) / off };
}

async function loopDelay(): Promise<LoopDelay> {
  await using topology = await lab();
  const program = fileURLToPath(new URL("loop_delay.ts", import.meta.url));
  const { host, client } = topology;
  const proxy = host.start([Deno.execPath(), "run", "-A", V8_FLAGS, program, ...quiet]);
  await proxy.waitFor(`backend ${backend} is at`, 20_000);
  await answers(client);
  await bulk(topology, 8, async () => {
    proxy.signal("SIGUSR2");
    await sleep(BULK_S * 500);
    proxy.signal("SIGUSR2");
  });
  const { stdout } = await proxy.stop();
  return JSON.parse(stdout.trimEnd().split("\n").at(-1)!);
}

/**
 * Gbit/s through the proxy with so many streams; `meanwhile` is called when they have got going.
 */
async function bulk(
  { client, backends }: Topology,
  streams: number,
  meanwhile: () => Promise<void> = () => Promise.resolve(),
): Promise<number> {
  const server = backends[0]!.host.start(["iperf3", "-s", "-1", "-B", backend, "--forceflush"]);
  await server.waitFor("Server listening");
  const words = ["-t", String(BULK_S), "-O", "1", "-P", String(streams), "-J"];
  const running = client.start(["iperf3", "-c", proxyAddress, ...words]);
  await sleep(1500);
  await meanwhile();
  const { stdout } = await running.result();
  const report = JSON.parse(stdout);
  const bits = report.end?.sum_received?.bits_per_second;
  if (!(bits > 0)) throw new Error(`Cannot measure bulk TCP: ${report.error ?? "nothing arrives"}`);
  return bits / 1e9;
}

/** Waits until the proxy answers for its address. */
async function answers(client: Host): Promise<void> {
  await client.script(`timeout 20 sh -c 'until ping -c 2 -i 0.1 -W 1 ${proxyAddress}; do :; done'`);
}

/**
 * Processor time that a process's threads have used so far: proc_pid_schedstat(5) counts
 * nanoseconds.
 */
function processorMs(pid: number): number {
  let ns = 0;
  for (const { name } of Deno.readDirSync(`/proc/${pid}/task`)) {
    ns += Number(Deno.readTextFileSync(`/proc/${pid}/task/${name}/schedstat`).split(" ")[0]);
  }
  return ns / 1e6;
}

function residentMiB(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))!;
  return Number(kib) / 1024;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [(sorted.length - 1) >> 1, sorted.length >> 1];
  return (sorted[low]! + sorted[high]!) / 2;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The figures as lines of text. */
export function formatProcess(figures: ProcessFigures): string {
  const { startMs, loopDelay } = figures;
  const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;
  const ms = (time: number): string => `${time.toFixed(time < 10 ? 2 : 0)} ms`;
  const lines = [
    ["idle", `${figures.idlePercent.toFixed(2)} % of a core over ${IDLE_S} s`],
    [
      "start to first ARP reply",
      `median ${ms(median(startMs))}, slowest ${ms(Math.max(...startMs))} of ${startMs.length}`,
    ],
    [
      "resident memory",
      `${figures.emptyMiB.toFixed(0)} MiB, with ${CONNECTIONS} connections ${
        figures.loadedMiB.toFixed(0)
      } MiB`,
    ],
    [
      "bulk with trace=auto",
      `file ${percent(figures.traceToFile)}, terminal ${
        percent(figures.traceToTerminal)
      } of trace=off`,
    ],
    [
      "event loop under load",
      `99 % ${ms(loopDelay.p99)}, 99.9 % ${ms(loopDelay.p999)}, ` +
      `longest ${ms(loopDelay.max)}, ${loopDelay.turns} turns`,
    ],
  ];
  return lines.map(([name, text]) => `${name!.padEnd(26)}${text}\n`).join("");
}

if (import.meta.main) {
  const text = formatProcess(await measureProcess());
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}
