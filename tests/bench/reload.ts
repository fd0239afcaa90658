/**
 * What a reload costs the packets: policies of 1,000 to 100,000 short rules are read, checked and
 * compiled by the policy thread, linked here and swapped in while bursts of established connections
 * go through. A turn is what this thread does between two bursts, in milliseconds of its own
 * processor time; a burst after the swap is the first that the new policy sees.
 *
 *     deno task bench reload
 */
import { DST_ADDRS } from "../../src/policy/language/ast.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { formatError, parseInSlices } from "../../src/policy/notation/parse.ts";
import { POLICY_THREAD, servePolicies } from "../../src/process/policies/worker.ts";
import { PolicyThread } from "../../src/process/policies/thread.ts";
import type { PolicySource } from "../../src/process/policy_file.ts";
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
    i % 2 === 0 ? `ip.src = ${address(10, i)} -> drop` : `tcp.dport = ${3000 + (i >> 1)} -> reject`,
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

function thread(): Worker {
  return new Worker(import.meta.url, { type: "module", name: POLICY_THREAD });
}

/** An appliance that has traffic, and reloads by its thread. */
class Subject {
  readonly #appliance = subject(FLOWS, new ManualClock()).appliance;
  readonly #work = inTurns({ nowMs: () => performance.now() });
  readonly #thread = new PolicyThread(thread, this.#work);

  constructor() {
    this.#thread.start();
    for (let i = 0; i < 5000; i++) this.#appliance.poll(0);
  }

  /** Loads the text beside the traffic: by the thread, or all at once here. */
  async reload(text: string, byThread: boolean): Promise<Measured> {
    let isDone = false;
    let [turnMs, burstMs, totalMs] = [0, 0, 0];
    const loading = (async () => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      const startMs = performance.now();
      await (byThread ? this.#byThread(text) : this.#here(text));
      totalMs = performance.now() - startMs;
      isDone = true;
    })();
    // So long that what the old policy leaves is collected, too.
    for (let after = 0; after < 5000; after += isDone ? 1 : 0) {
      const startMs = cpuMs();
      this.#appliance.poll(0);
      const endMs = cpuMs();
      if (isDone) burstMs = Math.max(burstMs, endMs - startMs);
      await new Promise((resolve) => setImmediate(resolve));
      turnMs = Math.max(turnMs, cpuMs() - endMs);
    }
    await loading;
    return { turnMs, burstMs, totalMs };
  }

  async #byThread(text: string): Promise<void> {
    const source: PolicySource = {
      file: "long",
      text,
      pieces: [text],
      included: new Map(),
      missing: null,
    };
    const { pools } = await this.#thread.load(source, true);
    const all = { ...pools, [DST_ADDRS]: this.#appliance.pools[DST_ADDRS]! };
    const image = await this.#thread.make(true, this.#appliance.surroundings(all));
    (await this.#work(this.#appliance.prepare({ image, pools: all })))();
    this.#thread.runs(() => source);
  }

  async #here(text: string): Promise<void> {
    const { policy, errors } = await atOnce(parseInSlices(text, { file: "long.policy" }));
    if (policy === null) throw new Error(formatError(errors[0]!));
    (await atOnce(this.#appliance.prepare({ policy })))();
  }

  [Symbol.dispose](): void {
    this.#thread.end();
  }
}

async function measure(): Promise<void> {
  const lines = [
    `reload under traffic of ${FLOWS} flows, worst of ${RELOADS}, milliseconds`,
    "            rules     turn    burst    total   all at once: turn",
  ];
  for (const [kind, rule] of Object.entries(KINDS)) {
    for (const size of SIZES) {
      const text = policyText(size, rule);
      const all: Measured[] = [];
      {
        using subject = new Subject();
        for (let i = 0; i < RELOADS; i++) all.push(await subject.reload(text, true));
      }
      const worst = (of: keyof Measured) => Math.max(...all.map((one) => one[of]));
      using other = new Subject();
      const before = await other.reload(text, false);
      lines.push(
        kind.padEnd(11) + String(size).padStart(6) +
          [worst("turnMs"), worst("burstMs")].map((ms) => ms.toFixed(2).padStart(9)).join("") +
          worst("totalMs").toFixed(0).padStart(9) + before.turnMs.toFixed(0).padStart(20),
      );
    }
  }
  await Deno.stdout.write(new TextEncoder().encode(`${lines.join("\n")}\n`));
}

if (globalThis.name === POLICY_THREAD) servePolicies();
else await measure();
