/**
 * The seed's network in a lab, in its two forms. The proxy's own address is on no interface: the
 * proxy answers for it through tap100.
 *
 *     (a) direct: everything on the tap         (b) bridged: one Ethernet
 *
 *     ┌ host ───────────────────┐               ┌ host ────────────────────────────┐
 *     │ tap100  192.168.0.254   │               │ br0 (192.168.0.254 if the client)│
 *     │   │     192.168.0.1…3   │               │  ├ tap100 ── proxy 192.168.0.100 │
 *     │ proxy   192.168.0.100   │               │  ├ port1 ├ port2 ├ port3 (├ port0)│
 *     └─────────────────────────┘               └────┼───────┼───────┼────────┼────┘
 *                                                 backend1 backend2 backend3 client
 */
import { type Host, Lab } from "./lab.ts";

export const proxyAddress = "192.168.0.100";
export const clientAddress = "192.168.0.254";
export const backendAddresses: readonly string[] = ["192.168.0.1", "192.168.0.2", "192.168.0.3"];
export const tap = "tap100";

/** A backend's address, and the host that has it. */
export interface Backend {
  readonly address: string;
  readonly host: Host;
}

/** A lab with clients and backends in place; the proxy is still to be started, in `host`. */
export interface Topology extends AsyncDisposable {
  readonly lab: Lab;
  readonly host: Host;
  readonly client: Host;
  readonly backends: readonly Backend[];
}

/** Where the client of a bridged topology sits: on the bridge itself, or behind a port. */
export type ClientPlace = "on the bridge" | "behind a port";

/**
 * Who makes checksums and cuts TCP segments up: the sender, so that a capture can be judged
 * anywhere; the bridge's port on the way to a receiver, so that the proxy sees what senders leave
 * to their interfaces; or nobody, which is fast and works between namespaces.
 */
export type Completes = "sender" | "port" | "nobody";

/** Form (a): the host is client and backends, all its addresses are on the tap. */
export async function direct(): Promise<Topology> {
  const lab = await Lab.make();
  try {
    const host = await lab.host("host");
    await host.script(`
      ip tuntap add dev ${tap} mode tap
      ip addr add ${clientAddress}/24 dev ${tap}
      ${backendAddresses.map((address) => `ip addr add ${address}/32 dev ${tap}`).join("\n")}
      ip link set ${tap} up`);
    await completeChecksums(host, tap);
    const backends = backendAddresses.map((address) => ({ address, host }));
    return topology(lab, host, host, backends);
  } catch (error) {
    await lab.close();
    throw error;
  }
}

/** Form (b): tap, backends and client joined by one bridge. */
export async function bridged(
  place: ClientPlace,
  completes: Completes = "sender",
): Promise<Topology> {
  const lab = await Lab.make();
  try {
    const host = await lab.host("host");
    // No spanning tree and no snooping: what the hosts send is all there is.
    await host.script(`
      ip link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
      ip link set br0 up
      ${tapCommands}`);
    const backends: Backend[] = [];
    for (const [index, address] of backendAddresses.entries()) {
      const [name, port] = [`backend${index + 1}`, `port${index + 1}`];
      const backend = await join(lab, host, name, port, address, completes);
      backends.push({ address, host: backend });
    }
    if (place === "behind a port") {
      const client = await join(lab, host, "client", "port0", clientAddress, completes);
      return topology(lab, host, client, backends);
    }
    await host.script(`ip addr add ${clientAddress}/24 dev br0`);
    await completeChecksums(host, "br0");
    return topology(lab, host, host, backends);
  } catch (error) {
    await lab.close();
    throw error;
  }
}

/** Form (b) with a router on the bridge and a host behind it. */
export interface Routed extends Topology {
  /** Has `eth0` on the bridge, and `eth1` on the link to `far`. */
  readonly router: Host;
  readonly far: Host;
  readonly farAddress: string;
  /** The router's address on the bridge. */
  readonly gateway: string;
}

/** Form (b), the client behind a port: a router joins the bridge to a host 10.0.0.2 far away. */
export async function routed(completes: Completes = "sender"): Promise<Routed> {
  const near = await bridged("behind a port", completes);
  try {
    const { lab, host } = near;
    const gateway = "192.168.0.253";
    const farAddress = "10.0.0.2";
    const router = await join(lab, host, "router", "port9", gateway, completes);
    const far = await lab.host("far");
    await lab.cable(router, "eth1", far, "eth0");
    await router.script(`
      ip addr add 10.0.0.1/24 dev eth1
      echo 1 > /proc/sys/net/ipv4/ip_forward`);
    await far.script(`
      ip addr add ${farAddress}/24 dev eth0
      ip route add default via 10.0.0.1`);
    await completeChecksums(router, "eth1");
    if (completes === "sender") await completeChecksums(far, "eth0");
    return { ...near, router, far, farAddress, gateway };
  } catch (error) {
    await near.lab.close();
    throw error;
  }
}

/** The commands that make the tap and put it into the bridge, up. */
export const tapCommands = `
  ip tuntap add dev ${tap} mode tap
  ip link set ${tap} master br0
  ip link set ${tap} up`;

/** A new host with one interface `eth0` on the bridge. */
export async function join(
  lab: Lab,
  host: Host,
  name: string,
  port: string,
  address: string,
  completes: Completes = "sender",
): Promise<Host> {
  const joined = await lab.host(name);
  await lab.cable(host, port, joined, "eth0");
  await host.script(`ip link set ${port} master br0`);
  await joined.script(`ip addr add ${address}/24 dev eth0`);
  if (completes === "sender") await completeChecksums(joined, "eth0");
  if (completes === "port") await completeChecksums(host, port);
  return joined;
}

/**
 * Turns transmit offload off, so that everything is complete that leaves the interface. Without
 * ethtool it stays on: nothing but a judged capture needs this.
 */
export async function completeChecksums(host: Host, device: string): Promise<void> {
  await host.run(["ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off"]);
}

function topology(lab: Lab, host: Host, client: Host, backends: readonly Backend[]): Topology {
  return { lab, host, client, backends, [Symbol.asyncDispose]: () => lab.close() };
}
