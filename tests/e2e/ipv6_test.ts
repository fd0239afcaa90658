/**
 * Both families at once, on real TAP devices: each has backends of its own, or none, one- and
 * two-sided. Hosts have the addresses of `twins.ts`.
 */
import assert from "node:assert/strict";
import { findNothingWrong } from "../lab/bulk.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import {
  lastSummary,
  startProxy,
  startTwoSided,
  summaryCount,
  usualOptions,
} from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress, tap } from "../lab/topology.ts";
import type { Topology } from "../lab/topology.ts";
import { addTwins, twinOf, twinOptions } from "../lab/twins.ts";
import {
  backendAddresses as backendsOfTwo,
  clientAddresses,
  ownA,
  ownB,
  twoSidedOptions,
  type TwoSides,
  twoSides,
} from "../lab/two_sides.ts";

const labTest = await labTests("ping", "nc", "nstat");
const proxy6 = twinOf(proxyAddress);
const backends6 = backendAddresses.map(twinOf);

labTest(
  "proxy serves clients of both families at once, each from backends of its own",
  async () => {
    await using topology = await bridged("behind a port");
    await addTwins(topology.lab);
    const { client, host } = topology;
    await startEchoes(topology);
    const resolved = [...backendAddresses, ...backends6];
    const proxy = await startProxy(host, twinOptions(usualOptions), resolved);
    const [four, six] = await Promise.all(
      [proxyAddress, proxy6].map((address) => connectPeer(client, address, 2000, 60, 100_000)),
    );
    for (
      const [{ byBackend, failures }, backends] of [[four!, backendAddresses], [
        six!,
        backends6,
      ]] as const
    ) {
      assert.deepEqual(failures, []);
      assert.deepEqual(Object.keys(byBackend).sort(), backends);
    }
    const { stdout } = await client.run(["ping", "-c", "6", "-i", "0.2", "-W", "1", proxyAddress]);
    assert.match(stdout, /6 packets transmitted, 3 received/);
    const summary = lastSummary((await proxy.stop()).stdout);
    for (const reason of ["no-backend", "no-route", "send-failed"]) {
      assert.equal(summaryCount(summary, reason), 0, summary);
    }
    await findNothingWrong(client, ...topology.backends.map((backend) => backend.host));
  },
);

labTest("proxy without a backend of the client's family refuses, and answers", async () => {
  await using topology = await bridged("behind a port");
  await addTwins(topology.lab);
  const { client, host } = topology;
  await startEchoes(topology);
  const options = [`--net=${tap}`, `--ipv6=${proxy6}/64`, `--dst-addrs=${backendAddresses}`];
  const proxy = await startProxy(host, options);
  const { code, stderr } = await client.run(["nc", "-v", "-w", "5", proxy6, "2000"]);
  assert.equal(code, 1);
  assert.doesNotMatch(stderr, /timed out/);
  const served = await client.run(["nc", "-N", "-w", "5", proxyAddress, "2000"]);
  assert.match(served.stdout, /^from 192\.168\.0\.[123]\n$/);
  const summary = lastSummary((await proxy.stop()).stdout);
  assert.ok(summaryCount(summary, "no-backend") > 0, summary);
});

/** Echo servers at both addresses of each backend; what they print tells who has come. */
async function startEchoes({ backends }: Topology) {
  return await Promise.all(backends.flatMap(({ host, address }) => [
    startEcho(host, address, 2000),
    startEcho(host, twinOf(address), 2000),
  ]));
}

const two6 = backendsOfTwo.map(twinOf);
const twoSidedFlags = twinOptions(twoSidedOptions);

async function twoSidesWithTwins(): Promise<TwoSides> {
  const topology = await twoSides();
  await addTwins(topology.lab);
  return topology;
}

for (const preserves of [false, true]) {
  labTest(
    `proxy, two-sided, serves near and far clients of both families${
      preserves ? " with --preserve-source" : ""
    }`,
    async () => {
      await using topology = await twoSidesWithTwins();
      const servers = await startEchoes(topology);
      const more = preserves ? ["--preserve-source"] : [];
      const proxy = await startTwoSided(topology.host, ...twoSidedFlags, ...more);
      await proxy.waitFor(`backend ${two6[0]} is at `);
      for (const client of topology.clients) {
        const asked = [[ownA, backendsOfTwo], [twinOf(ownA), two6]] as const;
        const reports = await Promise.all(
          asked.map(([address]) => connectPeer(client, address, 2000, 30, 100_000)),
        );
        for (const [i, { byBackend, failures }] of reports.entries()) {
          assert.deepEqual(failures, []);
          assert.deepEqual(Object.keys(byBackend).sort(), [...asked[i]![1]].sort());
        }
      }
      const seen = servers.flatMap(({ stdout }) => stdout.match(/^[\d:a-f.]+(?= \d+$)/gm) ?? []);
      const four = preserves ? clientAddresses : [ownB];
      assert.deepEqual([...new Set(seen)].sort(), [...four, ...four.map(twinOf)].sort());
      assert.equal(seen.length, 120);
      const summary = lastSummary((await proxy.stop()).stdout);
      for (const reason of ["no-route", "wrong-side", "send-failed"]) {
        assert.equal(summaryCount(summary, reason), 0, summary);
      }
      await findNothingWrong(...topology.clients, ...topology.backends.map(({ host }) => host));
    },
  );
}
