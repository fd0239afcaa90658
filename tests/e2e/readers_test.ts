/**
 * Those who read what the proxy writes: whatever they do, no packet is lost for it, and what they
 * have missed is counted.
 */
import assert from "node:assert/strict";
import { LOG_EVENTS } from "../../src/core/log_events.ts";
import { servedTo, startClients } from "../lab/clients.ts";
import { buildFlood, startFlood } from "../lab/flood.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { proxyCommand, startProxy, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { bridged, clientAddress, proxyAddress, tap, type Topology } from "../lab/topology.ts";
import { type Background, isRunning } from "../support/shell.ts";

const labTest = await labTests("ping", "nc", "curl", "cc", "script");

const ADMIN = "127.0.0.1:9100";

/** Each line as an object; fails for a line that is none, or lacks what all have. */
function jsonLines(text: string): Record<string, unknown>[] {
  const events = new Set<unknown>(LOG_EVENTS.map(([name]) => name));
  return text.trim().split("\n").map((line) => {
    const read = JSON.parse(line);
    assert.match(read.ts, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/, line);
    assert.match(read.level, /^(debug|info|warning|error)$/, line);
    assert.ok(events.has(read.event), line);
    assert.equal(typeof read.message, "string", line);
    return read;
  });
}

labTest(
  "each line of a JSON log is an object with its time, level and event, and says what became of connections",
  async () => {
    await using topology = await bridged("on the bridge");
    const { client, host, backends: [first] } = topology;
    const backend = first!.address;
    await startEcho(first!.host, backend, 2000);
    const flags = ["--log=json", "--log-level=debug", "--log-connections=4/s", "--trace=off"];
    const proxy = await startProxy(host, [`--net=${tap}`, `--dst-addrs=${backend}`, ...flags], [
      backend,
    ]);
    for (let i = 0; i < 6; i++) {
      await client.run(["nc", "-N", "-w", "5", proxyAddress, "2000"], { stdin: "" });
    }
    await client.run(["nc", "-w", "1", proxyAddress, "2001"]); // the backend refuses
    proxy.signal("SIGHUP");
    await proxy.waitFor("reload-ignored");
    const { code, stderr } = await proxy.stop();
    assert.equal(code, 0);
    const lines = jsonLines(stderr);
    const named = (event: string) => lines.filter((line) => line["event"] === event);
    assert.equal(named("next-hop-found")[0]!["address"], backend);
    const [opened] = named("connection-opened");
    const { client: from, protocol, service, backend: to } = opened!;
    assert.match(String(from), /^192\.168\.0\.254:\d+$/);
    assert.deepEqual([protocol, service, to], ["tcp", `${proxyAddress}:2000`, `${backend}:2000`]);
    const closed = named("connection-closed").find((line) => line["client"] === from)!;
    assert.deepEqual([closed["reason"], closed["service"]], ["closed", service]);
    for (const event of ["connection-opened", "connection-closed"]) {
      const left = named("lines-left-out").filter(({ kind }) => kind === event);
      const sum = left.reduce((sum, { count }) => sum + Number(count), 0);
      assert.equal(named(event).length + sum, 7, `${event}: those told and those left out`);
    }
  },
);

const MAC = "02:54:47:00:00:64";
const PINGS = 200;

const POLICY = `default drop
not ip.src in $dst-addrs
  icmp -> track, echo
  tcp  -> translate-a-to-b, forward
otherwise -> translate-b-to-a, forward
`;

/** A proxy that answers pings and forwards port 2000, with somebody who opens connections. */
class Watched {
  readonly flags: readonly string[];
  readonly folder: string;

  private constructor(readonly topology: Topology, readonly flood: string) {
    this.folder = topology.lab.folder;
    const policy = `${this.folder}/own.policy`;
    Deno.writeTextFileSync(policy, POLICY);
    this.flags = [...usualOptions, `--admin=${ADMIN}`, `--policy=${policy}`, `--mac=${MAC}`];
  }

  static async over(topology: Topology): Promise<Watched> {
    for (const { address, host } of topology.backends) await startEcho(host, address, 2000);
    return new Watched(topology, await buildFlood(topology.lab));
  }

  /** The value of a metric, asked for until it is there. */
  async metric(name: string): Promise<number> {
    const curl = ["curl", "-sS", "-m", "5", "--retry", "40", "--retry-all-errors"];
    const delay = ["--retry-delay", "1", "--no-progress-meter", `http://${ADMIN}/metrics`];
    const text = await this.topology.host.must([...curl, ...delay], { timeoutMs: 60_000 });
    const found = new RegExp(`^treegate_${RegExp.escape(name)} (.*)$`, "m").exec(text);
    assert.ok(found, name);
    return Number(found[1]);
  }

  /** New connections for some seconds: for each the log and the console have something to say. */
  async connections(seconds: number, rate: number): Promise<void> {
    const flood = { mac: MAC, address: proxyAddress, seconds, rate, from: clientAddress };
    const { code } = await startFlood(this.flood, this.topology.client, flood).result();
    assert.equal(code, 0);
  }

  /** All pings are answered, and every byte of all connections comes back. */
  async serves(): Promise<void> {
    const pings = 'decisions_total{decision="echo-reply"}';
    const before = await this.metric(pings);
    const connecting = connectPeer(this.topology.client, proxyAddress, 2000, 20, 20_000);
    await this.pings();
    assert.deepEqual((await connecting).failures, []);
    assert.equal(await this.metric(pings), before + PINGS);
  }

  /** Each ping is answered, and the device has lost no frame. */
  async pings(): Promise<void> {
    const { client, host } = this.topology;
    const { stdout } = await client.run(
      ["ping", "-q", "-c", `${PINGS}`, "-i", "0.01", "-W", "5", proxyAddress],
    );
    assert.match(stdout, new RegExp(` ${PINGS} received`));
    const shown = await host.must(["ip", "-json", "-s", "link", "show", tap]);
    assert.equal(JSON.parse(shown)[0].stats64.tx.dropped, 0, "frames that were not read");
  }
}

labTest(
  "a log whose reader has stopped loses lines, counts them, and costs no packet",
  async () => {
    await using topology = await bridged("behind a port");
    const { host } = topology;
    const watched = await Watched.over(topology);
    const pipe = `${watched.folder}/log`;
    await host.must(["mkfifo", pipe]);
    await using reader = host.start(["cat", pipe]);
    const flags = [...watched.flags, "--log=json", "--log-connections=1000/s", "--trace=off"];
    const command = ["sh", "-c", `exec "$@" 2> ${pipe}`, "sh", ...proxyCommand(flags)];
    await using proxy = host.start(command);
    await reader.waitFor('"event":"next-hop-found"', 20_000);
    reader.signal("SIGSTOP");
    await watched.connections(6, 1000); // 2 MB of lines: more than the pipe and the buffer hold
    await watched.serves();
    const lost = await watched.metric('lost_entries_total{stream="log"}');
    assert.ok(lost > 0);
    reader.signal("SIGCONT");
    await reader.waitFor('"event":"lines-lost"');
    assert.equal((await proxy.stop()).code, 0);
    const lines = jsonLines((await reader.result()).stdout);
    const told = lines.filter(({ event }) => event === "lines-lost");
    const sum = told.reduce((sum, { count }) => sum + Number(count), 0);
    assert.ok(sum >= lost, `${sum} told, ${lost} counted before`);
  },
);

labTest("a full disk costs log and console lines, which are counted, and no packet", async () => {
  await using topology = await bridged("behind a port");
  const { host } = topology;
  const watched = await Watched.over(topology);
  const folder = `${watched.folder}/disk`;
  await Deno.mkdir(folder);
  const script = [
    `mount -t tmpfs -o size=64k none ${folder}`,
    `"$@" > ${folder}/out 2> ${folder}/log & echo "pid=$!"`,
    `wait $!; code=$?; cat ${folder}/log; exit $code`,
  ].join("\n");
  const flags = [...watched.flags, "--log=json", "--log-connections=1000/s", "--trace=all"];
  await using shell = host.start(
    ["unshare", "-m", "sh", "-c", script, "sh", ...proxyCommand(flags)],
  );
  const pid = Number((await shell.waitFor(/pid=(\d+)/))[1]);
  await watched.metric("connections_opened_total");
  await watched.connections(6, 1000); // 2 MB of lines: more than the disk and the buffer hold
  await watched.serves();
  for (const stream of ["log", "trace"]) {
    assert.ok(await watched.metric(`lost_entries_total{stream="${stream}"}`) > 0, stream);
  }
  const enter = ["nsenter", `--target=${shell.pid}`, "--mount"];
  await host.must([...enter, "mount", "-o", "remount,size=64m", folder]);
  const log = [...enter, "grep", "-c", "lines-lost", `${folder}/log`];
  for (let tries = 0; (await host.run(log)).code !== 0; tries++) {
    assert.ok(tries < 300, "the log goes on");
    await pause(100);
  }
  Deno.kill(pid, "SIGTERM");
  const { code, stdout } = await shell.result();
  assert.equal(code, 1, "the owner hears of it at the end");
  const lines = jsonLines(stdout.replace(/^pid=.*\n/, ""));
  assert.ok(lines.some(({ event }) => event === "next-hop-found"));
  const [lost] = lines.filter(({ event }) => event === "lines-lost");
  assert.match(String(lost!["message"]), /lines lost: its disk was full$/);
});

labTest("a terminal that reads nothing, and one that has gone, cost no packet", async () => {
  await using topology = await bridged("behind a port");
  const { host } = topology;
  const watched = await Watched.over(topology);
  for (const end of ["stopped", "gone"] as const) {
    const words = proxyCommand([...watched.flags, "--log-connections=500/s", "--trace=all"]);
    const command = `exec ${words.map((word) => `'${word}'`).join(" ")}`;
    await Deno.writeTextFile(`${watched.folder}/command`, `echo "pid=$$"; ${command}`);
    await using terminal: Background = host.start(
      ["script", "-qec", `sh ${watched.folder}/command`, "/dev/null"],
    );
    const pid = Number((await terminal.waitFor(/pid=(\d+)/))[1]);
    await terminal.waitFor(/backend 192\.168\.0\.3 is at /, 20_000);
    terminal.signal(end === "stopped" ? "SIGSTOP" : "SIGKILL");
    await watched.connections(2, 500);
    await watched.serves();
    const streams = end === "stopped" ? ["trace"] : ["log", "trace"]; // a buffer takes the log
    for (const stream of streams) {
      assert.ok(await watched.metric(`lost_entries_total{stream="${stream}"}`) > 0, stream);
    }
    Deno.kill(pid, "SIGTERM");
    for (let tries = 0; isRunning(pid) && tries < 100; tries++) await pause(50);
    assert.ok(!isRunning(pid), "nobody holds up its end");
    terminal.signal("SIGKILL");
  }
});

labTest(
  "10,000 clients of HTTP at --admin, then at the control socket, cost no packet, and are counted",
  async () => {
    await using topology = await bridged("behind a port");
    const { host } = topology;
    const watched = await Watched.over(topology);
    const folder = `${watched.folder}/control`;
    await Deno.mkdir(folder, { mode: 0o700 });
    const control = `--control=${folder}/s`;
    const proxy = await startProxy(host, [...watched.flags, control, "--trace=off"]);
    await proxy.waitFor("metrics are served");
    for (const [at, target] of [[ADMIN, "/metrics"], [`${folder}/s`, "/status"]] as const) {
      const clients = await startClients(host, at, target, 10_000);
      await pause(1000);
      await watched.pings();
      await watched.pings();
      const { connected, answered } = await servedTo(clients);
      assert.ok(connected > 100 && answered > 0, `${connected} connected, ${answered} answered`);
    }
    await watched.serves();
    assert.ok(await watched.metric("admin_connections_refused_total") > 0);
    const status = await host.must(proxyCommand(["ctl", control, "--json", "status"]));
    assert.equal(JSON.parse(status).decisions.Echo_reply, 5 * PINGS);
    assert.ok(JSON.parse(status).control.refused > 0);
    const { code, stderr } = await proxy.stop();
    assert.equal(code, 0);
    assert.doesNotMatch(stderr, / error: /);
  },
);

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
