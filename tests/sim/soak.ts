/**
 * `deno task soak [MODE] [SEEDS [FIRST]]`: the simulator over many seeds (2,000 unless told
 * otherwise), in one mode of `modes.ts` (usual, preserving, returning, failing, attacked or
 * carried) or in all; of four seeds one is over IPv4, one over IPv6, one has hosts of both, and in
 * one families are translated. Prints what it did and how long it took; every seed that fails is
 * named, and the exit code is then 1.
 */
import { type Mode, MODES } from "./modes.ts";
import type { Family } from "./sim.ts";

const FAMILIES: readonly Family[] = ["IPv4", "IPv6", "mixed", "crossed"];

const PROGRESS_EVERY = 100;

const known = Object.keys(MODES) as Mode[];
const named = known.filter((mode) => mode === Deno.args[0]);
const [seeds = 2000, first = 1] = Deno.args.slice(named.length).map(Number);
if (!(seeds >= 1 && seeds <= 1_000_000 && first >= 0)) {
  throw new RangeError(
    `Cannot run "${Deno.args.join(" ")}": expected a MODE of ${
      known.join(", ")
    }, SEEDS from 1 and FIRST from 0`,
  );
}

let failures = 0;
for (const mode of named.length > 0 ? named : known) failures += soak(mode);
Deno.exit(failures === 0 ? 0 : 1);

/** Returns how many seeds failed. */
function soak(mode: Mode): number {
  const startMs = performance.now();
  const failed: number[] = [];
  const drops = new Map<string, number>();
  let connections = 0;
  let forwarded = 0;
  let carried = 0;
  for (let seed = first; seed < first + seeds; seed++) {
    try {
      const result = MODES[mode](seed, FAMILIES[seed % FAMILIES.length]!);
      connections += result.connections;
      forwarded += result.forwarded;
      carried += result.carried;
      for (const [reason, count] of Object.entries(result.drops)) {
        drops.set(reason, (drops.get(reason) ?? 0) + count);
      }
    } catch (error) {
      failed.push(seed);
      print(error instanceof Error ? error.message : String(error));
    }
    const done = seed - first + 1;
    if (done % PROGRESS_EVERY === 0) {
      print(`${mode}: ${done} seeds, ${failed.length} failed, ${secondsSince(startMs)} s`);
    }
  }
  print(`Drops: ${[...drops].map(([reason, count]) => `${reason} ${count}`).join(", ")}`);
  print(
    `${mode}: ${seeds} seeds from ${first}, ${connections} connections, ${forwarded} packets ` +
      `forwarded, ${carried} of them by the kernel, ${failed.length} seeds failed` +
      `${failed.length > 0 ? ` (${failed.join(", ")})` : ""}, ${secondsSince(startMs)} s`,
  );
  return failed.length;
}

function secondsSince(startMs: number): string {
  return ((performance.now() - startMs) / 1000).toFixed(1);
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
