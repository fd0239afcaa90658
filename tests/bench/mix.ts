/**
 * The demo's packets for benchmarks: an appliance with established connections, and its traffic;
 * with IPv6, over either family.
 */
import { Appliance } from "../../src/datapath/appliance.ts";
import type { Clock, ManualClock } from "../../src/core/clock.ts";
import { BURST_FRAMES } from "../../src/core/arena.ts";
import { below, SeededRandom } from "../../src/core/random.ts";
import type { Device } from "../../src/device/device.ts";
import { MemoryDevice } from "../../src/device/memory.ts";
import type { Policy } from "../../src/policy/language/ast.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { parseHostAddress } from "../../src/wire/host_address.ts";
import { ipv6Config, linkConfig, testConfig } from "../support/config.ts";
import { buildIcmp, buildTcp, readTcp, type Tcp } from "../support/frames.ts";
import { buildSolicitation, buildTcp6, readTcp6 } from "../support/frames6.ts";
import {
  advertisement,
  arpReply,
  BACKENDS,
  BACKENDS6,
  CLIENT,
  from,
  neighborsOf,
  packetsOf,
  PROXY6,
} from "../support/world.ts";
import { burstsOf, ReplayDevice } from "./replay_device.ts";

const SERVICE_PORT = 2000;
/** Connections to one service: the proxy has a port for each at one of two backends. */
const CONNECTIONS_PER_SERVICE = 100_000;
const FIRST_CLIENT_PORT = 10_000;
/** Data in each segment: a packet of 64 bytes, or of 84 over IPv6. */
const DATA_BYTES = 24;

const DEFAULT_MAX_CONN = 262_144;

const quiet = { info: () => {}, warning: () => {}, error: () => {} };

/** Frames that are kept to be sent again and again. */
const MOST_FRAMES = 131_072;

/** Connections of one client. */
const PORTS_PER_CLIENT = 50_000;

/** What differs between the families. */
interface Family {
  readonly backends: readonly string[];
  client(number: number): string;
  build(fields: Partial<Tcp>): Uint8Array;
  read(frame: Uint8Array): Pick<Tcp, "dst" | "srcPort">;
}

const IPV4: Family = {
  backends: BACKENDS,
  client: (number) => `192.168.0.${200 + number}`,
  build: buildTcp,
  read: readTcp,
};

const IPV6: Family = {
  backends: BACKENDS6,
  client: (number) => `2001:db8::${(200 + number).toString(16)}`,
  build: (fields) => buildTcp6({ ...fields, etherType: 0x86dd }),
  read: readTcp6,
};

/** Where each connection comes from and went. */
interface Connection {
  readonly family: Family;
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
  /** The same over IPv6; none without it. */
  readonly tcp6: readonly Uint8Array[];
  /** Echo requests of 84 bytes, as `ping` sends them. */
  readonly pings: readonly Uint8Array[];
}

/**
 * An appliance with as many established connections as said, in each family, and frames for them
 * in random order: for all, or for MOST_FRAMES random ones.
 */
export function subject(
  connections: number,
  clock: Clock,
  policy: Policy = demo,
): Subject {
  return made(connections, clock, policy, null);
}

/** Likewise with IPv6; the clock moves until the proxy has its addresses. */
export function subject6(connections: number, clock: ManualClock): Subject {
  return made(connections, clock, demo, clock);
}

function made(
  connections: number,
  clock: Clock,
  policy: Policy,
  moving: ManualClock | null,
): Subject {
  const memory = new MemoryDevice();
  const device = new ReplayDevice();
  const isIpv6On = moving !== null;
  const all = isIpv6On ? 2 * connections : connections;
  const appliance = newAppliance(switched(memory, device), clock, policy, {
    maxConn: Math.max(all, DEFAULT_MAX_CONN),
    isIpv6On,
  });
  const sendAll = (frames: readonly Uint8Array[]) => {
    memory.inbox.push(...frames);
    do appliance.poll(0); while (memory.inbox.length > 0);
    return memory.take();
  };
  const clients = Array.from({ length: Math.ceil(connections / PORTS_PER_CLIENT) }, (_, i) => i);
  const hosts = [...BACKENDS, CLIENT, ...clients.map(IPV4.client)];
  sendAll(hosts.map((host) => arpReply(host)));
  if (isIpv6On) {
    for (let ms = 0; ms < 5000; ms += 100) {
      moving.advance(100);
      const asked = neighborsOf(sendAll([])).map(({ target }) => target);
      sendAll(asked.filter((host) => BACKENDS6.includes(host)).map((host) => advertisement(host)));
    }
    sendAll(clients.map((i) => buildSolicitation({ ...from(IPV6.client(i)), target: PROXY6 })));
  }
  const random = new SeededRandom(1);
  const tcp = opened(IPV4, connections, sendAll, random);
  const tcp6 = isIpv6On ? opened(IPV6, connections, sendAll, random) : [];
  const pings = Array.from({ length: 256 }, (_, i) => buildIcmp({ rest: [1 + (i >> 4), i] }));
  device.load(burstsOf(tcp));
  return { appliance, device, tcp, tcp6, pings };
}

/** Opens so many connections; frames for them. */
function opened(
  family: Family,
  connections: number,
  sendAll: (frames: readonly Uint8Array[]) => Uint8Array<ArrayBuffer>[],
  random: SeededRandom,
): Uint8Array[] {
  const tcp: Uint8Array[] = [];
  for (let first = 0; first < connections; first += BURST_FRAMES) {
    const asked = Array.from({ length: Math.min(BURST_FRAMES, connections - first) }, (_, i) => ({
      family,
      client: family.client(Math.floor((first + i) / PORTS_PER_CLIENT)),
      clientPort: FIRST_CLIENT_PORT + ((first + i) % PORTS_PER_CLIENT),
      service: SERVICE_PORT + Math.floor((first + i) / CONNECTIONS_PER_SERVICE),
    }));
    const sent = sendAll(asked.map((c) => fromClient(c, "S", 0)));
    const syns = packetsOf(sent).map(family.read);
    const opened = asked.map((c, i) => ({
      ...c,
      backend: syns[i]!.dst,
      proxyPort: syns[i]!.srcPort,
    }));
    sendAll(opened.map((c) => fromBackend(c, "SA", 0)));
    sendAll(opened.map((c) => fromClient(c, "A", 0)));
    for (const c of opened) {
      if (below(random, connections) >= MOST_FRAMES / 2) continue;
      tcp.push(fromClient(c, "PA", DATA_BYTES), fromBackend(c, "PA", DATA_BYTES));
    }
  }
  shuffle(tcp, random);
  return tcp;
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
function newAppliance(
  device: Device,
  clock: Clock,
  policy: Policy,
  { maxConn, isIpv6On }: { readonly maxConn: number; readonly isIpv6On: boolean },
): Appliance {
  const link = linkConfig({ ipv6: isIpv6On ? ipv6Config(PROXY6) : null });
  const backends = isIpv6On ? [...BACKENDS, ...BACKENDS6] : BACKENDS;
  return new Appliance({
    devices: [device],
    clock,
    random: new SeededRandom(1),
    policy,
    config: testConfig({
      links: [link],
      dstAddrs: backends.map(parseHostAddress),
      maxConn,
      maxNeighbors: maxConn,
    }),
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
  { family, client, clientPort, service }: Omit<Connection, "backend" | "proxyPort">,
  flags: string,
  payloadBytes: number,
): Uint8Array {
  return family.build({
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
  return c.family.build({
    ...from(c.backend),
    srcPort: c.service,
    dstPort: c.proxyPort,
    seq: flags === "SA" ? 0 : 1,
    ack: 1001,
    flags,
    payload: new Uint8Array(payloadBytes),
  });
}

/** Random order (Fisher and Yates). */
function shuffle(frames: Uint8Array[], random: SeededRandom): void {
  for (let i = frames.length - 1; i > 0; i--) {
    const j = below(random, i + 1);
    [frames[i], frames[j]] = [frames[j]!, frames[i]!];
  }
}
