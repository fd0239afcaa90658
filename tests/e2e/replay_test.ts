/**
 * A run in a lab is captured on its TAP device, and the capture is replayed with the same flags:
 * the replay must show the same decisions and send the same frames, byte by byte.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { run } from "../support/shell.ts";
import { Capture } from "../lab/capture.ts";
import type { Report } from "../lab/peer.ts";
import { allOnDevice, logLines, proxyCommand, startProxy, usualOptions } from "../lab/proxy.ts";
import { type Family, inEachFamily } from "../lab/families.ts";
import { labTests } from "../lab/suite.ts";
import {
  backendAddresses,
  bridged,
  direct,
  proxyAddress,
  tap,
  type Topology,
} from "../lab/topology.ts";

const labTest = await labTests("ping", "dumpcap");
const peer = fileURLToPath(new URL("../lab/peer.ts", import.meta.url));
const [, dstAddrs] = usualOptions;
const flags = [dstAddrs!, "--seed=7", "--trace=all"];

const cases: readonly (readonly [name: string, make: () => Promise<Topology>])[] = [
  ["direct on the tap", direct],
  ["bridged, the client behind a port", () => bridged("behind a port")],
];

for (const [name, make] of cases) {
  const what = `proxy replay of a lab run, ${name}, repeats its decisions and frames`;
  inEachFamily(labTest, what, async (family) => {
    await using topology = await make();
    await family.speak(topology.lab);
    const runFlags = family.options(flags);
    const { host } = topology;
    for (const { host, address } of topology.backends) {
      const words = ["run", "--allow-net", peer, "serve", family.of(address), "2000"];
      const server = host.start([Deno.execPath(), ...words]);
      await server.waitFor("listening");
    }
    const capture = await Capture.start(host, tap, "");
    const proxy = await startProxy(
      host,
      [`--net=${tap}`, allOnDevice, ...runFlags],
      backendAddresses.map(family.of),
    );
    await traffic(topology, family);
    const live = await proxy.stop();
    assert.equal(live.code, 0, live.stderr);
    const frames = await capture.stop();

    const replay = await run(proxyCommand(["replay", `--pcap=${capture.file}`, ...runFlags]));
    const shown = partsOf(replay.stdout);
    const wanted = partsOf(live.stdout);
    // A replay has no device, gives nothing up, and may use its addresses from the start.
    const told = logLines(live.stderr).slice(1)
      .filter((line) => !line.includes("sandbox: ") && !line.includes(" is free, "));
    assert.deepEqual(told, shown.log.map((line) => `info: ${line}`));
    assert.deepEqual([replay.code, replay.stderr], [0, ""], shown.summary);
    assert.doesNotMatch(live.stdout, /entr(y|ies) lost/);
    assert.equal(shown.entries.length, wanted.entries.length);
    assert.ok(wanted.entries.length > 250, `${wanted.entries.length} entries`);
    shown.entries.forEach((entry, i) => assert.equal(entry, wanted.entries[i], `entry ${i + 1}`));
    assert.deepEqual(shown.counts, wanted.counts);
    const compared = /^Compared {4}: (.*)$/m.exec(replay.stdout)?.[1];
    // The kernel may hand the capture two frames of ours in another order than they were written.
    const wholly = /^\d+ equal(?: \(\d+ in another order\))?, 0 missing, 0 unexpected$/;
    assert.match(compared ?? "", wholly, shown.summary);
    assert.match(shown.summary, new RegExp(`^Capture {5}: ${frames} frames, \\d+ from `, "m"));
  });
}

/**
 * Pings and 30 connections; more than one of the large ones at a time would be too fast a console.
 */
async function traffic({ client }: Topology, family: Family): Promise<void> {
  await client.run(["ping", "-c", "6", "-i", "0.2", "-W", "1", family.of(proxyAddress)]);
  const backends = new Set<string>();
  for (const [connections, lenBytes] of [[28, 300], [1, 20_000], [1, 20_000]]) {
    const words = ["connect", family.of(proxyAddress), "2000", `${connections}`, `${lenBytes}`];
    const output = await client.must([Deno.execPath(), "run", "--allow-net", peer, ...words]);
    const { byBackend, failures }: Report = JSON.parse(output);
    assert.deepEqual(failures, []);
    for (const backend of Object.keys(byBackend)) backends.add(backend);
  }
  assert.equal(backends.size, 3);
}

/**
 * What stdout has: the entries of PDUs, a replay's log lines, and the summary's counts of PDUs, but
 * for hosts' reports of their groups, which may come before the proxy and are in the capture.
 */
function partsOf(stdout: string) {
  const end = stdout.lastIndexOf("Summary\n");
  const summary = stdout.slice(end);
  const parts = stdout.slice(0, end).split(
    /^(?=Received pdu$|backend |\S+ (?:is free,|goes on) )/m,
  );
  const entries = parts.filter((part) => part.startsWith("Received pdu"));
  const log = parts.filter((part) => part.startsWith("backend ")).map((part) => part.trimEnd());
  const counts = summary.split("\n").filter((line) =>
    /^(PDUs|Decisions|Drops|Backend| +\d)/.test(line)
  ).map((line) => line.replace(/, multicast-mac \d+/, ""));
  return { entries, log, counts, summary };
}
