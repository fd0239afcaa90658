/**
 * Frames that are none of the proxy's business: a bridge floods them, or they are for everybody.
 * Neither answered, forwarded nor printed, and each counted under its reason, in both families.
 */
import assert from "node:assert/strict";
import { Capture } from "../lab/capture.ts";
import { type Family, IPV4, IPV6 } from "../lab/families.ts";
import type { Host } from "../lab/lab.ts";
import { lastSummary, startProxy, summaryCount, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress, tap } from "../lab/topology.ts";
import { addTwins, twinOptions } from "../lab/twins.ts";

const labTest = await labTests("ping", "bridge", "dumpcap");
const mac = "02:54:47:00:00:64";
const strangerMac = "02:de:ad:be:ef:01";

/**
 * Everybody on the link and, over IPv6, all routers, the group of an address that nobody has, and
 * one of many links, whose MAC address is that of a group that the proxy listens to.
 */
const everybody: readonly string[] = [
  ...["255.255.255.255", "192.168.0.255", "224.0.0.1"],
  ...["ff02::2", "ff02::1:ff12:3456", "ff05::1"],
];

labTest(
  "proxy leaves frames to other stations and to everybody alone, and counts them",
  async () => {
    await using topology = await bridged("behind a port");
    await addTwins(topology.lab);
    const { host, client } = topology;
    const options = twinOptions([...usualOptions, `--mac=${mac}`, "--trace=all"]);
    const resolved = [IPV4, IPV6].flatMap((family) => backendAddresses.map(family.of));
    const proxy = await startProxy(host, options, resolved);
    // Resolved once now, so that what follows asks for no neighbour.
    for (const { of } of [IPV4, IPV6]) {
      await client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", of(proxyAddress)]);
    }
    await proxy.waitFor(/Decision : Echo_reply[^]*Decision : Echo_reply/);
    const shownBefore = proxy.stdout;
    const filter = `ether src ${mac} and not arp and not (icmp6 and ip6[40] >= 133)`;
    const capture = await Capture.start(host, tap, filter);

    // A bridge that learns nothing floods: the ping between client and backend passes the tap too.
    await host.script("for port in port0 port1; do bridge link set dev $port learning off; done");
    await host.script("bridge fdb flush dev port0 || true; bridge fdb flush dev port1 || true");
    await host.script("ip link set br0 type bridge ageing_time 0");
    await Promise.all([IPV4, IPV6].map((family) => isFlooded(client, family)));
    await Promise.all([IPV4, IPV6].map((family) => asksStranger(client, family)));
    await Promise.all(everybody.map(async (address) => {
      const broadcasts = address.includes(":") ? [] : ["-b"];
      const words = ["ping", ...broadcasts, "-I", "eth0", "-c", "3", "-i", "0.2", "-W", "1"];
      const { stdout } = await client.run([...words, address]);
      assert.match(stdout, /3 packets transmitted, 0 received/, address);
    }));

    await proxy.ended(200);
    const shownAfter = proxy.stdout;
    assert.equal(await capture.stop(), 0);
    assert.doesNotMatch(shownAfter.slice(shownBefore.length), /Received pdu/);
    const { stdout } = await proxy.stop();
    const summary = lastSummary(stdout);
    // Of each family 5 requests and 5 answers of the flooded ping, and 4 requests to the stranger.
    assert.ok(summaryCount(summary, "foreign-mac") >= 28, summary);
    assert.equal(summaryCount(summary, "broadcast-destination"), 6, summary);
    // And of IPv6 what the others ask and report.
    assert.ok(summaryCount(summary, "multicast-mac") >= 9, summary);
    assert.equal(summaryCount(summary, "multicast-destination"), 3, summary);
  },
);

async function isFlooded(client: Host, { of }: Family): Promise<void> {
  const flooded = await client.must(["ping", "-c", "5", "-i", "0.2", of("192.168.0.1")]);
  assert.match(flooded, /5 packets transmitted, 5 received, 0% packet loss/);
  assert.doesNotMatch(flooded, /DUP/);
}

/** Pings the proxy's own address, but another station's MAC address. */
async function asksStranger(client: Host, { number, of }: Family): Promise<void> {
  const neighbor = `ip -${number} neigh`;
  await client.script(`${neighbor} replace ${of(proxyAddress)} lladdr ${strangerMac} dev eth0`);
  await client.run(["ping", "-c", "4", "-i", "0.2", "-W", "1", of(proxyAddress)]);
  await client.script(`${neighbor} del ${of(proxyAddress)} dev eth0`);
}
