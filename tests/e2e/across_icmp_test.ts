/**
 * `--translate-families=on` on real TAP devices, where a path is narrow, long or closed: what
 * routers and hosts of one family say reaches kernels of the other, and large datagrams and pings
 * go through in parts. Hosts have the addresses of `twins.ts`.
 */
import assert from "node:assert/strict";
import { findNothingWrong } from "../lab/bulk.ts";
import { Capture, complaints, dissect } from "../lab/capture.ts";
import { echoDatagrams } from "../lab/datagrams.ts";
import { type Family, IPV4, IPV6 } from "../lab/families.ts";
import type { Host } from "../lab/lab.ts";
import { startEcho } from "../lab/peer.ts";
import { lastSummary, startBetween, startProxy, summaryCount } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { bridged, proxyAddress, routed, tap } from "../lab/topology.ts";
import { addTwins, twinOf } from "../lab/twins.ts";
import { ownA, ownB, twoSides } from "../lab/two_sides.ts";
import type { Background } from "../support/shell.ts";

const programs = ["nc", "ss", "nstat", "dumpcap", "tshark", "ethtool", "ping"] as const;
const labTest = await labTests(...programs);
const traceTest = await labTests(...programs, "traceroute", "tracepath");

interface Way {
  readonly name: string;
  /** Of the clients. */
  readonly near: Family;
  /** Of the backends. */
  readonly far: Family;
  /** MTU that each learns of a path to the other that takes 1,280 bytes. */
  readonly clientLearns: number;
  readonly backendLearns: number;
}

const WAYS: readonly Way[] = [
  { name: "IPv6 to IPv4", near: IPV6, far: IPV4, clientLearns: 1300, backendLearns: 1260 },
  { name: "IPv4 to IPv6", near: IPV4, far: IPV6, clientLearns: 1260, backendLearns: 1300 },
];

/** Told to the proxy, so that a capture can hold what it sends. */
const mac = "02:54:47:00:00:64";

/** Datagrams and pings go to the backends, too. */
const everyProtocol = `default drop
not ip.src in $dst-addrs
  icmp       -> translate-a-to-b, forward
  udp        -> translate-a-to-b, forward
  tcp        -> translate-a-to-b, forward
otherwise    -> translate-b-to-a, forward
`;

/** A run in both families with this backend, which may be behind the gateway. */
async function start(
  host: Host,
  backend: string,
  { gateway, wait = [] }: { gateway?: string; wait?: readonly string[] } = {},
): Promise<Background> {
  const policy = `${host.lab.folder}/every.policy`;
  await Deno.writeTextFile(policy, everyProtocol);
  const gateways = gateway === undefined
    ? []
    : [`--gateway=${gateway}`, `--gateway=${twinOf(gateway)}`];
  return await startProxy(host, [
    ...[`--net=${tap}`, `--ipv6=${twinOf(proxyAddress)}/64`, `--dst-addrs=${backend}`],
    ...["--translate-families=on", `--mac=${mac}`, "--trace=off", `--policy=${policy}`],
    ...gateways,
  ], wait);
}

/** Something was captured, and tshark finds nothing wrong with it. */
async function isClean(capture: Capture): Promise<void> {
  assert.ok(await capture.stop() > 0);
  assert.deepEqual(await complaints(capture.file), []);
}

/** Ten megabytes go over one connection and come back, every byte compared. */
async function echoesTenMegabytes(client: Host, family: Family): Promise<void> {
  const data = `${client.lab.folder}/data`;
  const stdout = await client.script(`
    head -c 10000000 /dev/urandom > ${data}
    nc -N ${family.of(proxyAddress)} 2000 < ${data} | tail -n +2 | cmp - ${data} && echo same`);
  assert.equal(stdout, "same\n");
}

/** What the host's kernel has learnt of the path to the proxy. */
async function learnt(host: Host, family: Family): Promise<string> {
  return await host.must(["ip", "route", "get", family.of(proxyAddress)]);
}

/**
 * The link behind the router takes no more than 1,280 bytes. The host there does not say so when it
 * connects, as if the narrow link were further on.
 */
async function narrow(router: Host, far: Host): Promise<void> {
  const gateway = "10.0.0.1";
  await router.script("ip link set eth1 mtu 1280");
  await far.script(`
    ip link set eth0 mtu 1280
    ip route replace default via ${gateway} advmss 1460
    ip -6 route replace default via ${twinOf(gateway)} advmss 1440`);
}

/** A datagram of so many bytes, and what comes back. */
async function echoed(client: Host, family: Family, bytes: number): Promise<boolean> {
  const words = ["nc", "-u", "-w", "1", family.of(proxyAddress), "2000"];
  const sent = "u".repeat(bytes);
  return (await client.run(words, { stdin: sent })).stdout === sent;
}

for (const { name, near, far, clientLearns, backendLearns } of WAYS) {
  for (const completes of ["sender", "port"] as const) {
    const what = completes === "sender" ? "packets" : "segments to be cut up";
    labTest(
      `proxy, families across, ${name}: a narrow path of ${what} to the backend is learnt`,
      async () => {
        await using topology = await routed(completes);
        await addTwins(topology.lab);
        const { client, host, router, far: backend, farAddress, gateway } = topology;
        await narrow(router, backend);
        const capture = await Capture.start(host, tap, `ether src ${mac} and ${near.errors}`);
        await startEcho(backend, far.of(farAddress), 2000);
        const proxy = await start(host, far.of(farAddress), { gateway });
        await echoesTenMegabytes(client, near);
        assert.match(await learnt(client, near), new RegExp(String.raw`\bmtu ${clientLearns}\b`));
        await proxy.stop();
        await isClean(capture);
        await findNothingWrong(client, backend);
      },
    );

    labTest(
      `proxy, families across, ${name}: a narrow path of ${what} to the client is learnt`,
      async () => {
        await using topology = await routed(completes);
        await addTwins(topology.lab);
        const { host, router, far: client, gateway, backends: [first] } = topology;
        const { host: backend, address } = first!;
        await narrow(router, client);
        const capture = await Capture.start(host, tap, `ether src ${mac} and ${far.errors}`);
        await startEcho(backend, far.of(address), 2000);
        const proxy = await start(host, far.of(address), { gateway, wait: [far.of(address)] });
        await echoesTenMegabytes(client, near);
        assert.match(await learnt(backend, far), new RegExp(String.raw`\bmtu ${backendLearns}\b`));
        await proxy.stop();
        await isClean(capture);
        await findNothingWrong(client, backend);
      },
    );
  }

  traceTest(
    `proxy, families across, ${name}: traced by TCP, a router behind it is told of`,
    async () => {
      await using topology = await routed();
      await addTwins(topology.lab);
      const { client, host, far: backend, farAddress, gateway } = topology;
      await startEcho(backend, far.of(farAddress), 2000);
      const capture = await Capture.start(host, tap, `ether src ${mac}`);
      const proxy = await start(host, far.of(farAddress), { gateway });
      const own = near.of(proxyAddress);
      // The first packet may wait for a neighbour longer than a tracer does.
      assert.match((await client.run(["nc", "-N", "-w", "5", own, "2000"])).stdout, /^from /);
      const words = ["traceroute", "-T", "-p", "2000", "-n", "-q", "1", "-w", "2", own];
      const { stdout } = await client.run(words);
      const hops = stdout.trimEnd().split("\n").slice(1).map((line) => line.split(/\s+/)[2]);
      assert.deepEqual(hops, [own, own, own], stdout);
      await proxy.stop();
      await isClean(capture);
    },
  );

  traceTest(
    `proxy, families across, ${name}: tracepath finds the path, its MTU, and a closed port`,
    async () => {
      await using topology = await routed();
      await addTwins(topology.lab);
      const { client, host, router, far: backend, farAddress, gateway } = topology;
      await narrow(router, backend);
      const capture = await Capture.start(host, tap, `ether src ${mac}`);
      const proxy = await start(host, far.of(farAddress), { gateway });
      const words = ["tracepath", "-n", "-m", "6", near.of(proxyAddress)];
      const { stdout } = await client.run(words);
      const own = near.pattern(proxyAddress);
      for (const hop of [1, 2]) assert.match(stdout, new RegExp(`^ ${hop}: {2}${own} `, "m"));
      assert.match(stdout, new RegExp(`^ 3: {2}${own} .* reached$`, "m"), stdout);
      assert.match(stdout, new RegExp(`Resume: pmtu ${clientLearns} hops 3 `), stdout);
      await proxy.stop();
      await isClean(capture);
    },
  );

  labTest(
    `proxy, families across, ${name}: pings and datagrams go whole and in parts`,
    async () => {
      await using topology = await bridged("behind a port");
      await addTwins(topology.lab);
      const { client, host, backends: [first] } = topology;
      const { host: backend, address } = first!;
      const capture = await Capture.start(host, tap, `ether src ${mac}`);
      const proxy = await start(host, far.of(address), { wait: [far.of(address)] });
      const own = near.of(proxyAddress);
      for (const bytes of ["56", "1212", "1213", "1452", "1473", "20000", "65000"]) {
        const words = ["ping", "-s", bytes, "-c", "3", "-i", "0.2", "-W", "2", own];
        const { stdout } = await client.run(words);
        // Each way costs a hop: the answer is the backend's, not the proxy's.
        assert.match(stdout, /ttl=63 /, stdout);
        assert.match(stdout, /3 packets transmitted, 3 received/);
      }
      await echoDatagrams(backend, far.of(address));
      for (const bytes of [1, 1232, 1233, 1472, 1473, 16_000]) {
        // The first that is too long for IPv6's way may only tell IPv4's end of the path's MTU.
        const isBack = await echoed(client, near, bytes) || await echoed(client, near, bytes);
        assert.ok(isBack, `${bytes} bytes`);
      }
      await proxy.stop();
      assert.ok(await capture.stop() > 100);
      assert.deepEqual(await complaints(capture.file), []);
      await findNothingWrong(client, backend);
    },
  );

  for (const offload of [true, false]) {
    const how = offload ? "on" : "off";
    labTest(
      `proxy, families across, ${name}, two-sided, MTU 9000 and 1400, offload ${how}: 10 MB each way`,
      async () => {
        await using topology = await twoSides({ mtuA: 9000, mtuB: 1400, offload });
        await addTwins(topology.lab);
        const { host, clients: [, client], backends: [, backend] } = topology;
        // The backend says that it takes what side A can send, as if it had that MTU.
        const router = far.of("10.1.1.1");
        await backend!.host.script(
          `ip -${far.number} route change default via ${router} advmss ${far.mss(9000)}`,
        );
        await startEcho(backend!.host, far.of(backend!.address), 2000);
        const captures = [
          await Capture.start(client!, "eth0", `src host ${near.of(ownA)}`),
          await Capture.start(backend!.host, "eth0", `src host ${far.of(ownB)}`),
        ];
        for (const clamp of ["on", "off"]) {
          const proxy = await startBetween(
            host,
            IPV4,
            ...["--ipv6=2001:db8:c0a8::64/64", `--ipv6-b=${twinOf(ownB)}/64`],
            ...["--gateway=192.168.0.253", `--gateway=${twinOf("192.168.0.253")}`],
            ...[`--dst-addrs=${far.of(backend!.address)}`],
            ...[
              `--route=${far.of("10.1.0.0")}/${far.number === 4 ? 16 : 48},${far.of("10.0.0.253")}`,
            ],
            ...[
              "--translate-families=on",
              `--offload=${how}`,
              `--clamp-mss=${clamp}`,
              "--trace=off",
            ],
          );
          for (const end of [client!, backend!.host]) {
            await end.script("ip route flush cache; ip -6 route flush cache");
          }
          await echoesTenMegabytes(client!, near);
          const summary = lastSummary((await proxy.stop()).stdout);
          assert.equal(summaryCount(summary, "mtu-exceeded") > 0, clamp === "off", summary);
          for (const reason of ["send-failed", "tcp-checksum", "vnet-header"]) {
            assert.equal(summaryCount(summary, reason), 0, summary);
          }
        }
        for (const capture of captures) await isClean(capture);
        const { name, tooBig } = near.icmp;
        const fields = ["type", "code", "mtu"].map((field) => `${name}.${field}`);
        const errors = await dissect(captures[0]!.file, `${name}.mtu`, fields);
        assert.deepEqual([...new Set(errors)], [`${tooBig}\t${near === IPV6 ? 1420 : 1380}`]);
        await findNothingWrong(client!, backend!.host);
      },
    );
  }
}
