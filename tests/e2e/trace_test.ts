/** What `--trace` shows of a lab's traffic, and what becomes of a wrong filter. */
import assert from "node:assert/strict";
import { type Family, inEachFamily } from "../lab/families.ts";
import { startEcho } from "../lab/peer.ts";
import { proxyCommand, startProxy, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress, type Topology } from "../lab/topology.ts";

const labTest = await labTests("ping", "sh");

/** Sends something to a port, and reads to the end what comes back. */
async function talk({ client }: Topology, { of }: Family, port: number): Promise<void> {
  const program = `
    const connection = await Deno.connect({ hostname: "${of(proxyAddress)}", port: ${port} });
    await connection.write(new Uint8Array(100));
    await connection.closeWrite();
    for await (const _part of connection.readable);`;
  await client.must([Deno.execPath(), "eval", program]);
}

/** The destination ports, or the protocol, of the PDUs shown, and how often each was. */
function shown(stdout: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const entry of stdout.split(/^(?=Received pdu$)/m)) {
    if (!entry.startsWith("Received pdu")) continue;
    const [, src, dst] = /src port (\d+)[^]*?dst port (\d+)/.exec(entry) ?? [, "icmp", "icmp"];
    const name = Math.min(Number(src), Number(dst)) || "icmp";
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

const title = "proxy --trace=FILTER shows what it is for, and reads another one at SIGHUP";

inEachFamily(labTest, title, async (family) => {
  await using topology = await bridged("on the bridge");
  await family.speak(topology.lab);
  const { host, lab, backends } = topology;
  for (const { address, host } of backends) {
    await startEcho(host, family.of(address), 2000);
    await startEcho(host, family.of(address), 3000);
  }
  const config = `${lab.folder}/config`;
  const tell = (trace: string) => Deno.writeTextFile(config, `trace = ${trace}\n`);
  await tell("tcp and tcp.dport = 3000 or tcp.sport = 3000");
  const proxy = await startProxy(
    host,
    family.options([...usualOptions, `--config=${config}`]),
    backendAddresses.map(family.of),
  );
  for (const port of [2000, 3000, 2000]) await talk(topology, family, port);
  await proxy.waitFor("dst port 3000");
  await tell("tcp.dport = $none");
  proxy.signal("SIGHUP");
  await proxy.waitFor(/not reloaded, nothing has changed: --trace: predicate:1:13: /);

  await tell("drops");
  proxy.signal("SIGHUP");
  await proxy.waitFor("--trace=drops from now on");
  await talk(topology, family, 3000);
  await topology.client.run(["ping", "-c", "4", "-i", "0.2", "-W", "1", family.of(proxyAddress)]);
  const { code, stdout } = await proxy.stop();
  assert.equal(code, 0);
  const { 3000: segments, ...others } = shown(stdout);
  assert.deepEqual(others, { icmp: 2 });
  assert.ok(segments! >= 8, `${segments} segments`);
  const ports = new Set([...stdout.matchAll(/ port (\d+)/g)].map(([, port]) => port));
  assert.equal(ports.size, 2, `port 3000 and that of the connection before: ${[...ports]}`);
  const pings = stdout.split(/^(?=Received )/m).filter((entry) => entry.includes("Echo request"));
  assert.equal(pings.length, 2);
  assert.ok(pings.every((entry) => entry.includes("Decision : Drop")));
});

labTest("proxy --trace=FILTER ends at the start where the filter is wrong", async () => {
  await using topology = await bridged("on the bridge");
  const { code, stdout, stderr } = await topology.host.run(
    proxyCommand([...usualOptions, "--trace=tcp and tcp.dport = x"]),
  );
  assert.deepEqual([code, stdout], [1, ""]);
  assert.match(stderr, /^error: --trace: predicate:1:21: /m);
});
