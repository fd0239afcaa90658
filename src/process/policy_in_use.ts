/** The policy of a run and its text, as it is read and checked at the start and at a reload. */
import type { PolicyText } from "../control/request.ts";
import type { Log } from "../core/log.ts";
import { countNodes } from "../policy/engine/footprint.ts";
import type { Policy } from "../policy/language/ast.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { print } from "../policy/printing/print.ts";
import { loadPolicyText, readFile, readFileAgain } from "./policy_file.ts";
import { checkPolicy } from "./policy_findings.ts";
import type { Work } from "./turns.ts";

export interface PolicyInUse {
  readonly policy: Policy;
  readonly text: () => PolicyText;
}

/** Most nodes of a policy that is checked while packets wait. */
const MAX_CHECKED_NODES = 2000;

export function builtInUse(policy: Policy): PolicyInUse {
  return { policy, text: () => ({ file: "built-in", text: print(policy), included: new Map() }) };
}

/**
 * Reads and checks the file; with `work` again, and only what is soon checked, as packets wait.
 * Throws an Error that says what is wrong.
 */
export async function readPolicyInUse(
  file: string,
  customs: Customs,
  log: Pick<Log, "warning">,
  work?: Work,
): Promise<PolicyInUse> {
  const read = work === undefined ? readFile : readFileAgain;
  const { source, text } = await loadPolicyText(file, customs, work, read);
  const { policy } = source;
  if (work === undefined || await work(countNodes(policy)) <= MAX_CHECKED_NODES) {
    checkPolicy(source, log);
  } else log.warning(`policy "${file}" not checked: more than ${MAX_CHECKED_NODES} nodes`);
  return { policy, text: () => text };
}
