/**
 * `deno task soak:metrics [ROUNDS]`: what it costs packets that 16 scrapers read the metrics ten
 * times a second, each, 16 dashboards listen, and a capture takes what a filter is for. In each
 * round, of 5 unless told otherwise, bulk TCP goes through the proxy, then one request after
 * another on an open connection: the filter is for these. The kernel carries nothing here, and the
 * log is JSON. Prints medians, and medians of the rounds' ratios.
 *
 * Who looks shares the processors with all others, at a nice value of 19, and so does who serves
 * them, at one of 10. So each round is measured three times: calm; while they look at a server
 * that has nothing to do with the proxy; and while they look at the proxy. What the last two differ
 * by is what the packet thread does for them.
 */
import { fileURLToPath } from "node:url";
import { compileC } from "../../src/pack/compile_c.ts";
import { allOnDevice, proxyCommand, startProxy } from "../lab/proxy.ts";
import { bridged, proxyAddress, tap, type Topology } from "../lab/topology.ts";

const ADMIN = "127.0.0.1:9100";
const ELSEWHERE = "127.0.0.1:9101";
const WATCHERS = fileURLToPath(new URL("../lab/watchers.ts", import.meta.url));
const SECONDS = "4";
const backend = "192.168.0.1";

const POLICY = `default drop
not ip.src in $dst-addrs -> translate-a-to-b, forward "to b"
otherwise -> translate-b-to-a, forward "to a"
`;

interface Figures {
  readonly gbits: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

const NAMES = { gbits: "Gbit/s", p50Us: "µs a request, median", p99Us: "µs, 99th percentile" };

async function soak(rounds: number): Promise<void> {
  await using topology = await bridged("behind a port", "nobody");
  const { lab, host, backends: [first] } = topology;
  const [policy, requests] = [`${lab.folder}/all.policy`, `${lab.folder}/requests`];
  await Deno.writeTextFile(policy, POLICY);
  compileC([fileURLToPath(new URL("../bench/requests.c", import.meta.url))], requests, []);
  await first!.host.start([requests, "serve", backend, "8080"]).waitFor("listening");
  const [captures, socket] = [`${lab.folder}/captures`, `${lab.folder}/control.sock`];
  await Deno.mkdir(captures);
  const flags = [
    ...[`--policy=${policy}`, `--admin=${ADMIN}`, "--trace=off", allOnDevice, "--log=json"],
    ...["--log-connections=100/s", `--control=${socket}`, `--capture-dir=${captures}`],
  ];
  const capture = (...words: string[]) =>
    host.must(proxyCommand(["ctl", `--control=${socket}`, "capture", ...words]));
  const proxy = await startProxy(
    host,
    [`--net=${tap}`, `--dst-addrs=${backend}`, ...flags],
    [backend],
  );
  await proxy.waitFor("metrics are served");
  const server = ["nice", "-n", "10", Deno.execPath(), "run", "--allow-net", WATCHERS];
  const elsewhereServer = host.start([...server, "serve", ELSEWHERE]);
  await elsewhereServer.waitFor("serving");
  const [calm, elsewhere, watched]: Figures[][] = [[], [], []];
  await measured(topology, requests); // warms up
  for (let round = 1; round <= rounds; round++) {
    calm!.push(await measured(topology, requests));
    const texts = [];
    for (const [at, figures] of [[ELSEWHERE, elsewhere!], [ADMIN, watched!]] as const) {
      const words = ["nice", "-n", "19", Deno.execPath(), "run", "--allow-net", WATCHERS, "look"];
      const watchers = host.start([...words, at, "16", "16"]);
      const isWatched = at === ADMIN;
      if (isWatched) await capture("start", `${round}.pcapng`, "filter=tcp.dport = 8080");
      await new Promise((resolve) => setTimeout(resolve, 1000));
      figures.push(await measured(topology, requests));
      texts.push(`${textOf(figures.at(-1)!)}, ${(await watchers.stop("SIGTERM")).stdout.trim()}`);
      if (isWatched) texts.push((await capture("stop")).trim());
    }
    say(
      `${round}/${rounds}: ${textOf(calm!.at(-1)!)}; elsewhere ${texts[0]}; watched ${
        texts.slice(1).join(", ")
      }`,
    );
  }
  await elsewhereServer.stop();
  const { code } = await proxy.stop();
  if (code !== 0) throw new Error(`The proxy ended with ${code}: ${proxy.stderr}`);
  for (const [key, name] of Object.entries(NAMES)) {
    const [before, beside, during] = [calm!, elsewhere!, watched!]
      .map((all) => all.map((one) => one[key as keyof Figures]));
    const ratio = (to: readonly number[]) =>
      median(during!.map((value, i) => value / to[i]!)).toFixed(2);
    const [a, b, c] = [before!, beside!, during!].map((values) => median(values).toFixed(2));
    say(`${name}: ${a}, looked at elsewhere ${b}, watched ${c}`);
    say(`  ratio to calm ${ratio(before!)}, to elsewhere ${ratio(beside!)}`);
  }
}

async function measured({ client, backends }: Topology, requests: string): Promise<Figures> {
  const server = backends[0]!.host.start(["iperf3", "-s", "-1", "-B", backend, "--forceflush"]);
  await server.waitFor("Server listening");
  const bulk = await client.must(["iperf3", "-c", proxyAddress, "-t", SECONDS, "-J"]);
  await server.stop();
  const report = await client.must([requests, "keepalive", proxyAddress, "8080", SECONDS]);
  const { p50, p99 } = JSON.parse(report.trimEnd().split("\n").at(-1)!);
  const gbits = JSON.parse(bulk).end.sum_received.bits_per_second / 1e9;
  return { gbits, p50Us: p50, p99Us: p99 };
}

function textOf({ gbits, p50Us, p99Us }: Figures): string {
  return `${gbits.toFixed(2)} Gbit/s, ${p50Us.toFixed(0)} and ${p99Us.toFixed(0)} µs`;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  const [rounds = 5] = Deno.args.map(Number);
  if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= 100)) {
    throw new RangeError(`Cannot run "${Deno.args[0]}" rounds: expected 1 to 100`);
  }
  await soak(rounds);
}
