/**
 * Connections that the kernel carries, on a real TAP device. What goes with any proxy goes with
 * this one, too: `FAST_PATH=on` has the other lab tests run so, but for those that capture on the
 * device itself.
 */
import assert from "node:assert/strict";
import { arriving, carried, findNothingWrong } from "../lab/bulk.ts";
import { complaints } from "../lab/capture.ts";
import { echoDatagrams } from "../lab/datagrams.ts";
import { askSummary, startProxy, summaryCount } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress, tap } from "../lab/topology.ts";
import { whyNoBpf } from "../support/bpf_kernel.ts";

const labTest = whyNoBpf() === undefined
  ? await labTests("nc", "ss", "nstat", "sha256sum", "dumpcap", "tshark")
  : () => {};

const BACKEND = backendAddresses[0]!;
const options = [`--net=${tap}`, `--dst-addrs=${BACKEND}`, "--trace=off", "--fast-path=on"];
const MEGABYTES = 20;

labTest("proxy, fast path, carries 20 MB each way and every checksum is right", async () => {
  await using topology = await bridged("behind a port", "port");
  const { client, host, backends } = topology;
  const backend = backends[0]!.host;
  const proxy = await startProxy(host, options, [BACKEND]);
  const captures = await arriving(topology);
  for (const way of ["up", "down"] as const) await carried(client, backend, way, MEGABYTES);
  for (const capture of captures) {
    await capture.stop();
    assert.deepEqual(await complaints(capture.file), []);
  }
  await findNothingWrong(client, backend);
  const summary = await askSummary(proxy);
  // On the way up the server closes its side at once: from then on the proxy sees each packet.
  const [, bytes] = /^Carried {5}: \d+ by the kernel, (\d+) bytes/m.exec(summary)!;
  assert.ok(Number(bytes) > 0.9e6 * MEGABYTES, summary);
  // Acknowledgments that others have overtaken at the promotion are of no use (out-of-window).
  for (const reason of ["tcp-checksum", "invalid", "no-mapping", "mtu-exceeded", "send-failed"]) {
    assert.equal(summaryCount(summary, reason), 0, reason);
  }
  await proxy.stop();
});

labTest("proxy, fast path, is gone with the proxy that was killed", async () => {
  await using topology = await bridged("behind a port", "nobody");
  const { client, host, backends } = topology;
  const backend = backends[0]!.host;
  const proxy = await startProxy(host, options, [BACKEND]);
  backend.start(["sh", "-c", "yes | nc -l -p 2000"]);
  await new Promise((resolve) => setTimeout(resolve, 500));
  const reader = client.start(["sh", "-c", `nc ${proxyAddress} 2000 > /dev/null`]);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.match(await askSummary(proxy), /^Carried /m);
  await proxy.stop("SIGKILL");
  await new Promise((resolve) => setTimeout(resolve, 300));
  const received = async () => {
    const counters = await client.must(["cat", "/sys/class/net/eth0/statistics/rx_bytes"]);
    return Number(counters);
  };
  const before = await received();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  assert.ok(await received() - before < 100_000, "only what is sent again");
  await reader.stop("SIGKILL");
});

labTest("proxy, fast path, carries datagrams both ways and counts them", async () => {
  await using topology = await bridged("behind a port", "nobody");
  const { client, host, backends } = topology;
  await echoDatagrams(backends[0]!.host, BACKEND);
  const file = `${topology.lab.folder}/udp.policy`;
  await Deno.writeTextFile(
    file,
    "default drop\n" +
      "not ip.src in $dst-addrs -> translate-a-to-b, forward\n" +
      "otherwise -> translate-b-to-a, forward\n",
  );
  const proxy = await startProxy(host, [...options, `--policy=${file}`], [BACKEND]);
  const program = `
    const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
    const to = { transport: "udp", hostname: "${proxyAddress}", port: 2000 };
    for (let i = 0; i < 500; i++) {
      const data = new Uint8Array(1 + i).fill(i);
      await socket.send(data, to);
      const [back] = await socket.receive();
      if (back.length !== data.length || back[0] !== data[0]) throw new Error("another one");
    }
    console.log("done");
    Deno.exit(0);`;
  assert.match(await client.must([Deno.execPath(), "eval", "--unstable-net", program]), /done/);
  const summary = await askSummary(proxy);
  const carried = summaryCount(summary.replace(/^Carried +: (\d+)/m, "carried $1"), "carried");
  assert.ok(carried > 900, summary);
  assert.match(summary, /^PDUs in {5}: 1000,/m);
  await proxy.stop();
});
