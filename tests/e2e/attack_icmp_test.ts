/**
 * Packets whose TTL runs out, from one source and from random ones, while a client learns from the
 * proxy that its packets are too long. Side B's MTU is smaller: each of the client's needs its
 * error.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { inEachFamily } from "../lab/families.ts";
import { lastSummary, startBetween, summaryCount } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { buildFlood, sentBy, startFlood } from "../lab/flood.ts";
import { ownA, twoSides } from "../lab/two_sides.ts";

const labTest = await labTests("cc", "ping");

const forwardsAll = fileURLToPath(
  new URL("../golden/policies/good/two-sided.policy", import.meta.url),
);
const pings = 50;
const mac = "02:54:47:00:00:64";

/** Over IPv6 a source is a subnet of 64 bits, and the client's that of all hosts on its link. */
const attacks: readonly [name: string, perSecond: number, from: string, from6: string][] = [
  ["from one source", 200, "172.16.0.66", "2001:db8:bad::/64"],
  ["from the client's own", 200, "192.168.0.254", "2001:db8:c0a8::/64"],
  ["from random addresses", 2000, "", ""],
];

for (const [name, perSecond, from4, from6] of attacks) {
  const title = `proxy tells a client the MTU although TTLs run out ${name}`;
  inEachFamily(labTest, title, async (family) => {
    const seconds = 5;
    await using topology = await twoSides({ mtuA: 1500, mtuB: 1300 });
    await family.speak(topology.lab);
    const { lab, host, clients: [client], routerA } = topology;
    const program = await buildFlood(lab, family);
    const own = family.of(ownA);
    const from = family.number === 4 ? from4 : from6;
    const proxy = await startBetween(
      host,
      family,
      `--mac=${mac}`,
      `--policy=${forwardsAll}`,
      "--trace=off",
    );
    const flood = startFlood(program, routerA, {
      ...{ mac, address: own, seconds, ttl: 1, rate: perSecond },
      ...(from === "" ? {} : { from }),
    });
    await new Promise((resolve) => setTimeout(resolve, 1000)); // what may be sent at once has been

    // Each is as long as the first: the kernel forgets what it has heard.
    const { stdout, stderr } = await client!.run([
      "sh",
      "-c",
      `
      for i in $(seq ${pings}); do
        ip -${family.number} route flush cache
        ping -M do -s 1400 -c 1 -W 1 ${own}
      done`,
    ]);
    assert.ok(!await flood.ended(0), "the attack goes on");
    const tells = /Frag(mentation)? needed and DF set \(mtu = 1300\)|Packet too big: mtu=1300/g;
    const told = stdout.match(tells) ?? [];
    const sent = await sentBy(flood);
    const summary = lastSummary((await proxy.stop()).stdout);
    assert.equal(
      told.length,
      pings,
      `${sent} SYNs of the attacker\n${stdout}${stderr}\n${summary}`,
    );
    assert.ok(summaryCount(summary, "ttl-expired") > sent / 2, summary);
  });
}
