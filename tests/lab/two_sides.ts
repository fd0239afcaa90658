/**
 * The general case in a lab: the proxy between two Ethernets, a router and more hosts behind each.
 *
 *     client1 .254 ──┬── bra ── tap100 proxy tap101 ── brb ──┬── backend1 .2
 *     client2        │      192.168.0.100   10.0.0.1         │
 *     172.16.0.2 ─ routera .253                           routerb .253 ─┬─ backend2 10.1.1.2
 *                    192.168.0.0/24                10.0.0.0/24          └─ backend3 10.1.2.2
 *
 * Everything on side B sends what is not for its own subnet back through the proxy.
 */
import { type Host, Lab } from "./lab.ts";
import { completeChecksums, type Topology } from "./topology.ts";

export const ownA = "192.168.0.100";
export const ownB = "10.0.0.1";
export const tapA = "tap100";
export const tapB = "tap101";
export const clientAddresses: readonly string[] = ["192.168.0.254", "172.16.0.2"];
export const backendAddresses: readonly string[] = ["10.0.0.2", "10.1.1.2", "10.1.2.2"];

/** The flags of a run in this lab. */
export const twoSidedOptions: readonly string[] = [
  ...[`--net=${tapA}`, `--ipv4=${ownA}/24`, "--gateway=192.168.0.253"],
  ...[`--net-b=${tapB}`, `--ipv4-b=${ownB}/24`, "--route=10.1.0.0/16,10.0.0.253"],
  `--dst-addrs=${backendAddresses.join(",")}`,
];

export interface TwoSides extends Topology {
  /** On side A's Ethernet, and behind its router. */
  readonly clients: readonly Host[];
  readonly routerA: Host;
  readonly routerB: Host;
}

export interface TwoSidesOptions {
  /** Of every interface on that side, the proxy's device among them; 1500 unless told. */
  readonly mtuA?: number;
  readonly mtuB?: number;
  /**
   * Hosts leave checksums and cutting up to their interfaces, as they usually do; false unless
   * told. What the proxy sends is completed on its last cable, so that a capture there can be
   * judged.
   */
  readonly offload?: boolean;
}

/** The lab with both devices up; the proxy is still to be started, in `host`. */
export async function twoSides(options: TwoSidesOptions = {}): Promise<TwoSides> {
  const lab = await Lab.make();
  try {
    return await build(lab, options);
  } catch (error) {
    await lab.close();
    throw error;
  }
}

/** The commands that make the device of a side and put it into its bridge, up. */
export function deviceCommands(side: "a" | "b", mtu = 1500): string {
  const device = side === "a" ? tapA : tapB;
  return `
    ip tuntap add dev ${device} mode tap
    ip link set ${device} mtu ${mtu} master br${side} up`;
}

async function build(lab: Lab, options: TwoSidesOptions): Promise<TwoSides> {
  const { mtuA = 1500, mtuB = 1500, offload = false } = options;
  const host = await lab.host("host");
  for (const [side, mtu] of [["a", mtuA], ["b", mtuB]] as const) {
    await host.script(`
      ip link add br${side} type bridge stp_state 0 forward_delay 0 mcast_snooping 0
      ip link set br${side} mtu ${mtu} up
      ${deviceCommands(side, mtu)}`);
  }

  /** A host with `eth0` on a cable to `at`'s interface `port`. */
  const plug = async (name: string, at: Host, port: string, address: string, mtu: number) => {
    const joined = await lab.host(name);
    await lab.cable(at, port, joined, "eth0");
    await at.script(`ip link set ${port} mtu ${mtu}`);
    await completeChecksums(at, port);
    await joined.script(`
      ip link set eth0 mtu ${mtu}
      ip addr add ${address} dev eth0`);
    if (!offload) await completeChecksums(joined, "eth0");
    return joined;
  };
  const onBridge = async (name: string, side: "a" | "b", address: string, mtu: number) => {
    const joined = await plug(name, host, name, address, mtu);
    await host.script(`ip link set ${name} master br${side}`);
    return joined;
  };
  /** A host behind a router, on the router's interface `port`. */
  const behind = async (router: Host, name: string, port: string, net: string, mtu: number) => {
    const joined = await plug(name, router, port, `${net}.2/24`, mtu);
    await router.script(`ip addr add ${net}.1/24 dev ${port}`);
    await joined.script(`ip route add default via ${net}.1`);
    return joined;
  };

  const routerA = await onBridge("routera", "a", "192.168.0.253/24", mtuA);
  const client1 = await onBridge("client1", "a", "192.168.0.254/24", mtuA);
  const client2 = await behind(routerA, "client2", "eth1", "172.16.0", mtuA);
  const routerB = await onBridge("routerb", "b", "10.0.0.253/24", mtuB);
  const backend1 = await onBridge("backend1", "b", "10.0.0.2/24", mtuB);
  const backend2 = await behind(routerB, "backend2", "eth1", "10.1.1", mtuB);
  const backend3 = await behind(routerB, "backend3", "eth2", "10.1.2", mtuB);
  for (const router of [routerA, routerB]) {
    await router.script("echo 1 > /proc/sys/net/ipv4/ip_forward");
  }
  await client1.script("ip route add 172.16.0.0/24 via 192.168.0.253");
  await backend1.script(`ip route add default via ${ownB}`);
  await backend1.script("ip route add 10.1.0.0/16 via 10.0.0.253");
  await routerB.script(`ip route add default via ${ownB}`);

  const hosts = [backend1, backend2, backend3];
  return {
    lab,
    host,
    client: client1,
    clients: [client1, client2],
    routerA,
    routerB,
    backends: hosts.map((one, i) => ({ address: backendAddresses[i]!, host: one })),
    [Symbol.asyncDispose]: () => lab.close(),
  };
}
