/**
 * Neighbor Discovery and Multicast Listener Discovery on a real Ethernet, with Linux's hosts and
 * bridges: other owners of the proxy's address, backends that are not there, groups.
 */
import assert from "node:assert/strict";
import { lastSummary, proxyCommand, startProxy, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, join, proxyAddress, tap } from "../lab/topology.ts";
import { kernelCounter } from "../lab/traffic.ts";
import { addTwins, onlyTwins, twinOf, twinOptions } from "../lab/twins.ts";

const labTest = await labTests("ping", "nc", "bridge");
const proxy6 = twinOf(proxyAddress);
const mac = "02:54:47:00:00:64";
const linkLocal = "fe80::54:47ff:fe00:64";
const options = [...twinOptions(usualOptions), `--mac=${mac}`];
const isOurs = `info: ${proxy6} is free, and used from now on`;

labTest("proxy is found over IPv6 as a host that answers, by both its addresses", async () => {
  await using topology = await bridged("behind a port");
  await addTwins(topology.lab);
  const { client, host } = topology;
  const proxy = await startProxy(host, options, backendAddresses.map(twinOf));
  for (const address of [proxy6, `${linkLocal}%eth0`]) {
    // The policy answers every second ping.
    const { stdout } = await client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", address]);
    assert.match(stdout, /2 packets transmitted, 1 received/);
  }
  await untilTrue(async () => {
    const known = await client.must(["ip", "-6", "neigh", "show", "dev", "eth0"]);
    const lines = known.split("\n").filter((line) => line.includes(mac));
    return lines.length === 2 &&
      lines.every((line) => /REACHABLE/.test(line) && !/router/.test(line));
  });
  assert.equal((await proxy.stop()).code, 0);
});

labTest("proxy reports another owner of its IPv6 address, and defends it", async () => {
  await using topology = await bridged("behind a port");
  await addTwins(topology.lab);
  const { lab, host, client } = topology;
  const proxy = await startProxy(host, options, backendAddresses.map(twinOf));
  const intruder = await join(lab, host, "intruder", "port9", "192.168.0.99");
  // It tells everybody that its MAC address has changed.
  await intruder.script(`
    cd /proc/sys/net/ipv6/conf/eth0
    echo 0 > accept_dad
    echo 1 > ndisc_notify
    echo 0 > disable_ipv6
    ip -6 addr add ${proxy6}/64 dev eth0 nodad
    ip link set eth0 address 02:00:00:00:00:77`);
  await proxy.waitFor(
    new RegExp(
      `^\\S+Z error: ${proxy6}: also used by 02:00:00:00:00:77: address con`,
      "m",
    ),
  );
  await intruder.script("ip link set eth0 down");
  await client.script("ip -6 neigh flush dev eth0");
  const { stdout } = await client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", proxy6]);
  assert.match(stdout, /2 packets transmitted, 1 received/);
  assert.equal((await proxy.stop()).code, 0);
});

labTest(
  "proxy withholds an IPv6 address that a host has, and takes it once it is free",
  async () => {
    await using topology = await bridged("behind a port");
    await addTwins(topology.lab);
    const { host, client, backends } = topology;
    const [holder] = backends;
    await holder!.host.script(`ip -6 addr add ${proxy6}/64 dev eth0 nodad`);
    const proxy = host.start(proxyCommand(options));
    for (const address of backendAddresses) await proxy.waitFor(`backend ${address} is at `);
    const holderMac = await holder!.host.mac("eth0");
    await proxy.waitFor(
      `error: ${proxy6}: used by ${holderMac}: address conflict, ours is withheld`,
    );
    const { stdout } = await client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", proxyAddress]);
    assert.match(stdout, /2 packets transmitted, 1 received/, "IPv4 is served meanwhile");
    await client.run(["ping", "-c", "1", "-W", "1", proxy6]);
    const known = await client.must(["ip", "-6", "neigh", "show", proxy6]);
    assert.ok(known.includes(holderMac), known);

    await holder!.host.script(`ip -6 addr del ${proxy6}/64 dev eth0`);
    await host.script(`ip link set ${tap} down; sleep 2; ip link set ${tap} up`);
    await proxy.waitFor(isOurs);
    await client.script("ip -6 neigh flush dev eth0");
    const again = await client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", proxy6]);
    assert.match(again.stdout, /2 packets transmitted, 1 received/);
    assert.equal((await proxy.stop()).code, 0);
  },
);

labTest("a host that wants the proxy's IPv6 address finds that it is taken", async () => {
  await using topology = await bridged("behind a port");
  await addTwins(topology.lab);
  const { host, client } = topology;
  const proxy = await startProxy(host, options, backendAddresses.map(twinOf));
  await client.script(`
    echo 1 > /proc/sys/net/ipv6/conf/all/accept_dad
    echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_dad
    ip -6 addr add ${proxy6}/64 dev eth0`);
  await untilTrue(async () => {
    const addresses = await client.must(["ip", "-6", "addr", "show", "dev", "eth0"]);
    return addresses.split("\n").some((line) =>
      line.includes(proxy6) && line.includes("dadfailed")
    );
  });
  assert.equal((await proxy.stop()).code, 0);
});

labTest("a bridge that looks at MLD passes solicitations on to the proxy", async () => {
  await using topology = await bridged("behind a port");
  await addTwins(topology.lab);
  const { host, client } = topology;
  await host.script("ip link set br0 type bridge mcast_snooping 1 mcast_querier 1");
  for (const version of [1, 2]) {
    await host.script(`ip link set br0 type bridge mcast_mld_version ${version}`);
    const proxy = await startProxy(host, options, backendAddresses.map(twinOf));
    await untilTrue(async () => {
      const groups = await host.must(["bridge", "mdb", "show", "dev", "br0"]);
      return groups.split("\n").some((line) =>
        line.includes(`port ${tap}`) && line.includes("ff02::1:ff00:64")
      );
    });
    await client.script("ip -6 neigh flush dev eth0");
    const { stdout } = await client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", proxy6]);
    assert.match(stdout, /2 packets transmitted, 1 received/, `version ${version}`);
    assert.equal((await proxy.stop()).code, 0);
  }
});

labTest(
  "proxy, no backend of IPv6 answering, tells the client that it is unreachable",
  async () => {
    await using topology = await bridged("on the bridge");
    await addTwins(topology.lab);
    const { client, host, backends } = topology;
    for (const backend of backends) await backend.host.script("ip link set eth0 down");
    const proxy = await startProxy(host, onlyTwins(usualOptions), []);
    for (const { address } of backends) {
      await proxy.waitFor(new RegExp(`warning: backend ${twinOf(address)} does not answer`));
    }
    const { code, stderr } = await client.run(["nc", "-v", "-w", "3", proxy6, "2000"]);
    assert.equal(code, 1);
    assert.match(stderr, /No route to host/);
    assert.equal(await kernelCounter(client, "TcpExtTCPSynRetrans"), 0, "told at its first SYN");
    const { stdout } = await proxy.stop();
    assert.match(lastSummary(stdout), /no-backend 1\b/);
  },
);

/** Waits until `isTrue`, ten seconds at most. */
async function untilTrue(isTrue: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    if (await isTrue()) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.fail("it does not come true");
}
