/**
 * What the proxy would do with packets, and why. The packets go one after the other, all at one
 * instant, through a whole appliance in memory, whose tree is run by the walker and tells its path.
 * Nothing outside is touched.
 *
 *     tcp 192.168.0.254:40000 > 192.168.0.100:2000 syn ttl 64
 *     new, from side a
 *
 *     not ip.src in $dst-addrs  true
 *     …
 *     Decision : Forward
 *     sent     : tcp 192.168.0.100:40000 > 192.168.0.2:2000 syn ttl 63 (backend 192.168.0.2)
 *     kernel   : may carry the connection once it is established
 *
 * Every neighbour has answered ARP or a solicitation, the sender, too.
 */
import { ManualClock } from "../core/clock.ts";
import { SeededRandom } from "../core/random.ts";
import { Reason, reasonName, reasonText } from "../core/reason.ts";
import { MemoryDevice } from "../device/memory.ts";
import type { Member } from "../flow/backends/member.ts";
import { FORWARD, type Policy } from "../policy/language/ast.ts";
import { explaining, formatPath, type PathLine, whyKept } from "../policy/engine/path.ts";
import { inSubnet, type Mac } from "../wire/address.ts";
import {
  formatEndpoint,
  formatHostAddress,
  type HostAddress,
  isIpv6,
  wordsOf,
} from "../wire/host_address.ts";
import { type HashKey, NO_KEY } from "../wire/keyed_hash.ts";
import {
  FROM_B,
  isStray,
  isTcp,
  isUdp,
  type Pdu,
  STATE_ESTABLISHED,
  STATE_NEW,
} from "../wire/pdu.ts";
import { Appliance } from "../datapath/appliance.ts";
import {
  type Config,
  isBehind,
  isOwn,
  type LinkConfig,
  routesOn,
  subnetOn,
} from "../datapath/config.ts";
import { arpReplyFrame, isArp, isTimedMessage6 } from "../device/capture/frame.ts";
import { frameOf, type Packet } from "../device/capture/packet.ts";
import { describeFrame, formatPacket } from "./packet_text.ts";
import { formatDecision } from "../console/summary.ts";
import type { Outcome } from "../datapath/observer.ts";

/** Most members of a pool that one line names. */
const MOST_SHOWN = 20;

/** What became of one packet. */
export interface Explanation {
  /** `new, from side a`; null if the packet did not come to the tree. */
  readonly seen: string | null;
  readonly path: readonly PathLine[];
  /** The console's line, e.g. `Decision : Drop (no-mapping)`. */
  readonly decision: string;
  /** What the reason means, if the policy did not choose the drop; else null. */
  readonly why: string | null;
  /** Backend of the connection by which it was forwarded; null: it was not forwarded. */
  readonly backend: HostAddress | null;
  /** How its new connection got that backend, where there is more than one pool; else null. */
  readonly choice: string | null;
  /** Whether the kernel may carry its new connection (`--fast-path`), else why not; null: none. */
  readonly kernel: string | null;
  /** Frames that were sent because of it. */
  readonly sent: readonly Sent[];
}

interface Sent {
  readonly frame: Uint8Array;
  /** ` to side b`; empty where one interface serves both sides. */
  readonly side: string;
}

/** The lines about one packet, each ended by a newline. */
export function formatExplanation(packet: Packet, explanation: Explanation): string {
  const { seen, path, decision, why, backend, choice, kernel, sent } = explanation;
  const via = backend === null ? "" : ` (backend ${formatHostAddress(backend)})`;
  const parts = [
    `${formatPacket(packet)}\n`,
    seen === null ? "" : `${seen}\n\n${formatPath(path)}`,
    `\n${decision}\n`,
    why === null ? "" : `because  : ${why}\n`,
    choice === null ? "" : `pool     : ${choice}\n`,
    ...sent.map(({ frame, side }) => `sent     : ${describeFrame(frame)}${side}${via}\n`),
    kernel === null ? "" : `kernel   : ${kernel}\n`,
  ];
  return parts.join("");
}

/**
 * An appliance in memory that tells what it does. Throws a RangeError for a policy that can't run.
 */
export class Explainer {
  readonly #devices: readonly MemoryDevice[];
  readonly #appliance: Appliance;
  readonly #config: Config;
  #path: PathLine[] = [];
  #outcome: Outcome | null = null;
  /** Why the frame did not become a PDU; else 0. */
  #refused = 0;

  /** `hosts` are addresses that packets will come from, of either family. */
  constructor(
    policy: Policy,
    config: Config,
    hosts: readonly HostAddress[],
    hashKey: HashKey = NO_KEY,
  ) {
    this.#config = config;
    this.#devices = config.links.map(() => new MemoryDevice());
    this.#appliance = new Appliance({
      devices: this.#devices,
      clock: new ManualClock(),
      random: new SeededRandom(config.seed ?? 0),
      policy,
      config,
      hashKey,
      log: {
        info: () => {},
        warning: () => {},
        error: (text) => this.#path.push({ depth: 0, text, outcome: "error" }),
      },
      observer: {
        plain: () => "all",
        kept: () => "all",
        seesDrops: false,
        wants: () => true,
        received: () => {},
        takes: () => true,
        decided: (outcome) => this.#outcome = outcome,
        skipped: () => {},
        refused: (_, reason) => this.#refused = reason,
        tick: () => {},
      },
      evaluator: (plan) => explaining(plan, (line) => this.#path.push(line)),
    });
    const nextHops = config.links.flatMap(({ routes, ipv6 }) =>
      [...routes, ...ipv6?.routes ?? []].map(({ nextHop }) => nextHop)
    );
    const members = Object.values(policy.pools)
      .flatMap(({ members }) => members.map(({ address }) => address));
    const neighbors = [...new Set([...config.dstAddrs, ...members, ...hosts, ...nextHops])];
    this.#meet(neighbors);
  }

  /** Sends the packet through. Later ones meet what this one has changed. */
  explain(packet: Packet): Explanation {
    this.#path = [];
    this.#outcome = null;
    this.#refused = 0;
    const number = this.#linkOf(packet);
    const link = this.#config.links[number]!;
    this.#devices[number]!.inbox.push(frameOf(packet, this.#macOf(packet.src, number), link.mac));
    const sent = this.#poll().filter(({ frame }) => !isArp(frame) && !isTimedMessage6(frame));
    const outcome = this.#outcome as Outcome | null; // set by the observer meanwhile
    const reason = outcome?.reason ?? this.#refused;
    const opened = outcome?.decision === FORWARD && outcome.pdu.opened !== 0 ? outcome.pdu : null;
    return {
      seen: outcome === null || outcome.node === null ? null : seenAs(outcome.pdu),
      path: this.#path,
      decision: outcome === null
        ? `Dropped before the policy was asked (${reasonName(reason)})`
        : formatDecision(outcome),
      why: reason === 0 || reason === Reason.policy ? null : reasonText(reason),
      backend: outcome?.backend ?? null,
      choice: opened === null ? null : this.#choiceOf(opened.flow >> 1),
      kernel: opened === null ? null : this.#kernelOf(opened),
      sent,
    };
  }

  /** `$web, 192.168.0.2:8080 out of 192.168.0.1:8080, 192.168.0.2:8080`. */
  #choiceOf(entry: number): string | null {
    const { backends, connections } = this.#appliance;
    if (backends.pools.length === 1) return null;
    const member = backends.all[connections.table.member(entry)]!;
    const { name, usable } = member.pool;
    const could = usable.filter((other) =>
      other === member || (!other.isFull && other.isIpv6 === member.isIpv6)
    );
    const shown = could.slice(0, MOST_SHOWN).map(formatMember).join(", ");
    const more = could.length > MOST_SHOWN ? ` and ${could.length - MOST_SHOWN} more` : "";
    return `$${name}, ${formatMember(member)} out of ${shown}${more}`;
  }

  /** Whether the connection's plain packets need to come to the policy. */
  #kernelOf({ protocol, flow }: Readonly<Pdu>): string | null {
    if (!isTcp(protocol) && !isUdp(protocol)) return null;
    if (this.#appliance.connections.table.crosses(flow >> 1)) {
      return "leaves the connection to the proxy: its sides are of different families";
    }
    const kept = this.#appliance.keeperOf(flow >> 1);
    if (kept === null) return "may carry the connection once it is established";
    const why = whyKept(kept.keeper, this.#appliance.policy);
    return `leaves the connection to the proxy, for packets from the ${kept.from}: ${why}`;
  }

  /** Lets those that are on a link say where they are. */
  #meet(addresses: readonly HostAddress[]): void {
    for (const [i, link] of this.#config.links.entries()) {
      const nd = this.#appliance.links[i]!.v6?.nd;
      nd?.resumeAddresses(0);
      for (const address of addresses) {
        const mac = inventedMac(address, link);
        if (isOwn(address, link)) continue;
        if (isIpv6(address)) nd?.resume(address, mac, 0, 0);
        else if (inSubnet(address, subnetOn(link))) {
          this.#devices[i]!.inbox.push(arpReplyFrame({ mac, address }, link));
        }
      }
    }
    this.#poll();
  }

  /** Of the station on the link of that number that a packet from this address comes from. */
  #macOf(address: HostAddress, number: number): Mac {
    const link = this.#config.links[number]!;
    const nextHop = isIpv6(address)
      ? this.#appliance.links[number]!.v6?.routes.nextHopOf(address)
      : routesOn(link).nextHop(address);
    return inventedMac(nextHop || address, link);
  }

  /** Lets the appliance handle what waits for it. */
  #poll(): readonly Sent[] {
    do this.#appliance.poll(0); while (this.#devices.some(({ inbox }) => inbox.length > 0));
    return this.#devices.flatMap((device, i) => {
      const side = this.#devices.length === 1 ? "" : ` to side ${i === 0 ? "a" : "b"}`;
      return device.take().map((frame) => ({ frame, side }));
    });
  }

  /** Number of the link by which the packet comes: that of its destination, else of its source. */
  #linkOf({ src, dst }: Packet): number {
    const { links } = this.#config;
    if (links.length === 1) return 0;
    const own = links.findIndex((link, i) =>
      isOwn(dst, link) || (isIpv6(dst) && this.#appliance.links[i]!.v6?.addresses.includes(dst))
    );
    return own >= 0 ? own : isBehind(src, links, 1) ? 1 : 0;
  }
}

function formatMember({ address, port }: Member): string {
  return formatEndpoint(address, port);
}

/** How the tree saw the PDU: `new, from side a`. */
function seenAs(pdu: Readonly<Pdu>): string {
  const state = pdu.state === STATE_NEW
    ? "new"
    : pdu.state === STATE_ESTABLISHED
    ? "established"
    : isStray(pdu)
    ? "invalid, stray"
    : "invalid";
  return `${state}, from side ${pdu.side === FROM_B ? "b" : "a"}`;
}

/** Never the proxy's own. */
function inventedMac(host: HostAddress, { mac }: LinkConfig): Mac {
  const hi = mac.hi === 0x0200 ? 0x0202 : 0x0200;
  return { hi, lo: isIpv6(host) ? wordsOf(host).reduce((sum, word) => sum ^ word, 0) : host };
}
