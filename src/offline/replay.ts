/**
 * A capture run through the whole appliance in memory, on the capture's own clock: the same
 * capture, configuration and policy give the same run every time.
 *
 *     record ─┬─ from another station ──▶ appliance ──▶ what it sends ──┬──▶ events.sent
 *             └─ from the proxy's own MAC ────────────▶ compared with ──┘
 *
 * Each record is a burst of its own, and between two records time passes in ticks as in a real run,
 * over long pauses in jumps (`capture_clock.ts`). What hangs on the moment of a tick can't be the
 * same: ARP requests (probes and announcements are such) are counted but not compared, and limits
 * (of the policy, of ICMP errors) may differ by a packet. Checks of backends are left out
 * (`check_frames.ts`): all backends are taken to be there as long as ARP says so.
 */
import type { Log } from "../core/log.ts";
import { SeededRandom } from "../core/random.ts";
import { finish } from "../core/slices.ts";
import { MemoryDevice } from "../device/memory.ts";
import { completeChecksum, OffloadGuess } from "../device/capture/offload_guess.ts";
import type { PcapRecord } from "../device/capture/pcap.ts";
import { LONGER_BYTES } from "../flow/across.ts";
import { type HashKey, NO_KEY } from "../wire/keyed_hash.ts";
import type { Policy } from "../policy/language/ast.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { healthOf } from "../policy/language/health.ts";
import { formatMac, type Mac } from "../wire/address.ts";
import { Appliance } from "../datapath/appliance.ts";
import type { Asked } from "../datapath/interest.ts";
import { CaptureClock } from "./capture_clock.ts";
import { CheckFrames } from "./check_frames.ts";
import { type Config, type LinkConfig, sideB } from "../datapath/config.ts";
import {
  isArpRequest,
  isDuplicateCheck,
  isFrom,
  isTimedMessage6,
} from "../device/capture/frame.ts";
import {
  firstDifference,
  FrameMatch,
  type MatchResult,
  type Sighting,
} from "../device/capture/frame_match.ts";
import { ADDRESS6_WORDS } from "../wire/address6.ts";
import { type HostAddress, isIpv6, wordsOf } from "../wire/host_address.ts";
import { describeFrame } from "./packet_text.ts";
import { formatSummary } from "../console/summary.ts";
import { traceOf } from "../console/trace.ts";

/**
 * After it has asked whether an address is free, a run uses it (RFC 4862, 1 s); less by what a tick
 * may be early.
 */
const TRIAL_US = 990_000;

/** Whom a replay tells. Texts are whole lines. */
export interface ReplayEvents {
  print(text: string): void;
  complain(text: string): void;
  /** A frame was sent over the link of that number; its checksum is complete. */
  sent(record: PcapRecord, link: number): void;
}

/** A host on a link. */
export interface Neighbor6 {
  readonly address: bigint;
  readonly mac: Mac;
}

/** One interface of the run that was captured. */
export interface ReplaySide {
  readonly mtu: number;
  /** Frames that the proxy receives before the capture begins. */
  readonly first: readonly Uint8Array[];
  /**
   * Neighbours over IPv6 that are known, and the proxy's addresses in use, before the capture
   * begins; null: the run begins in it.
   */
  readonly neighbors6?: readonly Neighbor6[] | null;
}

/** One run over a capture, or over one of each link, a record at a time. */
export class Replay {
  readonly #events: ReplayEvents;
  readonly #macs: readonly Mac[];
  readonly #clock = new CaptureClock();
  readonly #devices: readonly MemoryDevice[];
  readonly #appliance: Appliance;
  readonly #offloads: readonly OffloadGuess[];
  readonly #match = new FrameMatch();
  readonly #checks: CheckFrames;
  #records = 0;
  #cutShort = 0;
  #ownRecords = 0;
  readonly #arpRequests = { captured: 0, sent: 0 };
  /** When the run that was captured began to use its addresses of IPv6 on each link. */
  readonly #usableUs: number[];
  readonly #timedMessages6 = { captured: 0, sent: 0 };

  /**
   * There is a side for each link of `config`. Throws a RangeError for a policy that can't run, and
   * a SyntaxError for a trace's filter, which may name the `customs`.
   */
  constructor(
    policy: Policy,
    config: Config,
    events: ReplayEvents,
    sides: readonly ReplaySide[],
    hashKey: HashKey = NO_KEY,
    customs: Customs = {},
  ) {
    this.#events = events;
    this.#macs = config.links.map(({ mac }) => mac);
    this.#usableUs = config.links.map(() => Infinity);
    this.#devices = sides.map(({ mtu }) => new MemoryDevice(mtu));
    const least = Math.min(...this.#devices.map(({ mtu }) => mtu));
    const pathMtu = config.translateFamilies ? least - LONGER_BYTES : least;
    this.#offloads = this.#devices.map(({ mtu }) => new OffloadGuess(mtu, pathMtu));
    for (const [i, { first }] of sides.entries()) this.#devices[i]!.inbox.push(...first);
    const console = { full: false, offer: (text: string) => (events.print(text), true) };
    const log: Log = {
      info: (message) => events.print(`${message}\n`),
      warning: (message) => events.complain(`warning: ${message}\n`),
      error: (message) => events.complain(`error: ${message}\n`),
    };
    this.#appliance = new Appliance({
      devices: this.#devices,
      clock: this.#clock,
      random: new SeededRandom(config.seed ?? 0),
      policy,
      config,
      hashKey,
      log,
      observer: null,
    });
    const observer = (asked: Asked) => traceOf(config.trace, console, asked, customs);
    finish(this.#appliance.prepare({ observer }))();
    for (const [i, { neighbors6 = null }] of sides.entries()) {
      const nd = this.#appliance.links[i]!.v6?.nd;
      if (nd === undefined || neighbors6 === null) continue;
      nd.resumeAddresses(0);
      for (const { address, mac } of neighbors6) nd.resume(address, mac, 0, 0);
    }
    this.#checks = new CheckFrames({
      own: ownTowards(sideB(config.links)),
      pools: [
        { addresses: config.dstAddrs, health: config.health },
        ...Object.values(policy.pools).map(({ members, health = healthOf() }) => ({
          addresses: members.map(({ address }) => address),
          health,
        })),
      ],
      isConnection: (protocol, src, dst, ports) => this.#isConnection(protocol, src, dst, ports),
    });
  }

  /** True if a connection has the tuple; both addresses are of one family. */
  #isConnection(protocol: number, src: HostAddress, dst: HostAddress, ports: number): boolean {
    const { connections: { table }, digest } = this.#appliance;
    if (!isIpv6(src) || !isIpv6(dst)) {
      return !isIpv6(src) && !isIpv6(dst) && table.find(protocol, src, dst, ports) >= 0;
    }
    if (digest === null) return false;
    const addresses = Int32Array.from([...wordsOf(src), ...wordsOf(dst)]);
    const [from, to] = [digest.ofWords(addresses, 0), digest.ofWords(addresses, ADDRESS6_WORDS)];
    return table.find6(protocol, from, to, ports, addresses) >= 0;
  }

  /** The next record, from the capture of the link of that number. */
  take(record: PcapRecord, link = 0): void {
    const device = this.#devices[link]!;
    const { frame, lengthBytes, timeUs } = record;
    if (this.#records++ === 0) this.#clock.begin(timeUs);
    if (frame.length < lengthBytes) this.#cutShort++;
    while (this.#clock.approach(timeUs) || this.#isWaiting()) this.#poll();
    const isOwn = isFrom(frame, this.#macs[link]!);
    if (isOwn) this.#ownRecords++;
    if (isOwn && isDuplicateCheck(frame)) {
      this.#usableUs[link] = Math.min(this.#usableUs[link]!, timeUs + TRIAL_US);
    }
    if (link === this.#devices.length - 1 && this.#checks.take(frame)) return;
    if (isOwn) {
      if (isArpRequest(frame)) this.#arpRequests.captured++;
      else if (isTimedMessage6(frame)) this.#timedMessages6.captured++;
      else this.#match.captured({ frame, record: this.#records, timeUs });
      return;
    }
    const vnet = this.#offloads[link]!.vnetOf(frame);
    if (vnet !== null) device.vnet.set(frame, vnet);
    device.inbox.push(frame);
    do this.#poll(); while (this.#isWaiting());
  }

  #isWaiting(): boolean {
    return this.#devices.some(({ inbox }) => inbox.length > 0);
  }

  /** True if the capture has frames of the proxy and they are not those that were sent here. */
  differs(): boolean {
    const { missing, unexpected } = this.#match.result();
    return this.#ownRecords > 0 && missing.length + unexpected.length > 0;
  }

  /** The appliance's summary and the comparison, as lines. */
  summary(): string {
    return formatSummary(this.#appliance.snapshot()) + this.#comparison(this.#match.result());
  }

  #poll(): void {
    for (const [link, usableUs] of this.#usableUs.entries()) {
      if (this.#clock.timeUs < usableUs) continue;
      this.#usableUs[link] = Infinity;
      this.#appliance.links[link]!.v6?.nd.resumeAddresses(this.#clock.nowMs());
    }
    this.#appliance.poll(0);
    for (const [link, device] of this.#devices.entries()) {
      for (const frame of device.take()) this.#sent(frame, device.vnet.has(frame), link);
    }
  }

  /** Takes what was sent; `isOpen`: its checksum is still to be completed. */
  #sent(frame: Uint8Array<ArrayBuffer>, isOpen: boolean, link: number): void {
    const { timeUs } = this.#clock;
    if (isArpRequest(frame)) this.#arpRequests.sent++;
    else if (isTimedMessage6(frame)) this.#timedMessages6.sent++;
    else this.#match.sent({ frame, record: this.#records, timeUs });
    const complete = isOpen ? frame.slice() : frame;
    if (isOpen) completeChecksum(complete);
    this.#events.sent({ timeUs, frame: complete, lengthBytes: frame.length }, link);
  }

  #comparison({ equal, outOfOrder, missing, unexpected }: MatchResult): string {
    const cut = this.#cutShort === 0 ? "" : `, ${this.#cutShort} cut short by the capture`;
    const lines = [
      [
        "Capture",
        `${this.#records} frames${cut}, ${this.#ownRecords} from ` +
        this.#macs.map(formatMac).join(" and "),
      ],
    ];
    if (this.#ownRecords === 0) {
      lines.push(["Compared", "nothing: the capture has no frames of the proxy"]);
    } else {
      const { captured, sent } = this.#arpRequests;
      const timed6 = this.#timedMessages6;
      const order = outOfOrder === 0 ? "" : ` (${outOfOrder} in another order)`;
      lines.push(
        [
          "Compared",
          `${equal} equal${order}, ${missing.length} missing, ${unexpected.length} unexpected`,
        ],
        ["Left out", `ARP requests, ${captured} in the capture, ${sent} sent here`],
        ...(timed6.captured + timed6.sent === 0 ? [] : [[
          "Left out",
          `ND and MLD by timers, ${timed6.captured} in the capture, ${timed6.sent} sent here`,
        ]]),
        ...(this.#checks.count === 0
          ? []
          : [["Left out", `checks of backends, ${this.#checks.count} frames in the capture`]]),
        ...this.#differences(missing[0], unexpected[0]),
      );
    }
    return lines.map(([name, text]) => `${name!.padEnd(11)} : ${text}\n`).join("");
  }

  #differences(missing: Sighting | undefined, unexpected: Sighting | undefined): string[][] {
    const place = ({ record, timeUs, frame }: Sighting): string =>
      `${record}, ${this.#clock.secondsOf(timeUs)} s: ${describeFrame(frame)}`;
    const lines: string[][] = [];
    if (missing !== undefined) lines.push(["Missing", `first in record ${place(missing)}`]);
    if (unexpected !== undefined) {
      lines.push(["Unexpected", `first after record ${place(unexpected)}`]);
    }
    if (missing !== undefined && unexpected !== undefined) {
      const at = firstDifference(missing.frame, unexpected.frame);
      const [there, here] = [missing.frame[at], unexpected.frame[at]].map(hexOf);
      lines.push(["Difference", `byte ${at} of the two is ${there} in the capture, ${here} here`]);
    }
    return lines;
  }
}

function hexOf(byte: number | undefined): string {
  return byte === undefined ? "lacking" : byte.toString(16).padStart(2, "0");
}

/** The addresses from which traffic leaves by the link: one of each family. */
function ownTowards({ address, ipv6 }: LinkConfig): HostAddress[] {
  const [main] = ipv6?.addresses ?? [];
  return main === undefined ? [address] : [address, main.address];
}
