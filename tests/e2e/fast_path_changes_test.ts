/** Connections that the kernel carries while the world changes, on a real TAP device. */
import assert from "node:assert/strict";
import { echoDatagrams, SteadyDatagrams } from "../lab/datagrams.ts";
import { type Family, inEachFamily } from "../lab/families.ts";
import type { Host } from "../lab/lab.ts";
import { startEcho } from "../lab/peer.ts";
import { askSummary, proxyCommand, startProxy, summaryCount, trackedIn } from "../lab/proxy.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { labTests } from "../lab/suite.ts";
import {
  backendAddresses,
  bridged,
  proxyAddress,
  tap,
  tapCommands,
  type Topology,
} from "../lab/topology.ts";
import { whyNoBpf } from "../support/bpf_kernel.ts";
import type { Background } from "../support/shell.ts";

const labTest = whyNoBpf() === undefined ? await labTests("nc", "ss", "ping") : () => {};

const [first, second] = backendAddresses as [string, string];
const options = ["--trace=off", "--fast-path=on"];
const toFirst = [`--net=${tap}`, `--dst-addrs=${first}`, ...options];
const toTwo = [`--net=${tap}`, `--dst-addrs=${first},${second}`, ...options];
const PORTS = [2000, 2001, 2002, 2003, 2004, 2005, 2006, 2007];

const policyTitle = "proxy, fast path, under eight streams, a new policy holds at once";

inEachFamily(labTest, policyTitle, async (family) => {
  await using topology = await bridgedIn(family);
  const { client, host, backends, lab } = topology;
  const file = `${lab.folder}/own.policy`;
  const policy = (dropped: string) =>
    "default drop\n" + dropped +
    "not ip.src in $dst-addrs -> translate-a-to-b, forward\n" +
    "otherwise -> translate-b-to-a, forward\n";
  await Deno.writeTextFile(file, policy(""));
  const flags = family.options([...toFirst, `--policy=${file}`]);
  const proxy = await startProxy(host, flags, [family.of(first)]);
  await streams(family, client, backends[0]!.host, PORTS);
  await carriesMore(proxy);

  const closed = "tcp.sport in 2004-2007 -> drop\ntcp.dport in 2004-2007 -> drop\n";
  await Deno.writeTextFile(file, policy(closed));
  proxy.signal("SIGHUP");
  await proxy.waitFor("reloaded\n");
  await pause(200); // what was sent before is on its way
  const before = await receivedBy(family, client);
  await pause(1500);
  const after = await receivedBy(family, client);
  for (const port of PORTS) {
    const more = after.get(port)! - before.get(port)!;
    assert.ok(port < 2004 ? more > 0 : more === 0, `port ${port}: ${more} bytes more`);
  }
  const summary = await askSummary(proxy);
  assert.match(summary, /^ +[1-9]\d* +tcp\.sport in 2004-2007 -> drop$/m);

  await Deno.writeTextFile(file, policy(""));
  proxy.signal("SIGHUP");
  await proxy.waitFor(/reloaded\n[^]*reloaded\n/);
  await eachGoesOn(family, client, PORTS);
  await proxy.stop();
});

for (const which of ["backend", "client"] as const) {
  inEachFamily(
    labTest,
    `proxy, fast path, a ${which} that has another MAC address gets what is its own`,
    async (family) => {
      await using topology = await bridgedIn(family);
      const { client, host, backends } = topology;
      const backend = backends[0]!.host;
      const proxy = await startProxy(host, family.options(toFirst), [family.of(first)]);
      await streams(family, client, backend, [2000, 2001]);
      await carriesMore(proxy);
      const moved = which === "client" ? client : backend;
      const notify = family.number === 4
        ? "ipv4/conf/eth0/arp_notify"
        : "ipv6/conf/eth0/ndisc_notify";
      await moved.script(`
        echo 1 > /proc/sys/net/${notify}
        ip link set eth0 address 02:00:00:00:77:77`);
      await eachGoesOn(family, client, [2000, 2001]);
      await carriesMore(proxy);
      await proxy.stop();
    },
  );
}

const deviceTitle = "proxy, fast path, goes on with a device that was deleted and made again";

inEachFamily(labTest, deviceTitle, async (family) => {
  await using topology = await bridgedIn(family);
  const { client, host, backends } = topology;
  // Without the sandbox: with it a new device has no fast path, as that takes a capability.
  const flags = family.options([...toFirst, "--sandbox=off"]);
  const proxy = await startProxy(host, flags, [family.of(first)]);
  await streams(family, client, backends[0]!.host, [2000, 2001]);
  await carriesMore(proxy);
  await host.script(`ip link set ${tap} down; sleep 0.3; ip link set ${tap} up`);
  await eachGoesOn(family, client, [2000, 2001]);
  await carriesMore(proxy);
  await host.script(`ip link del ${tap}`);
  await proxy.waitFor(`${tap} is gone`);
  await host.script(tapCommands);
  await eachGoesOn(family, client, [2000, 2001]);
  await carriesMore(proxy);
  await proxy.stop();
});

inEachFamily(
  labTest,
  "proxy, fast path, takes datagrams to another backend when their service has died",
  async (family) => {
    await using topology = await bridgedIn(family);
    const both = [first, second].map(family.of);
    const { client, host, backends, lab } = topology;
    const services = new Map<string, Background>();
    const serve = async (address: string) => {
      const { host } = backends.find((one) => family.of(one.address) === address)!;
      services.set(address, await echoDatagrams(host, address));
    };
    for (const address of both) await serve(address);
    const file = `${lab.folder}/udp.policy`;
    await Deno.writeTextFile(
      file,
      "default drop\nnot ip.src in $dst-addrs -> translate-a-to-b, forward\n" +
        "otherwise -> translate-b-to-a, forward\n",
    );
    // Linux tells a sender once a second that a port is closed: other checks time out.
    const check = "--check=udp 2000 0a0b, interval 500ms, fastinter 200ms, timeout 1s";
    const control = `--control=${lab.folder}/s`;
    const flags = family.options([...toTwo, `--policy=${file}`, check, control]);
    const proxy = await startProxy(host, flags, []);
    for (const address of both) await proxy.waitFor(`backend ${address} is up: `);
    const ctl = (...words: string[]) => host.must(proxyCommand(["ctl", control, ...words]));
    const datagrams = await SteadyDatagrams.start(client, family.of(proxyAddress), 2000);
    await datagrams.continues(20);
    await carriesMore(proxy);

    const used = async () => {
      const rows = await ctl("connections", "protocol=udp");
      const found = [first, second].filter((one) => rows.includes(` ${family.host(one)}:2000 `));
      return found.map(family.of);
    };
    const [own, ...more] = await used();
    assert.deepEqual(more, []);
    const other = both.find((address) => address !== own)!;
    // Its host is there, and answers ARP: only the check tells.
    await services.get(own!)!.stop("SIGKILL");
    await proxy.waitFor(`backend ${own} is down: `);
    await datagrams.continues(20);
    assert.deepEqual(await used(), [other]);
    await carriesMore(proxy);

    // Drained, a backend keeps what it has; killed, a connection is opened anew, elsewhere.
    await serve(own!);
    await proxy.waitFor(new RegExp(`backend ${RegExp.escape(own!)} is down: [^]*${own} is up: `));
    await ctl("drain", other);
    await datagrams.continues(20);
    assert.deepEqual(await used(), [other]);
    await ctl("kill", "protocol=udp");
    await datagrams.continues(20);
    assert.deepEqual(await used(), [own]);
    await carriesMore(proxy);
    await datagrams.stop();
    await proxy.stop();
  },
);

const idleTitle = "proxy, fast path, forgets connections that are idle, and none that is busy";

inEachFamily(labTest, idleTitle, async (family) => {
  await using topology = await bridgedIn(family);
  const own = family.of(proxyAddress);
  const { client, host, backends } = topology;
  await startEcho(backends[0]!.host, family.of(first), 2000);
  const flags = family.options([...toFirst, "--timeout-established=2"]);
  const proxy = await startProxy(host, flags, [family.of(first)]);
  const steady = await SteadyConnections.open(client, own, 2000, 5);
  const idle = client.start(["nc", own, "2000"], { stdin: "" });
  await idle.waitFor(`from ${family.of(first)}\n`);
  for (let i = 0; i < 3; i++) await idle.write(`line ${i}\n`), await idle.waitFor(`line ${i}\n`);
  await carriesMore(proxy);
  assert.equal(trackedIn(await askSummary(proxy)), 6);
  await pause(6000);
  assert.equal(trackedIn(await askSummary(proxy)), 5, "the idle one is forgotten");
  const { failures, fewest } = await steady.report();
  assert.deepEqual(failures, []);
  assert.ok(fewest > 0);
  await carriesMore(proxy);
  await proxy.stop();
});

/** The network, its hosts of that family. */
async function bridgedIn(family: Family): Promise<Topology> {
  const topology = await bridged("behind a port", "nobody");
  await family.speak(topology.lab);
  return topology;
}

/** A stream from the backend on each of these ports, as fast as it goes. */
async function streams(
  family: Family,
  client: Host,
  backend: Host,
  ports: readonly number[],
): Promise<void> {
  for (const port of ports) {
    backend.start(["sh", "-c", `yes | nc -${family.number} -l -p ${port}`]);
  }
  const listening = `ss -Hltn | grep -c ':200[0-7] ' | grep -qx ${ports.length}`;
  await backend.script(`timeout 5 sh -c "until ${listening}; do sleep 0.05; done"`);
  for (const port of ports) {
    client.start(["sh", "-c", `exec nc ${family.of(proxyAddress)} ${port} > /dev/null`]);
  }
  await eachGoesOn(family, client, ports);
}

/** Bytes that each stream has brought, by its port. */
async function receivedBy({ host }: Family, client: Host): Promise<ReadonlyMap<number, number>> {
  const words = ["ss", "-HtinO", "state", "established", "dst", host(proxyAddress)];
  const text = await client.must(words);
  const found = text.matchAll(/:(200\d)\s.* bytes_received:(\d+)/g);
  return new Map([...found].map(([, port, bytes]) => [Number(port), Number(bytes)]));
}

/** Returns once more has come over each stream. */
async function eachGoesOn(
  family: Family,
  client: Host,
  ports: readonly number[],
): Promise<void> {
  const before = await receivedBy(family, client);
  const deadline = performance.now() + 15_000;
  while (true) {
    const now = await receivedBy(family, client);
    const still = ports.filter((port) => !((now.get(port) ?? 0) > (before.get(port) ?? 0)));
    if (still.length === 0) return;
    assert.ok(performance.now() < deadline, `nothing comes over the streams of ${still}`);
    await pause(100);
  }
}

/** Returns once the kernel has carried more. */
async function carriesMore(proxy: Background): Promise<void> {
  const before = await carriedBy(proxy);
  const deadline = performance.now() + 10_000;
  while (await carriedBy(proxy) <= before) {
    assert.ok(performance.now() < deadline, "the kernel carries nothing");
    await pause(100);
  }
}

async function carriedBy(proxy: Background): Promise<number> {
  const summary = await askSummary(proxy);
  return summaryCount(summary.replace(/^Carried +: (\d+)/m, "carried $1"), "carried");
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
