/** Builds `flood.c`, or `flood6.c`, and runs it in the hosts of a lab: unsolicited frames. */
import { fileURLToPath } from "node:url";
import { type Background, must } from "../support/shell.ts";
import { type Family, IPV4 } from "./families.ts";
import type { Host, Lab } from "./lab.ts";

export interface Flood {
  /** Of the proxy. */
  readonly mac: string;
  readonly address: string;
  readonly seconds: number;
  /** Default: SYNs. The last two are over IPv6 only. */
  readonly kind?: "syn" | "datagram" | "fragment" | "ping" | "solicitation" | "advertisement";
  /** Frames a second; default: as fast as they leave. */
  readonly rate?: number;
  /**
   * An address or a network, `ADDRESS/LENGTH`, over IPv6 a network of 64 bits; default: from
   * anywhere far away.
   */
  readonly from?: string;
  /** Over IPv6: a network, in place of the address. */
  readonly to?: string;
  /** Or hop limit. */
  readonly ttl?: number;
}

/** Compiles a family's program into the lab's folder. */
export async function buildFlood(lab: Lab, family: Family = IPV4): Promise<string> {
  const name = family.number === 4 ? "flood" : "flood6";
  const program = `${lab.folder}/${name}`;
  const source = fileURLToPath(new URL(`${name}.c`, import.meta.url));
  await must(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source]);
  return program;
}

/** Starts a flood to port 2000 through `eth0` of a host. */
export function startFlood(program: string, host: Host, flood: Flood): Background {
  const { mac, address, seconds, ...others } = flood;
  const options = Object.entries(others).map(([name, value]) => `${name}=${value}`);
  return host.start([program, "eth0", mac, address, "2000", String(seconds), ...options]);
}

/** Sees a flood to its end: how many frames it sent. */
export async function sentBy(flood: Background): Promise<number> {
  return JSON.parse((await flood.result()).stdout).sent;
}
