/**
 * Connections that keep transferring while a test does something to the proxy: opened once, then
 * each sends random bytes to an echo server (`peer.ts serve`), compares what comes back, and rests
 * a moment.
 *
 *     deno run --allow-net steady.ts ADDRESS PORT CONNECTIONS
 *
 * Prints `steady` once all are open. To each line of input it answers with a line of JSON, a
 * `Steady` about the time since the line before; it ends with its input.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Background } from "../support/shell.ts";
import type { Host } from "./lab.ts";

/** What happened to the connections since the last report. */
export interface Steady {
  /** Exchanges completed, over all connections. */
  readonly exchanges: number;
  /** Those of the connection that completed the fewest. */
  readonly fewest: number;
  /** The longest exchange, those still going on included. */
  readonly longestMs: number;
  /** One text for each connection that has failed since the start. */
  readonly failures: readonly string[];
}

/** Steady connections from one host of a lab. */
export class SteadyConnections {
  readonly #program: Background;

  private constructor(program: Background) {
    this.#program = program;
  }

  /** Opens them, and returns once every one has been greeted by its server. */
  static async open(
    host: Host,
    address: string,
    port: number,
    connections: number,
  ): Promise<SteadyConnections> {
    const words = [fileURLToPath(import.meta.url), address, String(port), String(connections)];
    const program = host.start([Deno.execPath(), "run", "--allow-net", ...words], { stdin: "" });
    await program.waitFor("steady\n");
    return new SteadyConnections(program);
  }

  /** What happened since the last call, or since they were opened. */
  async report(): Promise<Steady> {
    const seen = this.#program.stdout.split("\n").length;
    await this.#program.write("report\n");
    const answer = new RegExp(`^(?:.*\\n){${seen - 1}}(.*)\\n`);
    const [, line] = await this.#program.waitFor(answer);
    return JSON.parse(line!);
  }

  /** Closes them all. */
  async stop(): Promise<void> {
    await this.#program.stop();
  }

  /**
   * Throws unless no connection has failed and each goes on: TCP, which has met silence, may need
   * some seconds for that.
   */
  async isUnbroken(): Promise<void> {
    await this.report();
    for (let seconds = 1; seconds <= 16; seconds *= 2) {
      await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
      const { fewest, failures } = await this.report();
      assert.deepEqual(failures, []);
      if (fewest > 0) return;
    }
    assert.fail("every connection goes on");
  }
}

const exchangeBytes = 2048;
const restMs = 50;

interface Connection {
  readonly socket: Deno.TcpConn;
  exchanges: number;
  sinceMs: number;
}

async function main(address: string, port: number, count: number): Promise<void> {
  const failures: string[] = [];
  const connections: Connection[] = [];
  for (let index = 0; index < count; index++) {
    const socket = await Deno.connect({ hostname: address, port });
    await greeting(socket);
    connections.push({ socket, exchanges: 0, sinceMs: performance.now() });
  }
  let longestMs = 0;
  for (const connection of connections) {
    transfer(connection, (tookMs) => longestMs = Math.max(longestMs, tookMs))
      .catch((error) => failures.push(String(error)));
  }
  await say("steady");
  for await (const _line of Deno.stdin.readable) {
    const nowMs = performance.now();
    for (const { sinceMs } of connections) longestMs = Math.max(longestMs, nowMs - sinceMs);
    const counts = connections.map(({ exchanges }) => exchanges);
    const exchanges = counts.reduce((sum, one) => sum + one, 0);
    const report: Steady = { exchanges, fewest: Math.min(...counts), longestMs, failures };
    await say(JSON.stringify(report));
    longestMs = 0;
    for (const connection of connections) connection.exchanges = 0;
  }
  Deno.exit(0);
}

async function greeting(socket: Deno.TcpConn): Promise<void> {
  const byte = new Uint8Array(1);
  do await receive(socket, byte); while (byte[0] !== 0x0a);
}

async function transfer(connection: Connection, took: (ms: number) => void): Promise<never> {
  const sent = new Uint8Array(exchangeBytes);
  const received = new Uint8Array(exchangeBytes);
  while (true) {
    crypto.getRandomValues(sent);
    connection.sinceMs = performance.now();
    for (let done = 0; done < sent.length;) {
      done += await connection.socket.write(sent.subarray(done));
    }
    await receive(connection.socket, received);
    const differs = received.findIndex((byte, index) => byte !== sent[index]);
    if (differs >= 0) throw new Error(`Cannot match the echo: byte ${differs} differs`);
    took(performance.now() - connection.sinceMs);
    connection.exchanges++;
    await new Promise((resolve) => setTimeout(resolve, restMs));
    connection.sinceMs = performance.now();
  }
}

/** Fills `bytes`. */
async function receive(socket: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const lenBytes = await socket.read(bytes.subarray(done));
    if (lenBytes === null) throw new Error(`Cannot read on: closed after ${done} bytes`);
    done += lenBytes;
  }
}

async function say(line: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  const [address, port, count] = Deno.args;
  await main(address!, Number(port), Number(count));
}
