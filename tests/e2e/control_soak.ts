/**
 * `deno task soak:control [ROUNDS]`: what an attack on the control socket costs the data path, in 7
 * rounds unless told otherwise. The attack is 1,000 clients that send half a request, bodies of
 * 10 MB, requests for a million rows and unknown methods, and come again at once. Through the proxy
 * go a stream of bulk TCP, then datagrams at a fixed rate. Prints medians and the median of the
 * rounds' ratios.
 *
 * The clients of the attack share the machine with all others, and take more than a core of it for
 * themselves. So each round is measured three times: calm; with the same clients at a socket that
 * nobody serves; and with them at the proxy's. What the last two differ by is what the proxy does
 * for the attack. The packet thread does not busy-poll here.
 */
import { fileURLToPath } from "node:url";
import { askSummary, startProxy } from "../lab/proxy.ts";
import { bridged, proxyAddress, tap, type Topology } from "../lab/topology.ts";
import { Background } from "../support/shell.ts";

const ATTACKERS = "1000";
const ATTACK = fileURLToPath(new URL("../lab/control_attack.ts", import.meta.url));
const SECONDS = 3;
const DATAGRAM_RATE = "40M";
const DATAGRAM_BYTES = 500;
const backend = "192.168.0.1";

const POLICY = `default drop
not ip.src in $dst-addrs -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`;

interface Figures {
  readonly gbits: number;
  /** Of the packet thread, for each frame of the datagrams. */
  readonly cpuUs: number;
  readonly lostPercent: number;
}

async function soak(rounds: number): Promise<void> {
  await using topology = await bridged("behind a port", "nobody");
  const { lab, host } = topology;
  const [folder, policy] = [`${lab.folder}/control`, `${lab.folder}/all.policy`];
  await Deno.mkdir(folder, { mode: 0o700 });
  await Deno.writeTextFile(policy, POLICY);
  const socket = `${folder}/s`;
  const flags = [`--policy=${policy}`, `--control=${socket}`, "--trace=off", "--spin=0"];
  const options = [`--net=${tap}`, `--dst-addrs=${backend}`, ...flags];
  const proxy = await startProxy(host, options, [backend]);
  await proxy.waitFor(`control socket "${socket}" is open`);
  const unserved = `${folder}/unserved`;
  await leaveSocket(unserved);
  const [calm, elsewhere, attacked]: Figures[][] = [[], [], []];
  let connections = 0;
  await measured(topology, proxy); // warms up
  for (let round = 1; round <= rounds; round++) {
    calm!.push(await measured(topology, proxy));
    for (const [path, figures] of [[unserved, elsewhere!], [socket, attacked!]] as const) {
      const attack = new Background([Deno.execPath(), "run", "-A", ATTACK, path, ATTACKERS]);
      figures.push(await measured(topology, proxy));
      connections += Number.parseInt((await attack.stop()).stdout);
    }
    const texts = [calm!, elsewhere!, attacked!].map((figures) => textOf(figures.at(-1)!));
    say(`${round}/${rounds}: ${texts[0]}; elsewhere ${texts[1]}; attacked ${texts[2]}`);
  }
  const { code } = await proxy.stop();
  if (code !== 0) throw new Error(`The proxy ended with ${code}: ${proxy.stderr}`);
  say(`${connections} connections of the attack; medians, and the median of the rounds' ratios:`);
  for (const key of ["gbits", "cpuUs", "lostPercent"] as const) {
    const [before, beside, during] = [calm!, elsewhere!, attacked!]
      .map((all) => all.map((one) => one[key]));
    const ratios = during!.map((value, i) => value / beside![i]!);
    const ratio = key === "lostPercent" ? "" : `, ratio ${median(ratios).toFixed(2)}`;
    const name = { gbits: "Gbit/s", cpuUs: "µs a frame", lostPercent: "% of datagrams lost" }[key];
    const [a, b, c] = [before!, beside!, during!].map((values) => median(values).toFixed(2));
    say(`  ${name}: ${a}, attackers elsewhere ${b}, attacked ${c}${ratio}`);
  }
}

/** A socket that nobody serves: to connect is refused. */
async function leaveSocket(path: string): Promise<void> {
  const listener = Deno.listen({ transport: "unix", path: `${path}.open` });
  await Deno.rename(`${path}.open`, path);
  listener.close();
}

async function measured(topology: Topology, proxy: Background): Promise<Figures> {
  const bulk = await iperf(topology, []);
  const [cpuNs, frames] = [await threadNs(proxy.pid), framesIn(await askSummary(proxy))];
  const udp = await iperf(topology, ["-u", "-b", DATAGRAM_RATE, "-l", String(DATAGRAM_BYTES)]);
  const done = framesIn(await askSummary(proxy)) - frames;
  const gbits = bulk.end.sum_received!.bits_per_second / 1e9;
  const cpuUs = (await threadNs(proxy.pid) - cpuNs) / 1000 / done;
  return { gbits, cpuUs, lostPercent: udp.end.sum!.lost_percent };
}

interface Iperf {
  readonly end: {
    readonly sum_received?: { readonly bits_per_second: number };
    readonly sum?: { readonly lost_percent: number };
  };
}

async function iperf({ client, backends }: Topology, flags: readonly string[]): Promise<Iperf> {
  const server = backends[0]!.host.start(["iperf3", "-s", "-1", "-B", backend, "--forceflush"]);
  await server.waitFor("Server listening");
  const words = ["iperf3", "-c", proxyAddress, "-t", String(SECONDS), "-J", ...flags];
  const { stdout } = await client.run(words, { timeoutMs: 60_000 });
  await server.stop();
  return JSON.parse(stdout);
}

/** Processor time that the packet thread, the process's first, has had. */
async function threadNs(pid: number): Promise<number> {
  return Number((await Deno.readTextFile(`/proc/${pid}/task/${pid}/schedstat`)).split(" ")[0]);
}

function framesIn(summary: string): number {
  return Number(/^Frames +: (\d+) in/m.exec(summary)?.[1]);
}

function textOf({ gbits, cpuUs, lostPercent }: Figures): string {
  return `${gbits.toFixed(2)} Gbit/s, ${cpuUs.toFixed(2)} µs a frame, ${
    lostPercent.toFixed(2)
  } % lost`;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  const [rounds = 7] = Deno.args.map(Number);
  if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= 100)) {
    throw new RangeError(`Cannot run "${Deno.args[0]}" rounds: expected 1 to 100`);
  }
  await soak(rounds);
}
