/**
 * Packets whose TTL runs out, from one address and from random ones, while a client learns from the
 * proxy that its packets are too long. Side B's MTU is smaller: each of the client's needs its
 * error.
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { lastSummary, startTwoSided, summaryCount } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { buildFlood, sentBy, startFlood } from "../lab/flood.ts";
import { ownA, twoSides } from "../lab/two_sides.ts";

const labTest = await labTests("cc", "ping");

const forwardsAll = fileURLToPath(
  new URL("../golden/policies/good/two-sided.policy", import.meta.url),
);
const mac = "02:54:47:00:00:64";

const attacks: readonly [name: string, perSecond: number, from: string | null][] = [
  ["from one address", 200, "172.16.0.66"],
  ["from the client's address", 200, "192.168.0.254"],
  ["from random addresses", 2000, null],
];

for (const [name, perSecond, from] of attacks) {
  labTest(`proxy tells a client "fragmentation needed" although TTLs run out ${name}`, async () => {
    const seconds = 5;
    await using topology = await twoSides({ mtuA: 1500, mtuB: 1300 });
    const { lab, host, clients: [client], routerA } = topology;
    const program = await buildFlood(lab);
    const proxy = await startTwoSided(
      host,
      `--mac=${mac}`,
      `--policy=${forwardsAll}`,
      "--trace=off",
    );
    const flood = startFlood(program, routerA, {
      ...{ mac, address: ownA, seconds, ttl: 1, rate: perSecond },
      ...(from === null ? {} : { from }),
    });
    await new Promise((resolve) => setTimeout(resolve, 1000)); // what may be sent at once has been

    // With DF, and as long whatever the kernel hears (ip-route(8), mtu lock).
    await client!.must(["ip", "route", "add", ownA, "dev", "eth0", "mtu", "lock", "1500"]);
    const ping = "ping -M do -s 1400 -i 0.02 -c 100 -W 1".split(" ");
    const { stdout, stderr } = await client!.run([...ping, ownA]);
    assert.ok(!await flood.ended(0), "the attack goes on");
    const told = stdout.match(/Frag(mentation)? needed and DF set \(mtu = 1300\)/g) ?? [];
    const sent = await sentBy(flood);
    const summary = lastSummary((await proxy.stop()).stdout);
    assert.equal(told.length, 100, `${sent} SYNs of the attacker\n${stdout}${stderr}\n${summary}`);
    assert.ok(summaryCount(summary, "ttl-expired") > sent / 2, summary);
  });
}
