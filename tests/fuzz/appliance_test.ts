/**
 * Hostile frames through the whole appliance, of IPv4 alone, of both families, and between them.
 * Every frame runs
 * twice, in two worlds of the same seed: in one the arena around the frame holds 0x00, in the other
 * 0xff, and no segment goes the short way. Whatever reads past the end of a frame, or differs on
 * that way, makes the two differ.
 *
 * `FUZZ_SEED=7 deno test -A tests/fuzz` repeats a run; `FRAMES=10000000` is a longer one.
 */
import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import { Reason, REASON_NAMES } from "../../src/core/reason.ts";
import { SIDE_A, SIDE_B } from "../../src/flow/table.ts";
import { DECISION_NAMES } from "../../src/policy/language/ast.ts";
import {
  drop,
  dstAddrs,
  echo,
  firstMatch,
  forward,
  inTurn,
  ipSrc,
  isEchoRequest,
  not,
  otherwise,
  policy,
  reject,
  tcpDport,
  track,
  translateAToB,
  translateBToA,
} from "../../src/policy/language/build.ts";
import { parseMac } from "../../src/wire/address.ts";
import { ipv6Config, linkConfig } from "../support/config.ts";
import { readArp } from "../support/frames.ts";
import { isLinkMessage } from "../support/frames6.ts";
import { transmit } from "../support/nic.ts";
import { judge, tsharkTest } from "../support/tshark.ts";
import {
  advertisement,
  arpReply,
  BACKENDS,
  BACKENDS6,
  BACKENDS6_B,
  isArp,
  neighborsOf,
  PROXY,
  PROXY6,
  PROXY6_B,
  PROXY_B_MAC,
  World,
} from "../support/world.ts";
import { checkSent, Fuzzer } from "./fuzzer.ts";
import { checkSent6, Fuzzer6 } from "./fuzzer6.ts";

/** Mutated frames, of IPv4 alone, and as many of both families. */
const MUTATED_FRAMES = numberOf("FRAMES", 100_000);
const CUT_FRAMES = 30_000;
const JUDGED_FRAMES = 2000;
const DEFAULT_SEED = 20_260_001;

/**
 * How far a 16-bit length can lead from a frame at the arena's start; the rest is filled rarely.
 */
const REACH_BYTES = 68 * 1024;
const SCRATCH_REACH_BYTES = 4096;
const WHOLE_FILL_EVERY = 512;
const COMPARE_TABLES_EVERY = 16;

/** The demo, with the decision Reject, and translation of UDP and ICMP queries as well. */
const POLICY = policy(
  "drop",
  firstMatch([
    [
      not(ipSrc.oneOf(dstAddrs)),
      firstMatch([
        [isEchoRequest, inTurn([drop, track(echo), translateAToB(forward)])],
        [tcpDport.eq(80), drop],
        [tcpDport.eq(443), reject],
        [otherwise, translateAToB(forward)],
      ]),
    ],
    [otherwise, translateBToA(forward)],
  ]),
);

/** So many connections that the table is full at times, and time enough for them to expire. */
const WORLD = { maxConn: 256, policy: POLICY };
const MAX_STEP_MS = 60;

function seedOf(): number {
  return numberOf("FUZZ_SEED", DEFAULT_SEED);
}

function numberOf(variable: string, usual: number): number {
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  return Number((state === "granted" ? Deno.env.get(variable) : null) ?? usual);
}

/** The last two: backends are of one family only, and clients of the other reach them, too. */
type Families = "IPv4" | "both families" | "IPv6 to IPv4" | "IPv4 to IPv6";
const FAMILIES = ["IPv4", "both families", "IPv6 to IPv4", "IPv4 to IPv6"] as const;

/**
 * An endless conversation: fuzzed frames, and answers to most of what the proxy asks about
 * neighbours.
 */
class Conversation {
  readonly #random: SeededRandom;
  readonly #fuzzers: readonly (Fuzzer | Fuzzer6)[];
  readonly #answers: Uint8Array<ArrayBuffer>[] = [];
  /** Whose turn it was. */
  #fuzzer: Fuzzer | Fuzzer6;
  readonly #isAcross: boolean;
  /** Frames that have opened a connection between the families. */
  crossed = 0;

  constructor(seed: number, families: Families, isTwoSided = false) {
    this.#random = new SeededRandom(seed);
    const four = new Fuzzer(this.#random);
    const six = new Fuzzer6(this.#random, isTwoSided);
    this.#fuzzers = families === "IPv4" ? [four] : [four, six];
    this.#fuzzer = four;
    this.#isAcross = backendsOf(families) !== null;
  }

  /** Frames so far to which something was done. */
  get mutated(): number {
    return this.#fuzzers.reduce((sum, { mutated }) => sum + mutated, 0);
  }

  /** The next frame, and how much later it comes. */
  next(): { frame: Uint8Array<ArrayBuffer>; stepMs: number } {
    const answer = this.#answers.shift();
    if (answer !== undefined) return { frame: answer, stepMs: 1 };
    if (this.#fuzzers.length > 1) this.#fuzzer = this.#fuzzers[below(this.#random, 2)]!;
    return { frame: this.#fuzzer.next(), stepMs: below(this.#random, MAX_STEP_MS) };
  }

  /** A vnet header for the frame that was made last, or null. */
  vnet(frame: Uint8Array): Uint8Array<ArrayBuffer> | null {
    return this.#fuzzer.vnet(frame);
  }

  /** Hears what the proxy sent. */
  hear(sent: readonly Uint8Array[]): void {
    for (const frame of sent) {
      if (isArp(frame)) {
        const { operation, targetAddress } = readArp(frame);
        const wanted = operation === 1 && targetAddress !== PROXY;
        if (wanted && below(this.#random, 10) > 0) this.#answers.push(arpReply(targetAddress));
      } else if (isLinkMessage(frame)) {
        for (const { type, src, target } of neighborsOf([frame])) {
          const wanted = type === 135 && src !== "::";
          if (wanted && below(this.#random, 10) > 0) this.#answers.push(advertisement(target));
        }
      } else {
        this.#fuzzer.observe(frame);
        if (this.#isAcross) this.#observeAcross(frame);
      }
    }
  }

  /** Each end of a connection between the families is played by its own family's fuzzer. */
  #observeAcross(frame: Uint8Array): void {
    const near = this.#fuzzer;
    const far = this.#fuzzers.find((fuzzer) => fuzzer !== near);
    const there = far?.opensAt(frame) ?? null;
    const { opening } = near;
    if (there === null || opening === null) return;
    this.crossed++;
    const { client, clientPort, service } = opening;
    const own = near instanceof Fuzzer ? PROXY : PROXY6;
    far!.meddleWith({ client, clientPort, service, ...there });
    near.meddleWith({ ...opening, backend: client, source: own, sourcePort: service });
    // Errors about what the proxy sends to the client are as those about what goes to a backend.
    near.meddleWith({
      ...{ client, clientPort, service: clientPort },
      ...{ backend: client, source: own, sourcePort: service },
    });
  }
}

/** Throws unless every checksum and length of the frame, which the proxy has sent, is right. */
function check(frame: Uint8Array): void {
  if (frame[12] === 0x86) checkSent6(frame);
  else checkSent(frame);
}

/** Reasons of frames that take more than a frame: a flood of fragments, two sides. */
const OUT_OF_REACH: readonly string[] = ["fragment-limit", "wrong-side"];
/** Those of IPv6. */
const OF_IPV6 =
  /^(header-|routing-header|next-header|unusual-headers|discovery-|router-message|redirect|listener-)/;

for (const families of FAMILIES) {
  const count = MUTATED_FRAMES.toLocaleString("en-US");
  const name = `Appliance takes ${count} mutated frames of ${families}, and what lies behind a ` +
    "frame never counts";
  Deno.test(name, () => takesMutatedFrames(families));
}

function takesMutatedFrames(families: Families): void {
  const seed = seedOf();
  const conversation = new Conversation(seed, families);
  const backends = backendsOf(families);
  const isAcross = backends !== null;
  const options = {
    ...{ ...WORLD, seed, ipv6: families !== "IPv4", translateFamilies: isAcross },
    ...(isAcross ? { backends } : {}),
  };
  const zeros = World.settled(options);
  const ones = World.settled({ ...options, careful: true });
  for (let round = 0; conversation.mutated < MUTATED_FRAMES; round++) {
    const { frame, stepMs } = conversation.next();
    const vnet = conversation.vnet(frame);
    try {
      const sent = deliver(zeros, 0x00, frame, vnet, stepMs, round);
      const again = deliver(ones, 0xff, frame, vnet, stepMs, round);
      compare(sent, again, zeros, ones, round);
      const packets = sent.flatMap((one) => {
        const left = zeros.device.vnet.get(one);
        return left === undefined ? [one] : transmit(one, left);
      });
      for (const packet of packets) check(packet);
      conversation.hear(packets);
    } catch (error) {
      const what = `frame ${frame.toHex()}, vnet header ${vnet?.toHex() ?? "empty"}`;
      throw new Error(`FUZZ_SEED=${seed}, round ${round}, ${what}`, { cause: error });
    }
  }
  print(`seed ${seed}: ${MUTATED_FRAMES} mutated frames\n${zeros.summary()}`);
  const { decisions, drops } = zeros.appliance.metrics;
  DECISION_NAMES.forEach((name, i) => assert.ok(decisions[i]! > 0, `no ${name}, seed ${seed}`));
  const [first, last] = ["frame-too-short", "port-zero"] as const;
  const ofFrames = REASON_NAMES.slice(REASON_NAMES.indexOf(first), REASON_NAMES.indexOf(last) + 1);
  for (const name of ofFrames) {
    if (OUT_OF_REACH.includes(name) || (families === "IPv4" && OF_IPV6.test(name))) continue;
    assert.ok(drops[-Reason[name]]! > 0, `no ${name}, seed ${seed}`);
  }
  if (!isAcross) return;
  assert.ok(conversation.crossed > MUTATED_FRAMES / 1000, `${conversation.crossed} crossed`);
  assert.ok(drops[-Reason["no-counterpart"]]! > 0, `nothing without a counterpart, seed ${seed}`);
}

/** Those of a run where each connection of the other family crosses; null: the usual ones. */
function backendsOf(families: Families): readonly string[] | null {
  if (families === "IPv6 to IPv4") return BACKENDS;
  return families === "IPv4 to IPv6" ? BACKENDS6 : null;
}

for (const families of FAMILIES) {
  const how = families.includes(" to ") ? "two-sided" : "two-sided and preserving sources";
  const name = `Appliance, ${how}, takes 30,000 mutated frames of ${families}`;
  Deno.test(name, () => takesMutatedFramesCutInTwo(families));
}

/**
 * The same network cut in two: backends are behind the second interface, of IPv4 on a LAN that
 * looks the same.
 */
function takesMutatedFramesCutInTwo(families: Families): void {
  const isIpv6 = families !== "IPv4";
  const seed = seedOf() + 2;
  const conversation = new Conversation(seed, families, true);
  const [isTo4, isTo6] = [families === "IPv6 to IPv4", families === "IPv4 to IPv6"];
  const isAcross = isTo4 || isTo6;
  const world = World.settled({
    ...{ ...WORLD, seed, ipv6: isIpv6, twoSided: true },
    ...{ preserveSource: !isAcross, translateFamilies: isAcross },
    backends: [...(isTo6 ? [] : BACKENDS), ...(isIpv6 && !isTo4 ? BACKENDS6_B : [])],
    linkB: linkConfig({
      mac: parseMac(PROXY_B_MAC),
      ipv6: isIpv6 ? ipv6Config(PROXY6_B) : null,
    }),
  });
  for (let round = 0; conversation.mutated < CUT_FRAMES; round++) {
    const { frame, stepMs } = conversation.next();
    const isB = frame[11]! >= 1 && frame[11]! <= BACKENDS.length;
    const arriving = frame.slice();
    if (isB && frame[4] === 1) arriving[4] = 2; // of PROXY_MAC and PROXY_B_MAC
    try {
      world.clock.advance(stepMs);
      world.devices[isB ? 1 : 0]!.inbox.push(arriving);
      const sent = world.poll();
      for (const one of sent) check(one);
      conversation.hear(sent);
    } catch (error) {
      const what = `frame ${arriving.toHex()}`;
      throw new Error(`FUZZ_SEED=${seed - 2}, round ${round}, ${what}`, { cause: error });
    }
  }
  const { decisions, drops } = world.appliance.metrics;
  print(`seed ${seed}: ${CUT_FRAMES} mutated frames\n${world.summary()}`);
  DECISION_NAMES.forEach((name, i) => assert.ok(decisions[i]! > 0, `no ${name}, seed ${seed}`));
  assert.ok(drops[-Reason["foreign-destination"]]! > 0);
  if (isAcross) assert.ok(conversation.crossed > CUT_FRAMES / 1000, `${conversation.crossed}`);
}

function deliver(
  world: World,
  filling: number,
  frame: Uint8Array,
  vnet: Uint8Array | null,
  stepMs: number,
  round: number,
): Uint8Array<ArrayBuffer>[] {
  const { arena } = world.appliance.links[0]!;
  if (vnet !== null) world.device.vnet.set(frame, vnet);
  if (round % WHOLE_FILL_EVERY === 0) {
    arena.bytes.fill(filling);
  } else {
    arena.bytes.fill(filling, 0, REACH_BYTES);
    arena.bytes.fill(filling, arena.rxEnd, arena.rxEnd + SCRATCH_REACH_BYTES);
  }
  world.clock.advance(stepMs);
  return world.send(frame);
}

function compare(
  sent: readonly Uint8Array[],
  again: readonly Uint8Array[],
  zeros: World,
  ones: World,
  round: number,
): void {
  assert.equal(sent.length, again.length, "frames sent");
  sent.forEach((frame, i) => {
    assert.ok(isEqual(frame, again[i]!), "a frame that was sent");
    assert.deepEqual(zeros.device.vnet.get(frame), ones.device.vnet.get(again[i]!));
  });
  const a = zeros.appliance.metrics;
  const b = ones.appliance.metrics;
  assert.ok(isEqual(a.decisions, b.decisions), "decisions");
  assert.ok(isEqual(a.drops, b.drops), "drops");
  if (round % COMPARE_TABLES_EVERY !== 0) return;
  assert.equal(zeros.summary(), ones.summary());
  assert.deepEqual(zeros.log, ones.log);
  assert.deepEqual(tableOf(zeros), tableOf(ones));
}

/** Everything in the flow table that can be asked for. */
function tableOf(world: World): number[] {
  const { table } = world.appliance.connections;
  const values: number[] = [];
  for (const entry of table) {
    values.push(entry, table.protocol(entry), table.state(entry));
    for (const side of table.hasSideB(entry) ? [SIDE_A, SIDE_B] : [SIDE_A]) {
      values.push(table.src(entry, side), table.dst(entry, side));
      values.push(table.srcPort(entry, side), table.dstPort(entry, side));
    }
  }
  return values;
}

function isEqual(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

for (const families of ["both families", "IPv6 to IPv4", "IPv4 to IPv6"] as const) {
  const name = `Appliance sends nothing that tshark finds wrong, unless it came in so, ${families}`;
  tsharkTest(name, () => sendsNothingWrong(families));
}

async function sendsNothingWrong(families: Families): Promise<void> {
  const seed = seedOf() + 1;
  const conversation = new Conversation(seed, families);
  const backends = backendsOf(families);
  const world = World.settled({
    ...{ ...WORLD, seed, ipv6: true, translateFamilies: backends !== null },
    ...(backends === null ? {} : { backends }),
  });
  const causes: Uint8Array[] = [];
  const effects: Uint8Array[] = [];
  /** By effect, which causes excuse it. */
  const reasons: (readonly number[])[] = [];
  const syns = new Map<string, number[]>();
  while (effects.length < JUDGED_FRAMES) {
    const { frame, stepMs } = conversation.next();
    world.clock.advance(stepMs);
    const sent = world.send(frame);
    conversation.hear(sent);
    const cause = causes.push(frame) - 1;
    if (isSyn(frame)) {
      for (const name of namesOf(frame)) syns.set(name, [...syns.get(name) ?? [], cause]);
    }
    // A frame that was held or that time brought has no cause of its own: it is judged strictly. A
    // SYN, to whatever backend and whenever it goes, is as it came.
    for (const one of sent) {
      effects.push(one);
      const alone = sent.length === 1 && !isArp(one) ? [cause] : [];
      reasons.push(isSyn(one) ? namesOf(one).flatMap((name) => syns.get(name) ?? []) : alone);
    }
  }
  const ofCauses = new Map((await judge(causes)).map((one) => [one.index, one.complaints]));
  const excused = (index: number) => reasons[index]!.flatMap((cause) => ofCauses.get(cause) ?? []);
  const wrong = (await judge(effects)).filter(({ index, complaints }) =>
    complaints.some((complaint) => !excused(index).includes(complaint))
  );
  assert.deepEqual(
    wrong.map(({ index, complaints }) => ({
      complaints,
      excused: excused(index),
      causes: reasons[index]!.map((cause) => causes[cause]!.toHex()),
      effect: effects[index]!.toHex(),
    })),
    [],
    `seed ${seed}`,
  );
}

/** Where TCP begins in a packet without extension headers; 0: it has no TCP. */
function tcpOf(frame: Uint8Array): number {
  if (frame[12] === 0x08 && frame[14]! >> 4 === 4 && frame[23] === 6) {
    return 14 + 4 * (frame[14]! & 15);
  }
  return frame[12] === 0x86 && frame[13] === 0xdd && frame[20] === 6 ? 54 : 0;
}

/** True for a first SYN. */
function isSyn(frame: Uint8Array): boolean {
  const tcp = tcpOf(frame);
  return tcp !== 0 && frame.length > tcp + 13 && (frame[tcp + 13]! & 0x12) === 2;
}

/**
 * What is never rewritten of such a SYN: identification or flow label, ports of servers, numbers,
 * options; and the same without the first, which does not cross to the other family.
 */
function namesOf(syn: Uint8Array): readonly [string, string] {
  const tcp = tcpOf(syn);
  const end = tcp + 4 * (syn[tcp + 12]! >> 4);
  const id = syn[12] === 0x08 ? syn.subarray(18, 20) : syn.subarray(15, 18);
  const rest = `${syn.subarray(tcp + 2, tcp + 12)} ${syn.subarray(tcp + 20, end)}`;
  return [`${id} ${rest}`, rest];
}

function print(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`\n${text}`));
}
