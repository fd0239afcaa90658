/**
 * What a reload costs the packets: policies of 1,000 to 100,000 short rules are read, compiled and
 * swapped in while bursts of established connections go through. A turn is what the thread does
 * between two bursts, in milliseconds of its own processor time; a burst after the swap is the
 * first that the new policy sees.
 *
 *     deno task bench reload
 */
import { ManualClock } from "../../src/core/clock.ts";
import { formatError, parseInSlices } from "../../src/policy/notation/parse.ts";
import { atOnce, inTurns } from "../../src/process/turns.ts";
import { threadClock } from "./cpu_time.ts";
import { subject } from "./mix.ts";

const FLOWS = 1000;
const RELOADS = 3;
const SIZES = [1_000, 10_000, 100_000];

const cpuMs = threadClock();

function address(net: number, i: number): string {
  return `${net}.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
}

/** Rules that an index finds, and rules that are asked one after another. */
const KINDS: Readonly<Record<string, (i: number) => string>> = {
  indexed: (i) =>
    i % 2 === 0 ? `ip.src = ${address(10, i)} -> drop` : `tcp.dport = ${i & 65_535} -> reject`,
  "one by one": (i) => `icmp and ip.src = ${address(10, i)} -> drop`,
};

function policyText(rules: number, rule: (i: number) => string): string {
  const lines = Array.from({ length: rules }, (_, i) => `  ${rule(i)}`);
  return [
    "default drop",
    "not ip.src in $dst-addrs",
    "  tcp.dport in 2000-2010 -> translate-a-to-b, forward",
    ...lines,
    "otherwise -> translate-b-to-a, forward",
  ].join("\n");
}

interface Measured {
  /** The longest turn. */
  readonly turnMs: number;
  /** The longest burst after the swap. */
  readonly burstMs: number;
  readonly totalMs: number;
}

/** Loads the text beside the traffic, all at once or in turns. */
async function reload(text: string, inSlices: boolean): Promise<Measured> {
  const { appliance } = subject(FLOWS, new ManualClock());
  const work = inSlices ? inTurns({ nowMs: () => performance.now() }) : atOnce;
  for (let i = 0; i < 5000; i++) appliance.poll(0);
  let isDone = false;
  let [turnMs, burstMs, totalMs] = [0, 0, 0];
  const loading = (async () => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    const startMs = performance.now();
    const { policy, errors } = await work(
      parseInSlices(text, { file: "long.policy" }),
    );
    if (policy === null) throw new Error(formatError(errors[0]!));
    (await work(appliance.prepare({ policy })))();
    totalMs = performance.now() - startMs;
    isDone = true;
  })();
  for (let after = 0; after < 500; after += isDone ? 1 : 0) {
    const startMs = cpuMs();
    appliance.poll(0);
    const endMs = cpuMs();
    if (isDone) burstMs = Math.max(burstMs, endMs - startMs);
    await new Promise((resolve) => setImmediate(resolve));
    turnMs = Math.max(turnMs, cpuMs() - endMs);
  }
  await loading;
  return { turnMs, burstMs, totalMs };
}

const lines = [
  `reload under traffic of ${FLOWS} flows, worst of ${RELOADS}, milliseconds`,
  "            rules     turn    burst    total   all at once: turn",
];
for (const [kind, rule] of Object.entries(KINDS)) {
  for (const size of SIZES) {
    const text = policyText(size, rule);
    const all: Measured[] = [];
    for (let i = 0; i < RELOADS; i++) all.push(await reload(text, true));
    const worst = (of: keyof Measured) => Math.max(...all.map((one) => one[of]));
    const before = await reload(text, false);
    lines.push(
      kind.padEnd(11) + String(size).padStart(6) +
        [worst("turnMs"), worst("burstMs")].map((ms) => ms.toFixed(2).padStart(9)).join("") +
        worst("totalMs").toFixed(0).padStart(9) + before.turnMs.toFixed(0).padStart(20),
    );
  }
}
await Deno.stdout.write(new TextEncoder().encode(`${lines.join("\n")}\n`));
