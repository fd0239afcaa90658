/**
 * The whole packet path in memory: nanoseconds, and bytes allocated. Millions of the demo's
 * packets go through an appliance, in random order over its connections; between two garbage
 * collections that are asked for, V8 must not have made any of its own. Exit code 1 when it did, or
 * when a packet cost a byte.
 *
 * In each round the device that replays the packets is also measured alone, and its time
 * subtracted: it has cache misses that are the kernel's on a real device.
 *
 *     deno task bench path
 *
 * With the number of connections as its argument: an appliance is alone in its process, here too.
 * With "IPv6" after it, the appliance has IPv6 on, and as many connections in each family.
 * New connections are shown but not judged: there are few of them, and they may cost something.
 */
import { Arena, BURST_FRAMES } from "../../src/core/arena.ts";
import { Count } from "../../src/datapath/metrics.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { REASON_NAMES } from "../../src/core/reason.ts";
import { newConnections, type Subject, subject, subject6 } from "./mix.ts";
import { type Burst, burstsOf, type ReplayDevice } from "./replay_device.ts";

const ROUNDS = 9;
const PACKETS = 1_000_000;
const WARM_UP_PACKETS = 1_000_000;

/** New connections are counted apart: there can't be millions of them at once. */
const NEW_CONNECTIONS = 200_000;

/** The smallest object has 16 bytes, and a burst may make some: below 1 no packet has made any. */
const MAX_BYTES_PER_PACKET = 1;

const arena = new Arena();

/** Time stands still: there are no ARP replies here. */
const clock = new ManualClock();

const { gc } = globalThis as unknown as { readonly gc: () => void };

/** One kind of traffic, and what it cost in each round. */
class Traffic {
  readonly name: string;
  readonly ns: number[] = [];
  readonly deviceNs: number[] = [];
  readonly bytes: number[] = [];
  readonly #subject: Subject;
  readonly #bursts: readonly Burst[];

  constructor(name: string, subject: Subject, frames: readonly Uint8Array[]) {
    this.name = name;
    this.#subject = subject;
    this.#bursts = burstsOf(frames);
  }

  run(packets: number): void {
    const { appliance, device } = this.#subject;
    const bursts = Math.ceil(packets / BURST_FRAMES);
    device.load(this.#bursts);
    gc();
    const { counts } = appliance.metrics;
    const framesIn = counts[Count.framesIn]!;
    const heapBytes = Deno.memoryUsage().heapUsed;
    const startMs = performance.now();
    for (let i = bursts; i > 0; i--) appliance.poll(0);
    const elapsedMs = performance.now() - startMs;
    const grownBytes = Deno.memoryUsage().heapUsed - heapBytes;
    const done = counts[Count.framesIn]! - framesIn;
    const deviceMs = replayAlone(device, bursts);
    this.ns.push((elapsedMs - deviceMs) * 1e6 / done);
    this.deviceNs.push(deviceMs * 1e6 / done);
    this.bytes.push(grownBytes / done);
  }

  /**
   * Throws if a packet was dropped for another reason than the policy: it did not go the whole way.
   */
  refuseStrays(): void {
    const { appliance, device } = this.#subject;
    if (device.sent === 0) throw new Error("Cannot measure: nothing was sent");
    appliance.metrics.drops.forEach((count, place) => {
      const name = REASON_NAMES[place]!;
      if (count === 0 || name === "policy") return;
      throw new Error(`Cannot measure: ${count} packets were dropped as ${name}`);
    });
  }

  forget(): void {
    this.ns.length = 0;
    this.deviceNs.length = 0;
    this.bytes.length = 0;
  }
}

/** How long the device itself takes for that many bursts. */
function replayAlone(device: ReplayDevice, bursts: number): number {
  const startMs = performance.now();
  for (let i = bursts; i > 0; i--) {
    device.read(arena, 0);
    device.write(arena);
  }
  return performance.now() - startMs;
}

function traffics(connections: number): Traffic[] {
  const one = subject(connections, clock);
  const tcp = new Traffic("TCP", one, one.tcp);
  const { table } = one.appliance.connections;
  if (table.capacity - table.count < one.pings.length) return [tcp]; // no room for queries
  const mixed = one.tcp.flatMap((frame, i) => i % 8 === 7 ? [frame, one.pings[i % 256]!] : [frame]);
  return [
    tcp,
    new Traffic("pings", one, one.pings),
    new Traffic("an eighth pings", one, mixed),
  ];
}

/** Of either family, and of both by turns. */
function traffics6(connections: number): Traffic[] {
  const one = subject6(connections, clock);
  const mixed = one.tcp.flatMap((frame, i) => [frame, one.tcp6[i]!]);
  return [
    new Traffic("TCP", one, one.tcp),
    new Traffic("TCP over IPv6", one, one.tcp6),
    new Traffic("half of each", one, mixed),
  ];
}

/** What it costs to open connections, in an appliance that nobody has used. */
function opening(): Traffic {
  const fresh = subject(1, clock);
  const traffic = new Traffic("new connections", fresh, newConnections(NEW_CONNECTIONS));
  traffic.run(NEW_CONNECTIONS);
  return traffic;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

function line({ name, ns, deviceNs, bytes }: Traffic): string {
  const spread = `${Math.min(...ns).toFixed(0)}–${Math.max(...ns).toFixed(0)}`;
  // A heap that has shrunk had a collection: nobody knows what was allocated before.
  const most = bytes.some((grown) => grown < 0) ? "unknown" : Math.max(...bytes).toFixed(3);
  return name.padEnd(20) + median(ns).toFixed(0).padStart(9) + spread.padStart(12) +
    median(deviceNs).toFixed(0).padStart(8) + most.padStart(15);
}

const [count, family] = Deno.args[0]!.split(" ");
const connections = Number(count);
const judged = family === "IPv6" ? traffics6(connections) : traffics(connections);
for (let round = 0; round <= ROUNDS; round++) {
  for (const traffic of judged) {
    traffic.run(round === 0 ? WARM_UP_PACKETS : PACKETS);
    if (round === 0) traffic.forget();
  }
}
judged.forEach((traffic) => traffic.refuseStrays());
opening(); // warms the next one up
const text = [
  `the whole way of packets of 64 bytes over ${connections} connections in random order, ` +
  (family === "IPv6" ? "and of 84 over as many of IPv6, " : "") +
  `median of ${ROUNDS} rounds`,
  "                    ns/packet      spread  device   bytes/packet",
  ...[...judged, opening()].map(line),
];
await Deno.stdout.write(new TextEncoder().encode(`${text.join("\n")}\n`));
const wasteful = judged.some(({ bytes }) =>
  bytes.some((grown) => grown < 0 || grown > MAX_BYTES_PER_PACKET)
);
Deno.exit(wasteful ? 1 : 0);
