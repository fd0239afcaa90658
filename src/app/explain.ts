/**
 * `proxy explain … PACKET…`: what the proxy would do with each packet, and why. The packets go one after
 * the other, all at one instant, through a whole appliance in memory, whose tree is run by the walker
 * and tells its path. Nothing outside is touched.
 *
 *     tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn ttl 64
 *     new, from side a
 *
 *     not ip.src in $dst-addrs  true
 *     …
 *     Decision : Forward
 *     sent     : tcp 192.168.0.100:40000 > 192.168.0.2:2000 syn ttl 63
 *
 * Every neighbour has answered ARP, the sender, too.
 */
import { ManualClock } from "../core/clock.ts";
import { SeededRandom } from "../core/random.ts";
import { reasonName, reasonText } from "../core/reason.ts";
import { MemoryDevice } from "../device/memory.ts";
import { DECISION_NAMES, type Policy } from "../tree/ast.ts";
import { explaining, formatPath, type PathLine } from "../tree/explain.ts";
import type { Plan } from "../tree/plan.ts";
import type { Evaluate } from "../tree/environment.ts";
import { inSubnet, type Mac, subnetOf } from "../wire/address.ts";
import { STATE_ESTABLISHED, STATE_NEW } from "../wire/pdu.ts";
import { Appliance } from "./appliance.ts";
import { type CommandOptions, reported } from "./command.ts";
import type { Config } from "./config.ts";
import { arpReplyFrame, isArp } from "./frame_kind.ts";
import { frameOf, type Packet } from "./packet.ts";
import { describeFrame, formatPacket } from "./packet_text.ts";
import { loadPolicy } from "./policy_file.ts";
import { Trace } from "./trace.ts";
import { writeAll } from "./write_all.ts";

export interface ExplainCommand {
  readonly config: Config;
  /** One or more. */
  readonly packets: readonly Packet[];
}

/** What became of one packet. */
export interface Explanation {
  /** `new, from side a`; null if the packet did not come to the tree. */
  readonly seen: string | null;
  readonly path: readonly PathLine[];
  /** The console's line, e.g. `Decision : Drop (no-mapping)`. */
  readonly decision: string;
  /** What the reason means, if the policy did not choose the drop; else null. */
  readonly why: string | null;
  /** Frames that were sent because of it. */
  readonly sent: readonly Uint8Array[];
}

/** Runs the command; the exit code: 0, or 1 for a failure. */
export async function explainCommand(
  { config, packets }: ExplainCommand,
  { stdout, stderr, builtIn, customs }: CommandOptions,
): Promise<number> {
  return await reported(stderr, async () => {
    const policy = config.policy === null ? builtIn : await loadPolicy(config.policy, customs);
    const explainer = new Explainer(policy, config, packets.map(({ src }) => src));
    for (const [i, packet] of packets.entries()) {
      const text = formatExplanation(packet, explainer.explain(packet));
      if (!await writeAll(stdout, i === 0 ? text : `\n${text}`)) break;
    }
    return 0;
  });
}

/** The lines about one packet, each ended by a newline. */
export function formatExplanation(packet: Packet, explanation: Explanation): string {
  const { seen, path, decision, why, sent } = explanation;
  const parts = [
    `${formatPacket(packet)}\n`,
    seen === null ? "" : `${seen}\n\n${formatPath(path)}`,
    `\n${decision}\n`,
    why === null ? "" : `because  : ${why}\n`,
    ...sent.map((frame) => `sent     : ${describeFrame(frame)}\n`),
  ];
  return parts.join("");
}

/** An appliance in memory that tells what it does. Throws a RangeError for a policy that can't run. */
export class Explainer {
  readonly #device = new MemoryDevice();
  readonly #appliance: Appliance;
  readonly #config: Config;
  #seen: string | null = null;
  #path: PathLine[] = [];
  #printed = "";

  /** `hosts` are addresses that packets will come from. */
  constructor(policy: Policy, config: Config, hosts: readonly number[]) {
    this.#config = config;
    const console = { full: false, offer: (text: string) => (this.#printed = text) !== "" };
    this.#appliance = new Appliance({
      device: this.#device,
      clock: new ManualClock(),
      random: new SeededRandom(config.seed ?? 0),
      policy,
      config,
      log: {
        info: () => {},
        warning: () => {},
        error: (text) => this.#path.push({ depth: 0, text, outcome: "error" }),
      },
      trace: new Trace("all", console, DECISION_NAMES),
      evaluator: (plan) => this.#evaluator(plan),
    });
    const neighbors = [...config.dstAddrs, ...hosts];
    if (config.gateway !== null) neighbors.push(config.gateway);
    this.#meet(neighbors.filter((address) => address !== config.address));
  }

  /** Sends the packet through. Later ones meet what this one has changed. */
  explain(packet: Packet): Explanation {
    const { drops } = this.#appliance.metrics;
    const before = drops.slice();
    this.#seen = null;
    this.#path = [];
    this.#printed = "";
    const frame = frameOf(packet, this.#macTowards(packet.src), this.#config.mac);
    const sent = this.#deliver([frame]).filter((frame) => !isArp(frame));
    const reason = drops.findIndex((count, reason) => count > before[reason]!);
    const isPdu = this.#printed !== ""; // an ICMP error about a connection is one that no tree is asked for
    const dropped = reason > 0 && reasonName(reason) !== "policy";
    return {
      seen: this.#seen,
      path: this.#path,
      decision: isPdu
        ? this.#printed.trimEnd().split("\n").at(-1)!
        : `Dropped before the policy was asked (${reasonName(reason)})`,
      why: dropped ? reasonText(reason) : null,
      sent,
    };
  }

  #evaluator(plan: Plan): Evaluate {
    const evaluate = explaining(plan, (line) => this.#path.push(line));
    return (pdu) => {
      const state = pdu.state === STATE_NEW
        ? "new"
        : pdu.state === STATE_ESTABLISHED
        ? "established"
        : "invalid";
      this.#seen = `${state}, from side ${plan.environment.sideOf(pdu) === 1 ? "b" : "a"}`;
      return evaluate(pdu);
    };
  }

  /** Lets those that are on the link say where they are. */
  #meet(addresses: readonly number[]): void {
    const { address, mac, prefixLength } = this.#config;
    const subnet = subnetOf(address, prefixLength);
    const onLink = addresses.filter((host) => inSubnet(host, subnet));
    this.#deliver(
      onLink.map((host) =>
        arpReplyFrame({ mac: this.#macOf(host), address: host }, { mac, address })
      ),
    );
  }

  #deliver(frames: readonly Uint8Array[]): readonly Uint8Array[] {
    this.#device.inbox.push(...frames);
    do this.#appliance.poll(0); while (this.#device.inbox.length > 0);
    return this.#device.take();
  }

  /** Of the station that a packet from this address comes from. */
  #macTowards(address: number): Mac {
    const { address: own, prefixLength, gateway } = this.#config;
    const onLink = gateway === null || inSubnet(address, subnetOf(own, prefixLength));
    return this.#macOf(onLink ? address : gateway);
  }

  /** An invented one, never the proxy's own. */
  #macOf(host: number): Mac {
    return { hi: this.#config.mac.hi === 0x0200 ? 0x0202 : 0x0200, lo: host };
  }
}
