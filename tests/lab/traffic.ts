/**
 * Builds `traffic.c` and runs it in the hosts of a lab: storms of short connections,
 * and the kernel's own counters beside them (nstat(8)).
 */
import { fileURLToPath } from "node:url";
import { type Background, must } from "../support/shell.ts";
import type { Host, Lab } from "./lab.ts";

/** Where a storm stands; counts are since its start. */
export interface StormReport {
  /** Connections opened, used and closed. */
  readonly done: number;
  readonly failed: number;
  /** The longest connection since the report before. */
  readonly slowestMs: number;
  /** Failures by what the kernel called them. */
  readonly errors: Readonly<Record<string, number>>;
}

/** Compiles the program into the lab's folder. */
export async function buildTraffic(lab: Lab): Promise<string> {
  const program = `${lab.folder}/traffic`;
  const source = fileURLToPath(new URL("traffic.c", import.meta.url));
  await must(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source]);
  return program;
}

/** Connections from one host, as fast as they come, until `stop`. */
export class Storm {
  readonly #program: Background;

  constructor(program: string, host: Host, address: string, port: number, atOnce: number) {
    const words = [program, "storm", address, String(port), String(atOnce)];
    this.#program = host.start(words, { stdin: "" });
  }

  /** How it stands; at most a quarter of a second old. */
  report(): StormReport {
    return lastReport(this.#program.stdout);
  }

  /** Opens no more, and sees the last ones to their end. */
  async stop(): Promise<StormReport> {
    await this.#program.write("", { close: true });
    if (!await this.#program.ended(10_000)) this.#program.signal("SIGKILL");
    const { stdout, stderr, code } = await this.#program.result();
    if (code !== 0) throw new Error(`Cannot end the storm: exit code ${code}: ${stderr}`);
    return lastReport(stdout);
  }
}

/** Counters of a host's kernel since its start, e.g. `TcpExtTCPSynRetrans`; 0 where it has none. */
export async function kernelCounter(host: Host, name: string): Promise<number> {
  const text = await host.must(["nstat", "-asz", name]);
  return Number(new RegExp(`^${name}\\s+(\\d+)`, "m").exec(text)?.[1] ?? 0);
}

/** Memory of a process that is in RAM, in KiB. */
export async function residentKiB(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]);
}

function lastReport(text: string): StormReport {
  const line = text.trimEnd().split("\n").at(-1);
  return line ? JSON.parse(line) : { done: 0, failed: 0, slowestMs: 0, errors: {} };
}
