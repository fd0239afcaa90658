/**
 * The control socket of a running proxy: its commands, and clients that attack while the data path
 * serves.
 */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { demo } from "../../src/policy/language/built_in.ts";
import { print } from "../../src/policy/printing/print.ts";
import { type Family, inEachFamily, IPV4 } from "../lab/families.ts";
import { ControlAttack } from "../lab/control_attack.ts";
import { startEcho } from "../lab/peer.ts";
import { lastSummary, proxyCommand, startProxy, summaryCount, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import {
  backendAddresses,
  bridged,
  clientAddress,
  proxyAddress,
  type Topology,
} from "../lab/topology.ts";
import type { Background, Result } from "../support/shell.ts";

const labTest = await labTests("ping", "nc", "curl", "setpriv");

/** A proxy with a policy file and a control socket, and its clients. */
class Controlled {
  readonly socket: string;
  readonly policy: string;

  constructor(readonly topology: Topology, readonly family: Family = IPV4) {
    const folder = `${topology.lab.folder}/control`;
    Deno.mkdirSync(folder, { mode: 0o755 }); // other users come to the socket, and no further
    Deno.chmodSync(topology.lab.folder, 0o755);
    this.socket = `${folder}/s`;
    this.policy = `${topology.lab.folder}/own.policy`;
    Deno.writeTextFileSync(this.policy, print(demo));
  }

  async start(...flags: string[]): Promise<Background> {
    const control = [`--control=${this.socket}`, `--policy=${this.policy}`, "--trace=off"];
    const options = this.family.options([...usualOptions, ...control, ...flags]);
    const addresses = backendAddresses.map(this.family.of);
    const proxy = await startProxy(this.topology.host, options, addresses);
    await proxy.waitFor(`control socket "${this.socket}" is open`);
    return proxy;
  }

  async ctl(...words: string[]): Promise<Result> {
    return await this.topology.host.run(
      proxyCommand(["ctl", `--control=${this.socket}`, ...words]),
    );
  }
}

const askedTitle = "ctl asks and changes a running proxy, and agrees with the summary";

inEachFamily(labTest, askedTitle, async (family) => {
  const { of, pattern } = family;
  const at = (address: string) => RegExp.escape(family.host(address));
  await using topology = await bridged("on the bridge");
  await family.speak(topology.lab);
  const own = of(proxyAddress);
  const { client, host } = topology;
  for (const { address, host } of topology.backends) await startEcho(host, of(address), 2000);
  const control = new Controlled(topology, family);
  const none = await control.ctl("status");
  assert.deepEqual([none.code, none.stdout], [1, ""]);
  assert.match(none.stderr, /^error: Cannot reach a proxy at ".*": there is no such socket/);
  const proxy = await control.start();
  assert.equal(((await Deno.lstat(control.socket)).mode! & 0o777).toString(8), "600");

  await using connection = client.start(["nc", own, "2000"], { stdin: "" });
  await connection.waitFor(/^from /);
  const list = await control.ctl("connections", "state=established");
  const [, line] = list.stdout.split("\n");
  assert.match(
    line!,
    new RegExp(
      String.raw`^tcp +2:0\d:\d\d +established +${at(clientAddress)}:\d+ +${
        at(proxyAddress)
      }:2000 +\S+:2000 +0:\d\d$`,
    ),
  );
  const top = await control.ctl("top", "--once", "--interval=200ms");
  assert.equal(top.stderr, "");
  assert.match(
    top.stdout,
    new RegExp(
      String.raw`^treegate [^]*TREE [^]* {2}not ip\.src in \$dst-addrs\n[^]*` +
        String.raw`BACKENDS [^]*● up [^]*dst-addrs\/${pattern("192.168.0.3")}`,
    ),
  );
  const misspelt = await control.ctl("connections", "stat=established");
  assert.deepEqual([misspelt.code, misspelt.stdout], [2, ""]);
  assert.match(misspelt.stderr, /^error: Unknown parameter "stat": .*did you mean "state"\?\n$/);

  // As curl asks it, and as the table of backends says it.
  const curl = ["curl", "-sS", "--unix-socket", control.socket];
  const backends = JSON.parse(await host.must([...curl, "http://localhost/backends"]));
  assert.equal(
    backends.reduce((sum: number, { tracked }: { tracked: number }) => sum + tracked, 0),
    1,
  );
  assert.match(
    (await control.ctl("backends")).stdout,
    new RegExp(`^BACKEND +STATUS .*OPENED +FAILURE\ndst-addrs/${pattern("192.168.0.1")} +up `),
  );

  // A wrong policy: the errors with their lines, and nothing changes.
  await Deno.writeTextFile(control.policy, "default drop\ntpc -> drop\n");
  const refused = await control.ctl("reload");
  assert.deepEqual([refused.code, refused.stdout], [1, ""]);
  assert.match(
    refused.stderr,
    /own\.policy:2:1: Found "tpc".*did you mean "tcp"\?\n +2 \| tpc -> drop\n/,
  );
  await Deno.writeTextFile(control.policy, print(demo).replace("80 -> drop", "80 -> reject"));
  const reloaded = await control.ctl("reload");
  assert.deepEqual([reloaded.code, reloaded.stdout], [
    0,
    `policy "${control.policy}" reloaded\n`,
  ]);
  const port80 = `tcp ${family.host(clientAddress)}:4000 > ${family.host(proxyAddress)}:80`;
  assert.match((await control.ctl("explain", port80)).stdout, /Decision : Reject/);

  const trace = host.start(
    proxyCommand(["ctl", `--control=${control.socket}`, "trace", "icmp", "limit=2", "seconds=20s"]),
  );
  await using pings = client.start(["ping", "-i", "0.2", own]);
  const { code, stdout } = await trace.result();
  assert.equal(code, 0);
  assert.match(
    stdout,
    new RegExp(
      `^(icmp ${pattern(clientAddress)} > ${
        pattern(proxyAddress)
      } echo-request.*\n){2}… ended: limit`,
    ),
  );
  await pings.stop("SIGINT");

  // A drained backend gets none of 20 connections, and is waited for.
  const name = backendAddresses.find((one) => line!.includes(` ${family.host(one)}:2000 `))!;
  const waited = await control.ctl("drain", of(name), "--wait=1s");
  assert.deepEqual([waited.code, waited.stderr], [1, "error: Connections open after 1 s: 1\n"]);
  for (let i = 0; i < 20; i++) {
    const { stdout } = await client.run(["nc", "-N", own, "2000"], { stdin: "" });
    assert.ok(stdout.startsWith("from ") && !stdout.includes(`from ${of(name)}\n`), stdout);
  }
  assert.match((await control.ctl("ready", of(name))).stdout, / up /);

  // A backend of --dst-addrs that is taken out and put back.
  const other = of(backendAddresses.find((address) => address !== name)!);
  await control.ctl("maintenance", other);
  assert.equal((await control.ctl("remove", other)).code, 0);
  const gone = new RegExp(`^dst-addrs/${other} +draining `, "m"); // to its last connection
  assert.match((await control.ctl("backends")).stdout, gone);
  const added = await control.ctl("add", `dst-addrs/${other}`, "weight=200");
  assert.match(added.stdout, new RegExp(`^dst-addrs/${other} +(unknown|up) +200 `, "m"));
  let found = "";
  for (let tries = 0; found !== other; tries++) {
    assert.ok(tries < 60, "it gets connections once it has been found");
    const { stdout } = await client.run(["nc", "-N", own, "2000"], { stdin: "" });
    found = /^from (\S+)/.exec(stdout)?.[1] ?? "";
    await new Promise((resolve) => setTimeout(resolve, 100));
  }

  assert.match(
    (await control.ctl("kill", "port=2000", `backend=${of(name)}`)).stdout,
    /^1 connection killed\n$/,
  );
  assert.equal(
    (await control.ctl("connections", "state=established", "--json")).stdout,
    '{"connections":[],"more":false}\n',
  );
  const drops = await control.ctl("drops");
  const policyDrops = Number(/(\d+) +policy /.exec(drops.stdout)![1]);
  const summary = lastSummary((await proxy.stop()).stdout);
  assert.equal(summaryCount(/^Drops .*$/m.exec(summary)![0], "policy"), policyDrops);
  assert.throws(
    () => Deno.lstatSync(control.socket),
    Deno.errors.NotFound,
    "it takes its socket away",
  );
});

labTest(
  "a killed proxy's socket is replaced; other users, links and open folders are refused",
  async () => {
    await using topology = await bridged("on the bridge");
    const control = new Controlled(topology);
    const killed = await control.start();
    await killed.stop("SIGKILL");
    assert.ok((await Deno.lstat(control.socket)).isSocket);
    assert.match((await control.ctl("status")).stderr, /nobody listens there, the proxy has ended/);
    const plain = ["ctl", "--control=/etc/hosts", "status"];
    const asked = await topology.host.run(proxyCommand(plain));
    assert.match(asked.stderr, /^error: Cannot reach [^\n]*: it is no socket\n$/);
    const proxy = await control.start();

    const other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    const curl = ["curl", "-sS", "--unix-socket", control.socket, "http://localhost/status"];
    const refused = await topology.host.run([...other, ...curl]);
    assert.equal(refused.code, 7, "it can't connect");
    assert.equal((await topology.host.run(curl)).code, 0);
    await proxy.stop();

    const fails = async (words: RegExp) => {
      const { code, stderr } = await topology.host.run(
        proxyCommand([...usualOptions, `--control=${control.socket}`, "--trace=off"]),
      );
      assert.equal(code, 1);
      assert.match(stderr, words);
    };
    await Deno.symlink("/etc/hostname", control.socket);
    await fails(/^error: Cannot open control socket ".*": there is a symbolic link/m);
    await Deno.remove(control.socket);
    await Deno.chmod(`${topology.lab.folder}/control`, 0o777);
    await fails(/^error: Cannot open control socket ".*": others can write the folder/m);
  },
  { otherUsers: true },
);

labTest(
  "while its control socket is attacked the proxy answers every ping, and the operator after it",
  async () => {
    await using topology = await bridged("on the bridge");
    const control = new Controlled(topology);
    await Deno.writeTextFile(control.policy, "default drop\nicmp -> track, echo\n");
    const proxy = await control.start();
    const attack = new ControlAttack(control.socket);
    try {
      const { stdout } = await topology.client.run([
        "ping",
        "-c",
        "500",
        "-i",
        "0.01",
        "-W",
        "5",
        proxyAddress,
      ]);
      assert.match(stdout, /500 received/);
      assert.ok(attack.connections > 500, `${attack.connections} connections`);
    } finally {
      await attack.stop();
    }
    const { code, stdout } = await control.ctl("status");
    assert.equal(code, 0);
    assert.match(stdout, /^PDUs in +: 500, /m);
    const { stderr } = await proxy.stop();
    assert.doesNotMatch(stderr, /error|socket is closed/);
  },
);

labTest("with few descriptors the control socket takes fewer connections", async () => {
  await using topology = await bridged("on the bridge");
  const control = new Controlled(topology);
  const command = proxyCommand([...usualOptions, `--control=${control.socket}`, "--trace=off"]);
  await using proxy = topology.host.start([
    "bash",
    "-c",
    'ulimit -n 100; exec "$@"',
    "-",
    ...command,
  ]);
  await proxy.waitFor("is open");
  const held = Array.from({ length: 80 }, () => connect({ path: control.socket }));
  let closed = 0;
  for (const socket of held) {
    socket.on("error", () => {});
    socket.on("data", () => {});
    socket.on("close", () => closed++);
    socket.write("GET ");
  }
  const opened = async () => (await Array.fromAsync(Deno.readDir(`/proc/${proxy.pid}/fd`))).length;
  // Each is taken before it is refused.
  for (let tries = 0; closed < 20 || await opened() > 100 - 32; tries++) {
    assert.ok(tries < 250, `${closed} are closed, ${await opened()} descriptors are open`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  for (const socket of held) socket.destroy();
});
