/**
 * New connections a second with 1,000 backends beside 3, by every method: HTTP requests through the
 * proxy in a lab, the two in turn. All addresses are of one host, so that only what the proxy does
 * differs. Prints medians, and the median of the rounds' ratios.
 *
 *     PROXY=./proxy deno run -A tests/bench/many_backends.ts [ROUNDS [METHOD...]]
 *
 * It takes 5 rounds and all methods unless told otherwise. Each run is warmed up before it counts:
 * a proxy that has just started still compiles, and makes what each backend's ports need. `deno
 * task bench backends` shows what the proxy alone takes, in memory.
 */
import { askSummary, startProxy } from "../lab/proxy.ts";
import { bridged, proxyAddress, tap, type Topology } from "../lab/topology.ts";
import { PICK_WORDS } from "../../src/policy/language/words.ts";
import { buildTools, type Tools } from "./tools.ts";

const FEW = 3;
const MANY = 1000;
const PORT = 2000;
const AT_ONCE = 64;
const WARM_UP_SECONDS = 3;
const SECONDS = 3;
const RESOLVE_MS = 20_000;

const addresses = Array.from(
  { length: MANY },
  (_, i) => `192.168.${1 + (i >> 7)}.${1 + (i & 127)}`,
);

interface Report {
  readonly done: number;
  readonly failed: number;
  readonly seconds: number;
}

/** New connections a second. */
async function rate(
  { lab, host, client }: Topology,
  tools: Tools,
  method: string,
  backends: number,
): Promise<number> {
  const policy = `${lab.folder}/bench.policy`;
  await Deno.writeTextFile(
    policy,
    `default drop
not ip.src in $dst-addrs -> translate-a-to-b ${method}, forward
otherwise -> translate-b-to-a, forward
`,
  );
  const proxy = await startProxy(host, [
    `--net=${tap}`,
    `--ipv4=${proxyAddress}/16`,
    `--dst-addrs=${addresses.slice(0, backends).join(",")}`,
    `--policy=${policy}`,
    "--trace=off",
  ], []);
  const deadline = performance.now() + RESOLVE_MS;
  for (let up = 0; up < backends;) {
    up = (await askSummary(proxy)).match(/^Backend +: \S+ up/gm)?.length ?? 0;
    if (performance.now() > deadline) throw new Error(`Cannot measure: ${up} backends are up`);
  }
  const requests = async (seconds: number): Promise<Report> => {
    const words = ["connect", proxyAddress, PORT, AT_ONCE, seconds].map(String);
    const { stdout } = await client.run([tools.requests, ...words], { timeoutMs: 60_000 });
    return JSON.parse(stdout);
  };
  await requests(WARM_UP_SECONDS);
  const { done, failed, seconds } = await requests(SECONDS);
  await proxy.stop();
  if (failed > 0) throw new Error(`Cannot measure: ${failed} requests failed`);
  return done / seconds;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  const rounds = Number(Deno.args[0] ?? 5);
  const methods = Deno.args.length > 1 ? Deno.args.slice(1) : PICK_WORDS;
  if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= 100)) {
    throw new RangeError(`Cannot run "${Deno.args[0]}" rounds: expected 1 to 100`);
  }
  using tools = await buildTools();
  await using topology = await bridged("behind a port", "nobody");
  const server = topology.backends[0]!.host;
  await server.script(
    addresses.map((address) => `ip addr add ${address}/32 dev eth0`).join("\n"),
  );
  await using _serving = server.start([tools.requests, "serve", "0.0.0.0", String(PORT)]);
  say(`new connections a second, one HTTP request each, median of ${rounds} rounds`);
  say(`                          ${FEW} backends  ${MANY} backends   ratio   lowest–highest`);
  for (const method of methods) {
    const [few, many]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      few.push(await rate(topology, tools, method, FEW));
      many.push(await rate(topology, tools, method, MANY));
    }
    const ratios = many.map((one, round) => one / few[round]!);
    const spread = `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`;
    say(
      method.padEnd(26) + median(few).toFixed(0).padStart(10) +
        median(many).toFixed(0).padStart(15) + median(ratios).toFixed(2).padStart(8) +
        spread.padStart(17),
    );
  }
}
