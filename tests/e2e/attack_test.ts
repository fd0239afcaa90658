/**
 * The proxy under attack, on a real TAP device: a flood of SYNs from random sources while a hundred
 * connections go on, and new connections to one backend as fast as they come, with restarts of the
 * proxy in between. With SOAK=true in the environment each lasts a minute, otherwise some seconds.
 */
import assert from "node:assert/strict";
import type { Host } from "../lab/lab.ts";
import { startEcho } from "../lab/peer.ts";
import {
  askSummary,
  lastSummary,
  startProxy,
  summaryCount,
  trackedIn,
  usualOptions,
} from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { inEachFamily, IPV4, IPV6 } from "../lab/families.ts";
import { labTests } from "../lab/suite.ts";
import { bridged, join, proxyAddress, tap, type Topology } from "../lab/topology.ts";
import { buildFlood, sentBy, startFlood } from "../lab/flood.ts";
import { buildTraffic, kernelCounter, residentKiB, Storm } from "../lab/traffic.ts";
import { addTwins, twinOptions } from "../lab/twins.ts";

const labTest = await labTests("cc", "nc", "nstat");
const mac = "02:54:47:00:00:64";

const floodTitle = "proxy, flooded with SYNs from random sources, keeps its connections";

inEachFamily(labTest, floodTitle, async (family) => {
  const floodSeconds = lasts(10);
  const maxConn = 20_000;
  await using topology = await bridged("behind a port");
  const { lab, host, client, backends } = topology;
  const program = await buildFlood(lab, family);
  // It is the gateway as well: where answers to the random sources go.
  const attacker = await join(lab, host, "attacker", "port9", "192.168.0.66");
  await family.speak(lab);
  for (const backend of backends) await startEcho(backend.host, family.of(backend.address), 2000);
  const options = [`--mac=${mac}`, "--gateway=192.168.0.66", `--max-conn=${maxConn}`];
  const flags = family.options([...usualOptions, ...options]);
  const proxy = await startProxy(host, flags, backends.map(({ address }) => family.of(address)));
  const steady = await SteadyConnections.open(client, family.of(proxyAddress), 2000, 100);

  const flood = startFlood(program, attacker, {
    ...{ mac, address: family.of(proxyAddress), seconds: floodSeconds },
  });
  const residentsKiB: number[] = [];
  for (let second = 1; !await flood.ended(1000); second++) {
    assert.ok(second < floodSeconds + 10, "the flood ends");
    const tracked = trackedIn(await askSummary(proxy));
    assert.ok(tracked <= maxConn, `${tracked} connections of at most ${maxConn}`);
    residentsKiB.push(await residentKiB(proxy.pid));
  }
  const sent = await sentBy(flood);
  assert.ok(sent > 10_000 * floodSeconds, `${sent} SYNs are a flood`);

  // The device's own queue overflows before the proxy reads it, so that every connection loses
  // packets and waits longer and longer, as TCP does; none may fail, and all recover.
  const during = await steady.report();
  assert.deepEqual(during.failures, []);
  assert.ok(during.exchanges >= 100, `during the flood: ${JSON.stringify(during)}`);
  const { code, stdout } = await client.run(
    ["nc", "-v", "-N", "-w", "5", family.of(proxyAddress), "2000"],
  );
  const greetings = backends.map(({ address }) => `from ${family.of(address)}\n`);
  assert.ok(greetings.includes(stdout), `exit code ${code}: ${stdout}`);
  await recover(steady, floodSeconds + 5);

  // The first seconds fill the table and have the program compiled; then nothing is added.
  const [settledKiB, lastKiB] = [residentsKiB[4]!, residentsKiB.at(-1)!];
  assert.ok(lastKiB - settledKiB < 16 * 1024, `resident KiB, second by second: ${residentsKiB}`);
  const summary = lastSummary((await proxy.stop()).stdout);
  assert.ok(summaryCount(summary, "Forward") > 20_000, summary);
});

labTest(
  "proxy, stormed with connections to one backend, reuses each family's ports without failure",
  async () => {
    const stormSeconds = lasts(9);
    const families = [IPV4, IPV6];
    const ports = 2000; // of each family
    await using topology = await bridged("on the bridge");
    const { lab, host, backends } = topology;
    const program = await buildTraffic(lab);
    const [backend] = backends;
    const clients = await stormClients(topology, 4);
    await addTwins(lab);
    const addresses = families.map(({ of }) => of(backend!.address));
    for (const address of addresses) {
      const server = backend!.host.start([program, "serve", address, "2000"]);
      await server.waitFor("listening");
    }
    await forgetSoon(backend!.host);
    const options = twinOptions([
      ...[`--net=${tap}`, `--dst-addrs=${backend!.address}`, `--mac=${mac}`],
      ...[`--ports=20000-${20_000 + ports - 1}`, "--trace=off"],
    ]);
    let proxy = await startProxy(host, options, addresses);
    // Every other client is of IPv6.
    const storms = clients.map((client, i) =>
      new Storm(program, client, families[i % 2]!.of(proxyAddress), 2000, 16)
    );
    const reports = () => storms.map((storm) => storm.report());
    const doneOf = (family: number) =>
      reports().reduce((sum, { done }, i) => sum + (i % 2 === family ? done : 0), 0);
    const failed = () => reports().reduce((sum, { failed }) => sum + failed, 0);

    for (let run = 1; run <= 3; run++) {
      const [startDone, startFailed] = [families.map((_, i) => doneOf(i)), failed()];
      const startRetransmitted = await retransmittedSyns(clients);
      await sleep(stormSeconds * 1000 / 3);
      // Until ports are used again, however slow the machine is.
      const areReused = () => startDone.every((start, i) => doneOf(i) - start > ports);
      for (let more = 0; !areReused() && more < patienceSeconds; more++) await sleep(1000);
      const about = `run ${run}: ${JSON.stringify(reports())}\n${await askSummary(proxy)}`;
      const retransmitted = await retransmittedSyns(clients) - startRetransmitted;
      assert.deepEqual({ failed: failed() - startFailed, retransmitted }, none, about);
      assert.ok(areReused(), about);
      const tracked = trackedIn(await askSummary(proxy));
      assert.ok(tracked <= families.length * ports, "no more connections than ports");
      if (run === 3) break;
      const stopped = await proxy.stop();
      assert.equal(stopped.code, 0, stopped.stderr);
      proxy = await startProxy(host, options, addresses);
      // Connections that the restart cut are given up after two seconds.
      await sleep(2500);
    }
    for (const storm of storms) await storm.stop();
    const summary = lastSummary((await proxy.stop()).stdout);
    assert.equal(summaryCount(summary, "no-port"), 0, summary);
  },
);

/**
 * Waits until all connections transfer as they did before: TCP may have waited as long as it was
 * cut off.
 */
async function recover(steady: SteadyConnections, seconds: number): Promise<void> {
  const deadline = performance.now() + seconds * 1000;
  while (true) {
    await steady.report();
    await sleep(1000);
    const after = await steady.report();
    assert.deepEqual(after.failures, []);
    if (after.fewest >= 5) return;
    assert.ok(performance.now() < deadline, `after the flood: ${JSON.stringify(after)}`);
  }
}

/** How many seconds an attack lasts. */
function lasts(seconds: number): number {
  return Deno.env.get("SOAK") === "true" ? 60 : seconds;
}

/** Clients on the bridge whose kernels take their source ports from the same range. */
async function stormClients({ lab, host }: Topology, count: number): Promise<Host[]> {
  const clients: Host[] = [];
  for (let index = 0; index < count; index++) {
    const port = `client${index}`;
    const client = await join(lab, host, port, port, `192.168.0.${10 + index}`);
    // tcp_tw_reuse: a client's own TIME_WAIT lasts a second, so that its ports suffice.
    await client.script(`
      echo "20000 27999" > /proc/sys/net/ipv4/ip_local_port_range
      echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse`);
    await forgetSoon(client);
    clients.push(client);
  }
  return clients;
}

/**
 * A connection that a restart cut while it opened or closed is given up after about a second, not a
 * minute: as long as the backend has it, it refuses the first SYN from its port.
 */
async function forgetSoon(host: Host): Promise<void> {
  await host.script(`
    echo 0 > /proc/sys/net/ipv4/tcp_synack_retries
    echo 1 > /proc/sys/net/ipv4/tcp_orphan_retries`);
}

const patienceSeconds = 20;
const none = { failed: 0, retransmitted: 0 };

async function retransmittedSyns(clients: readonly Host[]): Promise<number> {
  const counts = clients.map((client) => kernelCounter(client, "TcpExtTCPSynRetrans"));
  return (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
