/**
 * What the parts of the packet path cost in memory, each alone: decoding, the demo's tree,
 * translation, and the whole path. Nanoseconds a packet, medians of ROUNDS, and bytes
 * allocated.
 *
 *     deno task bench parts
 *
 * With "IPv6" as its argument: the same over IPv6.
 */
import { Arena } from "../../src/core/arena.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { NEW_SOURCE, translate, translate6, Translation } from "../../src/flow/translate.ts";
import { Affinity } from "../../src/policy/engine/affinity.ts";
import { compile } from "../../src/policy/engine/compile.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { makePlan } from "../../src/policy/engine/plan.ts";
import { SourceLimits } from "../../src/policy/engine/source_limits.ts";
import { parseMac } from "../../src/wire/address.ts";
import { ADDRESS6_WORDS } from "../../src/wire/address6.ts";
import { AddressDigest } from "../../src/wire/address_digest.ts";
import { decodeFrame, decodeIpv4, decodeTransport } from "../../src/wire/decode.ts";
import { decodeIpv6, decodeTransport6 } from "../../src/wire/decode6.ts";
import { Chain } from "../../src/wire/extension_headers.ts";
import { parseHostAddress } from "../../src/wire/host_address.ts";
import { Pdu } from "../../src/wire/pdu.ts";
import { BACKENDS, BACKENDS6, PROXY_MAC } from "../support/world.ts";
import { burstsOf } from "./replay_device.ts";
import { subject, subject6 } from "./mix.ts";

const ROUNDS = 9;
const PACKETS = 1_000_000;
const CONNECTIONS = 1_000;
const clock = new ManualClock();
const mac = parseMac(PROXY_MAC);

const isIpv6 = Deno.args[0] === "IPv6";
const whole = isIpv6 ? subject6(CONNECTIONS, clock) : subject(CONNECTIONS, clock);
const traffic = isIpv6 ? whole.tcp6 : whole.tcp;
whole.device.load(burstsOf(traffic));
const digest = isIpv6 ? new AddressDigest(new SeededRandom(3)) : null;
const chain = new Chain();

/** One frame of each connection and direction, where a burst would lie; decoded again and again. */
const arena = new Arena();
const frames: { readonly offset: number; readonly lengthBytes: number; readonly pdu: Pdu }[] = [];
for (const bytes of traffic) {
  const offset = frames.length * 128 + 10;
  arena.bytes.set(bytes, offset);
  frames.push({ offset, lengthBytes: bytes.length, pdu: new Pdu() });
}

function decode4({ offset, lengthBytes, pdu }: (typeof frames)[number]): void {
  expectGood(
    decodeFrame(arena.view, offset, lengthBytes, mac, pdu) || decodeIpv4(arena.view, pdu) ||
      decodeTransport(arena.view, pdu),
  );
}

const noGroups = { hears: () => false };
function decode6({ offset, lengthBytes, pdu }: (typeof frames)[number]): void {
  expectGood(
    decodeFrame(arena.view, offset, lengthBytes, mac, pdu, noGroups) ||
      decodeIpv6(arena.view, pdu, digest!, chain) || decodeTransport6(arena.view, pdu),
  );
}

function expectGood(reason: number): void {
  if (reason !== 0) throw new Error(`Cannot measure: a frame is dropped, reason ${reason}`);
}

const decode = isIpv6 ? decode6 : decode4;

const backends = [...BACKENDS, ...(isIpv6 ? BACKENDS6 : [])].map(parseHostAddress);
const evaluate = compile(makePlan(demo, {
  dstAddrs: backends,
  target: () => 0,
  leaving: () => null,
  steps: {
    track: () => 0,
    translateAToB: () => 0,
    translateBToA: () => 0,
    setTtl: () => 0,
  },
  random: new SeededRandom(1),
  clock,
  maxConnections: CONNECTIONS,
  affinity: new Affinity(CONNECTIONS),
  sourceLimits: new SourceLimits(1, new SeededRandom(2), false),
  isIpv6On: false,
  customFailed: () => {},
}));

/** There and back: what a frame says is what its PDU says. */
const to = new Translation();
function rewrite6({ pdu }: (typeof frames)[number]): void {
  const { addresses } = pdu;
  for (let i = 0; i < ADDRESS6_WORDS; i++) {
    to.addresses[NEW_SOURCE + i] = addresses[ADDRESS6_WORDS + i]!;
    to.addresses[NEW_SOURCE + ADDRESS6_WORDS + i] = addresses[i]!;
  }
  to.srcPort = pdu.dstPort;
  to.dstPort = pdu.srcPort;
  translate6(arena.view, pdu, to, pdu.ttl);
  for (let i = 0; i < 2 * ADDRESS6_WORDS; i++) addresses[i] = to.addresses[NEW_SOURCE + i]!;
  pdu.srcPort = to.srcPort;
  pdu.dstPort = to.dstPort;
}

function rewrite4({ pdu }: (typeof frames)[number]): void {
  to.src = pdu.dst;
  to.dst = pdu.src;
  to.srcPort = pdu.dstPort;
  to.dstPort = pdu.srcPort;
  translate(arena.view, pdu, to, pdu.ttl);
  pdu.src = to.src;
  pdu.dst = to.dst;
  pdu.srcPort = to.srcPort;
  pdu.dstPort = to.dstPort;
}

interface Part {
  readonly name: string;
  readonly run: () => void;
  readonly ns: number[];
  readonly bytes: number[];
}

const over = (act: (frame: (typeof frames)[number]) => void) => (): void => {
  for (let done = 0; done < PACKETS; done += frames.length) {
    for (let i = 0; i < frames.length; i++) act(frames[i]!);
  }
};

const parts: Part[] = [
  { name: "decode and verify checksums", run: over(decode), ns: [], bytes: [] },
  { name: "the demo's tree", run: over(({ pdu }) => void evaluate(pdu)), ns: [], bytes: [] },
  { name: "translate", run: over(isIpv6 ? rewrite6 : rewrite4), ns: [], bytes: [] },
  {
    name: "the whole way",
    run: () => {
      for (let done = 0; done < PACKETS; done += 64) whole.appliance.poll(0);
    },
    ns: [],
    bytes: [],
  },
];

const { gc } = globalThis as unknown as { readonly gc: () => void };
for (let round = 0; round <= ROUNDS; round++) {
  for (const { run, ns, bytes } of parts) {
    gc();
    const heapBytes = Deno.memoryUsage().heapUsed;
    const startMs = performance.now();
    run();
    const elapsedMs = performance.now() - startMs;
    const grownBytes = Deno.memoryUsage().heapUsed - heapBytes;
    if (round === 0) continue; // it warmed up
    ns.push(elapsedMs * 1e6 / PACKETS);
    bytes.push(grownBytes / PACKETS);
  }
}
for (const frame of frames) decode(frame); // throws if a checksum has gone wrong on the way

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1]!;
const text = [
  `TCP with 24 bytes of data over ${CONNECTIONS} connections${isIpv6 ? " of IPv6" : ""}, ` +
  `median of ${ROUNDS} rounds`,
  "                              ns/packet     spread   bytes/packet",
  ...parts.map(({ name, ns, bytes }) => {
    const spread = `${Math.min(...ns).toFixed(0)}–${Math.max(...ns).toFixed(0)}`;
    return name.padEnd(30) + median(ns).toFixed(1).padStart(9) + spread.padStart(11) +
      median(bytes).toFixed(3).padStart(15);
  }),
];
await Deno.stdout.write(new TextEncoder().encode(`${text.join("\n")}\n`));
