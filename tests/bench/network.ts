/**
 * The network of the side-by-side benchmark: one Ethernet, all of it in namespaces, offloads on.
 * Over IPv6 the same hosts have the twins of these addresses beside them.
 *
 *     ┌ host ──────────────────────────────────┐
 *     │ br0 ├ tap100 ── a subject              │   or, where the kernel is the subject or runs it,
 *     │     ├ port0 ├ port1 ├ port2 ├ port3    │   192.168.0.100 is br0's own address
 *     └───────┼───────┼───────┼───────┼────────┘
 *          client  backend1 backend2 backend3
 */
import type { Family } from "../lab/families.ts";
import { type Host, Lab } from "../lab/lab.ts";
import {
  backendAddresses,
  clientAddress,
  proxyAddress,
  tap,
  tapCommands,
} from "../lab/topology.ts";

export { tap };

/** Addresses are of its family. */
export interface Network extends AsyncDisposable {
  readonly family: Family;
  readonly proxyAddress: string;
  readonly lab: Lab;
  readonly host: Host;
  readonly client: Host;
  readonly backends: readonly { readonly host: Host; readonly address: string }[];
}

/**
 * A new network with so many backends. Without `addresses`, clients and backends have interfaces
 * but no kernel that speaks for them: programs do.
 */
export async function makeNetwork(
  family: Family,
  backends: number,
  addresses: boolean,
): Promise<Network> {
  const lab = await Lab.make();
  try {
    const host = await lab.host("host");
    await host.script(`
      ip link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
      ip link set br0 up`);
    const join = async (name: string, port: string, address: string): Promise<Host> => {
      const joined = await lab.host(name);
      await lab.cable(host, port, joined, "eth0");
      await host.script(`ip link set ${port} master br0`);
      if (addresses) await joined.script(`ip addr add ${address}/24 dev eth0`);
      return joined;
    };
    const client = await join("client", "port0", clientAddress);
    // Room for the connections of one run, one port each.
    await client.script("echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range");
    const chosen = backendAddresses.slice(0, backends);
    const joined = [];
    for (const [index, address] of chosen.entries()) {
      joined.push({
        host: await join(`backend${index + 1}`, `port${index + 1}`, address),
        address: family.of(address),
      });
    }
    await family.speak(lab);
    return {
      family,
      proxyAddress: family.of(proxyAddress),
      ...{ lab, host, client, backends: joined },
      [Symbol.asyncDispose]: () => lab.close(),
    };
  } catch (error) {
    await lab.close();
    throw error;
  }
}

/** Puts the TAP device on the bridge. */
export async function addTap({ host }: Network): Promise<void> {
  await host.script(tapCommands);
}

/** Gives the host the proxy's address, and lets it route between the bridge's ports. */
export async function addAddress({ lab, host, family }: Network): Promise<void> {
  await host.script(`
    ip addr add ${proxyAddress}/24 dev br0
    echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range
    echo 0 > /proc/sys/net/ipv4/conf/all/send_redirects
    echo 0 > /proc/sys/net/ipv4/conf/br0/send_redirects
    echo 1 > /proc/sys/net/ipv4/ip_forward`);
  await family.speak(lab);
}
