/** The policy of a run and its text, as it is read and checked at the start and at a reload. */
import type { Log } from "../core/log.ts";
import { countNodes } from "../policy/engine/footprint.ts";
import type { Policy } from "../policy/language/ast.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { print } from "../policy/printing/print.ts";
import {
  loadedFrom,
  parseSource,
  type PolicySource,
  readFile,
  readFileAgain,
  readPolicy,
} from "./policy_file.ts";
import { checkPolicy } from "./policy_findings.ts";
import type { PolicyThread } from "./policies/thread.ts";
import { atOnce, type Work } from "./turns.ts";

export interface PolicyInUse {
  /** Null: only the policy thread has it. */
  readonly policy: Policy | null;
  readonly pools: Policy["pools"];
  readonly text: () => PolicySource;
}

/** Most nodes of a policy that is checked while packets wait. */
const MAX_CHECKED_NODES = 2000;

/**
 * Longest text, in characters, that is made in the packet thread at the start: what it leaves for
 * the collector of garbage may hold up packets later.
 */
const MAX_SHORT_LENGTH = 65_536;

export function builtInUse(policy: Policy): PolicyInUse {
  const text = () => {
    const printed = print(policy);
    return {
      file: "built-in",
      text: printed,
      pieces: [printed],
      included: new Map(),
      missing: null,
    };
  };
  return { policy, pools: policy.pools, text };
}

/**
 * Reads and checks the file, a long one by the `thread`. With `work` again: all by the thread, and
 * if there is none only what is soon checked, as packets wait. `within` rejects if a file may not
 * be read. Throws an Error that says what is wrong; of an included file it quotes nothing, as that
 * may be none of a policy.
 */
export async function readPolicyInUse(
  file: string,
  customs: Customs,
  log: Pick<Log, "warning">,
  thread: PolicyThread | null,
  work?: Work,
  within: (path: string) => Promise<void> = () => Promise.resolve(),
): Promise<PolicyInUse> {
  const read = async (path: string) => {
    await within(path);
    return await (work === undefined ? readFile(path) : readFileAgain(path));
  };
  const source = await readPolicy(file, read, work);
  const text = () => source;
  if (thread !== null && (work !== undefined || lengthOf(source) > MAX_SHORT_LENGTH)) {
    const { pools, warnings } = await thread.load(source, true);
    for (const warning of warnings) log.warning(warning, "policy-warnings", { policy: file });
    return { policy: null, pools, text };
  }
  const parsed = await (work ?? atOnce)(parseSource(source, customs));
  const loaded = loadedFrom(source.file, parsed);
  const { policy } = loaded;
  if (work === undefined || await work(countNodes(policy)) <= MAX_CHECKED_NODES) {
    checkPolicy(loaded, log);
  } else {
    log.warning(
      `policy "${file}" not checked: more than ${MAX_CHECKED_NODES} nodes`,
      "policy-unchecked",
      { policy: file },
    );
  }
  return { policy, pools: policy.pools, text };
}

function lengthOf({ text, included }: PolicySource): number {
  let length = text.length;
  for (const file of included.values()) if ("text" in file) length += file.text.length;
  return length;
}
