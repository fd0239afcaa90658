/**
 * `deno task soak:reload [RELOADS]`: 500 reloads, unless told otherwise, under 200 new connections
 * a second and 20 that keep transferring. A fifth of the files are wrong, one in fifty has 100,000
 * short rules, the wrong ones among them. Ends with exit code 1 if a connection failed or a reload
 * did not end as it should.
 *
 * Three runs: of the proxy that PROXY names or of its sources; then of the sources beside something
 * that wants the event loop all the time, for the longest turn in processor time of its thread; and
 * that for as long without a reload, for what the load alone does: the kernel works in the time of
 * the thread that has called it, and of any thread that it interrupts.
 */
import { fileURLToPath } from "node:url";
import { V8_FLAGS } from "../../src/pack/package.ts";
import type { LoopDelay } from "../bench/loop_delay.ts";
import { pacedResult, startPaced } from "../lab/paced.ts";
import { startEcho } from "../lab/peer.ts";
import { proxyCommand, usualOptions } from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { backendAddresses, bridged, proxyAddress, type Topology } from "../lab/topology.ts";
import type { Background } from "../support/shell.ts";

const RATE = 200;
const PACED_SECONDS = 5;
const STEADY = 20;
const LONG_RULES = 100_000;
const SHORT_RULES = 50;
/** Two in so many reloads are long, one of them wrong. */
const LONG_EVERY = 100;
const WRONG_EVERY = 5;
const RELOAD_MS = 300_000;

/**
 * A policy of so many rules; a wrong one would also forward nothing. They come after the load's
 * own: half of them are asked one by one.
 */
function policyText(rules: number, isWrong: boolean): string {
  const lines = Array.from({ length: rules }, (_, i) => {
    const address = `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
    return i < rules / 2
      ? `  ip.src = ${address} -> drop`
      : `  icmp and ip.src = ${address} -> drop`;
  });
  if (isWrong) lines[rules >> 1] = "  tpc -> drop";
  return [
    "default drop",
    "not ip.src in $dst-addrs",
    isWrong ? "  tcp -> drop" : "  tcp -> translate-a-to-b, forward",
    ...lines,
    "otherwise -> translate-b-to-a, forward",
  ].join("\n");
}

interface Outcome {
  readonly connections: number;
  readonly failures: readonly string[];
  readonly slowestMs: number;
  readonly reloads: number;
  readonly refused: number;
  readonly longestReloadMs: number;
  readonly tookMs: number;
  /** What the proxy has printed at its end. */
  readonly stdout: string;
}

/** Reloads so many times, or, with `idleMs`, does nothing for so long instead. */
async function soak(
  reloads: number,
  argv: (options: string[]) => string[],
  idleMs = 0,
): Promise<Outcome> {
  await using topology = await bridged("behind a port", "nobody");
  const { lab, host, client } = topology;
  for (const backend of topology.backends) await startEcho(backend.host, backend.address, 2000);
  const file = `${lab.folder}/soak.policy`;
  await Deno.writeTextFile(file, policyText(SHORT_RULES, false));
  const options = [...usualOptions, `--policy=${file}`, "--trace=off"];
  const proxy = host.start(argv(options), { timeoutMs: 7_200_000 });
  for (const address of backendAddresses) {
    await proxy.waitFor(`backend ${address} is at `, 20_000);
  }
  const steady = await SteadyConnections.open(client, proxyAddress, 2000, STEADY);
  const load = startLoad(topology);
  proxy.signal("SIGUSR2"); // begins the noting of turns, or prints a summary
  const startMs = performance.now();
  let [longestReloadMs, refused] = [0, 0];
  for (let i = 1; i <= reloads; i++) {
    const isWrong = i % WRONG_EVERY === 0;
    const isLong = i % LONG_EVERY === 3 || i % LONG_EVERY === 10;
    await Deno.writeTextFile(file, policyText(isLong ? LONG_RULES : SHORT_RULES, isWrong));
    longestReloadMs = Math.max(longestReloadMs, await reload(proxy, isWrong));
    if (isWrong) refused++;
  }
  await new Promise((resolve) => setTimeout(resolve, idleMs));
  const tookMs = performance.now() - startMs;
  proxy.signal("SIGUSR2");
  const { connections, failures, slowestMs } = await load.end();
  const { failures: lost } = await steady.report();
  const { stdout } = await proxy.stop();
  const all = [...failures, ...lost];
  return {
    connections,
    failures: all,
    slowestMs,
    reloads,
    refused,
    longestReloadMs,
    tookMs,
    stdout,
  };
}

/** Has the file read again; how long that took. Rejects if it does not end as it should. */
async function reload(proxy: Background, isWrong: boolean): Promise<number> {
  const from = proxy.stderr.length;
  const startMs = performance.now();
  proxy.signal("SIGHUP");
  for (;;) {
    const text = proxy.stderr.slice(from);
    const isRefused = text.includes("not reloaded, nothing has changed");
    if (isRefused || text.includes("reloaded\n")) {
      if (isRefused !== isWrong) throw new Error(`Cannot reload as expected: ${text}`);
      return performance.now() - startMs;
    }
    if (await proxy.ended(5)) throw new Error(`Cannot reload: the proxy ended: ${proxy.stderr}`);
    if (performance.now() - startMs > RELOAD_MS) {
      throw new Error("Cannot reload: it takes too long");
    }
  }
}

/** New connections until it is ended. */
function startLoad({ client }: Topology) {
  let isOver = false;
  const failures: string[] = [];
  let [connections, slowestMs] = [0, 0];
  const running = (async () => {
    while (!isOver) {
      const paced = await startPaced(client, proxyAddress, 2000, RATE, PACED_SECONDS);
      for (const second of await pacedResult(paced, PACED_SECONDS)) {
        connections += RATE;
        failures.push(...second.failures);
        slowestMs = Math.max(slowestMs, second.slowestMs);
      }
    }
  })();
  return {
    end: async () => {
      isOver = true;
      await running;
      return { connections, failures, slowestMs };
    },
  };
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  const [reloads = 500] = Deno.args.map(Number);
  if (!(Number.isInteger(reloads) && reloads >= 5 && reloads <= 10_000)) {
    throw new RangeError(`Cannot reload "${Deno.args[0]}" times: expected 5 to 10000`);
  }
  const noting = fileURLToPath(new URL("../bench/loop_delay.ts", import.meta.url));
  const noted = (options: string[]) => [
    Deno.execPath(),
    "run",
    "-A",
    V8_FLAGS,
    noting,
    ...options,
  ];
  let [failed, tookMs] = [0, 0];
  const runs: Readonly<Record<string, () => Promise<Outcome>>> = {
    "the proxy": () => soak(reloads, proxyCommand),
    "turns noted": () => soak(reloads, noted),
    "turns noted, without reloads": () => soak(0, noted, tookMs),
  };
  for (const [name, run] of Object.entries(runs)) {
    const outcome = await run();
    tookMs = outcome.tookMs;
    failed += outcome.failures.length;
    say(
      `${name}: ${outcome.reloads} reloads, ${outcome.refused} of them refused, the longest ` +
        `${
          (outcome.longestReloadMs / 1000).toFixed(1)
        } s; ${outcome.connections} new connections, ` +
        `slowest ${outcome.slowestMs.toFixed(0)} ms; ${outcome.failures.length} failed`,
    );
    for (const failure of new Set(outcome.failures)) say(`  ${failure}`);
    const last = outcome.stdout.trimEnd().split("\n").at(-1) ?? "";
    if (!last.startsWith("{")) continue;
    const { longestCpu, longCpu, turns, max } = JSON.parse(last) as LoopDelay;
    say(
      `  longest turn ${longestCpu.toFixed(1)} ms of the thread's processor time, ${longCpu} of ` +
        `${turns} above 10 ms; longest by the clock ${max.toFixed(1)} ms`,
    );
  }
  Deno.exit(failed === 0 ? 0 : 1);
}
