/** `explain` against the running policy, in a thread that has only its text and its pools. */
import type { Config } from "../datapath/config.ts";
import { Explainer, formatExplanation } from "../offline/explain.ts";
import { DST_ADDRS } from "../policy/language/ast.ts";
import { parsePacket } from "../offline/packet_text.ts";
import { formatError, parse } from "../policy/notation/parse.ts";
import type { HashKey } from "../wire/keyed_hash.ts";
import { type Answers, Refusal } from "./request.ts";

/** Tables of the appliance in memory: a few packets need no more. */
const ENTRIES = 1024;

const MAX_PACKETS = 100;

/**
 * What would happen to the packets, one after the other, as `proxy explain` prints it. Throws a
 * SyntaxError or RangeError for a wrong packet, and a Refusal for a policy that this thread can't
 * have.
 */
export function explainPackets(
  texts: readonly string[],
  { text, file, included, pools }: Answers["policy"],
  config: Config,
  hashKey: HashKey,
): string[] {
  if (texts.length === 0 || texts.length > MAX_PACKETS) {
    throw new RangeError(`packet: expected 1 to ${MAX_PACKETS}, found ${texts.length}`);
  }
  const packets = texts.map(parsePacket);
  const include = (path: string) => included.get(path) ?? { problem: "it was not read" };
  const { policy, errors } = parse(text, { file, include });
  if (policy === null) {
    throw new Refusal(
      501,
      "Cannot explain a policy with functions of its program: use that program's own explain",
      errors.map(formatError),
    );
  }
  const small = { maxConn: ENTRIES, maxNeighbors: ENTRIES, maxLimitSources: ENTRIES };
  const sources = packets.map(({ src }) => src);
  const { [DST_ADDRS]: backends, ...others } = pools;
  const running = { ...policy, pools: others };
  const dstAddrs = backends!.members.map(({ address }) => address);
  const explainer = new Explainer(running, { ...config, ...small, dstAddrs }, sources, hashKey);
  return packets.map((packet) => formatExplanation(packet, explainer.explain(packet)));
}
