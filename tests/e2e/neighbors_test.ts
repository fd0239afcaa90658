/**
 * ARP on a real Ethernet: a second owner of the proxy's address, and backends that are not there.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Report } from "../lab/peer.ts";
import { lastSummary, startProxy, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { bridged, join, proxyAddress } from "../lab/topology.ts";
import { kernelCounter } from "../lab/traffic.ts";

const labTest = await labTests("ping", "nc");
const peer = fileURLToPath(new URL("../lab/peer.ts", import.meta.url));

labTest("proxy reports another owner of its address, and defends it", async () => {
  await using topology = await bridged("on the bridge");
  const { lab, host, client } = topology;
  const proxy = await startProxy(host);
  const intruder = await join(lab, host, "intruder", "port9", proxyAddress);
  await intruder.run(["ping", "-c", "1", "-W", "1", "192.168.0.1"]);
  const intruderMac = await intruder.mac("eth0");
  await proxy.waitFor(
    new RegExp(
      `^\\S+Z error: 192\\.168\\.0\\.100 is also used by ${intruderMac}: address conflict`,
      "m",
    ),
  );
  // The announcement in answer has corrected the client's memory.
  await client.script("ip link set port9 down");
  const { stdout } = await client.run(["ping", "-c", "2", "-i", "0.2", "-W", "1", proxyAddress]);
  assert.match(stdout, /2 packets transmitted, 1 received/);
  assert.equal((await proxy.stop()).code, 0);
});

labTest("proxy warns of a backend that does not answer ARP, and passes it over", async () => {
  await using topology = await bridged("on the bridge");
  const { client, host, backends } = topology;
  await backends[1]!.host.script("ip link set eth0 down");
  const [first] = backends;
  const server = first!.host.start(
    [Deno.execPath(), "run", "--allow-net", peer, "serve", first!.address, "2000"],
  );
  await server.waitFor("listening");
  const options = ["--net=tap100", "--dst-addrs=192.168.0.1,192.168.0.2"];
  const proxy = await startProxy(host, options, ["192.168.0.1"]);
  await proxy.waitFor(/^\S+Z warning: backend 192\.168\.0\.2 does not answer ARP/m);
  const words = ["connect", proxyAddress, "2000", "20", "1000"];
  const output = await client.must([Deno.execPath(), "run", "--allow-net", peer, ...words]);
  assert.deepEqual(
    JSON.parse(output),
    { byBackend: { "192.168.0.1": 20 }, failures: [] } as Report,
  );

  // It comes back, and is told to be there.
  await backends[1]!.host.script("ip link set eth0 up");
  await proxy.waitFor("backend 192.168.0.2 is at ");
  assert.match(lastSummary((await proxy.stop()).stdout), /192\.168\.0\.1 up/);
});

labTest(
  "proxy, no backend answering ARP, tells the client that the host is unreachable",
  async () => {
    await using topology = await bridged("on the bridge");
    const { client, host, backends } = topology;
    for (const backend of backends) await backend.host.script("ip link set eth0 down");
    const proxy = await startProxy(host, usualOptions, []);
    for (const { address } of backends) {
      await proxy.waitFor(`warning: backend ${address} does not answer ARP`);
    }
    const { code, stderr } = await client.run(["nc", "-v", "-w", "3", proxyAddress, "2000"]);
    assert.equal(code, 1);
    assert.match(stderr, /No route to host/);
    assert.equal(await kernelCounter(client, "TcpExtTCPSynRetrans"), 0, "told at its first SYN");
    const { stdout } = await proxy.stop();
    assert.match(lastSummary(stdout), /no-backend 1\b/);
    assert.match(stdout, /^Decision : Drop \(no-backend\)$/m);
  },
);
