/**
 * The seed's demonstration in IPv6 on a real TAP device, and in both families at once: pings,
 * connections to all backends, the silent port, the console, and every emitted frame judged by
 * tshark. Hosts have the addresses of `twins.ts`.
 */
import assert from "node:assert/strict";
import { findNothingWrong } from "../lab/bulk.ts";
import { Capture, complaints, dissect } from "../lab/capture.ts";
import type { Host } from "../lab/lab.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import {
  lastSummary,
  proxyCommand,
  startProxy,
  startTwoSided,
  summaryCount,
  usualOptions,
} from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, clientAddress, proxyAddress, tap } from "../lab/topology.ts";
import type { Topology } from "../lab/topology.ts";
import { kernelCounter } from "../lab/traffic.ts";
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

const labTest = await labTests("ping", "nc", "nstat", "ethtool", "dumpcap", "tshark");
const mac = "02:54:47:00:00:64";
const proxy6 = twinOf(proxyAddress);
const backends6 = backendAddresses.map(twinOf);

labTest("proxy, over IPv6, answers, balances and translates with clean frames", async () => {
  await using topology = await bridged("behind a port");
  await addTwins(topology.lab);
  const { client, host, backends } = topology;
  const capture = await Capture.start(host, tap, `ether src ${mac}`);
  for (const { host, address } of backends) await startEcho(host, twinOf(address), 2000);
  const options = twinOptions([...usualOptions, `--mac=${mac}`]);
  const proxy = await startProxy(host, options, [...backendAddresses, ...backends6]);

  await pingsAreAnsweredInTurn(client);
  consoleShowsPings(proxy.stdout);
  const { byBackend, failures } = await connectPeer(client, proxy6, 2000, 60, 100_000);
  assert.deepEqual(failures, []);
  assert.deepEqual(Object.keys(byBackend).sort(), backends6);
  assert.equal(Object.values(byBackend).reduce((sum, count) => sum + count, 0), 60);
  await portEightyIsSilent(client);
  consoleShowsTcp(proxy.stdout);

  const { code, stdout, stderr } = await proxy.stop();
  assert.equal(code, 0, stderr);
  const summary = lastSummary(stdout);
  assert.equal(summaryCount(summary, "Echo_reply"), 9, summary);
  assert.ok(await capture.stop() > 500);
  assert.deepEqual(await complaints(capture.file), []);
  const kinds = await dissect(capture.file, "ipv6 and not icmpv6", ["tcp.srcport", "ipv6.hlim"]);
  assert.deepEqual([...new Set(kinds.map((line) => line.split("\t")[1]))], ["63"]);
  assert.deepEqual(await dissect(capture.file, "tcp.srcport == 80", ["frame.number"]), []);
  await findNothingWrong(client, ...backends.map((backend) => backend.host));
});

async function pingsAreAnsweredInTurn(client: Host): Promise<void> {
  const { stdout } = await client.run(["ping", "-c", "18", "-i", "0.2", "-W", "1", proxy6]);
  const answered = [...stdout.matchAll(/icmp_seq=(\d+) ttl=64 /g)].map(([, seq]) => Number(seq));
  assert.deepEqual(answered, [2, 4, 6, 8, 10, 12, 14, 16, 18], stdout);
}

/** The 18 pings in the seed's columns, the decisions in turn. */
function consoleShowsPings(text: string): void {
  const entry = new RegExp(
    String.raw`^Received pdu
Layer 3 \| IPv6     \| src  ${twinOf(clientAddress)}
                   \| dst  ${proxy6}
Layer 3 \| ICMPv6   \| type Echo request, id [0-9a-f]{4}, seq (\d+)
                   \| data
(?:                   \|      0000000[0-3]: (?:[0-9a-f]{4} ){8} [ -~]{16}
){4}Decision : (Drop|Echo_reply)

`,
    "gm",
  );
  const shown = [...text.matchAll(entry)].map(([, seq, decision]) => `${seq} ${decision}`);
  const wanted = Array.from(
    { length: 18 },
    (_, index) => `${index + 1} ${index % 2 ? "Echo_reply" : "Drop"}`,
  );
  assert.deepEqual(shown, wanted, text.slice(0, 2000));
}

async function portEightyIsSilent(client: Host): Promise<void> {
  const sentAgain = () => kernelCounter(client, "TcpExtTCPSynRetrans");
  const before = await sentAgain();
  const { code, stderr } = await client.run(["nc", "-v", "-w", "2", proxy6, "80"]);
  assert.equal(code, 1);
  assert.match(stderr, /timed out/);
  assert.ok(await sentAgain() > before, "nothing answers its SYN");
}

function consoleShowsTcp(text: string): void {
  const entry = new RegExp(
    String.raw`^Received pdu
Layer 3 \| IPv6     \| src  ${twinOf(clientAddress)}
                   \| dst  ${proxy6}
Layer 4 \| TCP      \| src port \d+
                   \| dst port 80
                   \| flags SYN
                   \| seq \d+
                   \| ack 0
                   \| data
Decision : Drop

`,
    "m",
  );
  assert.match(text, entry);
}

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

labTest("proxy, started again with its state, loses no connection of either family", async () => {
  await using topology = await bridged("behind a port");
  await addTwins(topology.lab);
  const { client, host, lab } = topology;
  await startEchoes(topology);
  const state = `--state=${lab.folder}/state`;
  const options = twinOptions([...usualOptions, `--mac=${mac}`, state, "--trace=off"]);
  const first = await startProxy(host, options, [...backendAddresses, ...backends6]);
  const steady = await Promise.all(
    [proxyAddress, proxy6].map((address) => SteadyConnections.open(client, address, 2000, 6)),
  );
  const ended = await first.stop();
  assert.match(ended.stderr, /12 connections saved to /);
  const second = host.start(proxyCommand(options));
  await second.waitFor("went on from ", 20_000);
  await second.waitFor(`${proxy6} goes on being used`);
  for (const connections of steady) await connections.isUnbroken();
  await second.stop();
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
