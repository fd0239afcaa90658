/**
 * `--translate-families=on` on real TAP devices: clients of each family reach backends of the
 * other, and their kernels count what they find wrong. Hosts have the addresses of `twins.ts`.
 */
import assert from "node:assert/strict";
import { arriving, carried, findNothingWrong } from "../lab/bulk.ts";
import { complaints } from "../lab/capture.ts";
import { type Family, IPV4, IPV6 } from "../lab/families.ts";
import type { Host } from "../lab/lab.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { askSummary, lastSummary, startProxy, summaryCount } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress, tap, type Topology } from "../lab/topology.ts";
import { addTwins, twinOf } from "../lab/twins.ts";
import type { Background } from "../support/shell.ts";

const labTest = await labTests("nc", "ss", "nstat", "dumpcap", "tshark", "ethtool", "ping");

interface Way {
  readonly name: string;
  /** Of the clients. */
  readonly near: Family;
  /** Of the backends. */
  readonly far: Family;
}

const WAYS: readonly Way[] = [
  { name: "IPv6 to IPv4", near: IPV6, far: IPV4 },
  { name: "IPv4 to IPv6", near: IPV4, far: IPV6 },
];

/** Told to the proxy, so that a capture can hold what it sends. */
const mac = "02:54:47:00:00:64";
const MEGABYTES = 20;

/** Of a run in both families, with backends of these. */
function optionsOf(backends: readonly string[], ...more: readonly string[]): string[] {
  return [
    ...[`--net=${tap}`, `--ipv6=${twinOf(proxyAddress)}/64`, `--dst-addrs=${backends}`],
    ...["--translate-families=on", `--mac=${mac}`, "--trace=off", ...more],
  ];
}

async function start(
  host: Host,
  backends: readonly string[],
  ...more: readonly string[]
): Promise<Background> {
  return await startProxy(host, optionsOf(backends, ...more), backends);
}

/** Echo servers at that family's addresses of the backends. */
async function serve({ backends }: Topology, family: Family): Promise<Background[]> {
  return await Promise.all(
    backends.map(({ host, address }) => startEcho(host, family.of(address), 2000)),
  );
}

/** What a run must never have dropped. */
function assertNothingLost(summary: string): void {
  for (
    const reason of [
      ...["no-backend", "no-route", "send-failed", "vnet-header", "no-counterpart", "invalid"],
      ...["tcp-checksum", "udp-checksum", "ip-checksum", "icmp-checksum", "mtu-exceeded"],
    ]
  ) assert.equal(summaryCount(summary, reason), 0, summary);
}

for (const { name, near, far } of WAYS) {
  labTest(`proxy, families across, ${name}: every byte of 60 connections comes back`, async () => {
    await using topology = await bridged("behind a port");
    await addTwins(topology.lab);
    const { client, host, backends } = topology;
    await serve(topology, far);
    const members = backendAddresses.map(far.of);
    const proxy = await start(host, members);
    const captures = await arriving(topology, near, far);
    const { byBackend, failures } = await connectPeer(
      client,
      near.of(proxyAddress),
      2000,
      60,
      100_000,
    );
    assert.deepEqual(failures, []);
    assert.deepEqual(Object.keys(byBackend).sort(), [...members].sort());
    const ping = ["ping", "-c", "6", "-i", "0.2", "-W", "1", near.of(proxyAddress)];
    assert.match((await client.run(ping)).stdout, /6 packets transmitted, 3 received/);
    for (const capture of captures) {
      assert.ok(await capture.stop() > 20);
      assert.deepEqual(await complaints(capture.file), []);
    }
    assertNothingLost(lastSummary((await proxy.stop()).stdout));
    await findNothingWrong(client, ...backends.map((backend) => backend.host));
  });

  for (const completes of ["port", "sender"] as const) {
    const how = completes === "port" ? "left to interfaces" : "cut up by the sender";
    labTest(`proxy, families across, ${name}: 20 MB each way, ${how}`, async () => {
      await using topology = await bridged("behind a port", completes);
      await addTwins(topology.lab);
      const { client, host, backends } = topology;
      const backend = backends[0]!.host;
      const proxy = await start(host, [far.of(backends[0]!.address)]);
      const captures = await arriving(topology, near, far);
      await carried(client, backend, "up", MEGABYTES, near, far);
      await carried(client, backend, "down", MEGABYTES, near, far);
      for (const capture of captures) {
        assert.ok(await capture.stop() > 1000);
        assert.deepEqual(await complaints(capture.file), []);
      }
      await findNothingWrong(client, backend);
      assertNothingLost(await askSummary(proxy));
      await proxy.stop();
    });
  }
}
