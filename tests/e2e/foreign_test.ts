/**
 * Frames that are none of the proxy's business: a bridge floods them, or they are for everybody.
 * Neither answered, forwarded nor printed, and each counted under its reason.
 */
import assert from "node:assert/strict";
import { Capture } from "../lab/capture.ts";
import { lastSummary, startProxy, summaryCount, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { bridged, proxyAddress, tap } from "../lab/topology.ts";

const labTest = await labTests("ping", "bridge", "dumpcap");
const mac = "02:54:47:00:00:64";
const strangerMac = "02:de:ad:be:ef:01";

labTest(
  "proxy leaves frames to other stations and to everybody alone, and counts them",
  async () => {
    await using topology = await bridged("behind a port");
    const { host, client } = topology;
    const proxy = await startProxy(host, [...usualOptions, `--mac=${mac}`, "--trace=all"]);
    // Resolved once now, so that what follows needs no ARP.
    await client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", proxyAddress]);
    await proxy.waitFor("Decision : Echo_reply");
    const shownBefore = proxy.stdout;
    const capture = await Capture.start(host, tap, `ether src ${mac} and not arp`);

    // A bridge that learns nothing floods: the ping between client and backend passes the tap too.
    await host.script("for port in port0 port1; do bridge link set dev $port learning off; done");
    await host.script("bridge fdb flush dev port0 || true; bridge fdb flush dev port1 || true");
    await host.script("ip link set br0 type bridge ageing_time 0");
    const flooded = await client.must(["ping", "-c", "5", "-i", "0.2", "192.168.0.1"]);
    assert.match(flooded, /5 packets transmitted, 5 received, 0% packet loss/);
    assert.doesNotMatch(flooded, /DUP/);

    // The proxy's own IP address, but another station's MAC address.
    await client.script(`ip neigh replace ${proxyAddress} lladdr ${strangerMac} dev eth0`);
    await client.run(["ping", "-c", "4", "-i", "0.2", "-W", "1", proxyAddress]);
    await client.script(`ip neigh del ${proxyAddress} dev eth0`);

    for (const everybody of ["255.255.255.255", "192.168.0.255", "224.0.0.1"]) {
      const words = ["ping", "-b", "-I", "eth0", "-c", "3", "-i", "0.2", "-W", "1", everybody];
      const { stdout } = await client.run(words);
      assert.match(stdout, /3 packets transmitted, 0 received/);
    }

    await proxy.ended(200);
    const shownAfter = proxy.stdout;
    assert.equal(await capture.stop(), 0);
    assert.doesNotMatch(shownAfter.slice(shownBefore.length), /Received pdu/);
    const { stdout } = await proxy.stop();
    const summary = lastSummary(stdout);
    // 5 requests and 5 answers of the flooded ping, and 4 requests to the stranger's MAC address.
    assert.ok(summaryCount(summary, "foreign-mac") >= 14, summary);
    assert.equal(summaryCount(summary, "broadcast-destination"), 6, summary);
    assert.equal(summaryCount(summary, "multicast-mac"), 3, summary);
  },
);
