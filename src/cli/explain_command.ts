/** `proxy explain … PACKET…`: what the proxy would do with each packet, and why. */
import type { Config } from "../datapath/config.ts";
import type { Packet } from "../device/capture/packet.ts";
import { Explainer, formatExplanation } from "../offline/explain.ts";
import { loadHashKey } from "../process/hash_key_file.ts";
import { loadPolicyOr } from "../process/policy_file.ts";
import { writeAll } from "../process/write_all.ts";
import { type CommandOptions, reported } from "./command.ts";

export interface ExplainCommand {
  readonly config: Config;
  /** One or more. */
  readonly packets: readonly Packet[];
}

/** Runs the command; the exit code: 0, or 1 for a failure. */
export async function explainCommand(
  { config, packets }: ExplainCommand,
  { stdout, stderr, builtIn, customs }: CommandOptions,
): Promise<number> {
  return await reported(stderr, async () => {
    const { length } = config.links;
    const policy = await loadPolicyOr(builtIn, length, config.policy, customs);
    const hashKey = await loadHashKey(config.hashKeyFile);
    const explainer = new Explainer(policy, config, packets.map(({ src }) => src), hashKey);
    for (const [i, packet] of packets.entries()) {
      const text = formatExplanation(packet, explainer.explain(packet));
      if (!await writeAll(stdout, i === 0 ? text : `\n${text}`)) break;
    }
    return 0;
  });
}
