/**
 * The whole world in memory: an appliance on a MemoryDevice, or on one for each side, a clock that
 * tests move, randomness from a seed, and everything that was logged and printed. Nothing happens
 * until a test says so.
 *
 *     192.168.0.254 client ─┐
 *     192.168.0.1   backend ┼─ one Ethernet ─ 192.168.0.100, 02:00:00:00:01:00 proxy
 *     192.168.0.2, .3       ┘
 *
 *     192.168.0.254 client ─── proxy ─── 10.0.0.1, .2, .3 backends    two-sided, the proxy there:
 *                                                                     10.0.0.100, 02:00:00:00:02:00
 *
 * With `ipv6` each of them has another address beside that one: 2001:db8::fe the client, ::1 to ::3
 * of that network the backends, and ::64 the proxy. Two-sided the backends are 2001:db8:b::1 to
 * ::3, and the proxy there is 2001:db8:b::64.
 *
 * A host's MAC address is 02:00:00:00:00 and its address's last octet. Frames are those of
 * `frames.ts` and `frames6.ts`.
 */
import assert from "node:assert/strict";
import { Appliance } from "../../src/datapath/appliance.ts";
import type { LinkConfig } from "../../src/datapath/config.ts";
import type { StrayMode, TraceMode } from "../../src/datapath/config.ts";
import type { Some } from "../../src/datapath/interest.ts";
import type { Observer } from "../../src/datapath/observer.ts";
import { Outlet } from "../../src/process/outlet.ts";
import { formatSummary } from "../../src/console/summary.ts";
import { Trace } from "../../src/console/trace.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { REASON_NAMES } from "../../src/core/reason.ts";
import { DEFAULT_TIMEOUTS, type Timeouts } from "../../src/flow/lifetimes.ts";
import type { FastPath } from "../../src/datapath/promotions.ts";
import { MemoryDevice } from "../../src/device/memory.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { builtIn } from "../../src/policy/language/built_in.ts";
import type { Evaluate } from "../../src/policy/engine/environment.ts";
import type { Plan } from "../../src/policy/engine/plan.ts";
import { parseHealth } from "../../src/policy/notation/parse_health.ts";
import { parseHostAddress } from "../../src/wire/host_address.ts";
import {
  BACKENDS,
  BACKENDS6,
  BACKENDS6_B,
  BACKENDS_B,
  gatewayOf,
  ipv6Config,
  LINK_B,
  linkConfig,
  PROXY,
  PROXY6,
  PROXY6_B,
  PROXY_B,
  PROXY_B_MAC,
  PROXY_MAC,
  routeOf,
  testConfig,
} from "./config.ts";
import { type Arp, buildArp, readArp, readEthernet } from "./frames.ts";
import {
  address6Bytes,
  buildAdvertisement,
  buildSolicitation,
  isLinkMessage,
  type Neighbor6,
  readIcmp6,
  readNeighbor,
} from "./frames6.ts";

export {
  BACKENDS,
  BACKENDS6,
  BACKENDS6_B,
  BACKENDS_B,
  PROXY,
  PROXY6,
  PROXY6_B,
  PROXY_B,
  PROXY_B_MAC,
  PROXY_MAC,
};
export const CLIENT = "192.168.0.254";
export const CLIENT6 = "2001:db8::fe";

export interface WorldOptions {
  /** An interface on each side. */
  readonly twoSided?: boolean;
  /**
   * The hosts have addresses of both families, and backends of both take connections, unless
   * `backends` are told.
   */
  readonly ipv6?: boolean;
  /** `2001:db8:f::/48 via 2001:db8::fd`, on side A. */
  readonly routes6?: readonly string[];
  /** More addresses of the proxy on side A. */
  readonly own6?: readonly string[];
  /** `--accept-ra`, on side A. */
  readonly acceptRa?: boolean;
  /** Side B's, if it is not the usual one. */
  readonly linkB?: LinkConfig;
  /** Of the proxy's address on side A. */
  readonly prefixLength?: number;
  readonly mtus?: readonly [a: number, b: number];
  readonly clampMss?: boolean;
  readonly preserveSource?: boolean;
  readonly translateFamilies?: boolean;
  readonly strays?: StrayMode;
  readonly retries?: number;
  readonly backends?: readonly string[];
  readonly gateway?: string;
  /** `10.0.0.0/8 via 192.168.0.250`. */
  readonly routes?: readonly string[];
  readonly maxConn?: number;
  readonly maxNeighbors?: number;
  /** No limit unless told otherwise: there are few clients here. */
  readonly maxConnPerSource?: number | null;
  /** Those that are not the usual ones. */
  readonly timeouts?: Partial<Timeouts>;
  readonly ports?: { readonly first: number; readonly last: number };
  readonly policy?: Policy;
  readonly seed?: number;
  readonly trace?: Extract<TraceMode, string>;
  /** No segment goes the short way of `header_prediction.ts`. */
  readonly careful?: boolean;
  /** In place of the console. */
  readonly observer?: Observer;
  readonly evaluator?: (plan: Plan) => Evaluate;
  readonly startMs?: number;
  /** Of the backends, as `--check` has it: checks are made. */
  readonly check?: string;
  /** Has the kernel carry connections. */
  readonly fastPath?: FastPath;
}

export class World {
  readonly clock: ManualClock;
  /** One, or side A's and side B's. */
  readonly devices: readonly MemoryDevice[];
  readonly appliance: Appliance;
  /** Log lines with their level in front, e.g. `info: backend 192.168.0.1 is at 02:…`. */
  readonly log: string[] = [];
  readonly backends: readonly string[];
  readonly #isIpv6On: boolean;
  readonly #console: MemoryConsole = new MemoryConsole();

  constructor(options: WorldOptions = {}) {
    const trace = options.trace ?? "off";
    const { twoSided = false, ipv6 = false, mtus = [1500, 1500] } = options;
    const backends = twoSided ? BACKENDS_B : BACKENDS;
    const backends6 = twoSided ? BACKENDS6_B : BACKENDS6;
    this.backends = options.backends ?? (ipv6 ? [...backends, ...backends6] : backends);
    this.#isIpv6On = ipv6;
    this.devices = mtus.slice(0, twoSided ? 2 : 1).map((mtu) => new MemoryDevice(mtu));
    this.clock = new ManualClock(options.startMs ?? 1_000_000);
    const linkA = linkConfig({
      prefixLength: options.prefixLength ?? 24,
      routes: [
        ...(options.gateway === undefined ? [] : [gatewayOf(options.gateway)]),
        ...(options.routes ?? []).map(routeOf),
      ],
      ipv6: ipv6
        ? {
          ...ipv6Config(PROXY6, options.routes6, options.own6),
          acceptRa: options.acceptRa ?? false,
        }
        : null,
    });
    const linkB = options.linkB ?? { ...LINK_B, ipv6: ipv6 ? ipv6Config(PROXY6_B) : null };
    const config = testConfig({
      links: twoSided ? [linkA, linkB] : [linkA],
      dstAddrs: this.backends.map(parseHostAddress),
      ...(options.check === undefined ? {} : { health: parseHealth(options.check) }),
      ports: options.ports ?? { first: 1024, last: 65_535 },
      maxConn: options.maxConn ?? 1000,
      maxNeighbors: options.maxNeighbors ?? options.maxConn ?? 1000,
      maxConnPerSource: options.maxConnPerSource === undefined
        ? Infinity
        : options.maxConnPerSource,
      timeouts: { ...DEFAULT_TIMEOUTS, ...options.timeouts },
      seed: options.seed ?? 1,
      preserveSource: options.preserveSource ?? false,
      translateFamilies: options.translateFamilies ?? false,
      clampMss: options.clampMss ?? null,
      strays: options.strays ?? "reset",
      retries: options.retries ?? 3,
      trace,
    });
    const line = (level: string) => (message: string) => void this.log.push(`${level}: ${message}`);
    this.appliance = new Appliance({
      devices: this.devices,
      clock: this.clock,
      random: new SeededRandom(options.seed ?? 1),
      policy: options.policy ?? builtIn(this.devices.length),
      ...(options.check === undefined ? {} : { checkRandom: new SeededRandom(7) }),
      ...(options.evaluator === undefined ? {} : { evaluator: options.evaluator }),
      config,
      fastPath: options.fastPath ?? null,
      log: { info: line("info"), warning: line("warning"), error: line("error") },
      observer: options.observer ??
        (options.careful
          ? new Unhurried("off", this.#console.outlet)
          : trace === "off"
          ? null
          : new Trace(trace, this.#console.outlet)),
    });
  }

  /** Side A's device, or the only one. */
  get device(): MemoryDevice {
    return this.devices[0]!;
  }

  /**
   * A world where the proxy has announced itself and the backends and the client have said who they
   * are.
   */
  static settled(options: WorldOptions = {}): World {
    const world = new World(options);
    world.poll();
    if (world.#isIpv6On) world.#meetNeighbors();
    for (const host of [...world.backends, CLIENT]) world.answer(host);
    if (world.#isIpv6On) world.send(buildSolicitation({ target: PROXY6 }));
    world.advance(5000);
    return world;
  }

  /** While the proxy makes sure that its addresses are free, backends answer what it asks. */
  #meetNeighbors(): void {
    for (let ms = 0; ms < 5000; ms += 100) {
      for (const { type, target } of neighborsOf(this.advance(100))) {
        if (type === 135 && this.backends.includes(target)) this.answer(target);
      }
    }
  }

  /** Delivers the frames, all at the present time, and returns what the proxy sends. */
  send(...frames: Uint8Array[]): Uint8Array<ArrayBuffer>[] {
    for (const frame of frames) this.deviceTowards(frame).inbox.push(frame);
    return this.poll();
  }

  /** The device on whose side the frame's destination is. */
  deviceTowards(frame: Uint8Array): MemoryDevice {
    const isB = frame[4] === 2 && frame[5] === 0; // of PROXY_B_MAC
    return this.devices[isB ? this.devices.length - 1 : 0]!;
  }

  /** The vnet header of a frame that the proxy has sent, if it is not all zeroes. */
  vnetOf(frame: Uint8Array): Uint8Array | undefined {
    return this.devices.map(({ vnet }) => vnet.get(frame)).find((vnet) => vnet !== undefined);
  }

  /** Lets the proxy handle what waits for it, and returns what it sends, first to side A. */
  poll(): Uint8Array<ArrayBuffer>[] {
    do this.appliance.poll(0); while (this.devices.some(({ inbox }) => inbox.length > 0));
    return this.#taken();
  }

  /** Likewise one burst of what waits. */
  pollOnce(): Uint8Array<ArrayBuffer>[] {
    this.appliance.poll(0);
    return this.#taken();
  }

  #taken(): Uint8Array<ArrayBuffer>[] {
    return this.devices.flatMap((device, i) => {
      const sent = device.take();
      for (const frame of sent) assert.equal(frame[10], i + 1, "from this interface's MAC address");
      return sent;
    });
  }

  /** Lets time pass, with a poll every 100 ms, and returns what the proxy sends meanwhile. */
  advance(ms: number): Uint8Array<ArrayBuffer>[] {
    const sent: Uint8Array<ArrayBuffer>[] = [];
    for (let left = ms; left > 0; left -= 100) {
      this.clock.advance(Math.min(left, 100));
      sent.push(...this.poll());
    }
    return sent;
  }

  /** A host's ARP reply or advertisement to the proxy; returns what the proxy sends upon it. */
  answer(host: string, mac: string = macOf(host)): Uint8Array<ArrayBuffer>[] {
    return this.send(isAddress6(host) ? advertisement(host, mac) : arpReply(host, mac));
  }

  /** How often each reason has dropped a PDU, those above 0. */
  drops(): Record<string, number> {
    const drops: Record<string, number> = {};
    this.appliance.metrics.drops.forEach((count, place) => {
      if (count > 0) drops[REASON_NAMES[place]!] = count;
    });
    return drops;
  }

  summary(): string {
    return formatSummary(this.appliance.snapshot());
  }

  /** What the console shows since the last call. */
  printed(): Promise<string> {
    return this.#console.take();
  }
}

export function macOf(host: string): string {
  const last = isAddress6(host) ? address6Bytes(host)[15]! : Number(host.split(".")[3]);
  return `02:00:00:00:00:${last.toString(16).padStart(2, "0")}`;
}

function isAddress6(host: string): boolean {
  return host.includes(":");
}

/** Fields of a frame from the backend to the proxy. */
export function from(host: string): { src: string; srcMac: string } {
  return { src: host, srcMac: macOf(host) };
}

/** Fields of a frame from the backend to the proxy on side B. */
export function fromB(
  host: string,
): { src: string; srcMac: string; dst: string; dstMac: string } {
  const dst = isAddress6(host) ? PROXY6_B : PROXY_B;
  return { ...from(host), dst, dstMac: PROXY_B_MAC };
}

/** The host's answer to the proxy's solicitation, on the side where it is. */
export function advertisement(host: string, mac: string = macOf(host)): Uint8Array<ArrayBuffer> {
  const [dst, dstMac] = host.startsWith("2001:db8:b:")
    ? [PROXY6_B, PROXY_B_MAC]
    : [PROXY6, PROXY_MAC];
  return buildAdvertisement({ src: host, srcMac: mac, dst, dstMac });
}

/** The host's reply to the proxy's ARP request, on the side where it is. */
export function arpReply(host: string, mac: string = macOf(host)): Uint8Array<ArrayBuffer> {
  const [own, ownMac] = host.startsWith("10.0.0.") ? [PROXY_B, PROXY_B_MAC] : [PROXY, PROXY_MAC];
  return buildArp({
    dstMac: ownMac,
    operation: 2,
    senderMac: mac,
    senderAddress: host,
    targetMac: ownMac,
    targetAddress: own,
  });
}

export function isArp(frame: Uint8Array): boolean {
  return readEthernet(frame).etherType === 0x0806;
}

/** The ARP packets among the frames. */
export function arpsOf(frames: readonly Uint8Array[]): Arp[] {
  return frames.filter(isArp).map(readArp);
}

/** The solicitations and advertisements among the frames. */
export function neighborsOf(frames: readonly Uint8Array[]): Neighbor6[] {
  return frames.filter((frame) =>
    isLinkMessage(frame) && [135, 136].includes(readIcmp6(frame).type)
  )
    .map(readNeighbor);
}

/** The other frames: neither ARP nor any message of IPv6 that stays on the link. */
export function packetsOf(frames: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer>[] {
  return frames.filter((frame) => !isArp(frame) && !isLinkMessage(frame));
}

/** Shows nothing, but might at any time: so every PDU must be one that could be shown. */
class Unhurried extends Trace {
  override plain(): Some {
    return "all";
  }

  override wants(): boolean {
    return false;
  }
}

/** A console that keeps what is written. */
class MemoryConsole {
  readonly outlet: Outlet;
  #text = "";

  constructor() {
    const decoder = new TextDecoder();
    this.outlet = new Outlet({
      write: (bytes) => {
        this.#text += decoder.decode(bytes, { stream: true });
        return Promise.resolve(bytes.length);
      },
    });
  }

  async take(): Promise<string> {
    await this.outlet.flush(5000);
    const text = this.#text;
    this.#text = "";
    return text;
  }
}
