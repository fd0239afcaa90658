/** Builds `clients.c` and runs it in a host of a lab: very many clients of an HTTP server. */
import { fileURLToPath } from "node:url";
import { type Background, must } from "../support/shell.ts";
import type { Host } from "./lab.ts";

/** What they have had so far. */
export interface Served {
  readonly connected: number;
  readonly answered: number;
}

/** Starts so many clients that ask the server at a socket's path or `ADDRESS:PORT` for `target`. */
export async function startClients(
  host: Host,
  at: string,
  target: string,
  clients: number,
): Promise<Background> {
  const program = `${host.lab.folder}/clients`;
  const source = fileURLToPath(new URL("clients.c", import.meta.url));
  await must(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source]);
  return host.start([program, at, target, `${clients}`]);
}

/** Ends them. */
export async function servedTo(clients: Background): Promise<Served> {
  return JSON.parse((await clients.stop()).stdout);
}
