/**
 * What is compared: each takes clients' connections and spreads them over the backends, or does
 * not.
 */
import { type Family, IPV4, IPV6 } from "../lab/families.ts";
import { backendAddresses } from "../lab/topology.ts";
import { addAddress, addTap, type Network, tap } from "./network.ts";
import type { Tools } from "./tools.ts";

/** What a workload asks of a subject. */
export interface Demand {
  /** Connections it must be able to track. */
  readonly connections: number;
  /** A policy file for the proxy; "" for its own policy. */
  readonly policy: string;
}

export interface Subject {
  readonly name: string;
  /** What it is, for the report. */
  readonly description: string;
  /** Of clients and backends. */
  readonly family: Family;
  /** Whether a connection is two, so that frames of foreign making go nowhere. */
  readonly terminates?: boolean;
  /** Where there is a limit that a lab can't move. */
  readonly mostConnections?: number;
  /** Makes it ready in a new network; the address that clients use. */
  readonly start: (network: Network, tools: Tools, demand: Demand) => Promise<string>;
}

const SPIN_US = 100;

const haproxyConfig = (address: string, servers: readonly string[]): string =>
  `defaults
  mode tcp
  balance random
  maxconn 20000
  option splice-request
  option splice-response
  timeout connect 5s
  timeout client 60s
  timeout server 60s
${
    ["5201", "8080"].map((port) =>
      `listen port${port}
  bind ${address}:${port}
${servers.map((address, i) => `  server backend${i + 1} ${address}:${port}\n`).join("")}`
    ).join("")
  }`;

const nftablesRules = (
  { family, proxyAddress }: Network,
  servers: readonly string[],
): string => {
  const ip = family === IPV6 ? "ip6" : "ip";
  return `table ${ip} balance {
  chain prerouting {
    type nat hook prerouting priority dstnat
    ${ip} daddr ${proxyAddress} dnat to numgen random mod ${servers.length} map { ${
    servers.map((address, i) => `${i} : ${address}`).join(", ")
  } }
  }
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname br0 masquerade
  }
}
`;
};

const proxy = (
  spinUs: number,
  fastPath: "on" | "off",
): Subject["start"] =>
async (network, tools, demand) => {
  await addTap(network);
  const { family, host } = network;
  const chosen = backendAddresses.slice(0, network.backends.length);
  const running = host.start([
    tools.proxy,
    ...family.options([`--net=${tap}`, `--dst-addrs=${chosen.join(",")}`]),
    `--max-conn=${demand.connections}`,
    `--spin=${spinUs}`,
    `--fast-path=${fastPath}`,
    "--trace=auto",
    ...(demand.policy === "" ? [] : [`--policy=${demand.policy}`]),
  ]);
  for (const address of addressesOf(network)) await running.waitFor(`backend ${address} is at `);
  if (family === IPV6) await running.waitFor(`${network.proxyAddress} is free`);
  return network.proxyAddress;
};

const reference = (spinUs: number): Subject["start"] => async (network, tools, demand) => {
  await addTap(network);
  const words = [tap, network.proxyAddress, String(spinUs), String(demand.connections)];
  const running = network.host.start([tools.reference, ...words, ...addressesOf(network)]);
  await running.waitFor("ready");
  return network.proxyAddress;
};

async function haproxy(network: Network): Promise<string> {
  await addAddress(network);
  const file = `${network.lab.folder}/haproxy.cfg`;
  await Deno.writeTextFile(file, haproxyConfig(network.proxyAddress, addressesOf(network)));
  network.host.start(["haproxy", "-db", "-f", file]);
  await network.host.script(
    `for try in $(seq 100); do ss -Hltn | grep -q :8080 && exit; sleep 0.05; done; exit 1`,
  );
  return network.proxyAddress;
}

async function nftables(network: Network): Promise<string> {
  await addAddress(network);
  const file = `${network.lab.folder}/rules.nft`;
  await Deno.writeTextFile(file, nftablesRules(network, addressesOf(network)));
  await network.host.must(["nft", "-f", file]);
  return network.proxyAddress;
}

const overIpv4: readonly Omit<Subject, "family">[] = [
  {
    name: "proxy",
    description: "./proxy, `--fast-path=on`, `--trace=auto`",
    start: proxy(SPIN_US, "on"),
  },
  {
    name: "proxy without fast path",
    description: "`--fast-path=off`",
    start: proxy(SPIN_US, "off"),
  },
  { name: "C", description: "reference.c with the same spin", start: reference(SPIN_US) },
  {
    name: "proxy without spin",
    description: "`--spin=0`, `--fast-path=off`",
    start: proxy(0, "off"),
  },
  { name: "C without spin", description: "reference.c, asleep in poll", start: reference(0) },
  {
    name: "HAProxy",
    description: "TCP mode, splice on",
    terminates: true,
    start: haproxy,
  },
  {
    name: "nftables",
    description: "DNAT and masquerade in the kernel",
    // nf_conntrack_max is the whole machine's, and can't be set in a namespace
    mostConnections: 262_144,
    start: nftables,
  },
  {
    name: "bridge",
    description: "no balancer: the first backend alone",
    start: (network) => Promise.resolve(network.backends[0]!.address),
  },
];

/** Those that are also run over IPv6. */
const both: readonly string[] = ["proxy", "proxy without fast path", "nftables", "bridge"];

/** From left to right in the report. */
export const subjects: readonly Subject[] = overIpv4.flatMap((one) => {
  const twin = { ...one, name: overIpv6(one.name), family: IPV6 };
  return [{ ...one, family: IPV4 }, ...(both.includes(one.name) ? [twin] : [])];
});

/** The name over IPv6 of the subject that has this one over IPv4. */
export function overIpv6(name: string): string {
  return `${name} over IPv6`;
}

function addressesOf(network: Network): string[] {
  return network.backends.map(({ address }) => address);
}
