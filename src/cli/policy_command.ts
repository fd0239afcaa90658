/**
 * `proxy policy check|print|format|mermaid|dot|svg [FILE]`: looks at a policy without running it.
 * The answer goes to stdout and is waited for; what keeps it from being given goes to stderr.
 */
import type { Policy } from "../policy/language/ast.ts";
import type { Writer } from "../process/writer.ts";
import { check } from "../policy/check/check.ts";
import { footprintOf, formatBytes } from "../policy/engine/footprint.ts";
import { graphOf } from "../policy/picture/graph.ts";
import { finish } from "../core/slices.ts";
import { type Customs, formatError, type PolicyError } from "../policy/notation/parse.ts";
import { tooLargeOf } from "../policy/engine/plan.ts";
import { counted, printable } from "../core/text.ts";
import { format } from "../policy/printing/format.ts";
import { print } from "../policy/printing/print.ts";
import { renderDot, renderMermaid } from "../policy/picture/render.ts";
import { SourceLimits } from "../policy/engine/source_limits.ts";
import { reported } from "./command.ts";
import { DEFAULT_MAX_CONN, DEFAULT_MAX_LIMIT_SOURCES } from "./flags.ts";
import { parseSource, type ReadFile, readPolicy } from "../process/policy_file.ts";
import {
  errorsIn,
  formatFindings,
  type LoadedPolicy,
  warningsIn,
} from "../process/policy_findings.ts";
import { writeAll } from "../process/write_all.ts";

export const POLICY_VIEWS = ["check", "print", "format", "mermaid", "dot", "svg"] as const;
export type PolicyView = typeof POLICY_VIEWS[number];

export interface PolicyCommand {
  readonly view: PolicyView;
  /** Path, `-` for standard input, null: the program's own policy. */
  readonly file: string | null;
}

export interface PolicyCommandOptions {
  readonly stdout: Writer;
  readonly stderr: Writer;
  /** The program's own policy. */
  readonly builtIn: Policy;
  /** What `custom NAME` means in a policy file. */
  readonly customs: Customs;
  /** Loads `svg.ts`. */
  readonly svg: () => Promise<typeof import("./svg.ts")>;
  readonly read?: ReadFile;
}

/** Runs the command; the exit code: 0, or 1 for a wrong policy or a failure. */
export async function policyCommand(
  { view, file }: PolicyCommand,
  options: PolicyCommandOptions,
): Promise<number> {
  return await reported(options.stderr, async () => {
    const refuse = async (errors: readonly PolicyError[]) => {
      const text = `${errors.map(formatError).join("\n")}\n`;
      await writeAll(view === "check" ? options.stdout : options.stderr, text);
      return 1;
    };
    if (view === "format" && file !== null) {
      const source = await readPolicy(file, options.read);
      const { text, errors } = format(source.text, source.file);
      if (text === null) return await refuse(errors);
      await writeAll(options.stdout, text);
      return 0;
    }
    const source = await load(file, options);
    if (Array.isArray(source)) return await refuse(source);
    if (view === "check") return await checkSource(source, options.stdout);
    await writeAll(options.stdout, await textOf(view, source.policy, options));
    return 0;
  });
}

async function load(
  file: string | null,
  { builtIn, customs, read }: PolicyCommandOptions,
): Promise<LoadedPolicy | PolicyError[]> {
  if (file === null) {
    const [positions, sources] = [new Map(), new Map()];
    return { name: "built-in policy", policy: builtIn, positions, sources };
  }
  const source = await readPolicy(file, read);
  const parsed = finish(parseSource(source, customs));
  return parsed.policy === null ? [...parsed.errors] : { name: source.file, ...parsed };
}

async function textOf(
  view: Exclude<PolicyView, "check">,
  policy: Policy,
  options: PolicyCommandOptions,
): Promise<string> {
  switch (view) {
    case "print":
    case "format":
      return print(policy);
    case "mermaid":
      return renderMermaid(graphOf(policy));
    case "dot":
      return renderDot(graphOf(policy));
    case "svg":
      return await (await options.svg()).renderSvg(graphOf(policy));
  }
}

/** A run without flags; backends are few beside everything else. */
const DEFAULTS = {
  dstAddrs: [],
  maxConnections: Number(DEFAULT_MAX_CONN),
  sourceLimits: { maxBytes: SourceLimits.bytesOf(Number(DEFAULT_MAX_LIMIT_SOURCES), false) },
  isIpv6On: false,
};

/**
 * Says what the static checks found, one finding after the other, and last how many there are, and
 * how large the policy is when it runs.
 */
async function checkSource(source: LoadedPolicy, stdout: Writer): Promise<number> {
  const footprint = footprintOf(source.policy, DEFAULTS);
  const findings = [...check(source.policy)];
  const message = tooLargeOf(footprint);
  if (message !== null && findings.every(({ check }) => check !== "too-large")) {
    const { policy } = source;
    findings.push({ level: "error", check: "too-large", node: policy, message, path: "start" });
  }
  const errors = errorsIn(findings);
  const warnings = warningsIn(findings);
  const counts = [
    counted(errors.length, "error"),
    counted(warnings.length, "warning"),
  ].filter((words) => words !== null);
  const last = [
    counts.length === 0 ? "no findings" : counts.join(", "),
    counted(footprint.nodes, "node") ?? "no nodes",
    `up to ${formatBytes(footprint.bytes)} of memory`,
  ].join(", ");
  const texts = formatFindings(findings, source);
  await writeAll(stdout, `${[...texts, `${printable(source.name)}: ${last}`].join("\n")}\n`);
  return errors.length > 0 ? 1 : 0;
}
