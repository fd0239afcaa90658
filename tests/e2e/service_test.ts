/**
 * The package and its service on a machine of the lab, where systemd is process 1. Both are made of
 * the built file that the environment variable PROXY names; without it the tests are skipped.
 */
import assert from "node:assert/strict";
import builtIn from "../../contrib/policies/built-in.policy" with { type: "text" };
import { fileURLToPath } from "node:url";
import { makePackage } from "../../src/pack/deb/package.ts";
import type { Lab } from "../lab/lab.ts";
import { startEcho } from "../lab/peer.ts";
import { SteadyConnections } from "../lab/steady.ts";
import { type DeclareTest, labTests } from "../lab/suite.ts";
import { Machine, until } from "../lab/systemd.ts";
import { backendAddresses, bridged, proxyAddress, tap, tapCommands } from "../lab/topology.ts";
import { whyNoBpf } from "../support/bpf_kernel.ts";

const PROGRAMS = ["systemctl", "systemd-analyze", "dpkg", "dpkg-deb", "adduser", "cc", "curl"];

const UNIT = "treegate.service";
const CONFIG = "/etc/treegate/treegate.conf";
/** NET_ADMIN, BPF and PERFMON, as /proc shows them. */
const CAPABILITIES = "000000c000001000";

const CONNECTIONS = 40;
const PINGS = 400;

/** Whether the fast path can be had on this machine. */
const mayBpf = whyNoBpf() === undefined;

/** Installing takes as long as writing some 100 MB. */
const INSTALL = { timeoutMs: 120_000 };

const mayAsk = await Deno.permissions.query({ name: "env", variable: "PROXY" });
const built = mayAsk.state === "granted" ? Deno.env.get("PROXY") ?? "" : "";
const serviceTest = await declare();

async function declare(): Promise<DeclareTest> {
  if (built === "") {
    const why = "skipped: the environment variable PROXY names no built file";
    return (name, fn) => Deno.test({ name: `${name} (${why})`, ignore: true, fn });
  }
  const labTest = await labTests(...PROGRAMS);
  const obstacle = await Machine.obstacle();
  return (name, fn) => labTest(name, fn, { obstacle });
}

/** The package in the lab's folder. To press it together would take a minute. */
function packageOf({ folder }: Lab, version: string): Promise<string> {
  return makePackage({ program: built, version, folder, compression: ["-Znone"] });
}

/** Writes the config file and a policy that answers every ping. */
async function configure(machine: Machine, ...more: string[]): Promise<void> {
  const flags = [`net=${tap}`, `dst-addrs=${backendAddresses.join(",")}`, "policy=pings.policy"];
  await machine.write(CONFIG, [...flags, "trace=off", ...more, ""].join("\n"));
  await machine.write(
    "/etc/treegate/pings.policy",
    "default drop\nicmp and echo-request -> echo\n" +
      "not ip.src in $dst-addrs -> translate-a-to-b, forward\n" +
      "otherwise -> translate-b-to-a, forward\n",
  );
}

/** Waits until the service's journal, since so many characters, has a text; all since then. */
function said(machine: Machine, wanted: RegExp, from = 0): Promise<string> {
  return until(async () => {
    const text = (await machine.journal(UNIT)).slice(from);
    return wanted.test(text) ? text : null;
  }, `the journal has ${wanted}`);
}

serviceTest(
  "package installs, starts and enables nothing, and a purge leaves nothing",
  async () => {
    await using topology = await bridged("on the bridge");
    const deb = await packageOf(topology.lab, "1.0");
    await using machine = await Machine.start(topology.host);
    const states = async () => {
      const asked = ["is-enabled", "is-active"];
      const answers = await Promise.all(
        asked.map((word) => machine.run(["systemctl", word, UNIT])),
      );
      return answers.map(({ stdout }) => stdout.trim());
    };

    // Where no systemd runs, as in a chroot.
    const without = `mount -t tmpfs tmpfs /run
      dpkg --install ${deb}
      treegate --version
      dpkg --purge treegate`;
    const words = ["unshare", "--mount", "sh", "-ec", without];
    assert.match(await machine.must(words, INSTALL), /^treegate \d+\.\d+\.\d+ /m);

    await machine.must(["dpkg", "--install", deb], INSTALL);
    assert.deepEqual(await states(), ["disabled", "inactive"]);
    assert.match(await machine.must(["getent", "passwd", "treegate"]), /:\/usr\/sbin\/nologin$/m);
    assert.equal(
      await machine.must(["treegate", "policy", "print"]),
      builtIn.replace(/^#.*\n/gm, ""),
    );
    await machine.must(["gzip", "--test", "/usr/share/man/man8/treegate.8.gz"]);
    assert.equal(await machine.must(["dpkg", "--verify", "treegate"]), "");

    const checked = await machine.run(["systemd-analyze", "--man=no", "verify", UNIT]);
    assert.deepEqual([checked.code, checked.stdout + checked.stderr], [0, ""]);

    // As it is installed it lacks what only the operator can say; that is no reason to start again.
    assert.equal((await machine.run(["systemctl", "start", UNIT])).code, 1);
    assert.match(await machine.journal(UNIT), /^--net: Required: expected --net=DEVICE/m);
    assert.deepEqual(await machine.properties(UNIT, "ActiveState", "NRestarts"), ["failed", "0"]);

    await configure(machine);
    await machine.must(["systemctl", "enable", "--now", UNIT]);
    assert.deepEqual(await states(), ["enabled", "active"]);
    await machine.script("systemctl restart treegate; test -d /var/lib/treegate/");
    const pid = (await machine.properties(UNIT, "MainPID"))[0]!;
    await machine.must(["dpkg", "--remove", "treegate"], INSTALL);
    assert.equal((await machine.run(["test", "-e", `/proc/${pid}`])).code, 1);
    assert.match(await machine.must(["cat", CONFIG]), /^net=tap100$/m);
    await machine.must(["dpkg", "--install", deb], INSTALL);
    assert.match(await machine.must(["cat", CONFIG]), /^net=tap100$/m);
    await machine.must(["dpkg", "--purge", "treegate"], INSTALL);
    const left = await machine.script(
      "find /etc /usr /var /run -name '*treegate*'; ls /etc/treegate",
    );
    assert.equal(left, "/etc/treegate\npings.policy\n"); // the operator's own
  },
);

serviceTest("service is ready, reloads, and keeps its device with systemd", async () => {
  await using topology = await bridged("on the bridge");
  const { lab, host } = topology;
  const deb = await packageOf(lab, "1.0");
  await using machine = await Machine.start(host);
  await machine.must(["dpkg", "--install", deb], INSTALL);
  await configure(machine, "admin=127.0.0.1:9100");
  await machine.must(["systemctl", "start", UNIT]);

  // Ready: it answers at once.
  await machine.must(["ping", "-c", "1", "-W", "5", proxyAddress]);
  assert.match(await machine.must(["treegate", "ctl", "status"]), /^Policy +: .*pings\.policy/m);
  const metrics = await machine.must(["curl", "--silent", "http://127.0.0.1:9100/metrics"]);
  assert.match(metrics, new RegExp(`^treegate_fast_path ${mayBpf ? 1 : 0}$`, "m"));
  // A capture by name.
  await machine.must(["treegate", "ctl", "capture", "start", "pings.pcapng"]);
  await machine.must(["ping", "-c", "1", "-W", "5", proxyAddress]);
  await machine.must(["treegate", "ctl", "capture", "stop"]);
  const captured = ["stat", "--format=%U %a", "/var/lib/treegate/captures/pings.pcapng"];
  assert.equal(await machine.must(captured), "treegate 600\n");
  const [before] = await machine.properties(UNIT, "MainPID");
  const status = await machine.must(["cat", `/proc/${before}/status`]);
  const [user] = (await machine.must(["id", "--user", "treegate"])).split("\n");
  assert.match(status, new RegExp(`^Uid:(\t${user}){4}$`, "m"));
  assert.match(status, /^NoNewPrivs:\t1$/m);
  assert.match(status, new RegExp(`^CapBnd:\t${CAPABILITIES}$`, "m"));

  // A reload that is right changes what it says, one that is not changes nothing.
  const dropped = "default drop\ntcp and not ip.src in $dst-addrs -> translate-a-to-b, forward\n" +
    "otherwise -> translate-b-to-a, forward\n";
  await machine.write("/etc/treegate/pings.policy", dropped);
  await machine.must(["systemctl", "reload", UNIT]);
  await said(machine, / policy "[^"]+" reloaded$/m);
  assert.equal((await machine.run(["ping", "-c", "1", "-W", "1", proxyAddress])).code, 1);
  await machine.write("/etc/treegate/pings.policy", "default drpo\n");
  await machine.must(["systemctl", "reload", UNIT]);
  await said(machine, / not reloaded, nothing has changed: /);
  const [active, after] = await machine.properties(UNIT, "ActiveState", "MainPID");
  assert.deepEqual([active, after], ["active", before]);

  // A device that comes again is kept in place of the one that was there.
  for (let times = 0; times < 3; times++) {
    const { length } = await machine.journal(UNIT);
    await host.script(`ip link del ${tap}`);
    await said(machine, new RegExp(` warning: .*${tap}`), length);
    await host.script(tapCommands);
    await said(machine, new RegExp(` info: ${tap} is up$`, "m"), length);
  }
  assert.deepEqual(await machine.properties(UNIT, "NFileDescriptorStore"), ["1"]);

  // One that the config file names no more is let go.
  await configure(machine);
  const { length } = await machine.journal(UNIT);
  await machine.script(`sed -i s/${tap}/tap200/ ${CONFIG}; systemctl restart treegate`);
  await machine.must(["systemctl", "restart", UNIT]);
  const closings = (await machine.journal(UNIT)).slice(length).match(/descriptor 3 .* is closed/g);
  assert.equal(closings?.length, 1);
  assert.deepEqual(await machine.properties(UNIT, "NFileDescriptorStore"), ["1"]);
});

serviceTest("service whose packet thread hangs is started again, and has its device", async () => {
  await using topology = await bridged("on the bridge");
  const { lab, host } = topology;
  const deb = await packageOf(lab, "1.0");
  const hold = `${lab.folder}/hold_thread`;
  const source = fileURLToPath(new URL("../lab/hold_thread.c", import.meta.url));
  await lab.must(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", hold, source]);
  await using machine = await Machine.start(host);
  await machine.must(["dpkg", "--install", deb], INSTALL);
  await configure(machine);
  await machine.write(`/run/systemd/system/${UNIT}.d/lab.conf`, "[Service]\nWatchdogSec=3\n");
  await machine.script("systemctl daemon-reload; systemctl start treegate");
  const [process] = await machine.properties(UNIT, "MainPID");
  const { length } = await machine.journal(UNIT);
  const holding = machine.start([hold, process!]); // the thread that has the process's number
  await holding.waitFor("held");
  // The other threads go on.
  await machine.must(["treegate", "ctl", "version"]);
  const log = await said(machine, /Started [^]* is at /, length);
  assert.match(log, /Watchdog timeout \(limit 3s\)/);
  assert.match(log, /info: tap100 is taken over as the last run left it/);
  assert.deepEqual(await machine.properties(UNIT, "ActiveState", "NRestarts"), ["active", "1"]);
  await machine.must(["ping", "-c", "1", "-W", "5", proxyAddress]);
});

serviceTest("an upgrade of the package loses no connection and no ping", async () => {
  await using topology = await bridged("behind a port", "nobody");
  const { lab, host, client, backends } = topology;
  for (const { address, host } of backends) await startEcho(host, address, 2000);
  const [first, second] = [await packageOf(lab, "1.0"), await packageOf(lab, "1.1")];
  await using machine = await Machine.start(host);
  await machine.must(["dpkg", "--install", first], INSTALL);
  await configure(machine);
  await machine.must(["systemctl", "start", UNIT]);
  for (const address of backendAddresses) await said(machine, new RegExp(`${address} is at `));
  const steady = await SteadyConnections.open(client, proxyAddress, 2000, CONNECTIONS);
  const pings = client.start(["ping", "-i", "0.05", "-c", `${PINGS}`, "-W", "30", proxyAddress]);

  const again = async (begin: () => Promise<unknown>) => {
    const { length } = await machine.journal(UNIT);
    await begin();
    const log = await said(machine, / info: went on from /, length);
    assert.match(log, new RegExp(` info: ${CONNECTIONS} connections saved to `));
    assert.match(log, / info: tap100 is taken over as the last run left it$/m);
    assert.match(log, new RegExp(` info: went on from "[^"]+": ${CONNECTIONS} connections, `));
    await steady.isUnbroken();
  };
  await again(() => machine.must(["dpkg", "--install", second], INSTALL));
  const [version] = (await machine.must(["dpkg-query", "-W", "treegate"])).split("\n");
  assert.equal(version, "treegate\t1.1");
  await again(() => machine.must(["treegate", "ctl", "upgrade"]));
  // One descriptor for the device, whatever number of runs there were.
  const [descriptors] = await machine.properties(UNIT, "NFileDescriptorStore");
  assert.equal(descriptors, "1");
  assert.ok(await pings.ended(180_000), "pings end");
  assert.match(
    (await pings.result()).stdout,
    new RegExp(`${PINGS} packets transmitted, ${PINGS} received, 0% packet loss`),
  );
});
