/**
 * Attacks on what the proxy has only so much of, connections and ports, on a real TAP device: none
 * of a client's exchanges may fail that succeeds without the attack.
 */
import assert from "node:assert/strict";
import type { Background } from "../support/shell.ts";
import type { Host } from "../lab/lab.ts";
import { buildFlood, type Flood, startFlood } from "../lab/flood.ts";
import { startEcho } from "../lab/peer.ts";
import { askSummary, lastSummary, startProxy, trackedIn, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { bridged, join, proxyAddress, tap, type Topology } from "../lab/topology.ts";
import { buildTraffic } from "../lab/traffic.ts";
import { failuresOf } from "../lab/victim.ts";

const labTest = await labTests("cc");
const mac = "02:54:47:00:00:64";
const attackerAddress = "192.168.0.66";
const exchanges = 80;
const rate = 20_000;
/** An attack lasts longer than the exchanges, and is then ended. */
const attackSeconds = 60;

interface Programs {
  readonly flood: string;
  readonly traffic: string;
}

type Attack = Pick<Flood, "kind" | "rate" | "from">;

/**
 * The network with an attacker on it, which is the gateway as well: there go answers to random
 * sources.
 */
async function besieged(): Promise<{ topology: Topology; attacker: Host; program: Programs }> {
  const topology = await bridged("behind a port");
  const { lab } = topology;
  const program = { flood: await buildFlood(lab), traffic: await buildTraffic(lab) };
  const attacker = await join(lab, topology.host, "attacker", "port9", attackerAddress);
  // It never resets what it has begun.
  await attacker.script(`ip route add blackhole ${proxyAddress}/32`);
  return { topology, attacker, program };
}

/** What of the client's exchanges fails from when the attack has taken `tracked` connections. */
async function failuresDuring(
  attack: Attack,
  tracked: number,
  { topology: { client }, attacker, program }: Awaited<ReturnType<typeof besieged>>,
  proxy: Background,
): Promise<string[]> {
  const protocol = attack.kind === "datagram" ? "udp" : "tcp";
  const before = await failuresOf(client, protocol, proxyAddress, 2000, 10);
  assert.deepEqual(before, [], "without the attack");
  const flood = startFlood(program.flood, attacker, {
    ...{ mac, address: proxyAddress, seconds: attackSeconds },
    ...attack,
  });
  let now = 0;
  while (now < tracked) {
    assert.ok(!await flood.ended(200), `the attack ends with ${now} connections of ${tracked}`);
    now = trackedIn(await askSummary(proxy));
  }
  const evicted = evictedIn(await askSummary(proxy));
  const failures = await failuresOf(client, protocol, proxyAddress, 2000, exchanges);
  assert.ok(!await flood.ended(1), "the attack lasts longer than the exchanges");
  const during = evictedIn(await askSummary(proxy)) - evicted;
  assert.ok(during > 10_000, `${during} connections that had to go are an attack`);
  await flood.stop();
  return failures;
}

function evictedIn(summary: string): number {
  return Number(/^Connections : .* (\d+) evicted$/m.exec(summary)?.[1] ?? NaN);
}

labTest("proxy, sent 64,512 datagrams by one address, serves UDP to others", async () => {
  const siege = await besieged();
  await using topology = siege.topology;
  const { lab, host, backends } = topology;
  const [backend] = backends;
  const server = backend!.host.start([siege.program.traffic, "answer", backend!.address, "2000"]);
  await server.waitFor("listening");
  const policy = `${lab.folder}/udp.policy`;
  await Deno.writeTextFile(policy, udpPolicy);
  const options = [`--net=${tap}`, `--dst-addrs=${backend!.address}`, `--mac=${mac}`];
  const proxy = await startProxy(host, [...options, `--policy=${policy}`, "--trace=off"], [
    backend!.address,
  ]);
  // Its share: a quarter of the ports.
  const attack = { kind: "datagram", rate, from: attackerAddress } as const;
  const failures = await failuresDuring(attack, 16_000, siege, proxy);
  const summary = lastSummary((await proxy.stop()).stdout);
  assert.deepEqual(failures, [], summary);
});

const udpPolicy = `default drop
not ip.src in $dst-addrs
  udp        -> translate-a-to-b, forward
otherwise    -> translate-b-to-a, forward
`;

/** Names, attacks, and how many connections the table takes: 2.5 s of the flood of SYNs. */
const onTcp: [string, Attack, number][] = [
  ["pings with new identifiers", { kind: "ping", rate: 30_000 }, 6000],
  ["SYNs from random sources", { kind: "syn", rate }, 50_000],
  ["SYNs from one address", { kind: "syn", rate, from: attackerAddress }, 20_000],
];
for (const [name, attack, maxConn] of onTcp) {
  labTest(`proxy, flooded with ${name}, opens connections for others`, async () => {
    const siege = await besieged();
    await using topology = siege.topology;
    const { host, backends } = topology;
    for (const { host, address } of backends) {
      // Always, so that a SYN that is sent again is answered with the same number.
      await host.script("echo 2 > /proc/sys/net/ipv4/tcp_syncookies");
      await startEcho(host, address, 2000);
    }
    const options = [`--mac=${mac}`, `--gateway=${attackerAddress}`, `--max-conn=${maxConn}`];
    const proxy = await startProxy(host, [...usualOptions, ...options, "--trace=off"]);
    const share = attack.from === attackerAddress ? maxConn / 4 : maxConn;
    const failures = await failuresDuring(attack, share - 100, siege, proxy);
    const summary = lastSummary((await proxy.stop()).stdout);
    assert.deepEqual(failures, [], summary);
  });
}
