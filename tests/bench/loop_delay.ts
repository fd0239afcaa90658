/**
 * The proxy from its sources, with the built-in policy, and beside it something that wants the
 * event loop all the time: it notes how long it had to wait for each turn, and how much of that the
 * thread has worked. SIGUSR2 begins and ends the noting, SIGTERM ends the proxy; the last line is
 * then a `LoopDelay` as JSON.
 *
 * Only for a proxy under load: an idle one would never sleep beside this.
 */
import { sourcePlatform } from "../../src/pack/source.ts";
import { main } from "../../src/cli/main.ts";
import { threadClock } from "./cpu_time.ts";
import { builtIn } from "../../src/policy/language/built_in.ts";

/** Waiting times in milliseconds. */
export interface LoopDelay {
  readonly turns: number;
  readonly median: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
  /** The longest turn in processor time of the thread, and how many took more than 10 ms of it. */
  readonly longestCpu: number;
  readonly longCpu: number;
}

const LONG_MS = 10;

const MOST_TURNS = 1 << 20;

if (import.meta.main) {
  const cpuNow = threadClock();
  const waitedMs = new Float64Array(MOST_TURNS);
  let [lastCpuMs, longestCpu, longCpu] = [0, 0, 0];
  let turns = 0;
  let notes = false;
  let lastMs = 0;
  const turn = (): void => {
    const nowMs = performance.now();
    const cpuMs = cpuNow();
    if (notes) {
      if (turns < MOST_TURNS) waitedMs[turns++] = nowMs - lastMs;
      if (cpuMs - lastCpuMs > longestCpu) longestCpu = cpuMs - lastCpuMs;
      if (cpuMs - lastCpuMs > LONG_MS) longCpu++;
    }
    lastMs = nowMs;
    lastCpuMs = cpuMs;
    setImmediate(turn);
  };
  Deno.addSignalListener("SIGUSR2", () => notes = !notes);
  turn();
  const program = { policy: builtIn, customs: { predicates: {}, selectors: {} } };
  const code = await main(Deno.args, sourcePlatform(), program);
  const sorted = waitedMs.slice(0, turns).sort();
  const at = (part: number): number => sorted[Math.floor(part * (sorted.length - 1))] ?? 0;
  const { length } = sorted;
  const delay: LoopDelay = {
    turns: length,
    median: at(0.5),
    p99: at(0.99),
    p999: at(0.999),
    max: at(1),
    longestCpu,
    longCpu,
  };
  Deno.stdout.writeSync(new TextEncoder().encode(`\n${JSON.stringify(delay)}\n`));
  Deno.exit(code);
}
