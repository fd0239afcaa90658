/**
 * Many hosts on the proxy's link, on a real TAP device: a crowd of clients whom ARP has to find,
 * addresses that somebody makes up beside them, and a backend that dies.
 *
 * The crowd is one host that has all addresses of 192.168.64.0/18, by a local route, and answers
 * ARP for each of them; over IPv6 it has as many addresses as are needed.
 */
import assert from "node:assert/strict";
import { type Family, inEachFamily, IPV4 } from "../lab/families.ts";
import type { Host } from "../lab/lab.ts";
import { lastSummary, startProxy, summaryCount } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import {
  backendAddresses,
  bridged,
  join,
  proxyAddress,
  tap,
  type Topology,
} from "../lab/topology.ts";
import { buildFlood, sentBy, startFlood } from "../lab/flood.ts";
import { buildTraffic, Storm, type StormReport } from "../lab/traffic.ts";

const labTest = await labTests("cc", "nft");
const mac = "02:54:47:00:00:64";
const options = [
  ...[`--net=${tap}`, `--ipv4=${proxyAddress}/16`, `--mac=${mac}`, "--trace=off"],
  `--dst-addrs=${backendAddresses.join(",")}`,
];
const clientCount = 5000;
/** Over IPv6: the kernel needs long for more addresses. */
const clientCount6 = 2000;

inEachFamily(
  labTest,
  "proxy serves thousands of clients on its link that it does not know, and knows them then",
  async (family) => {
    await using topology = await bridged("on the bridge");
    const program = await buildTraffic(topology.lab);
    const crowd = await makeCrowd(topology, family);
    await serve(topology, program, family);
    const resolved = backendAddresses.map(family.of);
    const proxy = await startProxy(topology.host, family.options(options), resolved);
    const count = family === IPV4 ? clientCount : clientCount6;
    const report = await connect(crowd, program, family, count, 2);
    const { stdout } = await proxy.stop();
    const summary = lastSummary(stdout);
    const about = `${JSON.stringify(report)}\n${summary}`;
    assert.deepEqual([report.done, report.failed], [2 * count, 0], about);
    for (const drop of ["arp-queue-full", "arp-unanswered"]) {
      assert.equal(summaryCount(summary, drop), 0, summary);
    }
  },
);

labTest(
  "proxy serves clients that it does not know while somebody makes addresses up",
  async () => {
    await using topology = await bridged("on the bridge");
    const { lab, host } = topology;
    const program = await buildTraffic(lab);
    await serve(topology, program);
    const crowd = await makeCrowd(topology);
    const attacker = await join(lab, host, "attacker", "port9", "192.168.0.66");
    const proxy = await startProxy(host, options);
    const asked = await countRequests(crowd);
    const flood = startFlood(await buildFlood(lab), attacker, {
      ...{ mac, address: proxyAddress, seconds: 6, from: "192.168.128.0/17", rate: 3000 },
    });
    await new Promise((resolve) => setTimeout(resolve, 2000));
    const report = await connect(crowd, program, IPV4, 120, 5);
    const sent = await sentBy(flood);
    assert.ok(sent > 10_000, `${sent} SYNs are a flood`);
    assert.deepEqual([report.done, report.failed], [600, 0], JSON.stringify(report));
    // What was asked for made-up addresses: 256 at once, and 100 a second.
    const requests = await asked();
    assert.ok(requests < sent / 2, `${requests} requests for ${sent} SYNs`);
    assert.equal((await proxy.stop()).code, 0);
  },
);

labTest("proxy notices that a backend has died when connections to it go unanswered", async () => {
  await using topology = await bridged("behind a port");
  const { client, backends } = topology;
  const program = await buildTraffic(topology.lab);
  await serve(topology, program);
  const proxy = await startProxy(topology.host, options);
  const storm = new Storm(program, client, proxyAddress, 2000, 8);
  const [dead] = backends;
  await dead!.host.script("ip link set eth0 down");
  // Half a minute without new connections; the wait gives up after ten seconds.
  await proxy.waitFor(`warning: backend ${dead!.address} does not answer ARP`);
  await new Promise((resolve) => setTimeout(resolve, 2500)); // what was under way fails
  const before = storm.report();
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const after = storm.report();
  assert.equal(after.failed, before.failed, JSON.stringify({ before, after }));
  assert.ok(after.done > before.done);
  await storm.stop();
  await proxy.stop();
});

/** Servers in the backends' hosts. */
async function serve({ backends }: Topology, program: string, family = IPV4): Promise<void> {
  for (const { host, address } of backends) {
    await host.start([program, "serve", family.of(address), "2000"]).waitFor("listening");
  }
}

const firstClient = "192.168.64.0";

async function makeCrowd({ lab, host }: Topology, family = IPV4): Promise<Host> {
  const crowd = await join(lab, host, "crowd", "port8", "192.168.0.67");
  await family.speak(lab);
  if (family !== IPV4) { // whose kernel answers for addresses that it has only
    const addresses = Array.from({ length: clientCount6 }, (_, i) => {
      return `addr add ${family.of(firstClient)}${i.toString(16)}/48 dev eth0 nodad\n`;
    });
    await crowd.must(["ip", "-6", "-batch", "-"], { stdin: addresses.join("") });
    return crowd;
  }
  await crowd.script(`
    ip addr add 192.168.0.67/16 dev eth0
    ip route add local 192.168.64.0/18 dev lo`);
  return crowd;
}

/** Has each of `count` addresses open a connection and use it, `rounds` times. */
async function connect(
  crowd: Host,
  program: string,
  { of }: Family,
  count: number,
  rounds: number,
): Promise<StormReport> {
  const numbers = [String(count), String(rounds)];
  const words = [program, "crowd", of(proxyAddress), "2000", of(firstClient), ...numbers];
  const output = await crowd.must(words, { timeoutMs: 60_000 });
  return JSON.parse(output.trimEnd().split("\n").at(-1)!);
}

/** Counts the broadcasts that a host receives, from now until it is asked. */
async function countRequests(host: Host): Promise<() => Promise<number>> {
  await host.script(`
    nft add table arp count
    nft add chain arp count in '{ type filter hook input priority 0; }'
    nft add rule arp count in arp operation request counter`);
  return async () => {
    const text = await host.must(["nft", "list", "table", "arp", "count"]);
    return Number(/packets (\d+)/.exec(text)![1]);
  };
}
