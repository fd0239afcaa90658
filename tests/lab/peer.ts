/**
 * Both ends of a TCP test as one program, so that a lab needs no other: a server that says which
 * backend it is and echoes, and a client that opens many connections and compares every byte.
 *
 *     deno run --allow-net peer.ts serve ADDRESS PORT
 *     deno run --allow-net peer.ts connect ADDRESS PORT CONNECTIONS BYTES
 *
 * The server sends "from ADDRESS" and a line feed first, then everything back that it is sent, and
 * closes when the client has. It prints `listening`, then a line `PEER-ADDRESS PEER-PORT` for each
 * connection. The client prints one line of JSON, a `Report`.
 */

import { fileURLToPath } from "node:url";
import type { Background } from "../support/shell.ts";
import type { Host } from "./lab.ts";

/** Starts the server in a host of a lab; returns once it listens. */
export async function startEcho(host: Host, address: string, port: number): Promise<Background> {
  const words = [fileURLToPath(import.meta.url), "serve", address, String(port)];
  const server = host.start([Deno.execPath(), "run", "--allow-net", ...words]);
  await server.waitFor("listening");
  return server;
}

/** Runs the client in a host of a lab. */
export async function connectPeer(
  host: Host,
  address: string,
  port: number,
  connections: number,
  lenBytes: number,
): Promise<Report> {
  const numbers = [port, connections, lenBytes].map(String);
  const words = [fileURLToPath(import.meta.url), "connect", address, ...numbers];
  return JSON.parse(await host.must([Deno.execPath(), "run", "--allow-net", ...words]));
}

/** What a client run saw. */
export interface Report {
  /** Connections whose every byte came back unchanged, by the backend that named itself. */
  readonly byBackend: Readonly<Record<string, number>>;
  /** One text for each connection that failed. */
  readonly failures: readonly string[];
}

/** Accepts connections for ever; each is an echo with a greeting. */
export async function serve(address: string, port: number): Promise<void> {
  const listener = Deno.listen({ hostname: address, port });
  say("listening");
  for await (const connection of listener) {
    const peer = connection.remoteAddr as Deno.NetAddr;
    say(`${peer.hostname} ${peer.port}`);
    echo(connection, `from ${address}\n`).catch(() => {});
  }
}

/** Opens connections, at most ten at a time, and sends `lenBytes` random bytes over each. */
export async function connect(
  address: string,
  port: number,
  connections: number,
  lenBytes: number,
): Promise<Report> {
  const byBackend: Record<string, number> = {};
  const failures: string[] = [];
  let left = connections;
  const worker = async (): Promise<void> => {
    while (left-- > 0) {
      try {
        const backend = await exchange(address, port, randomBytes(lenBytes));
        byBackend[backend] = (byBackend[backend] ?? 0) + 1;
      } catch (error) {
        failures.push(String(error));
      }
    }
  };
  await Promise.all(Array.from({ length: 10 }, worker));
  return { byBackend, failures };
}

/** One connection; returns the backend's name once the echo equals what was sent. */
async function exchange(address: string, port: number, sent: Uint8Array): Promise<string> {
  using connection = await Deno.connect({ hostname: address, port });
  const send = writeAll(connection, sent).then(() => connection.closeWrite());
  const [received] = await Promise.all([readAll(connection), send]);
  const greetingEnd = received.indexOf(0x0a) + 1;
  const greeting = new TextDecoder().decode(received.subarray(0, greetingEnd));
  const name = /^from (.+)\n$/.exec(greeting)?.[1];
  if (name === undefined) throw new Error(`Cannot read the greeting "${greeting}"`);
  const echoed = received.subarray(greetingEnd);
  if (echoed.length !== sent.length) {
    throw new Error(`Cannot match the echo: ${echoed.length} of ${sent.length} bytes came back`);
  }
  const differs = echoed.findIndex((byte, index) => byte !== sent[index]);
  if (differs >= 0) throw new Error(`Cannot match the echo: byte ${differs} differs`);
  return name;
}

async function echo(connection: Deno.Conn, greeting: string): Promise<void> {
  using _closed = connection;
  await writeAll(connection, new TextEncoder().encode(greeting));
  const buffer = new Uint8Array(65_536);
  while (true) {
    const lenBytes = await connection.read(buffer);
    if (lenBytes === null) return;
    await writeAll(connection, buffer.subarray(0, lenBytes));
  }
}

/** Reads until the other side closes. */
async function readAll(connection: Deno.Conn): Promise<Uint8Array> {
  let all = new Uint8Array(65_536);
  let usedBytes = 0;
  while (true) {
    const lenBytes = await connection.read(all.subarray(usedBytes));
    if (lenBytes === null) return all.subarray(0, usedBytes);
    usedBytes += lenBytes;
    if (usedBytes === all.length) {
      const larger = new Uint8Array(2 * all.length);
      larger.set(all);
      all = larger;
    }
  }
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let sentBytes = 0; sentBytes < bytes.length;) {
    sentBytes += await connection.write(bytes.subarray(sentBytes));
  }
}

function randomBytes(lenBytes: number): Uint8Array {
  const bytes = new Uint8Array(lenBytes);
  for (let offset = 0; offset < lenBytes; offset += 65_536) {
    crypto.getRandomValues(bytes.subarray(offset, offset + 65_536));
  }
  return bytes;
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  const [role, address, port, connections, lenBytes] = Deno.args;
  if (role === "serve") await serve(address!, Number(port));
  else {
    const report = await connect(address!, Number(port), Number(connections), Number(lenBytes));
    say(JSON.stringify(report));
  }
}
