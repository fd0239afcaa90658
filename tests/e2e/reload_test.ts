/** SIGHUP: the policy file is read again under a running proxy. */
import assert from "node:assert/strict";
import { print } from "../../src/policy/printing/print.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { startEcho } from "../lab/peer.ts";
import { lastSummary, startProxy, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress } from "../lab/topology.ts";

const labTest = await labTests("ping", "nc");

labTest(
  "proxy reads its policy again at SIGHUP: connections, turns and counters survive, a wrong file changes nothing",
  async () => {
    await using topology = await bridged("on the bridge");
    const { client, lab } = topology;
    for (const { address, host } of topology.backends) await startEcho(host, address, 2000);
    const file = `${lab.folder}/own.policy`;
    await Deno.writeTextFile(file, print(demo));
    const proxy = await startProxy(topology.host, [...usualOptions, `--policy=${file}`]);
    const ping = async () =>
      /(\d) received/.exec(
        (await client.run(["ping", "-c", "1", "-W", "1", proxyAddress])).stdout,
      )?.[1];
    await using connection = client.start(["nc", proxyAddress, "2000"], { stdin: "" });
    await connection.waitFor("from 192.168.0.");
    assert.equal(await ping(), "0", "in turn: drop comes first");

    // Port 80 is refused aloud from now on; the rest is as it was.
    await Deno.writeTextFile(file, print(demo).replace("80 -> drop", '80 -> reject "no http"'));
    proxy.signal("SIGHUP");
    await proxy.waitFor(`policy "${file}" reloaded\n`);
    const refused = await client.run(["nc", "-v", "-w", "2", proxyAddress, "80"]);
    assert.match(refused.stderr, /refused/);
    await proxy.waitFor('Decision : Reject "no http"\n');
    assert.equal(await ping(), "1", "the turn goes on where it was");
    await connection.write("still here\n");
    await connection.waitFor("still here");

    await Deno.writeTextFile(file, "default drop\ntpc -> drop\n");
    proxy.signal("SIGHUP");
    await proxy.waitFor("policy not reloaded, keeping the current one");
    await proxy.waitFor('did you mean "tcp"?');

    // What "policy check" calls an error is refused too, and the current policy stays.
    await Deno.writeTextFile(file, "default drop\ntcp -> drop\ntcp -> forward\n");
    proxy.signal("SIGHUP");
    await proxy.waitFor(/policy not reloaded.*has 1 error\n.*:3:1: error: "tcp" is unreachable/);
    await connection.write("and now\n");
    await connection.waitFor("and now");

    const { code, stdout } = await proxy.stop();
    assert.equal(code, 0);
    const summary = lastSummary(stdout);
    assert.match(summary, /^ +2 +echo-request -> in turn$/m, "both pings, before and after");
    assert.match(summary, /^ +1 +tcp\.dport = 80 -> reject "no http"$/m);
    for (const address of backendAddresses) assert.ok(summary.includes(address));
  },
);
