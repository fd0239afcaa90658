/**
 * New connections at a steady rate: each is opened, reads the line with which its server (`peer.ts
 * serve`) greets it, and is closed.
 *
 *     deno run --allow-net paced.ts ADDRESS PORT CONNECTIONS-A-SECOND SECONDS
 *
 * Prints `paced` when it begins, and at its end one line of JSON, a `Paced` for each second.
 */
import { fileURLToPath } from "node:url";
import type { Background } from "../support/shell.ts";
import type { Host } from "./lab.ts";

/** What became of the connections that were begun in one second. */
export interface Paced {
  /** Those that were greeted, by the server's name. */
  readonly byServer: Readonly<Record<string, number>>;
  /** One text for each that was not. */
  readonly failures: readonly string[];
  /** The longest time until a greeting, and until a failure. */
  readonly slowestMs: number;
  readonly slowestFailureMs: number;
}

/** Starts it in a host; `resultOf` waits for its end. */
export async function startPaced(
  host: Host,
  address: string,
  port: number,
  perSecond: number,
  seconds: number,
): Promise<Background> {
  const words = [address, port, perSecond, seconds].map(String);
  const argv = [
    Deno.execPath(),
    "run",
    "--allow-net",
    fileURLToPath(import.meta.url),
    ...words,
  ];
  const program = host.start(argv, { timeoutMs: 1000 * seconds + 30_000 });
  await program.waitFor("paced\n");
  return program;
}

export async function pacedResult(program: Background, seconds: number): Promise<readonly Paced[]> {
  const [, line] = await program.waitFor(/^paced\n(.*)\n/, 1000 * seconds + 20_000);
  return JSON.parse(line!);
}

interface Second {
  byServer: Record<string, number>;
  failures: string[];
  slowestMs: number;
  slowestFailureMs: number;
}

async function main(address: string, port: number, perSecond: number, seconds: number) {
  const results: Second[] = Array.from({ length: seconds }, () => ({
    byServer: {},
    failures: [],
    slowestMs: 0,
    slowestFailureMs: 0,
  }));
  say("paced");
  const startMs = performance.now();
  const open: Promise<void>[] = [];
  for (let i = 0; i < perSecond * seconds; i++) {
    const waitMs = startMs + i * 1000 / perSecond - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    open.push(one(address, port, results[Math.floor(i / perSecond)]!));
  }
  await Promise.all(open);
  say(JSON.stringify(results));
}

async function one(hostname: string, port: number, second: Second): Promise<void> {
  const beginMs = performance.now();
  try {
    using socket = await Deno.connect({ hostname, port });
    const buffer = new Uint8Array(64);
    const bytes = await socket.read(buffer);
    const name = /^from (\S+)\n/.exec(new TextDecoder().decode(buffer.subarray(0, bytes ?? 0)))
      ?.[1];
    if (name === undefined) throw new Error("closed before the greeting");
    second.byServer[name] = (second.byServer[name] ?? 0) + 1;
    second.slowestMs = Math.max(second.slowestMs, performance.now() - beginMs);
  } catch (error) {
    second.failures.push(error instanceof Error ? error.message : String(error));
    second.slowestFailureMs = Math.max(second.slowestFailureMs, performance.now() - beginMs);
  }
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  const [address, ...numbers] = Deno.args;
  const [port, perSecond, seconds] = numbers.map(Number);
  await main(address!, port!, perSecond!, seconds!);
}
