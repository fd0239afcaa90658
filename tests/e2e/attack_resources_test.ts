/**
 * Attacks on what the proxy has only so much of, connections, ports and datagrams that wait for
 * reassembly, on a real TAP device: none of a client's exchanges may fail that succeeds without the
 * attack.
 */
import assert from "node:assert/strict";
import type { Background } from "../support/shell.ts";
import type { Host } from "../lab/lab.ts";
import { type Family, inEachFamily } from "../lab/families.ts";
import { buildFlood, type Flood, startFlood } from "../lab/flood.ts";
import { startEcho } from "../lab/peer.ts";
import {
  askSummary,
  lastSummary,
  startProxy,
  summaryCount,
  trackedIn,
  usualOptions,
} from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { bridged, join, proxyAddress, tap, type Topology } from "../lab/topology.ts";
import { buildTraffic } from "../lab/traffic.ts";
import { failuresOf } from "../lab/victim.ts";

const labTest = await labTests("cc");
const pingTest = await labTests("cc", "ping");
const mac = "02:54:47:00:00:64";
const attackerAddress = "192.168.0.66";
/** Over IPv6 a source is a subnet of 64 bits: this one's is the attacker's. */
const attackerNet = "2001:db8:bad::/64";
const exchanges = 80;
const rate = 20_000;
/** An attack lasts longer than the exchanges, and is then ended. */
const attackSeconds = 60;

interface Programs {
  readonly flood: string;
  readonly traffic: string;
}

type Attack = Pick<Flood, "kind" | "rate" | "from">;

interface Siege {
  readonly family: Family;
  readonly topology: Topology;
  readonly attacker: Host;
  readonly program: Programs;
}

/**
 * The network with an attacker on it, which is the gateway as well: there go answers to random
 * sources.
 */
async function besieged(family: Family): Promise<Siege> {
  const topology = await bridged("behind a port");
  const { lab } = topology;
  const program = { flood: await buildFlood(lab, family), traffic: await buildTraffic(lab) };
  const attacker = await join(lab, topology.host, "attacker", "port9", attackerAddress);
  await family.speak(lab);
  // It never resets what it has begun.
  await attacker.script(`ip route add blackhole ${proxyAddress}/32`);
  return { family, topology, attacker, program };
}

/** What the attacker sends from. */
function sourceOf(family: Family): string {
  return family.number === 4 ? attackerAddress : attackerNet;
}

/** What of the client's exchanges fails from when the attack has taken `tracked` connections. */
async function failuresDuring(
  attack: Attack,
  tracked: number,
  { family, topology: { client }, attacker, program }: Siege,
  proxy: Background,
): Promise<string[]> {
  const protocol = attack.kind === "datagram" ? "udp" : "tcp";
  const address = family.of(proxyAddress);
  const before = await failuresOf(client, protocol, address, 2000, 10);
  assert.deepEqual(before, [], "without the attack");
  const flood = startFlood(program.flood, attacker, {
    ...{ mac, address, seconds: attackSeconds },
    ...attack,
  });
  let now = 0;
  while (now < tracked) {
    assert.ok(!await flood.ended(200), `the attack ends with ${now} connections of ${tracked}`);
    now = trackedIn(await askSummary(proxy));
  }
  const evicted = evictedIn(await askSummary(proxy));
  const failures = await failuresOf(client, protocol, address, 2000, exchanges);
  assert.ok(!await flood.ended(1), "the attack lasts longer than the exchanges");
  const during = evictedIn(await askSummary(proxy)) - evicted;
  assert.ok(during > 10_000, `${during} connections that had to go are an attack`);
  await flood.stop();
  return failures;
}

function evictedIn(summary: string): number {
  return Number(/^Connections : .* (\d+) evicted$/m.exec(summary)?.[1] ?? NaN);
}

const datagramsTitle = "proxy, sent 64,512 datagrams by one source, serves UDP to others";

inEachFamily(labTest, datagramsTitle, async (family) => {
  const siege = await besieged(family);
  await using topology = siege.topology;
  const { lab, host, backends } = topology;
  const [backend] = backends;
  const address = family.of(backend!.address);
  const server = backend!.host.start([siege.program.traffic, "answer", address, "2000"]);
  await server.waitFor("listening");
  const policy = `${lab.folder}/udp.policy`;
  await Deno.writeTextFile(policy, udpPolicy);
  const options = family.options([
    ...[`--net=${tap}`, `--dst-addrs=${backend!.address}`, `--mac=${mac}`],
    ...[`--gateway=${attackerAddress}`, `--policy=${policy}`, "--trace=off"],
  ]);
  const proxy = await startProxy(host, options, [address]);
  // Its share: a quarter of the ports.
  const attack = { kind: "datagram", rate, from: sourceOf(family) } as const;
  const failures = await failuresDuring(attack, 16_000, siege, proxy);
  const summary = lastSummary((await proxy.stop()).stdout);
  assert.deepEqual(failures, [], summary);
});

const udpPolicy = `default drop
not ip.src in $dst-addrs
  udp        -> translate-a-to-b, forward
otherwise    -> translate-b-to-a, forward
`;

/**
 * Names, attacks, whether from one source, and how many connections the table takes: 2.5 s of the
 * flood of SYNs.
 */
const onTcp: [string, Attack, boolean, number][] = [
  ["pings with new identifiers", { kind: "ping", rate: 30_000 }, false, 6000],
  ["SYNs from random sources", { kind: "syn", rate }, false, 50_000],
  ["SYNs from one source", { kind: "syn", rate }, true, 20_000],
];
for (const [name, attack, isOne, maxConn] of onTcp) {
  const title = `proxy, flooded with ${name}, opens connections for others`;
  inEachFamily(labTest, title, async (family) => {
    const siege = await besieged(family);
    await using topology = siege.topology;
    const { host, backends } = topology;
    for (const { host, address } of backends) {
      // Always, so that a SYN that is sent again is answered with the same number.
      await host.script("echo 2 > /proc/sys/net/ipv4/tcp_syncookies");
      await startEcho(host, family.of(address), 2000);
    }
    const options = [`--mac=${mac}`, `--gateway=${attackerAddress}`, `--max-conn=${maxConn}`];
    const flags = family.options([...usualOptions, ...options, "--trace=off"]);
    const proxy = await startProxy(host, flags, backends.map(({ address }) => family.of(address)));
    const flood = isOne ? { ...attack, from: sourceOf(family) } : attack;
    const failures = await failuresDuring(
      flood,
      isOne ? maxConn / 4 - 100 : maxConn - 100,
      siege,
      proxy,
    );
    const summary = lastSummary((await proxy.stop()).stdout);
    assert.deepEqual(failures, [], summary);
  });
}

const pings = 20;

inEachFamily(
  pingTest,
  "proxy, sent fragments that nothing follows, reassembles the datagrams of others",
  async (family) => {
    const siege = await besieged(family);
    await using topology = siege.topology;
    const { lab, host, client } = topology;
    const policy = `${lab.folder}/echo.policy`;
    await Deno.writeTextFile(policy, "default drop\necho-request -> echo\n");
    const options = [`--mac=${mac}`, `--gateway=${attackerAddress}`, `--policy=${policy}`];
    const flags = family.options([...usualOptions, ...options, "--trace=off"]);
    const proxy = await startProxy(host, flags, []);
    const ping = ["ping", "-c", String(pings), "-i", "0.05", "-W", "2"];
    const address = family.of(proxyAddress);
    await client.must([...ping, address]);
    const flood = startFlood(siege.program.flood, siege.attacker, {
      ...{ mac, address, seconds: attackSeconds, kind: "fragment", rate: 5000 },
      ...(family.number === 4 ? {} : { from: attackerNet }),
    });
    const refused = async () => summaryCount(await askSummary(proxy), "fragment-limit");
    let before = 0;
    while (before < 1000) {
      assert.ok(!await flood.ended(200), `the attack ends with ${before} fragments too many`);
      before = await refused();
    }
    const { stdout } = await client.run([...ping, "-s", "4000", address]);
    assert.ok(await refused() > before, "the attack goes on");
    assert.ok(!await flood.ended(1), "the attack lasts longer than the pings");
    await flood.stop();
    const summary = lastSummary((await proxy.stop()).stdout);
    const answered = Number(/ (\d+) received/.exec(stdout)?.[1]);
    assert.ok(answered > 0.8 * pings, `${stdout}\n${summary}`);
  },
);
