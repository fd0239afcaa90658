/** The demo's packets for benchmarks: an appliance with established connections, and its traffic. */
import { Appliance } from "../../src/app/appliance.ts";
import type { Clock } from "../../src/core/clock.ts";
import { SeededRandom } from "../../src/core/random.ts";
import type { Device } from "../../src/device/device.ts";
import { MemoryDevice } from "../../src/device/memory.ts";
import type { Policy } from "../../src/tree/ast.ts";
import { demo } from "../../src/tree/demo.ts";
import { testConfig } from "../support/config.ts";
import { buildIcmp, buildTcp, readTcp } from "../support/frames.ts";
import { arpReply, BACKENDS, CLIENT, from } from "../support/world.ts";
import { ReplayDevice } from "./replay_device.ts";

const SERVICE_PORT = 2000;
const FIRST_CLIENT_PORT = 10_000;
const TOTAL_BYTES = 64;

const quiet = { info: () => {}, warning: () => {}, error: () => {} };

/** Connections of one client. */
const PORTS_PER_CLIENT = 50_000;

/** Where each connection comes from and went. */
interface Connection {
  readonly client: string;
  readonly clientPort: number;
  readonly backend: string;
  readonly proxyPort: number;
}

export interface Subject {
  readonly appliance: Appliance;
  readonly device: ReplayDevice;
  /** Frames of established connections, both directions in turn. */
  readonly tcp: readonly Uint8Array[];
  /** Echo requests of 84 bytes, as `ping` sends them. */
  readonly pings: readonly Uint8Array[];
}

/** An appliance with as many established connections as said, and frames for it. */
export function subject(connections: number, clock: Clock, policy: Policy = demo): Subject {
  const memory = new MemoryDevice();
  const device = new ReplayDevice();
  const appliance = newAppliance(switched(memory, device), clock, policy);
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
  const opened = Array.from({ length: connections }, (_, i) => {
    const client = clients[Math.floor(i / PORTS_PER_CLIENT)]!;
    const clientPort = FIRST_CLIENT_PORT + (i % PORTS_PER_CLIENT);
    const [frame] = sendAll([buildTcp({ ...from(client), srcPort: clientPort })]);
    const syn = readTcp(frame!);
    return { client, clientPort, backend: syn.dst, proxyPort: syn.srcPort };
  });
  const fromClient = (c: Connection, flags: string, payloadBytes: number) =>
    buildTcp({
      ...from(c.client),
      srcPort: c.clientPort,
      seq: 1001,
      ack: 1,
      flags,
      payload: new Uint8Array(payloadBytes),
    });
  sendAll(opened.map((c) => fromBackend(c, "SA", 0)));
  sendAll(opened.map((c) => fromClient(c, "A", 0)));
  const tcp = opened.flatMap((c) => [
    fromClient(c, "PA", TOTAL_BYTES - 40),
    fromBackend(c, "PA", TOTAL_BYTES - 40),
  ]);
  const pings = Array.from({ length: 256 }, (_, i) => buildIcmp({ rest: [1 + (i >> 4), i] }));
  device.load(tcp);
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
export function newAppliance(device: Device, clock: Clock, policy: Policy): Appliance {
  return new Appliance({
    devices: [device],
    clock,
    random: new SeededRandom(1),
    policy,
    config: testConfig({ maxConn: 262_144 }),
    log: quiet,
    trace: null,
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

function fromBackend(c: Connection, flags: string, payloadBytes: number): Uint8Array {
  return buildTcp({
    ...from(c.backend),
    srcPort: SERVICE_PORT,
    dstPort: c.proxyPort,
    seq: flags === "SA" ? 0 : 1,
    ack: 1001,
    flags,
    payload: new Uint8Array(payloadBytes),
  });
}
