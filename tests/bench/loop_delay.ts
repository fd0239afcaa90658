/**
 * The proxy from its sources, with the built-in policy, and beside it something that wants the
 * event loop all the time: it notes how long it had to wait for each turn. SIGUSR2 begins and ends
 * the noting, SIGTERM ends the proxy; the last line is then a `LoopDelay` as JSON.
 *
 * Only for a proxy under load: an idle one would never sleep beside this.
 */
import { sourcePlatform } from "../../src/pack/source.ts";
import { main } from "../../src/cli/main.ts";
import { builtIn } from "../../src/policy/language/built_in.ts";

/** Waiting times in milliseconds. */
export interface LoopDelay {
  readonly turns: number;
  readonly median: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

const MOST_TURNS = 1 << 20;

if (import.meta.main) {
  const waitedMs = new Float64Array(MOST_TURNS);
  let turns = 0;
  let notes = false;
  let lastMs = 0;
  const turn = (): void => {
    const nowMs = performance.now();
    if (notes && turns < MOST_TURNS) waitedMs[turns++] = nowMs - lastMs;
    lastMs = nowMs;
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
  };
  Deno.stdout.writeSync(new TextEncoder().encode(`\n${JSON.stringify(delay)}\n`));
  Deno.exit(code);
}
