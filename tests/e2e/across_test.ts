/**
 * `--translate-families=on` on real TAP devices: clients of each family reach backends of the
 * other, and their kernels count what they find wrong. Hosts have the addresses of `twins.ts`.
 */
import assert from "node:assert/strict";
import { arriving, carried, findNothingWrong } from "../lab/bulk.ts";
import { Capture, complaints, dissect } from "../lab/capture.ts";
import { echoDatagrams } from "../lab/datagrams.ts";
import { type Family, IPV4, IPV6 } from "../lab/families.ts";
import type { Host } from "../lab/lab.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import {
  allOnDevice,
  askSummary,
  lastSummary,
  proxyCommand,
  startProxy,
  startTwoSided,
  summaryCount,
} from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress, tap, type Topology } from "../lab/topology.ts";
import { addTwins, twinOf } from "../lab/twins.ts";
import { backendAddresses as backendsOfTwo, ownA, ownB, twoSides } from "../lab/two_sides.ts";
import { type Background, run } from "../support/shell.ts";

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

/** Forwards everything, pings and datagrams, too. */
const everything = `default drop
not ip.src in $dst-addrs -> translate-a-to-b, forward
otherwise                -> translate-b-to-a, forward
`;

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

  labTest(`proxy, families across, ${name}: datagrams and pings of any length`, async () => {
    await using topology = await bridged("behind a port", "port");
    await addTwins(topology.lab);
    const { client, host, backends, lab } = topology;
    const { host: backend, address } = backends[0]!;
    const policy = `${lab.folder}/everything.policy`;
    await Deno.writeTextFile(policy, everything);
    const proxy = await start(host, [far.of(address)], `--policy=${policy}`);
    const captures = await arriving(topology, near, far);
    await echoDatagrams(backend, far.of(address));
    for (const noDf of near === IPV4 ? ["0", "1"] : ["0"]) {
      await client.script(`echo ${noDf} > /proc/sys/net/ipv4/ip_no_pmtu_disc`);
      for (const bytes of [1, 1000, 1452, 1472, 1473, 16_000]) {
        const stdin = "u".repeat(bytes);
        const asked = ["nc", "-u", "-w", "1", near.of(proxyAddress), "2000"];
        const ask = async () => (await client.run(asked, { stdin })).stdout;
        // Where the proxy tells the MTU, the client sends what is too long once more.
        const answered = await ask() || await ask();
        assert.equal(answered, stdin, `${bytes} bytes`);
      }
    }
    for (const bytes of ["56", "1400", "20000", "65000"]) {
      const words = ["ping", "-s", bytes, "-c", "3", "-i", "0.2", "-W", "2"];
      const { stdout } = await client.run([...words, near.of(proxyAddress)]);
      assert.match(stdout, /3 packets transmitted, 3 received/, `${bytes} bytes`);
    }
    for (const capture of captures) {
      assert.ok(await capture.stop() > 20);
      assert.deepEqual(await complaints(capture.file), []);
    }
    await findNothingWrong(client, backend);
    await proxy.stop();
  });

  labTest(`proxy, families across, ${name}: a replay sends the same frames`, async () => {
    await using topology = await bridged("behind a port", "port");
    await addTwins(topology.lab);
    const { client, host, backends } = topology;
    const member = far.of(backends[0]!.address);
    const capture = await Capture.start(host, tap, "");
    const proxy = await start(host, [member], allOnDevice, "--seed=7");
    await carried(client, backends[0]!.host, "up", 1, near, far);
    const live = await proxy.stop();
    await capture.stop();
    assert.notDeepEqual(await dissect(capture.file, "frame.len > 9000", ["frame.len"]), []);
    const flags = [`--ipv6=${twinOf(proxyAddress)}/64`, `--dst-addrs=${member}`, "--seed=7"];
    const words = ["replay", ...flags, `--pcap=${capture.file}`, "--trace=off"];
    const replay = await run(proxyCommand([...words, "--translate-families=on"]));
    assert.match(replay.stdout, /^Compared {4}: \d+ equal.*, 0 missing, 0 unexpected$/m);
    assert.equal(replay.code, 0, replay.stdout);
    const decisions = /^Decisions .*$/m;
    assert.deepEqual(decisions.exec(replay.stdout)?.[0], decisions.exec(live.stdout)?.[0]);
  });

  labTest(`proxy, families across, ${name}: clients move over when their family dies`, async () => {
    await using topology = await bridged("behind a port");
    await addTwins(topology.lab);
    const { client, host, backends } = topology;
    const own = await serve(topology, near);
    await serve(topology, far);
    const members = backends.flatMap(({ address }) => [near.of(address), far.of(address)]);
    const check = "--check=tcp 2000, interval 500ms, fastinter 200ms, timeout 3s";
    const proxy = await start(host, members, check);
    for (const member of members) await proxy.waitFor(`backend ${member} is up: `);
    const reached = async () => {
      const address = near.of(proxyAddress);
      const { byBackend, failures } = await connectPeer(client, address, 2000, 30, 100);
      assert.deepEqual(failures, []);
      return Object.keys(byBackend).sort();
    };
    assert.deepEqual(await reached(), backendAddresses.map(near.of).sort());
    for (const service of own) await service.stop("SIGKILL");
    // Whoever refuses before the check knows of it: another is tried, of either family.
    assert.deepEqual(await reached(), backendAddresses.map(far.of).sort());
    for (const address of backendAddresses) {
      await proxy.waitFor(new RegExp(`backend ${near.pattern(address)} is down: `));
    }
    assert.deepEqual(await reached(), backendAddresses.map(far.of).sort());
    await startEcho(backends[0]!.host, near.of(backends[0]!.address), 2000);
    const first = near.pattern(backendAddresses[0]!);
    await proxy.waitFor(new RegExp(`backend ${first} is up: .*; 4 of 6 left`));
    assert.deepEqual(await reached(), [near.of(backendAddresses[0]!)]);
    await proxy.stop();
    await findNothingWrong(client, ...backends.map((backend) => backend.host));
  });

  labTest(`proxy, families across, ${name}: started again, it loses no connection`, async () => {
    await using topology = await bridged("behind a port");
    await addTwins(topology.lab);
    const { client, host, lab } = topology;
    await serve(topology, far);
    const members = backendAddresses.map(far.of);
    const state = `--state=${lab.folder}/state`;
    const first = await start(host, members, state);
    const steady = await SteadyConnections.open(client, near.of(proxyAddress), 2000, 6);
    const ended = await first.stop();
    assert.match(ended.stderr, /6 connections saved to /);
    const second = host.start(proxyCommand(optionsOf(members, state)));
    await second.waitFor("went on from ", 20_000);
    await steady.isUnbroken();
    await second.stop();
  });

  labTest(`proxy, families across, ${name}: two-sided, each side has one of them`, async () => {
    await using topology = await twoSides();
    await addTwins(topology.lab);
    const { clients, backends, host } = topology;
    await Promise.all(backends.map((one) => startEcho(one.host, far.of(one.address), 2000)));
    const gateway = ["--gateway=192.168.0.253", "--route=10.1.0.0/16,10.0.0.253"];
    const proxy = await startTwoSided(
      host,
      `--dst-addrs=${backendsOfTwo.map(far.of)}`,
      ...(near === IPV6
        ? [`--ipv6=${twinOf(ownA)}/64`, `--gateway=${twinOf("192.168.0.253")}`, gateway[1]!]
        : [
          ...[`--ipv6-b=${twinOf(ownB)}/64`, gateway[0]!],
          `--route=${twinOf("10.1.0.0")}/48,${twinOf("10.0.0.253")}`,
        ]),
      "--translate-families=on",
    );
    for (const client of clients) {
      const { byBackend, failures } = await connectPeer(client, near.of(ownA), 2000, 30, 100_000);
      assert.deepEqual(failures, []);
      assert.deepEqual(Object.keys(byBackend).sort(), backendsOfTwo.map(far.of).sort());
    }
    assertNothingLost(lastSummary((await proxy.stop()).stdout));
    await findNothingWrong(...clients, ...backends.map((backend) => backend.host));
  });
}
