/**
 * Captures of a running proxy: what tshark reads in them is what the summary counts, and what ends
 * them costs no packet.
 */
import assert from "node:assert/strict";
import { type Family, inEachFamily, IPV4 } from "../lab/families.ts";
import type { Host } from "../lab/lab.ts";
import { startEcho } from "../lab/peer.ts";
import {
  askSummary,
  lastSummary,
  logLines,
  proxyCommand,
  startBetween,
  startProxy,
  summaryCount,
  usualOptions,
} from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress, type Topology } from "../lab/topology.ts";
import { ownA, tapA, tapB, twoSidedOptions, twoSides } from "../lab/two_sides.ts";
import { must, type Result, run } from "../support/shell.ts";

const labTest = await labTests("ping", "tshark", "unshare", "mount");

const POLICY = `default drop
ip.src in $dst-addrs -> translate-b-to-a, forward
tcp.dport = 80 -> drop "naive http"
echo-request -> translate-a-to-b, forward "ping"
tcp.dport = 2000 -> translate-a-to-b, forward
`;

/** Fields of each packet of a file, as tshark reads them. */
async function packetsIn(file: string, filter = ""): Promise<Record<string, string>[]> {
  const names = [
    "frame.interface_name",
    "frame.packet_flags_direction",
    "frame.comment",
    "tcp.port",
  ];
  const output = await must([
    ...["tshark", "-n", "-r", file, "-T", "fields", "-E", "separator=;"],
    ...names.flatMap((name) => ["-e", name]),
    ...(filter === "" ? [] : ["-Y", filter]),
  ]);
  return output.split("\n").filter((line) => line !== "").map((line) => {
    const values = line.split(";");
    return Object.fromEntries(names.map((name, i) => [name.split(".").at(-1)!, values[i] ?? ""]));
  });
}

/** Sends so many bytes to a port, and reads to the end what comes back. */
async function talk(client: Host, address: string, port: number, lengthBytes = 100): Promise<void> {
  const program = `
    const connection = await Deno.connect({ hostname: "${address}", port: ${port} });
    const sent = connection.writable.getWriter().write(new Uint8Array(${lengthBytes}));
    const ended = sent.then(() => connection.closeWrite());
    for await (const _part of connection.readable);
    await ended;`;
  await client.must([Deno.execPath(), "eval", program]);
}

async function policyFile({ lab }: Pick<Topology, "lab">): Promise<string> {
  const file = `${lab.folder}/policy`;
  await Deno.writeTextFile(file, POLICY);
  return file;
}

/** In a folder, in their order. */
async function namesIn(folder: string): Promise<string[]> {
  return (await Array.fromAsync(Deno.readDir(folder), ({ name }) => name)).sort();
}

/** Drops of all reasons. */
function dropsIn(summary: string): number {
  const [, list] = /^Drops +: (.*)$/m.exec(summary)!;
  return [...list!.matchAll(/ (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0);
}

/** Packets whose comments begin like that. */
function count(packets: readonly Record<string, string>[], start: string): number {
  return packets.filter(({ comment }) => comment!.startsWith(start)).length;
}

inEachFamily(
  labTest,
  "proxy --capture has all that comes and leaves, each with what became of it, and replay repeats it",
  async (family) => {
    await using topology = await twoSides();
    await family.speak(topology.lab);
    const own = family.of(ownA);
    const { backends, clients, host, lab } = topology;
    const [client] = clients;
    for (const { address, host } of backends) await startEcho(host, family.of(address), 2000);
    const policy = await policyFile(topology);
    const file = `${lab.folder}/both.pcapng`;
    const flags = [`--policy=${policy}`, "--seed=7"];
    const capture = [`--capture=${file}`, "--trace=off"];
    const proxy = await startBetween(host, family, ...flags, ...capture);
    await client!.run(["ping", "-c", "4", "-i", "0.2", "-W", "1", own]);
    for (let i = 0; i < 3; i++) await talk(client!, own, 2000, 20_000);
    await client!.run(["nc", "-w", "1", own, "80"], { stdin: "" });
    const { code, stdout, stderr } = await proxy.stop();
    assert.equal(code, 0, stderr);

    const summary = lastSummary(stdout);
    const [frames, framesIn, framesOut] = /^Frames +: (\d+) in, (\d+) out, .*$/m.exec(summary)!;
    const neighbors = [...frames.matchAll(/(\d+) (?:ARP|ND) in/g)].map(([, n]) => Number(n));
    const packets = await packetsIn(file);
    const going = (direction: string) =>
      packets.filter((one) => one["packet_flags_direction"] === direction);
    const [cameIn, wentOut] = [going("0x00000001"), going("0x00000002")];
    assert.deepEqual([cameIn.length, wentOut.length].map(String), [framesIn, framesOut], summary);
    assert.equal(
      cameIn.filter(({ comment }) => comment === "").length,
      neighbors.reduce((sum, one) => sum + one, 0),
    );
    assert.equal(count(cameIn, "Forward"), summaryCount(summary, "Forward"));
    assert.equal(count(cameIn, "Drop"), dropsIn(summary));
    assert.deepEqual(new Set(packets.map((one) => one["interface_name"])), new Set([tapA, tapB]));
    const naive = await packetsIn(file, 'frame.comment contains "naive http"');
    assert.ok(naive.length > 0);
    assert.equal(naive.length, summaryCount(summary, "policy"));
    assert.match(naive[0]!["comment"]!, /^Drop "naive http", node \d+$/);
    assert.match(summary, new RegExp(`^Captured +: ${packets.length} packets, 0 lost$`, "m"));
    const statistics = await must(["capinfos", "-T", "-r", "-c", file]);
    assert.match(statistics, new RegExp(`\t${packets.length}$`, "m"));

    const devices = ["--net", "--net-b"];
    const inMemory = family.options(twoSidedOptions).filter((flag) =>
      !devices.includes(flag.split("=")[0]!)
    );
    const replay = await run(
      proxyCommand(["replay", `--pcap=${file}`, ...inMemory, ...flags, "--trace=off"]),
    );
    const compared = /^Compared {4}: (.*)$/m.exec(replay.stdout)?.[1];
    assert.match(
      compared ?? "",
      /^\d+ equal(?: \(\d+ in another order\))?, 0 missing, 0 unexpected$/,
      replay.stdout + replay.stderr,
    );
  },
);

/** A proxy on the bridge with a control socket and a folder for captures, and its backends. */
async function controlled(topology: Topology, family: Family, ...flags: readonly string[]) {
  const { backends, host, lab } = topology;
  await family.speak(lab);
  for (const { address, host } of backends) {
    await startEcho(host, family.of(address), 2000);
    await startEcho(host, family.of(address), 3000);
  }
  const folder = `${lab.folder}/captures`;
  await Deno.mkdir(folder, { mode: 0o700 });
  const socket = `${lab.folder}/control.sock`;
  const more = [`--control=${socket}`, `--capture-dir=${folder}`, "--trace=off", ...flags];
  const options = family.options([...usualOptions, ...more]);
  const proxy = await startProxy(host, options, backendAddresses.map(family.of));
  const ctl = (...words: string[]): Promise<Result> =>
    host.run(proxyCommand(["ctl", `--control=${socket}`, ...words]));
  return { proxy, folder, ctl };
}

const filterTitle = "ctl capture takes what its filter is for, into a new file of its folder";

inEachFamily(labTest, filterTitle, async (family) => {
  await using topology = await bridged("on the bridge");
  const { client } = topology;
  const { proxy, folder, ctl } = await controlled(topology, family);
  const start = ["capture", "start", "web.pcapng"];
  const begun = await ctl(...start, "filter=tcp.dport = 3000 or tcp.sport = 3000", "snaplen=80");
  assert.deepEqual([begun.code, begun.stderr], [0, ""]);
  assert.match(begun.stdout, /^capture "web.pcapng" of tcp.dport = 3000 .*: 0 packets, 0 lost/);
  const second = await ctl("capture", "start", "other.pcapng");
  assert.deepEqual([second.code, second.stderr], [
    1,
    "error: Another capture is under way: one at a time\n",
  ]);
  for (const port of [2000, 3000, 2000]) {
    await talk(client, family.of(proxyAddress), port, 50_000);
  }
  assert.match(
    (await ctl("status")).stdout,
    /^Capture +: "web.pcapng" of .*: \d+ packets, 0 lost/m,
  );
  const ended = await ctl("capture", "stop");
  const [, packets] = /: (\d+) packets, 0 lost, (\d+) bytes\n$/.exec(ended.stdout)!;
  const file = `${folder}/web.pcapng`;
  const read = await packetsIn(file);
  assert.equal(read.length, Number(packets));
  assert.ok(read.length > 10 && read.every(({ port }) => port!.includes("3000")), ended.stdout);
  assert.equal(
    read.filter(({ comment }) => comment!.startsWith("Forward")).length * 2,
    read.length,
  );
  const lengths = await must(["tshark", "-n", "-r", file, "-T", "fields", "-e", "frame.cap_len"]);
  assert.equal(Math.max(...lengths.trim().split("\n").map(Number)), 80);
  const { mode, size } = await Deno.stat(file);
  assert.deepEqual([mode! & 0o777, size], [0o600, Number(/(\d+) bytes/.exec(ended.stdout)![1])]);

  // The name is that of a new file, and nothing else.
  await Deno.writeTextFile(`${folder}/there`, "kept");
  await Deno.symlink(`${folder}/elsewhere`, `${folder}/link`);
  for (const name of ["web.pcapng", "there", "link"]) {
    const { code, stderr } = await ctl("capture", "start", name);
    assert.deepEqual([code, stderr], [
      1,
      `error: Cannot make file "${name}": there is one already\n`,
    ]);
  }
  for (const name of ["../x", "/tmp/x", "a/b", "..", ".x", ""]) {
    const { code, stderr } = await ctl("capture", "start", name);
    assert.equal(code, 2, name);
    assert.match(stderr, /^error: Cannot use ".*" as name: /);
  }
  const wrong = await ctl("capture", "start", "x", "filter=tcp.dport = x");
  assert.equal(wrong.code, 2);
  assert.match(wrong.stderr, /^error: filter: predicate:1:13: /);
  const names = await namesIn(folder);
  assert.deepEqual(names, ["link", "there", "web.pcapng"]);
  assert.equal(await Deno.readTextFile(`${folder}/there`), "kept");
  assert.equal((await ctl("capture", "stop")).stderr, "error: No capture is under way\n");
  const { code, stdout } = await proxy.stop();
  assert.equal(code, 0);
  assert.match(lastSummary(stdout), new RegExp(`^Captured +: ${packets} packets, 0 lost$`, "m"));
});

inEachFamily(labTest, "a capture of drops has all of them, and no other packet", async (family) => {
  await using topology = await bridged("on the bridge");
  const { client } = topology;
  const own = family.of(proxyAddress);
  const policy = `--policy=${await policyFile(topology)}`;
  const { proxy, folder, ctl } = await controlled(topology, family, policy);
  await ctl("capture", "start", "drops", "drops-only");
  for (let i = 0; i < 3; i++) {
    await client.run(["nc", "-w", "1", own, "80"], { stdin: "" });
    await client.run(["nc", "-w", "1", "-u", own, "9"], { stdin: "x" });
  }
  await client.run(["ping", "-c", "3", "-i", "0.2", "-t", "1", "-W", "1", own]);
  await talk(client, own, 2000, 50_000);
  await ctl("capture", "stop");
  const { stdout } = await proxy.stop();
  const summary = lastSummary(stdout);
  const all = await packetsIn(`${folder}/drops`);
  assert.equal(count(all, "Drop"), all.length);
  // What hosts of IPv6 tell of their groups comes when it likes, before the capture, too.
  const read = all.filter(({ comment }) => comment !== "Drop (multicast-mac)");
  const drops = dropsIn(summary) - summaryCount(summary, "multicast-mac");
  assert.equal(read.length, drops, summary);
  assert.equal(count(read, "Drop (ttl-expired)") + count(read, 'Drop "ping" (ttl-expired)'), 3);
  assert.ok(count(read, 'Drop "naive http"') >= 3, summary);
});

labTest("a capture in several files goes round, and each is whole", async () => {
  await using topology = await bridged("on the bridge");
  const { client } = topology;
  const { proxy, folder, ctl } = await controlled(topology, IPV4, "--sandbox=strict");
  await ctl("capture", "start", "ring.pcapng", "max-size=128K", "rotate=2", "filter=tcp");
  const before = summaryCount(await askSummary(proxy), "Forward");
  for (let i = 0; i < 3; i++) await talk(client, proxyAddress, 3000, 100_000);
  const ended = await ctl("capture", "stop");
  const [, packets, bytes] = /: (\d+) packets, 0 lost, (\d+) bytes\n$/.exec(ended.stdout)!;
  assert.ok(Number(bytes) > 3 * 131_072, ended.stdout);
  const names = await namesIn(folder);
  assert.deepEqual(names, ["ring_1.pcapng", "ring_2.pcapng"]);
  let left = 0;
  for (const name of names) {
    const { size } = await Deno.stat(`${folder}/${name}`);
    assert.ok(size <= 131_072, `${name} has ${size} bytes`);
    left += (await packetsIn(`${folder}/${name}`)).length;
  }
  assert.ok(left > 0 && left < Number(packets), `${left} of ${packets}`);
  const { stdout } = await proxy.stop();
  const forwarded = summaryCount(lastSummary(stdout), "Forward") - before;
  assert.equal(Number(packets), 2 * forwarded);
});

labTest("captures of --user are that user's, the next files, too", async () => {
  await using topology = await bridged("on the bridge");
  const { backends, client, host, lab } = topology;
  for (const { address, host } of backends) await startEcho(host, address, 2000);
  const folder = `${lab.folder}/nobodys`;
  await lab.must(["sh", "-ec", `install -d -o nobody "${folder}" && chmod go+x "${lab.folder}"`]);
  const proxy = await startProxy(host, [
    ...[...usualOptions, "--user=nobody", "--trace=off", `--capture=${folder}/x.pcapng`],
    ...["--capture-options=max-size=128K rotate=2", "--sandbox=on"],
  ]);
  for (let i = 0; i < 3; i++) await talk(client, proxyAddress, 2000, 100_000);
  const { code, stdout, stderr } = await proxy.stop();
  assert.equal(code, 0, stderr);
  assert.deepEqual(await namesIn(folder), ["x_1.pcapng", "x_2.pcapng"]);
  const owners = await lab.must(["stat", "-c", "%U %a", `${folder}/x_1.pcapng`]);
  assert.equal(owners.trim(), "nobody 600");
  assert.match(lastSummary(stdout), /^Captured +: \d+ packets, 0 lost$/m);
}, { otherUsers: true });

labTest("a full disk ends a capture with one line, and no packet is lost for it", async () => {
  await using topology = await bridged("on the bridge");
  const { backends, client, host, lab } = topology;
  for (const { address, host } of backends) await startEcho(host, address, 2000);
  const folder = `${lab.folder}/small`;
  await Deno.mkdir(folder);
  const words = proxyCommand([...usualOptions, `--capture=${folder}/x.pcapng`, "--trace=off"]);
  const mounted = `mount -t tmpfs -o size=256k tmpfs ${folder} && exec "$@"`;
  const proxy = host.start(["unshare", "-m", "sh", "-ec", mounted, "sh", ...words]);
  for (const { address } of backends) await proxy.waitFor(`backend ${address} is at `);
  await talk(client, proxyAddress, 2000, 400_000);
  await proxy.waitFor(/error: capture ".*x\.pcapng" has ended: the disk has no space left for it/);
  await talk(client, proxyAddress, 2000, 400_000);
  const { stdout: pings } = await client.run([
    "ping",
    "-c",
    "4",
    "-i",
    "0.2",
    "-W",
    "1",
    proxyAddress,
  ]);
  assert.match(pings, / 2 received/); // the policy answers every second one
  const { code, stdout, stderr } = await proxy.stop();
  assert.equal(code, 0);
  const lines = logLines(stderr).filter((line) => line.includes("capture"));
  assert.equal(lines.length, 2, lines.join("\n"));
  const summary = lastSummary(stdout);
  const [, packets, lost] = /^Captured +: (\d+) packets, (\d+) lost$/m.exec(summary)!.map(Number);
  assert.ok(packets! >= 0 && lost! > 0, summary);
  assert.equal(summaryCount(summary, "send-failed"), 0);
});

labTest("--capture takes the place of no link and no other's file", async () => {
  await using topology = await bridged("on the bridge");
  const { host, lab } = topology;
  const [link, aim] = [`${lab.folder}/link`, `${lab.folder}/aim`];
  await Deno.writeTextFile(aim, "kept");
  await Deno.symlink(aim, link);
  for (
    const [path, why] of [
      [link, /^error: --capture: Cannot make file "link": it is a symbolic link\n/m],
      [lab.folder, /^error: --capture: Cannot make file ".*": it is a folder\n/m],
      [
        `${lab.folder}/none/x`,
        /^error: Cannot capture to folder ".*none": there is no such folder\n/m,
      ],
    ] as const
  ) {
    const { code, stderr } = await host.run(proxyCommand([...usualOptions, `--capture=${path}`]));
    assert.equal(code, 1);
    assert.match(stderr, why);
  }
  const filter = "--capture-options=drops-only filter=tcp.dport = x";
  const socket = `${lab.folder}/socket`;
  const wrong = await host.run(
    proxyCommand([...usualOptions, `--capture=${lab.folder}/x`, filter, `--control=${socket}`]),
  );
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /^error: --capture-options: filter: predicate:1:13: /m);
  await assert.rejects(Deno.lstat(socket), Deno.errors.NotFound); // nothing of it is left
  assert.equal(await Deno.readTextFile(aim), "kept");
});
