/** The console and the signals: they tell the operator what happens, and never cost a packet. */
import assert from "node:assert/strict";
import { inEachFamily } from "../lab/families.ts";
import type { Host } from "../lab/lab.ts";
import { lastSummary, proxyCommand, startProxy, summaryCount, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { backendAddresses, bridged, proxyAddress, tap } from "../lab/topology.ts";
import { twinOfNetwork } from "../lab/twins.ts";

const labTest = await labTests("ping");

inEachFamily(
  labTest,
  "proxy tells its start and its backends, SIGUSR2 and the end show the summary",
  async (family) => {
    await using topology = await bridged("on the bridge");
    await family.speak(topology.lab);
    const addresses = backendAddresses.map(family.of);
    const proxy = await startProxy(topology.host, family.options(usualOptions), addresses);
    const own = `${proxyAddress}/24`;
    const hex = "[0-9a-f]{2}";
    const mac = `${hex}(?::${hex}){5}`;
    const networks = family.number === 4 ? own : `${own}, ${RegExp.escape(twinOfNetwork(own))}`;
    await proxy.waitFor(
      new RegExp(
        `^\\S+Z info: ${tap}: ${networks}, MAC ${mac}, MTU 1500, backends ${
          backendAddresses.map(family.pattern).join(", ")
        }\n`,
        "m",
      ),
    );
    for (const { address, host } of topology.backends) {
      const at = await proxy.waitFor(
        `backend ${family.of(address)} is at ${await host.mac("eth0")}\n`,
      );
      assert.ok(at);
    }
    const { stdout: answers } = await topology.client.run(
      ["ping", "-c", "4", "-i", "0.2", "-W", "1", family.of(proxyAddress)],
    );
    assert.match(answers, /4 packets transmitted, 2 received/);

    proxy.signal("SIGUSR2");
    await proxy.waitFor(/^Summary\n/m);
    const first = lastSummary(proxy.stdout);
    await topology.client.run(
      ["ping", "-c", "2", "-i", "0.2", "-W", "1", family.of(proxyAddress)],
    );
    const { code, timedOut, stdout, stderr } = await proxy.stop("SIGINT");
    assert.deepEqual({ code, timedOut }, { code: 0, timedOut: false });
    assert.doesNotMatch(stderr, /(warning|error): /);
    assert.doesNotMatch(stdout, /info: | is at /, "log lines are not on stdout");
    const last = lastSummary(stdout);
    assert.deepEqual(
      [first, last].map((text) => summaryCount(text, "Echo_reply")),
      [2, 3],
    );
    assert.match(last, /^Decisions +: Drop 3, Echo_reply 3$/m);
    for (const address of addresses) assert.ok(last.includes(address), last);
  },
);

labTest("proxy, its console cut off by `head -1`, keeps proxying", async () => {
  await using topology = await bridged("on the bridge");
  const command = ["sh", "-c", '"$@" | head -1', "sh", ...proxyCommand()];
  await using pipeline = topology.host.start(command);
  await pipeline.waitFor(`${tap}: `, 20_000);
  // The first PDU's text meets a closed pipe.
  await answersHalf(topology.client, 20);
  await answersHalf(topology.client, 20);
  assert.equal(pipeline.stdout.trim().split("\n").length, 1);
  assert.doesNotMatch(pipeline.stderr, /(warning|error): /);
  const pid = await pidOfProxy(topology.host);
  await topology.host.must(["kill", "-TERM", pid]);
  assert.ok(await pipeline.ended(5_000), "SIGTERM ends it");
});

labTest("proxy, its console's reader stopped, loses lines but no packet", async () => {
  await using topology = await bridged("on the bridge");
  const { host, lab } = topology;
  const pipe = `${lab.folder}/console`;
  await host.must(["mkfifo", pipe]);
  await using reader = host.start(["cat", pipe]);
  const through = ["sh", "-c", `exec "$@" > ${pipe}`, "sh"];
  await using proxy = host.start([...through, ...proxyCommand([...usualOptions, "--trace=all"])]);
  await proxy.waitFor("backend 192.168.0.3 is at ", 20_000);
  reader.signal("SIGSTOP");
  // Some 3 MB of text: more than the pipe and the buffer hold.
  await answersHalf(topology.client, 400, 1400);
  proxy.signal("SIGUSR2");
  reader.signal("SIGCONT");
  await reader.waitFor(/\d+ (entry|entries) lost/); // the summary among them, if it came in time
  await answersHalf(topology.client, 20);
  const { code, timedOut } = await proxy.stop();
  assert.deepEqual({ code, timedOut }, { code: 0, timedOut: false });
  assert.match(lastSummary((await reader.result()).stdout), /Echo_reply 210\b/);

  // A reader that never comes back does not hold up the end either.
  await using stopped = host.start(["cat", pipe]);
  const again = host.start([...through, ...proxyCommand([...usualOptions, "--trace=all"])]);
  await again.waitFor("backend 192.168.0.3 is at ", 20_000);
  stopped.signal("SIGSTOP");
  await answersHalf(topology.client, 400, 1400);
  assert.equal((await again.stop("SIGTERM", 3_000)).timedOut, false);
  stopped.signal("SIGCONT");
});

/** Pings as fast as answers come, exactly every second of them answered. */
async function answersHalf(client: Host, count: number, lenBytes = 56): Promise<void> {
  const words = ["ping", "-q", "-c", `${count}`, "-i", "0.002", "-s", `${lenBytes}`, "-W", "1"];
  const { stdout } = await client.run([...words, proxyAddress]);
  assert.match(stdout, new RegExp(`${count} packets transmitted, ${count / 2} received`));
}

/** The process that holds the TAP device. */
async function pidOfProxy(host: Host): Promise<string> {
  const { stdout } = await host.run(["sh", "-c", `grep -ls "iff:.*${tap}" /proc/[0-9]*/fdinfo/*`]);
  const pids = new Set(stdout.split("\n").map((path) => path.split("/")[2]).filter(Boolean));
  const net = (pid: string) => host.run(["readlink", `/proc/${pid}/ns/net`, "/proc/self/ns/net"]);
  for (const pid of pids) {
    const [its, ours] = (await net(pid!)).stdout.trim().split("\n");
    if (its === ours) return pid!;
  }
  throw new Error(`Cannot find the process that holds ${tap}`);
}
