/** What the static checks find in a policy file: as lines, and what a run does about it. */
import type { Log } from "../core/log.ts";
import { check, type Finding } from "../policy/check/check.ts";
import type { Policy } from "../policy/language/ast.ts";
import { counted, printable } from "../core/text.ts";
import { formatAt, type Position } from "../policy/notation/policy_error.ts";

/** A policy, and where its parts are written if it came from a text. */
export interface LoadedPolicy {
  /** What messages call it. */
  readonly name: string;
  readonly policy: Policy;
  readonly positions: Pick<ReadonlyMap<object, Position>, "get">;
  /** Each file that was read, and its text. */
  readonly sources: ReadonlyMap<string, string>;
}

/** Most findings that are shown. */
const MAX_SHOWN = 100;

/**
 * The findings as text, one an entry, with a last one that counts those not shown. In the order of
 * the file if all are shown; else errors first.
 */
export function formatFindings(findings: readonly Finding[], source: LoadedPolicy): string[] {
  const lines = new Map([...source.sources].map(([file, text]) => [file, text.split("\n")]));
  const left = findings.length - MAX_SHOWN;
  const sorted = left > 0 ? [...errorsIn(findings), ...warningsIn(findings)] : findings;
  const texts = sorted.slice(0, MAX_SHOWN).map((finding) => formatFinding(finding, source, lines));
  if (left > 0) texts.push(`and ${left.toLocaleString("en-US")} more`);
  return texts;
}

export function errorsIn(findings: readonly Finding[]): readonly Finding[] {
  return findings.filter(({ level }) => level === "error");
}

export function warningsIn(findings: readonly Finding[]): readonly Finding[] {
  return findings.filter(({ level }) => level === "warning");
}

/**
 * The policy of a file, checked. Logs warnings; throws an Error with all findings if any is an
 * error.
 */
export function checkPolicy(source: LoadedPolicy, log: Pick<Log, "warning">): Policy {
  const findings = check(source.policy);
  const errors = errorsIn(findings).length;
  const texts = formatFindings(findings, source);
  if (errors > 0) {
    const has = `policy "${printable(source.name)}" has ${counted(errors, "error")}`;
    throw new Error([has, ...texts].join("\n"));
  }
  if (texts.length > 0) {
    const message = [`policy "${printable(source.name)}" has warnings`, ...texts].join("\n");
    log.warning(message, "policy-warnings", { policy: source.name });
  }
  return source.policy;
}

/** With its line if it has one, else with its path in the tree. */
function formatFinding(
  { level, node, message, path }: Finding,
  { name, positions }: LoadedPolicy,
  lines: ReadonlyMap<string, readonly string[]>,
): string {
  const position = positions.get(node);
  if (position === undefined) return printable(`${name}: ${level}: ${message} (at ${path})`);
  const source = (lines.get(position.file)?.[position.line - 1] ?? "").replace(/\r$/, "");
  return formatAt({ ...position, length: 1, source }, `${level}: ${message}`);
}
