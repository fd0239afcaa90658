/**
 * `deno task soak:attacks [MINUTES]`: an hour of all attacks in turn, unless told otherwise, a
 * minute each, of IPv4 and of IPv6, beside connections of both that go on. Prints what the proxy
 * holds after each, and ends with exit code 1 if a connection failed, or if the last quarter holds
 * a tenth more than the second (the first one fills tables).
 */
import { type Family, IPV4, IPV6 } from "../lab/families.ts";
import { buildFlood, type Flood, sentBy, startFlood } from "../lab/flood.ts";
import { startEcho } from "../lab/peer.ts";
import { lastSummary, startProxy, usualOptions } from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { backendAddresses, bridged, join, proxyAddress } from "../lab/topology.ts";
import { residentKiB } from "../lab/traffic.ts";
import { addTwins, twinOptions } from "../lab/twins.ts";

const mac = "02:54:47:00:00:64";
const attackerAddress = "192.168.0.66";
/** Over IPv6 a source is a subnet of 64 bits: this one's is the attacker's. */
const attackerNet = "2001:db8:bad::/64";
const families = [IPV4, IPV6];
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

const attacks: readonly [string, Partial<Flood>, from6?: string][] = [
  ["SYNs from anywhere", { kind: "syn" }],
  ["SYNs from one source", { kind: "syn", from: attackerAddress }, attackerNet],
  ["SYNs from made-up neighbours", { kind: "syn", from: "192.168.0.0/24" }, "2001:db8:c0a8::/64"],
  ["datagrams from one source", { kind: "datagram", from: attackerAddress }, attackerNet],
  ["datagrams from anywhere", { kind: "datagram" }],
  ["pings from anywhere", { kind: "ping" }],
  ["pings from one source", { kind: "ping", from: attackerAddress }, attackerNet],
  ["TTLs that run out", { kind: "syn", ttl: 1 }],
];

/** Each attack over IPv4, then over IPv6. */
function attackOf(minute: number): [string, Family, Partial<Flood>] {
  const [name, attack, from6] = attacks[(minute >> 1) % attacks.length]!;
  return minute % 2 === 0
    ? [name, IPV4, attack]
    : [`${name}, over IPv6`, IPV6, from6 === undefined ? attack : { ...attack, from: from6 }];
}

async function soak(minutes: number): Promise<boolean> {
  await using topology = await bridged("behind a port");
  const { lab, host, client, backends } = topology;
  const programs = await Promise.all(families.map((family) => buildFlood(lab, family)));
  const attacker = await join(lab, host, "attacker", "port9", attackerAddress);
  await addTwins(lab);
  for (const { host, address } of backends) {
    for (const { of } of families) await startEcho(host, of(address), 2000);
  }
  const file = `${lab.folder}/attacks.policy`;
  await Deno.writeTextFile(file, policy);
  const options = [
    `--mac=${mac}`,
    `--gateway=${attackerAddress}`,
    `--policy=${file}`,
    "--trace=off",
  ];
  const addresses = families.flatMap(({ of }) => backendAddresses.map(of));
  const proxy = await startProxy(host, twinOptions([...usualOptions, ...options]), addresses);
  const steady = await Promise.all(
    families.map(({ of }) => SteadyConnections.open(client, of(proxyAddress), 2000, 10)),
  );
  const heldKiB: number[] = [];
  let failures: readonly string[] = [];
  for (let minute = 0; minute < minutes; minute++) {
    const [name, family, attack] = attackOf(minute);
    const flood = startFlood(programs[families.indexOf(family)]!, attacker, {
      ...{ mac, address: family.of(proxyAddress), seconds, rate },
      ...attack,
    });
    await flood.ended(1000 * (seconds + 20));
    const sent = await sentBy(flood);
    const reports = await Promise.all(steady.map((one) => one.report()));
    heldKiB.push(await residentKiB(proxy.pid));
    failures = reports.flatMap((report) => report.failures);
    const figures = reports.map(({ exchanges, longestMs }, i) =>
      `IPv${families[i]!.number} ${exchanges} exchanges, longest ${Math.round(longestMs)} ms`
    ).join("; ");
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
