/**
 * The whole world in memory: an appliance on a MemoryDevice, a clock that tests move, randomness from
 * a seed, and everything that was logged and printed. Nothing happens until a test says so.
 *
 *     192.168.0.254 client ─┐
 *     192.168.0.1   backend ┼─ one Ethernet ─ 192.168.0.100, 02:00:00:00:01:00 proxy
 *     192.168.0.2, .3       ┘
 *
 * A host's MAC address is 02:00:00:00:00 and its last octet. Frames are those of `frames.ts`.
 */
import { Appliance } from "../../src/app/appliance.ts";
import type { TraceMode } from "../../src/app/config.ts";
import { Outlet } from "../../src/app/outlet.ts";
import { Trace } from "../../src/app/trace.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { reasonName } from "../../src/core/reason.ts";
import { MemoryDevice } from "../../src/device/memory.ts";
import { DECISION_NAMES, type Policy } from "../../src/tree/ast.ts";
import { demo } from "../../src/tree/demo.ts";
import { parseAddress } from "../../src/wire/address.ts";
import {
  BACKENDS,
  gatewayOf,
  linkConfig,
  PROXY,
  PROXY_MAC,
  routeOf,
  testConfig,
} from "./config.ts";
import { type Arp, buildArp, readArp, readEthernet } from "./frames.ts";

export { BACKENDS, PROXY, PROXY_MAC };
export const CLIENT = "192.168.0.254";

export interface WorldOptions {
  readonly backends?: readonly string[];
  readonly gateway?: string;
  /** `10.0.0.0/8 via 192.168.0.250`. */
  readonly routes?: readonly string[];
  readonly maxConn?: number;
  readonly ports?: { readonly first: number; readonly last: number };
  readonly policy?: Policy;
  readonly seed?: number;
  readonly trace?: TraceMode;
  readonly startMs?: number;
}

export class World {
  readonly clock: ManualClock;
  readonly device = new MemoryDevice();
  readonly appliance: Appliance;
  /** Log lines with their level in front, e.g. `info: backend 192.168.0.1 is at 02:…`. */
  readonly log: string[] = [];
  readonly backends: readonly string[];
  readonly #console: MemoryConsole = new MemoryConsole();

  constructor(options: WorldOptions = {}) {
    const trace = options.trace ?? "off";
    this.backends = options.backends ?? BACKENDS;
    this.clock = new ManualClock(options.startMs ?? 1_000_000);
    const config = testConfig({
      links: [linkConfig({
        routes: [
          ...(options.gateway === undefined ? [] : [gatewayOf(options.gateway)]),
          ...(options.routes ?? []).map(routeOf),
        ],
      })],
      dstAddrs: this.backends.map(parseAddress),
      ports: options.ports ?? { first: 1024, last: 65_535 },
      maxConn: options.maxConn ?? 1000,
      seed: options.seed ?? 1,
      trace,
    });
    const line = (level: string) => (message: string) => void this.log.push(`${level}: ${message}`);
    this.appliance = new Appliance({
      devices: [this.device],
      clock: this.clock,
      random: new SeededRandom(options.seed ?? 1),
      policy: options.policy ?? demo,
      config,
      log: { info: line("info"), warning: line("warning"), error: line("error") },
      trace: trace === "off" ? null : new Trace(trace, this.#console.outlet, DECISION_NAMES),
    });
  }

  /** A world where the proxy has announced itself and the backends and the client have said who they are. */
  static settled(options: WorldOptions = {}): World {
    const world = new World(options);
    world.poll();
    for (const host of [...world.backends, CLIENT]) world.answer(host);
    world.advance(5000);
    return world;
  }

  /** Delivers the frames, all at the present time, and returns what the proxy sends. */
  send(...frames: Uint8Array[]): Uint8Array<ArrayBuffer>[] {
    this.device.inbox.push(...frames);
    return this.poll();
  }

  /** Lets the proxy handle what waits for it, and returns what it sends. */
  poll(): Uint8Array<ArrayBuffer>[] {
    do this.appliance.poll(0); while (this.device.inbox.length > 0);
    return this.device.take();
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

  /** A host's ARP reply to the proxy; returns what the proxy sends upon it. */
  answer(host: string, mac: string = macOf(host)): Uint8Array<ArrayBuffer>[] {
    return this.send(arpReply(host, mac));
  }

  /** How often each reason has dropped a PDU, those above 0. */
  drops(): Record<string, number> {
    const drops: Record<string, number> = {};
    this.appliance.metrics.drops.forEach((count, reason) => {
      if (count > 0) drops[reasonName(reason)] = count;
    });
    return drops;
  }

  /** What the console shows since the last call. */
  printed(): Promise<string> {
    return this.#console.take();
  }
}

export function macOf(host: string): string {
  return `02:00:00:00:00:${Number(host.split(".")[3]).toString(16).padStart(2, "0")}`;
}

/** Fields of a frame from the backend to the proxy. */
export function from(host: string): { src: string; srcMac: string } {
  return { src: host, srcMac: macOf(host) };
}

/** The host's reply to the proxy's ARP request. */
export function arpReply(host: string, mac: string = macOf(host)): Uint8Array<ArrayBuffer> {
  return buildArp({
    dstMac: PROXY_MAC,
    operation: 2,
    senderMac: mac,
    senderAddress: host,
    targetMac: PROXY_MAC,
    targetAddress: PROXY,
  });
}

export function isArp(frame: Uint8Array): boolean {
  return readEthernet(frame).etherType === 0x0806;
}

/** The ARP packets among the frames. */
export function arpsOf(frames: readonly Uint8Array[]): Arp[] {
  return frames.filter(isArp).map(readArp);
}

/** The other frames. */
export function packetsOf(frames: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer>[] {
  return frames.filter((frame) => !isArp(frame));
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
