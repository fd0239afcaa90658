/**
 * `deno task soak:load [MINUTES [A_SECOND]]`: ordinary load for half an hour, unless told
 * otherwise. One client opens 90 connections a second, one after the other, so that the ports of
 * its range come round after some 150 s; each sends a line, gets it back and closes; every tenth
 * sends so many lines that the kernel carries the most of them. Every connection counts, the slow
 * ones by name. At the end no entry of the table may wait for the fast path.
 *
 * Short tests can't see what this sees: what is wrong with a port, an entry or a neighbour minutes
 * later.
 */
import { fileURLToPath } from "node:url";
import { askSummary, startProxy, usualOptions } from "../lab/proxy.ts";
import { bridged, proxyAddress } from "../lab/topology.ts";
import { startEcho } from "../lab/peer.ts";
import { kernelCounter, residentKiB } from "../lab/traffic.ts";

/** A connection that takes longer waited for a SYN to be sent again at least twice. */
const SLOW_MS = 3000;

/** Ports that come round after 150 s at the usual rate. */
const PORTS = "20000 33500";

/** One connection in so many says so much, and rests in between. */
const LONG_EVERY = 10;
const LINES = 30;
const PAUSE_MS = 50;

/** Longer than a barrier of the fast path takes. */
const BARRIER_MS = 1000;

interface Load {
  readonly done: number;
  readonly failures: readonly string[];
  readonly slow: readonly string[];
  readonly slowestMs: number;
}

/**
 * Opens `perSecond` connections a second for `seconds`; a connection begins when its time has come.
 */
async function load(port: number, seconds: number, perSecond: number): Promise<Load> {
  const failures: string[] = [];
  const slow: string[] = [];
  let done = 0;
  let slowestMs = 0;
  const startMs = performance.now();
  const pending = new Set<Promise<void>>();
  for (let i = 0; i < seconds * perSecond; i++) {
    const dueMs = startMs + (i * 1000) / perSecond;
    const waitMs = dueMs - performance.now();
    if (waitMs > 1) await new Promise((resolve) => setTimeout(resolve, waitMs));
    const beganMs = performance.now();
    const lines = i % LONG_EVERY === 0 ? LINES : 1;
    const one = exchange(port, lines).then(
      () => void done++,
      (error) => void failures.push(String(error)),
    )
      .then(() => {
        const tookMs = performance.now() - beganMs - (lines - 1) * PAUSE_MS;
        slowestMs = Math.max(slowestMs, tookMs);
        if (tookMs > SLOW_MS) {
          slow.push(`at ${Math.round((beganMs - startMs) / 1000)} s: ${tookMs}`);
        }
        pending.delete(one);
      });
    pending.add(one);
  }
  await Promise.all(pending);
  return { done, failures, slow, slowestMs: Math.round(slowestMs) };
}

async function exchange(port: number, lines: number): Promise<void> {
  using socket = await Deno.connect({ hostname: proxyAddress, port });
  const bytes = new Uint8Array(64);
  for (let line = 1; line <= lines; line++) {
    await socket.write(new TextEncoder().encode(`line ${line}\n`));
    for (let text = ""; !text.endsWith(`line ${line}\n`);) {
      const lenBytes = await socket.read(bytes);
      if (lenBytes === null) throw new Error(`Closed after "${text}"`);
      text += new TextDecoder().decode(bytes.subarray(0, lenBytes));
    }
    if (line < lines) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

async function soak(minutes: number, perSecond: number): Promise<boolean> {
  await using topology = await bridged("behind a port", "nobody");
  const { host, client, backends } = topology;
  await client.script(`echo ${PORTS} > /proc/sys/net/ipv4/ip_local_port_range`);
  for (const backend of backends) await startEcho(backend.host, backend.address, 2000);
  const proxy = await startProxy(host, [
    ...usualOptions,
    "--trace=off",
    "--log-level=debug",
  ]);
  const beforeKiB = await residentKiB(proxy.pid);
  const words = [fileURLToPath(import.meta.url), "load", "2000", `${60 * minutes}`, `${perSecond}`];
  const timeoutMs = 60_000 * (minutes + 1);
  const result: Load = JSON.parse(
    await client.must([Deno.execPath(), "run", "--allow-net", ...words], { timeoutMs }),
  );
  const again = await kernelCounter(client, "TcpExtTCPSynRetrans");
  await say(await askSummary(proxy));
  await say(JSON.stringify({ ...result, synsSentAgain: again }, null, 2));
  await say(`resident ${beforeKiB} KiB before, ${await residentKiB(proxy.pid)} KiB after`);
  await new Promise((resolve) => setTimeout(resolve, BARRIER_MS));
  const { stderr } = await proxy.stop();
  const [end = ""] = /fast path: \d+ freed entries wait at the end/.exec(stderr) ?? [];
  await say(end);
  const isClean = end === "" || end.includes(" 0 freed");
  return isClean && result.failures.length === 0 && result.slow.length === 0;
}

async function say(line: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  if (Deno.args[0] === "load") {
    const [port, seconds, perSecond] = Deno.args.slice(1).map(Number);
    await say(JSON.stringify(await load(port!, seconds!, perSecond!)));
  } else {
    const [minutes = 30, perSecond = 90] = Deno.args.map(Number);
    if (!(minutes > 0 && minutes <= 600 && perSecond > 0 && perSecond <= 1000)) {
      throw new RangeError(`Cannot run "${Deno.args.join(" ")}": expected MINUTES and A_SECOND`);
    }
    Deno.exit(await soak(minutes, perSecond) ? 0 : 1);
  }
}
