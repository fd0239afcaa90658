/**
 * What senders leave to their interfaces, all the way through the proxy on a real TAP device: bulk
 * both ways, datagrams, refusals, replay, and a path whose MTU is too small.
 *
 * The hosts send as they do anywhere, segments of 64 KiB with open checksums. The bridge's ports
 * complete everything on its way to them, as a cable would: what arrives can be judged by tshark,
 * and the hosts' kernels count what they find wrong.
 */
import assert from "node:assert/strict";
import { type Background, run } from "../support/shell.ts";
import { arriving, carried, findNothingWrong } from "../lab/bulk.ts";
import { Capture, complaints, dissect } from "../lab/capture.ts";
import { echoDatagrams } from "../lab/datagrams.ts";
import type { Host } from "../lab/lab.ts";
import { allOnDevice, askSummary, proxyCommand, startProxy, summaryCount } from "../lab/proxy.ts";
import { type Family, inEachFamily, IPV4 } from "../lab/families.ts";
import { labTests } from "../lab/suite.ts";
import { bridged, proxyAddress, tap } from "../lab/topology.ts";

const programs = ["nc", "ss", "nstat", "sha256sum", "dumpcap", "tshark", "ethtool", "ping"];
const labTest = await labTests(...programs);

const offloading = () => bridged("behind a port", "port");

const dstAddrs = "--dst-addrs=192.168.0.1";
/** Told to the proxy, so that a capture can hold what it sends. */
const mac = "02:54:47:00:00:64";
const options: readonly string[] = [`--net=${tap}`, dstAddrs, `--mac=${mac}`, "--trace=off"];
const MEGABYTES = 20;

function start(host: Host, family: Family, ...more: readonly string[]): Promise<Background> {
  return startProxy(host, family.options([...options, ...more]), [family.of("192.168.0.1")]);
}

for (const offload of ["on", "off"]) {
  inEachFamily(
    labTest,
    `proxy, --offload=${offload}, carries 20 MB each way and every checksum is right`,
    async (family) => {
      await using topology = await offloading();
      await family.speak(topology.lab);
      const { client, host, backends } = topology;
      const backend = backends[0]!.host;
      const proxy = await start(host, family, `--offload=${offload}`);
      const features = await host.must(["ethtool", "-k", tap]);
      assert.match(features, new RegExp(`^tcp-segmentation-offload: ${offload}`, "m"));
      const captures = await arriving(topology, family);
      await carries(client, backend, family);
      for (const capture of captures) {
        assert.ok(await capture.stop() > 10_000, "packets arrive in the size of the link");
        assert.deepEqual(await complaints(capture.file), []);
        assert.deepEqual(await dissect(capture.file, "frame.len > 1514", ["frame.len"]), []);
      }
      await findNothingWrong(client, backend);
      const summary = await askSummary(proxy);
      const { all, crossing } = bytesPerPdu(summary);
      if (offload === "on") assert.ok(all > 3000, `${all} bytes in a PDU`);
      else assert.ok(crossing <= 1500, `${crossing} bytes in a PDU`);
      for (const reason of ["tcp-checksum", "vnet-header", "mtu-exceeded", "send-failed"]) {
        assert.equal(summaryCount(summary, reason), 0, reason);
      }
      await proxy.stop();
    },
  );
}

inEachFamily(
  labTest,
  "proxy, on a tap with a smaller MTU than its neighbours, says so about segments",
  async (family) => {
    await using topology = await offloading();
    await family.speak(topology.lab);
    const { client, host, backends } = topology;
    const backend = backends[0]!.host;
    // A bridge hands over a segment of 64 KiB whatever the MTU; only what it is cut into is too
    // long.
    await host.script(`ip link set ${tap} mtu 1280`);
    const proxy = await start(host, family);
    const captures = await arriving(topology, family);
    const learnt = (one: Host) => one.must(["ip", "route", "get", family.of(proxyAddress)]);
    await carried(client, backend, "up", MEGABYTES, family);
    assert.match(await learnt(client), /\bmtu 1280\b/);
    await client.script(`ip -${family.number} route flush cache`); // or it would tell its server
    await carried(client, backend, "down", MEGABYTES, family);
    assert.match(await learnt(backend), /\bmtu 1280\b/);
    for (const capture of captures) {
      assert.ok(await capture.stop() > 10_000);
      assert.deepEqual(await complaints(capture.file), []);
      const { name, tooBig } = family.icmp;
      const fields = ["type", "code", "mtu"].map((field) => `${name}.${field}`);
      const said = await dissect(capture.file, `${name}.mtu`, fields);
      assert.ok(said.includes(`${tooBig}\t1280`), said.join());
    }
    await findNothingWrong(client, backend);
    assert.ok(summaryCount(await askSummary(proxy), "mtu-exceeded") > 0);
    await proxy.stop();
  },
);

const everyDecision = `default drop
not ip.src in $dst-addrs
  tcp.dport = 2001        -> reject
  udp.dport = 2001        -> reject
  echo-request            -> track, echo
  otherwise               -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`;

inEachFamily(
  labTest,
  "proxy, answers open checksums with complete ones: forwarded, refused, echoed",
  async (family) => {
    await using topology = await offloading();
    await family.speak(topology.lab);
    const { lab, client, host, backends } = topology;
    const { host: backend, address } = backends[0]!;
    const policy = `${lab.folder}/every.policy`;
    await Deno.writeTextFile(policy, everyDecision);
    const proxy = await start(host, family, `--policy=${policy}`);
    const captures = await arriving(topology, family);

    await echoDatagrams(backend, family.of(address));
    const own = family.of(proxyAddress);
    for (const bytes of [1, 1472, 1473, 16_000]) {
      const stdin = "u".repeat(bytes);
      const { stdout } = await client.run(["nc", "-u", "-w", "1", own, "2000"], { stdin });
      assert.equal(stdout, stdin, `${bytes} bytes`);
    }
    const refusedTcp = await client.run(["nc", "-v", "-w", "3", own, "2001"]);
    assert.match(refusedTcp.stderr, /Connection refused/);
    const refusedUdp = await client.run(["nc", "-u", "-v", "-w", "1", own, "2001"], {
      stdin: "is anybody there?",
    });
    assert.equal(refusedUdp.code, 1, "port unreachable has come through to nc");
    for (const bytes of ["56", "20000", "65507"]) {
      const words = ["ping", "-s", bytes, "-c", "3", "-i", "0.1", "-W", "2", own];
      assert.match((await client.run(words)).stdout, /3 packets transmitted, 3 received/);
    }

    const [toClient, toBackend] = captures;
    for (const capture of captures) {
      assert.ok(await capture.stop() > 0);
      assert.deepEqual(await complaints(capture.file), []);
    }
    const port = family === IPV4
      ? "icmp.type == 3 && icmp.code == 3"
      : "icmpv6.type == 1 && icmpv6.code == 4";
    assert.notDeepEqual(await dissect(toClient!.file, port, ["frame.number"]), []);
    assert.notDeepEqual(
      await dissect(toClient!.file, "tcp.flags.reset == 1", ["frame.number"]),
      [],
    );
    assert.notDeepEqual(await dissect(toBackend!.file, "udp", ["frame.number"]), []);
    await findNothingWrong(client, backend);
    await proxy.stop();
  },
);

inEachFamily(
  labTest,
  "proxy replay of a capture with segments of 64 KiB sends the same frames",
  async (family) => {
    await using topology = await offloading();
    await family.speak(topology.lab);
    const { client, host, backends } = topology;
    const capture = await Capture.start(host, tap, "");
    const proxy = await start(host, family, allOnDevice, "--seed=7");
    await carried(client, backends[0]!.host, "up", 1, family);
    const live = await proxy.stop();
    await capture.stop();
    assert.notDeepEqual(await dissect(capture.file, "frame.len > 9000", ["frame.len"]), []);
    const out = `${capture.file}.out`;
    const words = [
      "replay",
      ...family.options([dstAddrs]),
      `--pcap=${capture.file}`,
      `--out=${out}`,
    ];
    const replay = await run(proxyCommand([...words, "--seed=7", "--trace=off"]));
    assert.match(replay.stdout, /^Compared {4}: \d+ equal.*, 0 missing, 0 unexpected$/m);
    assert.equal(replay.code, 0, replay.stdout);
    const decisions = /^Decisions .*$/m;
    assert.deepEqual(decisions.exec(replay.stdout)?.[0], decisions.exec(live.stdout)?.[0]);
    assert.deepEqual(await complaints(out), []);
  },
);

/**
 * How long a PDU is; also of those alone that crossed the proxy's device, as the kernel carries
 * segments past it before they would be cut up for it.
 */
function bytesPerPdu(summary: string): { readonly all: number; readonly crossing: number } {
  const [, pdus, bytes] = /^PDUs in {5}: (\d+), (\d+) bytes$/m.exec(summary)!.map(Number);
  const [, carried, carriedBytes] = /^Carried {5}: (\d+) by the kernel, (\d+) bytes/m.exec(summary)
    ?.map(Number) ?? [0, 0, 0];
  return { all: bytes! / pdus!, crossing: (bytes! - carriedBytes!) / (pdus! - carried!) };
}

/** 20 MB through the proxy, up from the client, then down to it. */
async function carries(client: Host, backend: Host, family: Family): Promise<void> {
  await carried(client, backend, "up", MEGABYTES, family);
  await carried(client, backend, "down", MEGABYTES, family);
}
