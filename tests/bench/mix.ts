/**
 * The demo's packets for benchmarks: an appliance with established connections, and its traffic.
 */
import { Appliance } from "../../src/datapath/appliance.ts";
import type { Clock } from "../../src/core/clock.ts";
import { BURST_FRAMES } from "../../src/core/arena.ts";
import { below, SeededRandom } from "../../src/core/random.ts";
import type { Device } from "../../src/device/device.ts";
import { MemoryDevice } from "../../src/device/memory.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { testConfig } from "../support/config.ts";
import { buildIcmp, buildTcp, readTcp } from "../support/frames.ts";
import { arpReply, BACKENDS, CLIENT, from } from "../support/world.ts";
import { burstsOf, ReplayDevice } from "./replay_device.ts";

const SERVICE_PORT = 2000;
/** Connections to one service: the proxy has a port for each at one of two backends. */
const CONNECTIONS_PER_SERVICE = 100_000;
const FIRST_CLIENT_PORT = 10_000;
const TOTAL_BYTES = 64;

const DEFAULT_MAX_CONN = 262_144;

const quiet = { info: () => {}, warning: () => {}, error: () => {} };

/** Frames that are kept to be sent again and again. */
const MOST_FRAMES = 131_072;

/** Connections of one client. */
const PORTS_PER_CLIENT = 50_000;

/** Where each connection comes from and went. */
interface Connection {
  readonly client: string;
  readonly clientPort: number;
  readonly service: number;
  readonly backend: string;
  readonly proxyPort: number;
}

export interface Subject {
  readonly appliance: Appliance;
  readonly device: ReplayDevice;
  /** Frames of established connections, in both directions. */
  readonly tcp: readonly Uint8Array[];
  /** Echo requests of 84 bytes, as `ping` sends them. */
  readonly pings: readonly Uint8Array[];
}

/**
 * An appliance with as many established connections as said, and frames for them in random order:
 * for all, or for MOST_FRAMES random ones.
 */
export function subject(connections: number, clock: Clock, policy: Policy = demo): Subject {
  const memory = new MemoryDevice();
  const device = new ReplayDevice();
  const maxConn = connections > DEFAULT_MAX_CONN ? connections : DEFAULT_MAX_CONN;
  const appliance = newAppliance(switched(memory, device), clock, policy, maxConn);
  const sendAll = (frames: readonly Uint8Array[]) => {
    memory.inbox.push(...frames);
    while (memory.inbox.length > 0) appliance.poll(0);
    return memory.take();
  };
  const clients = Array.from(
    { length: Math.ceil(connections / PORTS_PER_CLIENT) },
    (_, i) => `192.168.0.${200 + i}`,
  );
  sendAll([...BACKENDS, CLIENT, ...clients].map((host) => arpReply(host)));
  const random = new SeededRandom(1);
  const tcp: Uint8Array[] = [];
  for (let first = 0; first < connections; first += BURST_FRAMES) {
    const asked = Array.from({ length: Math.min(BURST_FRAMES, connections - first) }, (_, i) => ({
      client: clients[Math.floor((first + i) / PORTS_PER_CLIENT)]!,
      clientPort: FIRST_CLIENT_PORT + ((first + i) % PORTS_PER_CLIENT),
      service: SERVICE_PORT + Math.floor((first + i) / CONNECTIONS_PER_SERVICE),
    }));
    const syns = sendAll(asked.map((c) => fromClient(c, "S", 0))).filter(isIpv4).map(readTcp);
    const opened = asked.map((c, i) => ({
      ...c,
      backend: syns[i]!.dst,
      proxyPort: syns[i]!.srcPort,
    }));
    sendAll(opened.map((c) => fromBackend(c, "SA", 0)));
    sendAll(opened.map((c) => fromClient(c, "A", 0)));
    for (const c of opened) {
      if (below(random, connections) >= MOST_FRAMES / 2) continue;
      tcp.push(
        fromClient(c, "PA", TOTAL_BYTES - 40),
        fromBackend(c, "PA", TOTAL_BYTES - 40),
      );
    }
  }
  shuffle(tcp, random);
  const pings = Array.from({ length: 256 }, (_, i) => buildIcmp({ rest: [1 + (i >> 4), i] }));
  device.load(burstsOf(tcp));
  return { appliance, device, tcp, pings };
}

/** SYNs that open `count` connections. */
export function newConnections(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) =>
    buildTcp({
      src: `192.168.0.${10 + Math.floor(i / 50_000)}`,
      srcPort: FIRST_CLIENT_PORT + (i % 50_000),
      dstPort: 3000,
    }));
}

/** An appliance of the default network on `device`. */
function newAppliance(device: Device, clock: Clock, policy: Policy, maxConn: number): Appliance {
  return new Appliance({
    devices: [device],
    clock,
    random: new SeededRandom(1),
    policy,
    config: testConfig({ maxConn, maxNeighbors: maxConn }),
    log: quiet,
    observer: null,
  });
}

/** `first` until the other is loaded, then `second`. */
function switched(first: MemoryDevice, second: ReplayDevice): Device {
  return {
    name: "bench",
    mtu: 1500,
    read: (arena, waitMs) => (second.rounds === 0 ? first : second).read(arena, waitMs),
    write: (arena) => (second.rounds === 0 ? first : second).write(arena),
  };
}

function fromClient(
  { client, clientPort, service }: Pick<Connection, "client" | "clientPort" | "service">,
  flags: string,
  payloadBytes: number,
): Uint8Array {
  return buildTcp({
    ...from(client),
    srcPort: clientPort,
    dstPort: service,
    seq: flags === "S" ? 1000 : 1001,
    ack: flags === "S" ? 0 : 1,
    flags,
    payload: new Uint8Array(payloadBytes),
  });
}

function fromBackend(c: Connection, flags: string, payloadBytes: number): Uint8Array {
  return buildTcp({
    ...from(c.backend),
    srcPort: c.service,
    dstPort: c.proxyPort,
    seq: flags === "SA" ? 0 : 1,
    ack: 1001,
    flags,
    payload: new Uint8Array(payloadBytes),
  });
}

/** Not a question of the proxy's own, by ARP. */
function isIpv4(frame: Uint8Array): boolean {
  return frame[12] === 0x08 && frame[13] === 0x00;
}

/** Random order (Fisher and Yates). */
function shuffle(frames: Uint8Array[], random: SeededRandom): void {
  for (let i = frames.length - 1; i > 0; i--) {
    const j = below(random, i + 1);
    [frames[i], frames[j]] = [frames[j]!, frames[i]!];
  }
}
