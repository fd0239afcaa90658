/**
 * What the proxy says it has forwarded, of both families at once, is what its hosts have sent and
 * received, by nftables counters at both ends. `MEGABYTES=1000` has a gigabyte of it
 * (`deno task soak:counts`).
 *
 * Nothing between a host and the proxy cuts up or merges a packet here: counts agree exactly, but
 * for what a receive queue (`softnet_stat`) or the proxy's device had no room for.
 */
import assert from "node:assert/strict";
import { IPV4, IPV6 } from "../lab/families.ts";
import type { Host } from "../lab/lab.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { lastSummary, proxyCommand, startProxy, summaryCount } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { bridged, proxyAddress, tap } from "../lab/topology.ts";
import { addTwins, twinOptions } from "../lab/twins.ts";
import { whyNoBpf } from "../support/bpf_kernel.ts";
import { must } from "../support/shell.ts";

const labTest = whyNoBpf() === undefined ? await labTests("nft") : () => {};

const FAMILIES = [IPV4, IPV6];
/** Of each family. */
const CONNECTIONS = 25;

labTest("proxy, fast path, counts what its hosts have sent and received", async () => {
  const megabytes = Number(Deno.env.get("MEGABYTES") ?? 200);
  await using topology = await bridged("behind a port", "nobody");
  const { client, host, backends, lab } = topology;
  const file = `${lab.folder}/own.policy`;
  await Deno.writeTextFile(
    file,
    "default drop\nnot ip.src in $dst-addrs -> translate-a-to-b, forward\n" +
      "otherwise -> translate-b-to-a, forward\n",
  );
  await addTwins(lab);
  for (const { host, address } of backends) {
    for (const { of } of FAMILIES) await startEcho(host, of(address), 2000);
  }
  const hosts = [client, ...backends.map(({ host }) => host)];
  for (const one of hosts) await countTcp(one);
  const droppedBefore = await droppedInQueues(host);
  const control = `--control=${lab.folder}/s`;
  const options = [`--net=${tap}`, "--trace=off", "--fast-path=on", `--policy=${file}`, control];
  const addresses = backends.map(({ address }) => address);
  const proxy = await startProxy(
    host,
    twinOptions([...options, `--dst-addrs=${addresses}`]),
    FAMILIES.flatMap(({ of }) => addresses.map(of)),
  );

  // Each byte goes there and back.
  const bytesEach = Math.ceil(megabytes * 1e6 / 2 / FAMILIES.length / CONNECTIONS);
  const reports = await Promise.all(
    FAMILIES.map(({ of }) => connectPeer(client, of(proxyAddress), 2000, CONNECTIONS, bytesEach)),
  );
  assert.deepEqual(reports.flatMap(({ failures }) => failures), []);
  await new Promise((resolve) => setTimeout(resolve, 500)); // the last ACKs
  const status = JSON.parse(await host.must(proxyCommand(["ctl", control, "status", "--json"])));
  const summary = lastSummary((await proxy.stop()).stdout);

  const ends = await Promise.all(hosts.map(countedTcp));
  const total = (way: "sent" | "received"): Traffic => ({
    count: ends.reduce((sum, end) => sum + end[way].count, 0),
    bytes: ends.reduce((sum, end) => sum + end[way].bytes, 0),
  });
  const [sent, received] = [total("sent"), total("received")];
  const dropped = await droppedInQueues(host) - droppedBefore;
  const counted = (name: string): Traffic => {
    const [, count, bytes] = new RegExp(`^${name} *: (\\d+)\\D+?(\\d+) bytes`, "m").exec(summary)!;
    return { count: Number(count), bytes: Number(bytes) };
  };
  const [all, out, carried] = ["PDUs in", "PDUs out", "Carried"].map(counted) as [
    Traffic,
    Traffic,
    Traffic,
  ];
  const told = `${dropped} dropped, ${JSON.stringify(ends)}\n${summary}`;
  // Segments that the kernel has overtaken are not refused.
  assert.equal(summaryCount(summary, "out-of-window"), 0, told);
  assert.deepEqual([status.pdusIn, status.pdusOut, status.carried], [all, out, carried]);
  // The first packets of each connection come to the proxy, and one may hold 64 KB.
  assert.ok(carried.bytes > 0.7e6 * megabytes && carried.bytes <= all.bytes, told);
  if (dropped === 0) assert.deepEqual([all, out], [sent, received], told);
  // What was dropped was on its way to the proxy, or from it.
  const lost = sent.count - all.count + out.count - received.count;
  assert.ok(lost >= 0 && lost <= dropped, `${lost} lost, ${told}`);

  // The policy's nodes have all of them, and so have the decisions.
  const nodes = [...summary.matchAll(/^ +(\d+) +(?:otherwise|not ip)/gm)].map(([, n]) => Number(n));
  assert.equal(nodes.length, 2, summary);
  assert.equal(nodes[0]! + nodes[1]!, all.count, summary);
  const opened = [...summary.matchAll(/connections: (\d+) opened/g)].map(([, n]) => Number(n));
  assert.equal(opened.reduce((a, b) => a + b), FAMILIES.length * CONNECTIONS);
});

/** Has the host count the TCP segments that it sends and receives, as they are handed over. */
async function countTcp(host: Host): Promise<void> {
  await host.script(`
    nft add table inet ends
    nft add counter inet ends sent
    nft add counter inet ends received
    nft 'add chain inet ends out { type filter hook output priority 0; }'
    nft 'add chain inet ends in { type filter hook input priority 0; }'
    nft add rule inet ends out oif eth0 meta l4proto tcp counter name sent
    nft add rule inet ends in iif eth0 meta l4proto tcp counter name received`);
}

interface Traffic {
  readonly count: number;
  readonly bytes: number;
}

async function countedTcp(host: Host): Promise<Record<"sent" | "received", Traffic>> {
  const text = await host.must(["nft", "list", "counters", "table", "inet", "ends"]);
  const of = (name: string): Traffic => {
    const [, count, bytes] = new RegExp(`${name} \\{\\s+packets (\\d+) bytes (\\d+)`).exec(text)!;
    return { count: Number(count), bytes: Number(bytes) };
  };
  return { sent: of("sent"), received: of("received") };
}

/** Packets that the machine's receive queues had no room for, or the proxy's device. */
async function droppedInQueues(host: Host): Promise<number> {
  const lines = (await must(["cat", "/proc/net/softnet_stat"])).trim().split("\n");
  const [device] = JSON.parse(await host.must(["ip", "-s", "-json", "link", "show", "dev", tap]));
  return lines.reduce((sum, line) => sum + parseInt(line.split(" ")[1]!, 16), 0) +
    device.stats64.tx.dropped;
}
