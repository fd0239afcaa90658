/** A UDP service for lab tests. */
import type { Host } from "./lab.ts";

/** Sends back every datagram that comes to port 2000 of `address`, until the lab is gone. */
export async function echoDatagrams(host: Host, address: string): Promise<void> {
  const program = `
    const socket = Deno.listenDatagram({ transport: "udp", hostname: "${address}", port: 2000 });
    console.log("listening");
    for await (const [data, from] of socket) await socket.send(data, from);`;
  const server = host.start([Deno.execPath(), "eval", "--unstable-net", program]);
  await server.waitFor("listening");
}
