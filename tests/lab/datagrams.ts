/** A UDP service for lab tests, and a client that keeps asking it. */
import { fileURLToPath } from "node:url";
import type { Background } from "../support/shell.ts";
import type { Host } from "./lab.ts";

/** Sends back every datagram that comes to port 2000 of `address`, until the lab is gone. */
export async function echoDatagrams(host: Host, address: string): Promise<Background> {
  const program = `
    const socket = Deno.listenDatagram({ transport: "udp", hostname: "${address}", port: 2000 });
    console.log("listening");
    for await (const [data, from] of socket) await socket.send(data, from);`;
  const server = host.start([Deno.execPath(), "eval", "--unstable-net", program]);
  await server.waitFor("listening");
  return server;
}

/** One UDP connection from a host: a datagram every 20 ms, whether or not the last was answered. */
export class SteadyDatagrams {
  readonly #program: Background;

  private constructor(program: Background) {
    this.#program = program;
  }

  /** Starts it, and returns once the first has been answered. */
  static async start(host: Host, address: string, port: number): Promise<SteadyDatagrams> {
    const words = [fileURLToPath(import.meta.url), address, String(port)];
    const program = host.start([Deno.execPath(), "run", "--unstable-net", "--allow-net", ...words]);
    await program.waitFor("answered 1\n");
    return new SteadyDatagrams(program);
  }

  /** How many have been answered so far. */
  get answered(): number {
    return this.#program.stdout.split("answered").length - 1;
  }

  /** Returns once so many more have been answered. */
  async continues(count: number): Promise<void> {
    await this.#program.waitFor(`answered ${this.answered + count}\n`);
  }

  async stop(): Promise<void> {
    await this.#program.stop("SIGKILL");
  }
}

const everyMs = 20;

async function main(hostname: string, port: number): Promise<void> {
  const own = hostname.includes(":") ? "::" : "0.0.0.0";
  const socket = Deno.listenDatagram({ transport: "udp", hostname: own, port: 0 });
  const to = { transport: "udp", hostname, port } as const;
  setInterval(() => socket.send(crypto.getRandomValues(new Uint8Array(64)), to), everyMs);
  let answered = 0;
  for await (const _datagram of socket) {
    await Deno.stdout.write(new TextEncoder().encode(`answered ${++answered}\n`));
  }
}

if (import.meta.main) await main(Deno.args[0]!, Number(Deno.args[1]));
