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
import { labTests } from "../lab/suite.ts";
import { bridged, direct, proxyAddress, tap, type Topology } from "../lab/topology.ts";

const labTest = await labTests("ping", "dumpcap");
const peer = fileURLToPath(new URL("../lab/peer.ts", import.meta.url));
const [, dstAddrs] = usualOptions;
const runFlags = [dstAddrs!, "--seed=7", "--trace=all"];

const cases: readonly (readonly [name: string, make: () => Promise<Topology>])[] = [
  ["direct on the tap", direct],
  ["bridged, the client behind a port", () => bridged("behind a port")],
];

for (const [name, make] of cases) {
  labTest(`proxy replay of a lab run, ${name}, repeats its decisions and frames`, async () => {
    await using topology = await make();
    const { host } = topology;
    for (const { host, address } of topology.backends) {
      const words = ["run", "--allow-net", peer, "serve", address, "2000"];
      const server = host.start([Deno.execPath(), ...words]);
      await server.waitFor("listening");
    }
    const capture = await Capture.start(host, tap, "");
    const proxy = await startProxy(host, [`--net=${tap}`, allOnDevice, ...runFlags]);
    await traffic(topology);
    const live = await proxy.stop();
    assert.equal(live.code, 0, live.stderr);
    const frames = await capture.stop();

    const replay = await run(proxyCommand(["replay", `--pcap=${capture.file}`, ...runFlags]));
    const shown = partsOf(replay.stdout);
    const wanted = partsOf(live.stdout);
    // A replay has no device, and gives nothing up.
    const told = logLines(live.stderr).slice(1).filter((line) => !line.includes("sandbox: "));
    assert.deepEqual(told, shown.log.map((line) => `info: ${line}`));
    assert.deepEqual([replay.code, replay.stderr], [0, ""]);
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
async function traffic({ client }: Topology): Promise<void> {
  await client.run(["ping", "-c", "6", "-i", "0.2", "-W", "1", proxyAddress]);
  const backends = new Set<string>();
  for (const [connections, lenBytes] of [[28, 300], [1, 20_000], [1, 20_000]]) {
    const words = ["connect", proxyAddress, "2000", `${connections}`, `${lenBytes}`];
    const output = await client.must([Deno.execPath(), "run", "--allow-net", peer, ...words]);
    const { byBackend, failures }: Report = JSON.parse(output);
    assert.deepEqual(failures, []);
    for (const backend of Object.keys(byBackend)) backends.add(backend);
  }
  assert.equal(backends.size, 3);
}

/** What stdout has: the entries of PDUs, a replay's log lines, and the summary's counts of PDUs. */
function partsOf(stdout: string) {
  const end = stdout.lastIndexOf("Summary\n");
  const summary = stdout.slice(end);
  const parts = stdout.slice(0, end).split(/^(?=Received pdu$|backend )/m);
  const entries = parts.filter((part) => part.startsWith("Received pdu"));
  const log = parts.filter((part) => part.startsWith("backend ")).map((part) => part.trimEnd());
  const counts = summary.split("\n").filter((line) =>
    /^(PDUs|Decisions|Drops|Backend| +\d)/.test(line)
  );
  return { entries, log, counts, summary };
}
