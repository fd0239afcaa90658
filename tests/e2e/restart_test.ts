/** What becomes of open connections when the proxy ends, or dies and is started again. */
import assert from "node:assert/strict";
import type { Background } from "../support/shell.ts";
import type { Host } from "../lab/lab.ts";
import { type Family, inEachFamily } from "../lab/families.ts";
import { startEcho } from "../lab/peer.ts";
import { askSummary, startProxy, summaryCount, usualOptions } from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress, type Topology } from "../lab/topology.ts";

const labTest = await labTests("nc", "ss");

const IDLE = 10;
const STEADY = 20;

/** Starts the proxy with all backends, of this family. */
function start(host: Host, family: Family): Promise<Background> {
  return startProxy(host, family.options(usualOptions), backendAddresses.map(family.of));
}

inEachFamily(
  labTest,
  "proxy, at SIGTERM, resets idle, busy and downloading connections on both sides",
  async (family) => {
    await using topology = await bridged("behind a port");
    await family.speak(topology.lab);
    const { host, client } = topology;
    const proxy = await start(host, family);
    const { idle, download } = await openAll(topology, family);
    await SteadyConnections.open(client, family.of(proxyAddress), 2000, STEADY);
    assert.equal(await established(topology), 2 * (IDLE + 1 + STEADY));

    const { code, stderr } = await proxy.stop();
    assert.equal(code, 0);
    assert.match(
      stderr,
      new RegExp(`info: connections reset at the end: ${IDLE + 1 + STEADY}$`, "m"),
    );
    for (const one of [...idle, download]) assert.ok(await one.ended(5000), one.stdout);
    await until(() => established(topology), 0);
  },
);

const killed = "proxy, killed and started again, resets on both sides what it has forgotten";

inEachFamily(labTest, killed, async (family) => {
  await using topology = await bridged("behind a port");
  await family.speak(topology.lab);
  const { host, client } = topology;
  const proxy = await start(host, family);
  const { idle, download } = await openAll(topology, family);
  await proxy.stop("SIGKILL");
  await using next = await start(host, family);

  // Each client hears of it with its next segment.
  for (const one of idle) await one.write("still there?\n");
  for (const one of idle) {
    assert.ok(await one.ended(5000), one.stdout);
    assert.ok(!one.stdout.includes("still there?"), one.stdout);
  }
  await download.write("go on\n");
  assert.ok(await download.ended(5000));
  assert.equal(await ends(client), 0, "the client holds nothing open");
  assert.ok(summaryCount(await askSummary(next), "stray") > IDLE);

  const again = await client.run(["nc", "-N", "-w", "2", family.of(proxyAddress), "2000"]);
  assert.match(again.stdout, /^from /);
  // So does a backend: of the three only one is sending, and it tries again now and then.
  for (const { host: backend } of topology.backends) {
    await until(() => ends(backend, "sport", "2001"), 0);
  }
});

/** Connections that wait for input, and one whose backend sends as fast as it can. */
async function openAll(
  { client, backends }: Topology,
  { of }: Family,
): Promise<{ idle: readonly Background[]; download: Background }> {
  for (const { address, host } of backends) {
    await startEcho(host, of(address), 2000);
    host.start(["sh", "-c", `exec nc -l ${of(address)} 2001 < /dev/zero`]);
    await listens(host, 2001);
  }
  const idle = Array.from({ length: IDLE }, () => {
    return client.start(["nc", of(proxyAddress), "2000"], { stdin: "" });
  });
  for (const one of idle) await one.waitFor("from ");
  const download = client.start(["sh", "-c", `exec nc ${of(proxyAddress)} 2001 > /dev/null`], {
    stdin: "",
  });
  const open = ["ss", "-Htn", "state", "established", "dport", "2001"];
  while ((await client.must(open)) === "") await download.ended(20);
  return { idle, download };
}

async function listens(host: Host, port: number): Promise<void> {
  const deadline = performance.now() + 5000;
  while ((await host.must(["ss", "-Hltn", "sport", String(port)])) === "") {
    assert.ok(performance.now() < deadline, `nobody listens on ${port}`);
  }
}

/** How many ends of connections the client and the backends hold open. */
async function established({ client, backends }: Topology): Promise<number> {
  const hosts = [client, ...backends.map(({ host }) => host)];
  const counts = await Promise.all(hosts.map((host) => ends(host)));
  return counts.reduce((sum, count) => sum + count);
}

/** How many ends of connections the host holds open, of those that the filter of `ss` names. */
async function ends(host: Host, ...filter: readonly string[]): Promise<number> {
  const list = await host.must(["ss", "-Htn", "state", "connected", ...filter]);
  return list.split("\n").filter((line) => line !== "").length;
}

async function until(count: () => Promise<number>, expected: number): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (await count() !== expected) {
    assert.ok(performance.now() < deadline, `${await count()} are still open`);
  }
}
