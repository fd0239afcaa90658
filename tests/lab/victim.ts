/**
 * A client whose exchanges must not suffer while somebody attacks: a new one every 40 ms, each over
 * a connection or from a port of its own, and each with the time for three tries, which is what it
 * takes where a busy machine loses a packet.
 *
 *     deno run --allow-net --unstable-net victim.ts tcp|udp ADDRESS PORT EXCHANGES
 *
 * Prints one line of JSON: a text for each exchange that failed.
 */
import { fileURLToPath } from "node:url";
import type { Host } from "./lab.ts";

type Protocol = "tcp" | "udp";

const restMs = 40;
const tryMs = 1000;
/** SYNs are sent again after one second, and after two more. */
const patienceMs = 4000;

/** Runs the client in a host of a lab; what failed. */
export async function failuresOf(
  host: Host,
  protocol: Protocol,
  address: string,
  port: number,
  exchanges: number,
): Promise<string[]> {
  const words = [fileURLToPath(import.meta.url), protocol, address, String(port)];
  const command = [Deno.execPath(), "run", "--allow-net", "--unstable-net", ...words];
  return JSON.parse(await host.must([...command, String(exchanges)], { timeoutMs: 60_000 }));
}

/**
 * Connects, says something and reads the server's first words. A server that answers SYNs with
 * cookies knows of the connection by what it is sent only: where the ACK is lost, by data.
 */
async function overTcp(hostname: string, port: number): Promise<void> {
  using connection = await Deno.connect({ hostname, port });
  await connection.write(new Uint8Array(1));
  const lenBytes = await connection.read(new Uint8Array(100));
  if (lenBytes === null) throw new Error("Cannot read the greeting: closed");
}

/** Sends a datagram until it comes back. */
async function overUdp(hostname: string, port: number): Promise<void> {
  const own = hostname.includes(":") ? "::" : "0.0.0.0";
  const socket = Deno.listenDatagram({ transport: "udp", hostname: own, port: 0 });
  const sent = crypto.getRandomValues(new Uint8Array(8));
  const send = () => void socket.send(sent, { transport: "udp", hostname, port });
  const again = setInterval(send, tryMs);
  try {
    send();
    const [received] = await socket.receive();
    if (received.some((byte, i) => byte !== sent[i])) throw new Error("Cannot match the echo");
  } finally {
    clearInterval(again);
    socket.close();
  }
}

async function attempt(exchange: () => Promise<void>): Promise<string> {
  const tooLate = new Promise<string>((resolve) => {
    setTimeout(() => resolve(`no answer in ${patienceMs} ms`), patienceMs);
  });
  return await Promise.race([exchange().then(() => "", String), tooLate]);
}

async function run([protocol, address, port, count]: string[]): Promise<void> {
  const exchange = protocol === "udp" ? overUdp : overTcp;
  const attempts: Promise<string>[] = [];
  for (let i = 0; i < Number(count); i++) {
    attempts.push(attempt(() => exchange(address!, Number(port))));
    await new Promise((resolve) => setTimeout(resolve, restMs));
  }
  const failures = (await Promise.all(attempts)).filter((text) => text !== "");
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(failures)}\n`));
  Deno.exit(0); // what has failed may still wait
}

if (import.meta.main) await run(Deno.args);
