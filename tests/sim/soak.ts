/**
 * `deno task soak [SEEDS [FIRST]]`: the simulator over many seeds (2,000 unless told otherwise),
 * every other one two-sided. Prints what it did and how long it took; every seed that fails is
 * named, and the exit code is then 1.
 */
import { Sim } from "./sim.ts";

const PROGRESS_EVERY = 100;

const [seeds = 2000, first = 1] = Deno.args.map(Number);
if (!(seeds >= 1 && seeds <= 1_000_000 && first >= 0)) {
  throw new RangeError(
    `Cannot run "${Deno.args.join(" ")}": expected SEEDS from 1 and FIRST from 0`,
  );
}

const startMs = performance.now();
const failed: number[] = [];
const drops = new Map<string, number>();
let connections = 0;
let forwarded = 0;
for (let seed = first; seed < first + seeds; seed++) {
  try {
    const result = new Sim({ seed, twoSided: seed % 2 === 0 }).run();
    connections += result.connections;
    forwarded += result.forwarded;
    for (const [reason, count] of Object.entries(result.drops)) {
      drops.set(reason, (drops.get(reason) ?? 0) + count);
    }
  } catch (error) {
    failed.push(seed);
    print(error instanceof Error ? error.message : String(error));
  }
  const done = seed - first + 1;
  if (done % PROGRESS_EVERY === 0) print(`${done} seeds, ${failed.length} failed, ${seconds()} s`);
}
print(`Drops: ${[...drops].map(([reason, count]) => `${reason} ${count}`).join(", ")}`);
print(
  `${seeds} seeds from ${first}, ${connections} connections, ${forwarded} packets forwarded, ` +
    `${failed.length} seeds failed${failed.length > 0 ? ` (${failed.join(", ")})` : ""}, ` +
    `${seconds()} s`,
);
Deno.exit(failed.length === 0 ? 0 : 1);

function seconds(): string {
  return ((performance.now() - startMs) / 1000).toFixed(1);
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
