/**
 * The benchmark: the proxy beside others that do the same on this machine, and its parts in memory.
 *
 *     deno task bench                                   everything; writes tests/bench/README.md
 *     deno task bench bulk connect --rounds=3           some parts; prints only
 *     deno task bench bulk --subjects=proxy,C
 */
import { Lab } from "../e2e/lab.ts";
import { type Results, table } from "./report.ts";
import { subjects } from "./subjects.ts";
import { buildTools } from "./tools.ts";
import { type Outcome, type Workload, workloads } from "./workloads.ts";

const DEFAULT_ROUNDS = 5;

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

/** Runs the workloads with the subjects in turn, round after round. */
async function compare(
  chosen: readonly Workload[],
  only: readonly string[],
  rounds: number,
): Promise<Results> {
  const obstacle = await Lab.obstacle();
  if (obstacle) throw new Error(`Cannot compare: ${obstacle}; run as root`);
  using tools = await buildTools();
  const results: Results = new Map();
  for (let round = 1; round <= rounds; round++) {
    for (const workload of chosen) {
      for (const subject of subjects) {
        if (only.length > 0 && !only.includes(subject.name)) continue;
        if (!workload.takes(subject)) continue;
        const outcome = await workload.run(subject, tools);
        const bySubject = results.get(workload) ?? new Map<string, Outcome[]>();
        results.set(workload, bySubject);
        bySubject.set(subject.name, [...bySubject.get(subject.name) ?? [], outcome]);
        say(
          `${round}/${rounds} ${workload.name.padEnd(10)} ${subject.name.padEnd(16)}` +
            outcome.figures.map((figure) => figure.toFixed(2).padStart(12)).join("") +
            `   TCPSynRetrans ${outcome.synRetransmissions}, failures ${outcome.failures}`,
        );
      }
    }
  }
  return results;
}

if (import.meta.main) {
  const words = Deno.args.filter((arg) => !arg.startsWith("--"));
  const flag = (name: string): string | undefined =>
    Deno.args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
  const chosen = words.length === 0
    ? workloads
    : workloads.filter(({ name }) => words.includes(name));
  const only = flag("subjects")?.split(",") ?? [];
  const results = await compare(chosen, only, Number(flag("rounds") ?? DEFAULT_ROUNDS));
  say(table(results));
}
