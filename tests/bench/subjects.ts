/**
 * What is compared: each takes clients' connections and spreads them over the backends, or does
 * not.
 */
import { addAddress, addTap, type Network, proxyAddress, tap } from "./network.ts";
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
  /** Whether a connection is two, so that frames of foreign making go nowhere. */
  readonly terminates?: boolean;
  /** Where there is a limit that a lab can't move. */
  readonly mostConnections?: number;
  /** Makes it ready in a new network; the address that clients use. */
  readonly start: (network: Network, tools: Tools, demand: Demand) => Promise<string>;
}

const SPIN_US = 100;

export const haproxyConfig = (servers: readonly string[]): string =>
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
  bind ${proxyAddress}:${port}
${servers.map((address, i) => `  server backend${i + 1} ${address}:${port}\n`).join("")}`
    ).join("")
  }`;

export const nftablesRules = (servers: readonly string[]): string =>
  `table ip balance {
  chain prerouting {
    type nat hook prerouting priority dstnat
    ip daddr ${proxyAddress} dnat to numgen random mod ${servers.length} map { ${
    servers.map((address, i) => `${i} : ${address}`).join(", ")
  } }
  }
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname br0 masquerade
  }
}
`;

const proxy = (
  spinUs: number,
  fastPath: "on" | "off",
): Subject["start"] =>
async (network, tools, demand) => {
  await addTap(network);
  const { host } = network;
  const running = host.start([
    tools.proxy,
    `--net=${tap}`,
    `--dst-addrs=${addressesOf(network).join(",")}`,
    `--max-conn=${demand.connections}`,
    `--spin=${spinUs}`,
    `--fast-path=${fastPath}`,
    "--trace=auto",
    ...(demand.policy === "" ? [] : [`--policy=${demand.policy}`]),
  ]);
  for (const address of addressesOf(network)) await running.waitFor(`backend ${address} is at `);
  return proxyAddress;
};

const reference = (spinUs: number): Subject["start"] => async (network, tools, demand) => {
  await addTap(network);
  const words = [tap, proxyAddress, String(spinUs), String(demand.connections)];
  const running = network.host.start([tools.reference, ...words, ...addressesOf(network)]);
  await running.waitFor("ready");
  return proxyAddress;
};

async function haproxy(network: Network): Promise<string> {
  await addAddress(network);
  const file = `${network.lab.folder}/haproxy.cfg`;
  await Deno.writeTextFile(file, haproxyConfig(addressesOf(network)));
  network.host.start(["haproxy", "-db", "-f", file]);
  await network.host.script(
    `for try in $(seq 100); do ss -Hltn | grep -q :8080 && exit; sleep 0.05; done; exit 1`,
  );
  return proxyAddress;
}

async function nftables(network: Network): Promise<string> {
  await addAddress(network);
  const file = `${network.lab.folder}/rules.nft`;
  await Deno.writeTextFile(file, nftablesRules(addressesOf(network)));
  await network.host.must(["nft", "-f", file]);
  return proxyAddress;
}

/** From left to right in the report. */
export const subjects: readonly Subject[] = [
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

function addressesOf(network: Network): string[] {
  return network.backends.map(({ address }) => address);
}
