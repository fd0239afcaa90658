/**
 * The general case: the proxy between two Ethernets, each with a router and hosts behind it. See
 * `two_sides.ts` for the network.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import type { Background } from "../support/shell.ts";
import { Capture, complaints, dissect } from "../lab/capture.ts";
import type { Host } from "../lab/lab.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { lastSummary, startBetween, startTwoSided, summaryCount } from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { type Family, inEachFamily, IPV4 } from "../lab/families.ts";
import { labTests } from "../lab/suite.ts";
import {
  backendAddresses,
  clientAddresses,
  deviceCommands,
  ownA,
  ownB,
  tapA,
  tapB,
  type TwoSides,
  twoSides,
} from "../lab/two_sides.ts";

const labTest = await labTests("ping");
const curlTest = await labTests("curl");
const iperfTest = await labTests("iperf3");
const mtuTest = await labTests("nc", "dumpcap", "tshark", "ethtool");

const forwardsAll = fileURLToPath(
  new URL("../golden/policies/good/two-sided.policy", import.meta.url),
);

/** Starts an echo server on each backend; what they print tells who has come. */
async function startEchoes(
  { backends }: TwoSides,
  family = IPV4,
): Promise<Background[]> {
  return await Promise.all(
    backends.map(({ host, address }) => startEcho(host, family.of(address), 2000)),
  );
}

labTest("proxy, two-sided, serves near and far clients from near and far backends", async () => {
  await using topology = await twoSides();
  const servers = await startEchoes(topology);
  const proxy = await startTwoSided(topology.host);
  for (const client of topology.clients) {
    const { byBackend, failures } = await connectPeer(client, ownA, 2000, 30, 100_000);
    assert.deepEqual(failures, []);
    assert.deepEqual(Object.keys(byBackend).sort(), backendAddresses);
  }
  // Full NAT: the proxy's own address on side B is all that the backends see.
  const seen = servers.flatMap(({ stdout }) => stdout.match(/^\d\S* (?=\d+$)/gm) ?? []);
  assert.deepEqual([...new Set(seen)], [`${ownB} `]);
  assert.equal(seen.length, 60);
  const summary = lastSummary((await proxy.stop()).stdout);
  for (const reason of ["no-route", "wrong-side", "send-failed"]) {
    assert.equal(summaryCount(summary, reason), 0, summary);
  }
});

labTest("proxy, two-sided, with --preserve-source shows the backends their clients", async () => {
  await using topology = await twoSides();
  const servers = await startEchoes(topology);
  const proxy = await startTwoSided(topology.host, "--preserve-source");
  for (const client of topology.clients) {
    const { byBackend, failures } = await connectPeer(client, ownA, 2000, 30, 100_000);
    assert.deepEqual(failures, []);
    assert.deepEqual(Object.keys(byBackend).sort(), backendAddresses);
  }
  const seen = servers.flatMap(({ stdout }) => stdout.match(/^\d\S*(?= \d+$)/gm) ?? []);
  assert.equal(seen.length, 60);
  assert.deepEqual([...new Set(seen)].sort(), [...clientAddresses].sort());
  // A backend's own connection to a client is no business of the proxy.
  const { host } = topology.backends[0]!;
  const own = await host.run(["nc", "-z", "-w", "1", clientAddresses[0]!, "2000"]);
  assert.notEqual(own.code, 0);
  const summary = lastSummary((await proxy.stop()).stdout);
  assert.ok(summaryCount(summary, "foreign-destination") > 0, summary);
});

inEachFamily(
  curlTest,
  "proxy, two-sided, serves curl; port 80 is silent as the default policy says",
  async (family) => {
    await using topology = await twoSides();
    await family.speak(topology.lab);
    const page = "a page of the far backend\n";
    for (const { host } of topology.backends) {
      const answer = `HTTP/1.0 200 OK\r\nContent-Length: ${page.length}\r\n\r\n${page}`;
      host.start([
        "sh",
        "-c",
        `while :; do printf %s "$0" | nc -${family.number} -l -N -p 8080; done`,
        answer,
      ]);
    }
    await startBetween(topology.host, family);
    for (const client of topology.clients) {
      const words = ["curl", "-s", "--retry", "3", "--retry-connrefused", "--max-time", "10"];
      assert.equal(await client.must([...words, `http://${family.host(ownA)}:8080/`]), page);
      const blocked = await client.run([
        "curl",
        "-s",
        "--max-time",
        "2",
        `http://${family.host(ownA)}/`,
      ]);
      assert.equal(blocked.code, curlTimedOut);
    }
  },
);

/** curl(1), "EXIT CODES". */
const curlTimedOut = 28;

inEachFamily(iperfTest, "proxy, two-sided, carries iperf3 in both directions", async (family) => {
  await using topology = await twoSides();
  await family.speak(topology.lab);
  const [backend] = topology.backends;
  const server = backend!.host.start(["iperf3", "-s", "-1", "--forceflush"]);
  await server.waitFor("Server listening");
  await startBetween(topology.host, family, `--dst-addrs=${backend!.address}`);
  const words = ["iperf3", "-c", family.of(ownA), "-t", "1", "-P", "2", "--bidir", "--json"];
  const { end } = JSON.parse(await topology.clients[1]!.must(words));
  for (const sum of [end.sum_received, end.sum_received_bidir_reverse]) {
    assert.ok(sum.bytes > 1_000_000, JSON.stringify(end));
  }
});

inEachFamily(
  labTest,
  "proxy, two-sided, pings a backend where the policy forwards echo",
  async (family) => {
    await using topology = await twoSides();
    await family.speak(topology.lab);
    await startBetween(topology.host, family, `--policy=${forwardsAll}`);
    for (const client of topology.clients) {
      const words = ["ping", "-c", "5", "-i", "0.2", "-W", "1", family.of(ownA)];
      const { stdout } = await client.run(words);
      assert.match(stdout, /5 packets transmitted, 5 received/);
      assert.match(stdout, /icmp_seq=5 ttl=6[0-3] /); // another hop or two than the proxy itself
    }
  },
);

inEachFamily(
  labTest,
  "proxy, two-sided, does without either device while it is gone",
  async (family) => {
    await using topology = await twoSides();
    await family.speak(topology.lab);
    const { host, client, backends } = topology;
    await startEchoes(topology, family);
    const proxy = await startBetween(host, family);
    const steady = await SteadyConnections.open(client, family.of(ownA), 2000, 6);

    for (const side of ["a", "b"] as const) {
      const device = side === "a" ? tapA : tapB;
      const from = proxy.stderr.length;
      await host.script(`ip link del ${device}`);
      await until(() =>
        proxy.stderr.includes(`warning: ${device} is gone: waiting for a TAP device`)
      );
      await proxy.ended(500);
      assert.equal((await steady.report()).failures.length, 0);
      if (side === "a") {
        await isAnswered(backends[0]!.host, family.of(ownB));
      } else {
        const words = ["ping", "-c", "4", "-i", "0.2", "-W", "1", family.of(ownA)];
        const { stdout } = await client.run(words);
        assert.match(stdout, /4 packets transmitted, 2 received/);
        const refused = await client.run(["nc", "-v", "-w", "5", family.of(ownA), "2000"]);
        assert.match(refused.stderr, /unreachable/); // at once, not a timeout
      }
      await host.script(deviceCommands(side));
      await until(() => proxy.stderr.slice(from).includes(`${device} is up`));
      await steady.isUnbroken();
    }
    const summary = lastSummary((await proxy.stop()).stdout);
    assert.ok(summaryCount(summary, "link-down") > 0, summary);
  },
);

for (const offload of [true, false]) {
  inEachFamily(
    mtuTest,
    `proxy, two-sided, MTU 9000 and 1400, offload ${
      offload ? "on" : "off"
    }: 10 MB each way, with DF and without`,
    async (family) => {
      await using topology = await twoSides({ mtuA: 9000, mtuB: 1400, offload });
      await family.speak(topology.lab);
      const { host, clients: [, client], backends: [, backend] } = topology;
      // The backend says that it takes what side A can send, as a host with a larger MTU of its own
      // would.
      const router = family.of("10.1.1.1");
      await backend!.host.script(
        `ip -${family.number} route change default via ${router} advmss ${family.mss(9000)}`,
      );
      const captures = [
        await Capture.start(client!, "eth0", `src host ${family.of(ownA)}`),
        await Capture.start(backend!.host, "eth0", `src host ${family.of(ownB)}`),
      ];
      for (const clamp of ["on", "off"]) {
        const flags = [`--offload=${offload ? "on" : "off"}`, "--trace=off"];
        if (clamp === "off") flags.push("--clamp-mss=off"); // on is the default here
        const proxy = await startBetween(host, family, `--dst-addrs=${backend!.address}`, ...flags);
        for (const noDf of family === IPV4 ? ["0", "1"] : ["0"]) {
          for (const end of [client!, backend!.host]) {
            await end.script(`
              echo ${noDf} > /proc/sys/net/ipv4/ip_no_pmtu_disc
              ip -${family.number} route flush cache`);
          }
          await copies(client!, backend!.host, "up", family);
          await copies(client!, backend!.host, "down", family);
        }
        const summary = lastSummary((await proxy.stop()).stdout);
        const tooLong = summaryCount(summary, "mtu-exceeded");
        assert.equal(tooLong > 0, clamp === "off", summary);
        for (const reason of ["send-failed", "tcp-checksum", "vnet-header"]) {
          assert.equal(summaryCount(summary, reason), 0, summary);
        }
      }
      for (const capture of captures) {
        assert.ok(await capture.stop() > 0);
        assert.deepEqual(await complaints(capture.file), []);
      }
      const { name, tooBig } = family.icmp;
      const fields = ["type", "code", "mtu"].map((field) => `${name}.${field}`);
      const errors = await dissect(captures[0]!.file, `${name}.mtu`, fields);
      assert.deepEqual([...new Set(errors)], [`${tooBig}\t1400`]);
      const cut = "ip.flags.mf == 1 || ipv6.fraghdr";
      const parts = await dissect(captures[1]!.file, cut, ["frame.len"]);
      // What an interface cuts up is cut up finer instead; of IPv6 nobody cuts up what he forwards.
      if (family !== IPV4) assert.deepEqual(parts, []);
      else if (!offload) assert.ok(parts.length > 0);
    },
  );
}

/** 10 MB from the client to the backend, or the other way, over a connection of the client's. */
async function copies(
  client: Host,
  backend: Host,
  way: "up" | "down",
  family: Family,
): Promise<void> {
  const data = `${client.lab.folder}/data`;
  const copy = `${client.lab.folder}/copy`;
  await client.script(`head -c 10000000 /dev/urandom > ${data}`);
  const [serve, ask] = way === "up"
    ? [
      `nc -${family.number} -n -v -l -p 2001 > ${copy}`,
      `nc -n -N -w 20 ${family.of(ownA)} 2001 < ${data}`,
    ]
    : [
      `nc -${family.number} -n -v -N -l -p 2001 < ${data}`,
      `nc -n -d -w 20 ${family.of(ownA)} 2001 > ${copy}`,
    ];
  const server = backend.start(["sh", "-ec", serve]);
  await server.waitFor("Listening");
  await client.must(["sh", "-ec", ask], { timeoutMs: 40_000 });
  assert.ok(await server.ended(5000));
  await client.must(["cmp", data, copy]);
}

/** The proxy answers ARP for this address. */
async function isAnswered(host: Host, address: string): Promise<void> {
  await host.script(`ip neigh flush dev eth0`);
  await host.run(["ping", "-c", "1", "-W", "1", address]);
  assert.match(await host.must(["ip", "neigh", "show", address]), /lladdr/);
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `not within 10 s: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
