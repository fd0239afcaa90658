/**
 * The benchmark: the proxy beside others that do the same on this machine, and its parts in memory.
 *
 *     deno task bench                                   everything; writes README.md, chart.svg
 *     deno task bench bulk connect rules --rounds=3     some parts; prints only
 *     deno task bench bulk --subjects=proxy,C
 */
import { fileURLToPath } from "node:url";
import { Lab } from "../lab/lab.ts";
import { memoryParts, runPart } from "./memory.ts";
import { must } from "../support/shell.ts";
import { chart, markdown, type Results } from "./report.ts";
import { type Subject, subjects } from "./subjects.ts";
import { buildTools } from "./tools.ts";
import { type Workload, workloads } from "./workloads.ts";

const DEFAULT_ROUNDS = 5;

/** In README.md, around what this program writes there. */
const BEGIN = "<!-- figures: written by deno task bench -->";
const END = "<!-- end of figures -->";

interface Choice {
  readonly names: readonly string[];
  readonly subjects: readonly Subject[];
  readonly rounds: number;
}

async function main(choice: Choice): Promise<void> {
  const isChosen = ({ name }: { readonly name: string }): boolean =>
    choice.names.length === 0 || choice.names.includes(name);
  const results = await compare(workloads.filter(isChosen), choice);
  const parts: string[] = [];
  for (const part of memoryParts.filter(isChosen)) {
    parts.push(`\`\`\`\n${await runPart(part)}\n\`\`\``);
  }
  const table = results.size === 0 ? [] : [markdown(results)];
  const figures = [await heading(choice.rounds), ...table, ...parts].join("\n\n");
  say(figures);
  if (choice.names.length > 0 || choice.subjects.length < subjects.length) return;
  const readme = new URL("README.md", import.meta.url);
  const [before, rest] = (await Deno.readTextFile(readme)).split(BEGIN);
  const after = rest!.split(END)[1];
  await Deno.writeTextFile(
    readme,
    `${before}${BEGIN}\n\n${figures}\n\n![Medians as bars](chart.svg)\n\n${END}${after}`,
  );
  const picture = new URL("chart.svg", import.meta.url);
  await Deno.writeTextFile(picture, chart(results));
  await must([Deno.execPath(), "fmt", "--quiet", fileURLToPath(readme), fileURLToPath(picture)]);
}

/** Runs the workloads with the subjects in turn, round after round. */
async function compare(
  chosen: readonly Workload[],
  { subjects, rounds }: Choice,
): Promise<Results> {
  const results: Results = new Map();
  if (chosen.length === 0) return results;
  const obstacle = await Lab.obstacle();
  if (obstacle) throw new Error(`Cannot compare: ${obstacle}; run as root`);
  using tools = await buildTools();
  for (let round = 1; round <= rounds; round++) {
    for (const workload of chosen) {
      const runs = results.get(workload) ?? new Map();
      results.set(workload, runs);
      for (const subject of subjects.filter(workload.takes)) {
        const outcome = await workload.run(subject, tools);
        runs.set(subject, [...runs.get(subject) ?? [], outcome]);
        say(
          `${round}/${rounds} ${workload.name.padEnd(10)} ${subject.name.padEnd(32)}` +
            outcome.figures.map((figure) => figure.toFixed(2).padStart(12)).join("") +
            `   TCPSynRetrans ${outcome.synRetransmissions}, failures ${outcome.failures}`,
        );
      }
    }
  }
  return results;
}

/** When and where, and how often. */
async function heading(rounds: number): Promise<string> {
  const cpuinfo = await must(["cat", "/proc/cpuinfo"]); // Deno itself reads it with all permissions only
  const cpu = /^model name\s*:\s*(.*)$/m.exec(cpuinfo)?.[1];
  const date = new Date().toISOString().slice(0, 10);
  return `${date}, Linux ${Deno.osRelease()}, ${navigator.hardwareConcurrency} × ${
    cpu ?? Deno.build.arch
  }, Deno ${Deno.version.deno}; median of ${rounds} rounds\n(lowest–highest); ratios are medians of each round's.`;
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

/** What the words of the command line choose; throws a RangeError for a name that nothing has. */
function choiceOf(args: readonly string[]): Choice {
  const names = args.filter((arg) => !arg.startsWith("--"));
  const unknown = args.find((arg) => arg.startsWith("--") && !/^--(rounds|subjects)=/.test(arg));
  if (unknown !== undefined) {
    throw new RangeError(`Cannot run with "${unknown}": expected --rounds=N or --subjects=NAME,…`);
  }
  const flag = (name: string): string | undefined =>
    args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3);
  const wanted = flag("subjects")?.split(",") ?? subjects.map(({ name }) => name);
  const known = [...workloads, ...memoryParts, ...subjects].map(({ name }) => name);
  const wrong = [...names, ...wanted].find((name) => !known.includes(name));
  if (wrong !== undefined) {
    throw new RangeError(`Cannot run "${wrong}": expected one of ${known.join(", ")}`);
  }
  const rounds = Number(flag("rounds") ?? DEFAULT_ROUNDS);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new RangeError(`Cannot run "${flag("rounds")}" rounds: expected 1 or more`);
  }
  return {
    names,
    subjects: subjects.filter(({ name }) => wanted.includes(name)),
    rounds,
  };
}

if (import.meta.main) await main(choiceOf(Deno.args));
