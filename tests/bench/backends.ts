/**
 * What it costs to open a connection among 1,000 backends beside 3, by every method: SYNs go
 * through an appliance in memory, the two in turn, a fresh one each time. The ratio is the median
 * of the rounds' own; that of the least figures leaves out what others do to the caches.
 *
 *     deno task bench backends
 */
import { BURST_FRAMES } from "../../src/core/arena.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { Appliance } from "../../src/datapath/appliance.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { PICK_WORDS } from "../../src/policy/language/words.ts";
import { parseAddress } from "../../src/wire/address.ts";
import { linkConfig, testConfig } from "../support/config.ts";
import { buildTcp } from "../support/frames.ts";
import { arpReply } from "../support/world.ts";
import { threadClock } from "./cpu_time.ts";
import { type Burst, burstsOf, ReplayDevice } from "./replay_device.ts";

const ROUNDS = 15;
const CONNECTIONS = 60_000;
const WARM_UP_BURSTS = 160;
const FEW = 3;
const MANY = 1000;

const cpuMs = threadClock();
const quiet = { info: () => {}, warning: () => {}, error: () => {} };
const { gc } = globalThis as unknown as { readonly gc: () => void };

const hosts = Array.from({ length: MANY }, (_, i) => `192.168.${1 + (i >> 7)}.${1 + (i & 127)}`);
const replies = burstsOf(hosts.map((host) => arpReply(host)));
/** From so many clients that each backend gets some, whatever a method goes by. */
const syns: readonly Burst[] = burstsOf(Array.from({ length: CONNECTIONS }, (_, i) =>
  buildTcp({
    src: `192.168.${128 + (i >> 7 & 63)}.${1 + (i & 127)}`,
    srcPort: 10_000 + (i >> 13),
    dstPort: 3000,
  })));

/** Nanoseconds a connection. */
function open(method: string, backends: number): number {
  const { policy } = parse(
    `default drop
not ip.src in $dst-addrs -> translate-a-to-b ${method}, forward
`,
    { file: "bench" },
  );
  const device = new ReplayDevice();
  const appliance = new Appliance({
    devices: [device],
    clock: new ManualClock(),
    random: new SeededRandom(1),
    policy: policy!,
    config: testConfig({
      links: [linkConfig({ prefixLength: 16 })],
      dstAddrs: hosts.slice(0, backends).map(parseAddress),
      maxConn: 131_072,
      maxNeighbors: 16_384,
      maxConnPerSource: CONNECTIONS,
    }),
    log: quiet,
    observer: null,
  });
  device.load(replies);
  for (const _ of replies) appliance.poll(0);
  device.load(syns);
  // Makes what is made once: the table of a consistent hash, the ports of each backend.
  for (let i = 0; i < WARM_UP_BURSTS; i++) appliance.poll(0);
  gc();
  const startMs = cpuMs();
  for (let i = WARM_UP_BURSTS; i < syns.length; i++) appliance.poll(0);
  const elapsedMs = cpuMs() - startMs;
  const { count } = appliance.connections.table;
  const used = appliance.backends.all.filter(({ opened }) => opened > 0).length;
  const expected = method === "by hash of destination" ? 1 : backends; // there is one destination
  if (count !== CONNECTIONS || used < 0.99 * expected) {
    throw new Error(`Cannot measure: ${count} connections to ${used} backends`);
  }
  return elapsedMs * 1e6 / (CONNECTIONS - BURST_FRAMES * WARM_UP_BURSTS);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

for (let i = 0; i < 2; i++) for (const method of PICK_WORDS) open(method, i === 0 ? FEW : MANY);
const lines = [
  `new connections, ns of processor time each, median of ${ROUNDS} rounds`,
  `                          ${FEW} backends  ${MANY} backends   ratio   lowest–highest   of the least`,
];
for (const method of PICK_WORDS) {
  const [few, many]: [number[], number[]] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    few.push(open(method, FEW));
    many.push(open(method, MANY));
  }
  const ratios = many.map((ns, round) => ns / few[round]!);
  lines.push(
    method.padEnd(26) + median(few).toFixed(0).padStart(10) + median(many).toFixed(0).padStart(15) +
      median(ratios).toFixed(2).padStart(8) +
      `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`.padStart(17) +
      (Math.min(...many) / Math.min(...few)).toFixed(2).padStart(15),
  );
}
await Deno.stdout.write(new TextEncoder().encode(`${lines.join("\n")}\n`));
