/** What the static checks find in a policy file: as lines, and what a run does about it. */
import type { Log } from "../core/log.ts";
import { check, type Finding } from "../policy/check/check.ts";
import type { Policy } from "../policy/language/ast.ts";
import { counted, printable } from "../core/text.ts";
import { formatAt, type Position } from "../policy/notation/policy_error.ts";

/** A policy, and where its parts are in the text it came from, if it came from one. */
export interface PolicySource {
  /** Name of the file. */
  readonly name: string;
  readonly text: string;
  readonly policy: Policy;
  readonly positions: ReadonlyMap<object, Position>;
}

/** Most findings that are shown. */
const MAX_SHOWN = 100;

/**
 * The findings as text, one an entry, with a last one that counts those not shown. In the order of
 * the file if all are shown; else errors first.
 */
export function formatFindings(findings: readonly Finding[], source: PolicySource): string[] {
  const lines = source.text.split("\n");
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
export function checkPolicy(source: PolicySource, log: Log): Policy {
  const findings = check(source.policy);
  const errors = errorsIn(findings).length;
  const texts = formatFindings(findings, source);
  if (errors > 0) {
    const has = `policy "${printable(source.name)}" has ${counted(errors, "error")}`;
    throw new Error([has, ...texts].join("\n"));
  }
  if (texts.length > 0) {
    log.warning([`policy "${printable(source.name)}" has warnings`, ...texts].join("\n"));
  }
  return source.policy;
}

/** With its line if it has one, else with its path in the tree. */
function formatFinding(
  { level, node, message, path }: Finding,
  { name: file, positions }: PolicySource,
  lines: readonly string[],
): string {
  const position = positions.get(node);
  if (position === undefined) return printable(`${file}: ${level}: ${message} (at ${path})`);
  const source = (lines[position.line - 1] ?? "").replace(/\r$/, "");
  return formatAt({ file, ...position, length: 1, source }, `${level}: ${message}`);
}
