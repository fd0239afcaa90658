/** SIGHUP: the policy file is read again under a running proxy. */
import assert from "node:assert/strict";
import { print } from "../../src/policy/printing/print.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { inEachFamily, IPV4, IPV6 } from "../lab/families.ts";
import { startEcho } from "../lab/peer.ts";
import { lastSummary, startProxy, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress } from "../lab/topology.ts";
import { addTwins, twinOf, twinOptions } from "../lab/twins.ts";

const labTest = await labTests("ping", "nc");

inEachFamily(
  labTest,
  "proxy reads its policy again at SIGHUP: connections, turns and counters survive, a wrong file changes nothing",
  async (family) => {
    await using topology = await bridged("on the bridge");
    const { client, lab } = topology;
    await family.speak(lab);
    const [own, addresses] = [family.of(proxyAddress), backendAddresses.map(family.of)];
    for (const { address, host } of topology.backends) {
      await startEcho(host, family.of(address), 2000);
    }
    const file = `${lab.folder}/own.policy`;
    await Deno.writeTextFile(file, print(demo));
    const proxy = await startProxy(
      topology.host,
      family.options([...usualOptions, `--policy=${file}`]),
      addresses,
    );
    const ping = async () =>
      /(\d) received/.exec(
        (await client.run(["ping", "-c", "1", "-W", "1", own])).stdout,
      )?.[1];
    await using connection = client.start(["nc", own, "2000"], { stdin: "" });
    await connection.waitFor(/^from /);
    assert.equal(await ping(), "0", "in turn: drop comes first");

    // Port 80 is refused aloud from now on; the rest is as it was.
    await Deno.writeTextFile(file, print(demo).replace("80 -> drop", '80 -> reject "no http"'));
    proxy.signal("SIGHUP");
    await proxy.waitFor(`policy "${file}" reloaded\n`);
    const refused = await client.run(["nc", "-v", "-w", "2", own, "80"]);
    assert.match(refused.stderr, /refused/);
    await proxy.waitFor('Decision : Reject "no http"\n');
    assert.equal(await ping(), "1", "the turn goes on where it was");
    await connection.write("still here\n");
    await connection.waitFor("still here");

    await Deno.writeTextFile(file, "default drop\ntpc -> drop\n");
    proxy.signal("SIGHUP");
    await proxy.waitFor("not reloaded, nothing has changed");
    await proxy.waitFor('did you mean "tcp"?');

    // What "policy check" calls an error is refused too, and the current policy stays.
    await Deno.writeTextFile(file, "default drop\ntcp -> drop\ntcp -> forward\n");
    proxy.signal("SIGHUP");
    await proxy.waitFor(
      /not reloaded, nothing has changed: .*has 1 error\n.*:3:1: error: "tcp" is unreachable/,
    );
    await connection.write("and now\n");
    await connection.waitFor("and now");

    const { code, stdout } = await proxy.stop();
    assert.equal(code, 0);
    const summary = lastSummary(stdout);
    assert.match(summary, /^ +2 +echo-request -> in turn$/m, "both pings, before and after");
    assert.match(summary, /^ +1 +tcp\.dport = 80 -> reject "no http"$/m);
    for (const address of addresses) assert.ok(summary.includes(address));
  },
);

/** Policies of so many short rules before those of the demo, one of them wrong or none. */
function longPolicy(rules: number, wrong: boolean): string {
  const lines = Array.from(
    { length: rules },
    (_, i) => {
      const address = `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
      return `    icmp and ip.src = ${i % 2 === 0 ? address : twinOf(address)} -> drop`;
    },
  );
  if (wrong) lines[rules >> 1] = "    tpc -> drop";
  return [
    "default drop",
    "not ip.src in $dst-addrs",
    "    echo-request -> track, echo",
    ...lines,
    "    tcp -> translate-a-to-b, forward",
    "otherwise -> translate-b-to-a, forward",
  ].join("\n");
}

labTest(
  "30 reloads of right, wrong and long files under traffic: no ping is lost, no connection ends",
  async () => {
    const families = [IPV4, IPV6];
    await using topology = await bridged("on the bridge");
    const { client, lab } = topology;
    await addTwins(lab);
    for (const { address, host } of topology.backends) {
      for (const { of } of families) await startEcho(host, of(address), 2000);
    }
    const [file, config] = [`${lab.folder}/long.policy`, `${lab.folder}/proxy.conf`];
    const usual = twinOptions(usualOptions).map((flag) => flag.replace(/^--/, ""));
    const write = (udp: number) =>
      Deno.writeTextFile(
        config,
        [...usual, "policy = long.policy", `timeout-udp = ${udp}`, "trace = off"].join("\n"),
      );
    await Deno.writeTextFile(file, longPolicy(10, false));
    await write(300);
    const addresses = families.flatMap(({ of }) => backendAddresses.map(of));
    const proxy = await startProxy(topology.host, [`--config=${config}`], addresses);
    const own = families.map(({ of }) => of(proxyAddress));
    await proxy.waitFor(`${own[1]} is free`);
    const connections = own.map((one) => client.start(["nc", one, "2000"], { stdin: "" }));
    for (const connection of connections) await connection.waitFor(/^from /);
    const ping = ["ping", "-i", "0.02", "-c", "1000", "-W", "2"];
    const pings = own.map((one) => client.start([...ping, one]));
    const counts = { right: 0, wrong: 0 };
    for (let i = 1; i <= 30; i++) {
      const kind = i % 5 === 0 ? "wrong" : "right";
      await Deno.writeTextFile(file, longPolicy(i % 3 === 0 ? 5000 : 50, kind === "wrong"));
      await write(300 + i);
      proxy.signal("SIGHUP");
      const line = kind === "wrong" ? "nothing has changed" : "timeouts changed";
      // Written so that no text makes it try again and again.
      const told = new RegExp(`(?:${line}(?:(?!${line})[^])*){${++counts[kind]}}`);
      await proxy.waitFor(told, 30_000);
      for (const connection of connections) {
        await connection.write(`round ${i}\n`);
        await connection.waitFor(`round ${i}\n`);
      }
    }
    assert.deepEqual(counts, { right: 24, wrong: 6 });
    assert.equal(proxy.stderr.split("timeouts changed").length, 25);
    for (const { stdout } of await Promise.all(pings.map((one) => one.result()))) {
      assert.match(stdout, /1000 packets transmitted, 1000 received/);
    }
    assert.equal((await proxy.stop()).code, 0);
  },
);
