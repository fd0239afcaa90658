/**
 * `deno task soak:attacks [MINUTES]`: an hour of all attacks in turn, unless told otherwise, a
 * minute each, beside connections that go on. Prints what the proxy holds after each, and ends with
 * exit code 1 if a connection failed, or if the last quarter holds a tenth more than the second
 * (the first one fills tables).
 */
import { buildFlood, type Flood, sentBy, startFlood } from "../lab/flood.ts";
import { startEcho } from "../lab/peer.ts";
import { lastSummary, startProxy, usualOptions } from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { bridged, join, proxyAddress } from "../lab/topology.ts";
import { residentKiB } from "../lab/traffic.ts";

const mac = "02:54:47:00:00:64";
const attackerAddress = "192.168.0.66";
const seconds = 55;
const rate = 5000;

/** A policy that lets in what is flooded with. */
const policy = `default drop
not ip.src in $dst-addrs
  echo-request                     -> limit 1000/second burst 1000 per source, track, echo
  icmp                             -> drop
  tcp.dport = 80                   -> drop
  invalid                          -> limit 10/second burst 10 per source, reject
  otherwise                        -> translate-a-to-b, forward
otherwise                          -> translate-b-to-a, forward
`;

const attacks: readonly [string, Partial<Flood>][] = [
  ["SYNs from anywhere", { kind: "syn" }],
  ["SYNs from one address", { kind: "syn", from: attackerAddress }],
  ["SYNs from made-up neighbours", { kind: "syn", from: "192.168.0.0/24" }],
  ["datagrams from one address", { kind: "datagram", from: attackerAddress }],
  ["datagrams from anywhere", { kind: "datagram" }],
  ["pings from anywhere", { kind: "ping" }],
  ["pings from one address", { kind: "ping", from: attackerAddress }],
  ["TTLs that run out", { kind: "syn", ttl: 1 }],
];

async function soak(minutes: number): Promise<boolean> {
  await using topology = await bridged("behind a port");
  const { lab, host, client, backends } = topology;
  const program = await buildFlood(lab);
  const attacker = await join(lab, host, "attacker", "port9", attackerAddress);
  for (const backend of backends) await startEcho(backend.host, backend.address, 2000);
  const file = `${lab.folder}/attacks.policy`;
  await Deno.writeTextFile(file, policy);
  const options = [
    `--mac=${mac}`,
    `--gateway=${attackerAddress}`,
    `--policy=${file}`,
    "--trace=off",
  ];
  const proxy = await startProxy(host, [...usualOptions, ...options]);
  const steady = await SteadyConnections.open(client, proxyAddress, 2000, 20);
  const heldKiB: number[] = [];
  let failures: readonly string[] = [];
  for (let minute = 0; minute < minutes; minute++) {
    const [name, attack] = attacks[minute % attacks.length]!;
    const flood = startFlood(program, attacker, {
      ...{ mac, address: proxyAddress, seconds, rate },
      ...attack,
    });
    await flood.ended(1000 * (seconds + 20));
    const sent = await sentBy(flood);
    const report = await steady.report();
    heldKiB.push(await residentKiB(proxy.pid));
    failures = report.failures;
    const { exchanges, longestMs } = report;
    const figures = `${exchanges} exchanges, longest ${Math.round(longestMs)} ms`;
    await say(`${minute + 1}: ${name}, ${sent} frames; ${figures}; ${heldKiB.at(-1)} KiB`);
    await new Promise((resolve) => setTimeout(resolve, 5000));
  }
  await say(lastSummary((await proxy.stop()).stdout));
  const quarter = Math.max(1, Math.floor(minutes / 4));
  const second = Math.max(...heldKiB.slice(quarter, 2 * quarter));
  const last = Math.max(...heldKiB.slice(-quarter));
  await say(`most held in the second quarter ${second} KiB, in the last ${last} KiB`);
  for (const failure of failures) await say(failure);
  return failures.length === 0 && last < 1.1 * second;
}

async function say(line: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) {
  const [minutes = 60] = Deno.args.map(Number);
  if (!(Number.isInteger(minutes) && minutes >= 4 && minutes <= 1000)) {
    throw new RangeError(`Cannot run "${Deno.args.join(" ")}": expected MINUTES from 4 on`);
  }
  Deno.exit(await soak(minutes) ? 0 : 1);
}
