/**
 * What a /64 makes possible, on real TAP devices: a scan of it, senders that make neighbours up,
 * and forged advertisements, 10,000 a second, from side A, through a policy that forwards.
 * Established connections go on, backends keep their entries, and the proxy does not grow. With
 * SOAK=true in the environment each lasts 30 s, otherwise some seconds.
 */
import assert from "node:assert/strict";
import { buildFlood, type Flood, sentBy, startFlood } from "../lab/flood.ts";
import { IPV6 } from "../lab/families.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { lastSummary, startBetween, summaryCount } from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { labTests } from "../lab/suite.ts";
import { residentKiB } from "../lab/traffic.ts";
import { twinOf } from "../lab/twins.ts";
import { backendAddresses, ownA, twoSides } from "../lab/two_sides.ts";

const labTest = await labTests("cc");
const mac = "02:54:47:00:00:64";
const mayAsk = await Deno.permissions.query({ name: "env", variable: "SOAK" });
const isSoak = mayAsk.state === "granted" && Deno.env.get("SOAK") === "true";
const seconds = isSoak ? 30 : 5;
const rate = 10_000;
const connections = 10;
const netA = `${twinOf("192.168.0.0")}/64`;
const netB = `${twinOf("10.0.0.0")}/64`;

const attacks: readonly [string, Partial<Flood>][] = [
  ["SYNs from made-up neighbours", { kind: "syn", from: netA }],
  ["pings from made-up neighbours", { kind: "ping", from: netA }],
  ["SYNs to every address of side B", { kind: "syn", to: netB }],
  ["SYNs to every address of side A", { kind: "syn", from: netA, to: netA }],
  ["solicitations", { kind: "solicitation", from: netA, to: netA }],
  ["forged advertisements", { kind: "advertisement", from: netA }],
  ["forged advertisements about side B", { kind: "advertisement", from: netB }],
];

/** What may be added to what the proxy holds, once tables are full and code is compiled. */
const growthKiB = 16 * 1024;

for (const [name, attack] of attacks) {
  labTest(`proxy, over IPv6, attacked with ${name}, keeps connections and backends`, async () => {
    await using topology = await twoSides();
    await IPV6.speak(topology.lab);
    const { lab, host, client, routerA, backends } = topology;
    const program = await buildFlood(lab, IPV6);
    for (const { host, address } of backends) await startEcho(host, twinOf(address), 2000);
    const flags = [`--mac=${mac}`, "--max-conn=20000", "--trace=off"];
    const proxy = await startBetween(host, IPV6, ...flags);
    await proxy.waitFor(`backend ${twinOf(backendAddresses[0]!)} is at `);
    await proxy.waitFor(`gateway ${twinOf("10.0.0.253")} is at `);
    const steady = await SteadyConnections.open(client, twinOf(ownA), 2000, connections);
    const before = proxy.stderr.length;

    const flood = startFlood(program, routerA, {
      ...{ mac, address: twinOf(ownA), seconds, rate },
      ...attack,
    });
    const heldKiB: number[] = [];
    while (!await flood.ended(1000)) heldKiB.push(await residentKiB(proxy.pid));
    const sent = await sentBy(flood);
    assert.ok(sent > 0.8 * rate * seconds, `${sent} frames are an attack`);
    const during = await steady.report();
    assert.deepEqual(during.failures, []);
    assert.ok(during.fewest > 0, `during the attack: ${JSON.stringify(during)}`);
    await steady.isUnbroken();
    // No backend and no gateway was lost, not even for a moment, or it would be found again.
    assert.doesNotMatch(proxy.stderr.slice(before), /does not answer| is at |address conflict/);
    const { byBackend, failures } = await connectPeer(client, twinOf(ownA), 2000, 30, 1000);
    assert.deepEqual(failures, []);
    assert.deepEqual(Object.keys(byBackend).sort(), backendAddresses.map(twinOf).sort());
    if (isSoak) {
      const grown = heldKiB.at(-1)! - heldKiB[9]!;
      assert.ok(grown < growthKiB, `resident KiB, second by second: ${heldKiB}`);
    }
    const summary = lastSummary((await proxy.stop()).stdout);
    assert.equal(summaryCount(summary, "send-failed"), 0, summary);
    countersAgree(summary, sent);
    await steady.stop();
  });
}

/** All that was flooded has come in, or has overflowed the device; each PDU has one decision. */
function countersAgree(summary: string, flooded: number): void {
  const numbers = (line: string) =>
    [...new RegExp(`^${line} *: (.*)$`, "m").exec(summary)![1]!.matchAll(/\d+/g)].map(Number);
  const [frames] = numbers("Frames");
  const [pdus] = numbers("PDUs in");
  assert.ok(frames! > flooded / 2, summary);
  assert.equal(numbers("Decisions").reduce((sum, count) => sum + count, 0), pdus, summary);
}
