/**
 * Shows that the packet path allocates nothing: runs itself with `--v8-flags=--trace-gc`, moves
 * millions of the demo's packets through an appliance, and counts the garbage collections between two
 * that it asks for itself. Exit code 1 when one happened, or when packets cost a byte each.
 *
 *     deno task bench:alloc [million packets per subject, default 5]
 *
 * New connections are shown but not judged: there are few of them, and they may cost something.
 */
import type { Clock } from "../../src/core/clock.ts";
import { Reason, reasonName } from "../../src/core/reason.ts";
import { newConnections, type Subject, subject } from "./mix.ts";

const CONNECTIONS = 10_000;
const WARM_UP_PACKETS = 1_000_000;

/** New connections are counted apart: there can't be millions of them at once. */
const NEW_CONNECTIONS = 200_000;

/**
 * The smallest object has 16 bytes. Reading the clock makes one a burst, which is 0.25 bytes a packet
 * at 64 packets a burst; below 1 no packet has made any.
 */
const MAX_BYTES_PER_PACKET = 1;

/** Real time, as the appliance has it. */
const clock: Clock = { nowMs: () => performance.now() };

interface Measured {
  readonly name: string;
  readonly packets: number;
  readonly elapsedMs: number;
  readonly heapBytes: number;
  /** Whether it must not allocate. */
  readonly judged: boolean;
}

/** Child: prints one JSON line a subject to stderr; V8 prints its own to stdout. */
function measureAll(millions: number): void {
  const packets = millions * 1_000_000;
  const established = subject(CONNECTIONS, clock);
  const mixed = established.tcp.flatMap((frame, i) =>
    i % 8 === 7 ? [frame, established.pings[i % 256]!] : [frame]
  );
  for (
    const [name, frames] of [
      ["TCP, both directions", established.tcp],
      ["pings", established.pings],
      ["demo mix", mixed],
    ] as const
  ) {
    established.device.load(frames);
    pump(established, WARM_UP_PACKETS);
    print({ ...measure(name, established, packets), judged: true });
    refuseStrays(established);
  }
  // The first of two equal subjects warms up the second.
  for (const name of ["", "new connections"]) {
    const fresh = subject(1, clock);
    fresh.device.load(newConnections(NEW_CONNECTIONS));
    const measured = measure(name, fresh, NEW_CONNECTIONS);
    if (name !== "") print(measured);
  }
}

function measure(name: string, { appliance, device }: Subject, packets: number): Measured {
  collect();
  const polls = Math.ceil(packets / 64);
  const heapBefore = Deno.memoryUsage().heapUsed;
  const startMs = performance.now();
  const inBefore = appliance.metrics.framesIn;
  for (let i = 0; i < polls; i++) appliance.poll(0);
  const elapsedMs = performance.now() - startMs;
  const heapBytes = Deno.memoryUsage().heapUsed - heapBefore;
  collect();
  if (device.sent === 0) throw new Error("Cannot measure: nothing was sent");
  const measured = appliance.metrics.framesIn - inBefore;
  return { name, packets: measured, elapsedMs, heapBytes, judged: false };
}

/** Throws if a packet was dropped for another reason than the policy: it did not go the whole way. */
function refuseStrays({ appliance }: Subject): void {
  appliance.metrics.drops.forEach((count, reason) => {
    if (count === 0 || reason === Reason.policy) return;
    throw new Error(`Cannot measure: ${count} packets were dropped as ${reasonName(reason)}`);
  });
}

function pump({ appliance }: Subject, packets: number): void {
  for (let i = Math.ceil(packets / 64); i > 0; i--) appliance.poll(0);
}

/** A collection that shows in the trace as asked for. */
function collect(): void {
  (globalThis as unknown as { gc: () => void }).gc();
}

function print(measured: Measured): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`measured ${JSON.stringify(measured)}\n`));
}

/** Parent: starts the child, and reads its trace. */
async function report(args: readonly string[]): Promise<number> {
  const { stdout, stderr, success } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--v8-flags=--trace-gc,--expose-gc"],
      ...[new URL(import.meta.url).pathname, "measure", ...args],
    ],
  }).output();
  const said = new TextDecoder().decode(stderr);
  if (!success) throw new Error(`Cannot measure: ${said}`);
  const measured = said.split("\n").flatMap((line): Measured[] =>
    line.startsWith("measured ") ? [JSON.parse(line.slice(9))] : []
  );
  const gcs = collectionsBetweenAskedFor(new TextDecoder().decode(stdout).split("\n"));
  if (gcs.length !== 2 * (measured.length + 1)) {
    throw new Error(`Cannot read the trace: ${gcs.length} collections were asked for`);
  }
  let failed = false;
  say("subject                  packets  ns/packet  collections  bytes/packet");
  measured.forEach((m, i) => {
    // Two collections stand around each measurement, also around the unnamed one before the last.
    const count = gcs[2 * (m.judged ? i : i + 1)]!;
    const bytes = count === 0 ? m.heapBytes / m.packets : NaN;
    const ns = m.elapsedMs * 1e6 / m.packets;
    failed ||= m.judged && (count > 0 || bytes > MAX_BYTES_PER_PACKET);
    say(
      m.name.padEnd(20) + String(m.packets).padStart(12) + ns.toFixed(1).padStart(11) +
        String(count).padStart(13) + (count === 0 ? bytes.toFixed(4) : "unknown").padStart(14),
    );
  });
  return failed ? 1 : 0;
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

/** How many collections V8 made by itself after each one that was asked for. */
function collectionsBetweenAskedFor(lines: readonly string[]): number[] {
  const counts: number[] = [];
  for (const line of lines) {
    if (!/ ms: (Scavenge|Mark-Compact|Minor)/.test(line)) continue;
    if (line.includes("testing")) counts.push(0);
    else if (counts.length > 0) counts[counts.length - 1]!++;
  }
  return counts;
}

if (import.meta.main) {
  const [mode, ...rest] = Deno.args;
  if (mode === "measure") measureAll(Number(rest[0] ?? 5));
  else Deno.exit(await report(Deno.args));
}
