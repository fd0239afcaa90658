/**
 * What a running proxy can't do any more, tried from inside each of its threads, and that the rest
 * goes on.
 */
import assert from "node:assert/strict";
import { buildShim } from "../../src/pack/compile_c.ts";
import { packPortable } from "../../src/pack/package.ts";
import { print } from "../../src/policy/printing/print.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { Attempter, type Attempts, threadsOf } from "../lab/attempts.ts";
import { Lab } from "../lab/lab.ts";
import { connectPeer, startEcho } from "../lab/peer.ts";
import { proxyCommand, usualOptions } from "../lab/proxy.ts";
import { labTests } from "../lab/suite.ts";
import { bridged, proxyAddress, tap, tapCommands, type Topology } from "../lab/topology.ts";
import { type Background, must } from "../support/shell.ts";

const labTest = await labTests("ping", "cc", "setpriv", "env");

const EPERM = -1;
const EACCES = -13;

/** What works in every thread, sandbox or not. */
const NEEDED = ["read-own", "write-own", "own-signal", "end"];

/** What fails in every thread, and how; what Landlock refuses fails with EACCES. */
const FORBIDDEN: Readonly<Record<string, number>> = {
  ...{ exec: EPERM, fork: EPERM, ptrace: EPERM, setuid: EPERM, unshare: EPERM, mount: EPERM },
  ...{ netlink: EPERM, packet: EPERM, raw: EPERM, connect: EPERM, "other-signal": EPERM },
  ...{ "shadow-by-proc": EACCES, "shadow-by-folder": EACCES },
  ...{ shadow: EACCES, passwd: EACCES, "init-memory": EACCES, "write-away": EACCES },
  ...{ "chmod-away": EPERM, "ring-setup": EPERM, "ring-socket": EACCES, "ring-openat": EACCES },
  ...(Deno.build.arch === "x86_64" ? { "call-32": EPERM, "call-x32": EPERM } : {}),
};

/** A proxy with all that a sandbox could get in the way of. */
class Boxed {
  readonly #topology: Topology;
  readonly attempter: Attempter;
  readonly policy: string;
  readonly socket: string;
  readonly state: string;

  private constructor(topology: Topology, attempter: Attempter) {
    const { folder } = topology.lab;
    this.#topology = topology;
    this.attempter = attempter;
    this.policy = `${folder}/policies/main`;
    this.socket = `${folder}/control/s`;
    this.state = `${folder}/kept/state`;
  }

  static async make(topology: Topology, isMild = false): Promise<Boxed> {
    const { lab } = topology;
    const [kept, away] = [`${lab.folder}/kept`, `${lab.folder}/away`];
    await Deno.chmod(lab.folder, 0o755);
    for (const name of ["policies", "control", "kept", "away"]) {
      await Deno.mkdir(`${lab.folder}/${name}`, { mode: 0o755 });
    }
    await Deno.writeTextFile(`${lab.folder}/policies/main`, print(demo));
    buildShim(); // who is watched from inside starts no compiler
    const readable = `${lab.folder}/policies/main`;
    const attempter = await Attempter.build(lab, { kept, away, readable }, isMild);
    return new Boxed(topology, attempter);
  }

  /** `program`: its path, for who can't come to the usual one. */
  async start(
    before: readonly string[],
    program: string | null,
    ...flags: readonly string[]
  ): Promise<Background> {
    const { host } = this.#topology;
    const own = [`--policy=${this.policy}`, `--control=${this.socket}`, `--state=${this.state}`];
    const options = [...usualOptions, ...own, "--admin=127.0.0.1:9100", "--trace=off", ...flags];
    const command = program === null ? proxyCommand(options) : [program, ...options];
    const proxy = host.start([...before, ...this.attempter.words, ...command]);
    await proxy.waitFor("sandbox: ", 20_000);
    await proxy.waitFor("backend 192.168.0.3 is at ");
    return proxy;
  }

  async ctl(...words: readonly string[]): Promise<string> {
    const command = proxyCommand(["ctl", `--control=${this.socket}`, ...words]);
    return await this.#topology.host.must(command);
  }

  /** Four connections through the proxy. */
  async serves(): Promise<void> {
    const { client } = this.#topology;
    const { failures } = await connectPeer(client, proxyAddress, 2000, 4, 10_000);
    assert.deepEqual(failures, []);
  }
}

/** The values of a field in the status of each thread, without repetition. */
async function statusOf(pid: number, field: string): Promise<string[]> {
  const texts = await Promise.all(
    threadsOf(pid).map((thread) =>
      Deno.readTextFile(`/proc/${pid}/task/${thread}/status`).catch(() => "")
    ),
  );
  const values = texts.filter((text) => text !== "").map((text) =>
    new RegExp(`^${field}:\\s+(\\S+)`, "m").exec(text)![1]!
  );
  return [...new Set(values)];
}

function assertForbidden(attempts: Attempts): void {
  assert.ok(attempts.size > 5, `${attempts.size} threads`);
  for (const [thread, results] of attempts) {
    for (const name of NEEDED) assert.ok(results.get(name)! >= 0, `${name} in ${thread}`);
    const refused = Object.fromEntries(
      [...results].filter(([name]) => !NEEDED.includes(name)),
    );
    assert.deepEqual(refused, FORBIDDEN, `thread ${thread}`);
  }
}

/** Reload, control, metrics, a device made anew, and the end: all of it as ever. */
async function assertWorks(boxed: Boxed, topology: Topology, proxy: Background): Promise<void> {
  const { host } = topology;
  await boxed.serves();
  await Deno.writeTextFile(boxed.policy, `${print(demo)}# once more\n`);
  proxy.signal("SIGHUP");
  await proxy.waitFor(`policy "${boxed.policy}" reloaded\n`);
  assert.match(await boxed.ctl("reload"), /reloaded/);
  const metrics = await host.must([
    ...["curl", "-sS", "--max-time", "5", "http://127.0.0.1:9100/metrics"],
  ]);
  assert.match(metrics, /^treegate_build_info\{/m);
  // Twice: the second one needs a descriptor that the first has left.
  for (let time = 1; time <= 2; time++) {
    await host.script(`ip link del ${tap}`);
    await proxy.waitFor(new RegExp(`(${tap} is gone[^]*){${time}}`));
    await host.script(tapCommands);
    await proxy.waitFor(new RegExp(`(${tap} is gone[^]*${tap} is up\n[^]*){${time}}`));
    await boxed.serves();
  }
}

/** Ends it, with its state kept and its socket gone. */
async function assertEnds(boxed: Boxed, proxy: Background, leavesSocket = false): Promise<void> {
  const { code, stderr } = await proxy.stop();
  assert.equal(code, 0, stderr);
  assert.match(stderr, /\d+ connections saved to /);
  assert.equal((await Deno.stat(boxed.state)).isFile, true);
  const isLeft = await Deno.lstat(boxed.socket).then(() => true, () => false);
  assert.equal(isLeft, leavesSocket);
}

async function withEcho(): Promise<Topology> {
  const topology = await bridged("on the bridge");
  for (const { address, host } of topology.backends) await startEcho(host, address, 2000);
  return topology;
}

for (const mode of ["on", "strict"]) {
  labTest(
    `sandbox ${mode}: no thread can do what a run does not need, and all that it needs works`,
    async () => {
      await using topology = await withEcho();
      const boxed = await Boxed.make(topology);
      await using proxy = await boxed.start([], null, `--sandbox=${mode}`);
      assertForbidden(await boxed.attempter.attempt(proxy));
      const { pid } = proxy;
      assert.deepEqual(await statusOf(pid, "CapEff"), ["0000000000000000"]);
      assert.deepEqual(await statusOf(pid, "CapPrm"), ["0000000000000000"]);
      assert.deepEqual(await statusOf(pid, "CapBnd"), ["0000000000000000"]);
      assert.deepEqual(await statusOf(pid, "NoNewPrivs"), ["1"]);
      assert.deepEqual(await statusOf(pid, "Seccomp"), ["2"]);
      const { sandbox } = JSON.parse(await boxed.ctl("status", "--json"));
      assert.deepEqual([sandbox.mode, sandbox.user], [mode, null]);
      const { threads, noNewPrivileges, noCapabilities, emptyBoundingSet, filtered } = sandbox;
      const counts = [noNewPrivileges, noCapabilities, emptyBoundingSet, filtered];
      assert.deepEqual(counts, counts.map(() => threads));
      assert.match(
        await boxed.ctl("status"),
        new RegExp(`^Sandbox +: ${mode}: \\d+ threads with`, "m"),
      );
      await assertWorks(boxed, topology, proxy);
      // Threads that were made meanwhile, too.
      assertForbidden(await boxed.attempter.attempt(proxy));
      await assertEnds(boxed, proxy);
    },
    { otherUsers: true },
  );
}

labTest("sandbox off: the same attempts succeed, so that they can be told apart", async () => {
  await using topology = await withEcho();
  const boxed = await Boxed.make(topology, true);
  await using proxy = await boxed.start([], null, "--sandbox=off");
  assert.match(proxy.stderr, /info: sandbox: off\n/);
  const attempts = await boxed.attempter.attempt(proxy);
  assert.ok(attempts.size > 5);
  for (const results of attempts.values()) {
    for (const name of [...NEEDED, "netlink", "packet", "raw", "shadow", "passwd", "write-away"]) {
      assert.ok(results.get(name)! >= 0, name);
    }
    for (const name of ["chmod-away", "ring-setup", "other-signal"]) {
      assert.ok(results.get(name)! >= 0, name);
    }
    assert.equal(results.get("ring-socket"), EACCES, "the ring reads and writes only, always");
    assert.equal(results.get("ring-openat"), EACCES);
  }
  await assertEnds(boxed, proxy);
}, { otherUsers: true });

labTest("--user: all threads go on as that user, who reads, keeps and reloads", async () => {
  await using topology = await withEcho();
  const boxed = await Boxed.make(topology);
  await must(["chown", "nobody", boxed.state.replace(/\/state$/, "")]);
  await using proxy = await boxed.start([], null, "--user=nobody");
  const nobody = (await must(["id", "-u", "nobody"])).trim();
  assertForbidden(await boxed.attempter.attempt(proxy));
  assert.deepEqual(await statusOf(proxy.pid, "Uid"), [nobody]);
  assert.deepEqual(await statusOf(proxy.pid, "CapBnd"), ["0000000000000000"]);
  assert.match(await boxed.ctl("status"), /^Sandbox .*; user nobody$/m);
  await assertWorks(boxed, topology, proxy);
  // The socket's folder is not that user's.
  await assertEnds(boxed, proxy, true);
}, { otherUsers: true });

labTest("a plain user on a device of its own: the same, but for the bounding set", async () => {
  await using topology = await withEcho();
  const { host } = topology;
  const boxed = await Boxed.make(topology);
  const id = (await must(["id", "-u", "nobody"])).trim();
  await host.script(`
    ip link del ${tap}
    ${tapCommands.replace("mode tap", `mode tap user ${id}`)}`);
  for (const name of ["control", "kept"]) {
    await must(["chown", id, `${topology.lab.folder}/${name}`]);
  }
  const plain = ["setpriv", `--reuid=${id}`, `--regid=${id}`, "--clear-groups", "--"];
  const node = ["unshare", "--mount", "sh", "-ec", NODE];
  const program = `${topology.lab.folder}/proxy`;
  const given = Deno.env.get("PROXY");
  if (given) await Deno.copyFile(given, program);
  else packPortable(buildShim(), program);
  await using proxy = await boxed.start([...node, ...plain], program);
  await proxy.waitFor("sandbox: on: ");
  assertForbidden(await boxed.attempter.attempt(proxy));
  assert.deepEqual(await statusOf(proxy.pid, "CapEff"), ["0000000000000000"]);
  assert.deepEqual(await statusOf(proxy.pid, "NoNewPrivs"), ["1"]);
  const { sandbox } = JSON.parse(await boxed.ctl("status", "--json"));
  assert.deepEqual([sandbox.noCapabilities, sandbox.emptyBoundingSet], [sandbox.threads, 0]);
  await boxed.serves();
  await host.script(`ip link del ${tap}`);
  await proxy.waitFor(`${tap} is gone`);
  await host.script(tapCommands.replace("mode tap", `mode tap user ${id}`));
  await proxy.waitFor(new RegExp(`${tap} is gone[^]*${tap} is up\n`));
  await boxed.serves();
  await assertEnds(boxed, proxy);
}, { otherUsers: true });

/** Everybody may open the driver of TAP devices, as on most machines. */
const NODE =
  `mount -t tmpfs -o mode=755 none /dev/net; mknod -m 0666 /dev/net/tun c 10 200; exec "$0" "$@"`;

interface Refused {
  readonly name: string;
  /** Files, by their names in the folder FOLDER. */
  readonly files: Readonly<Record<string, string>>;
  readonly links?: Readonly<Record<string, string>>;
  readonly before?: string;
  readonly flags: readonly string[];
  readonly says: RegExp;
}

const REFUSED: readonly Refused[] = [
  {
    name: "a policy in /etc itself",
    files: {},
    flags: ["--policy=/etc/hostname"],
    says: /^error: --policy: Cannot use the folder "\/etc": .*\/etc\/shadow, too; .*\n$/,
  },
  {
    name: "an included file elsewhere, of which nothing is quoted",
    files: { "p/main": 'default drop\ninclude "/etc/shadow"\nicmp -> drop\n' },
    flags: ["--policy=FOLDER/p/main"],
    says:
      /^error: .*main:2:9: .*"\/etc\/shadow", outside of what may be read .*\n.*include.*\n.*\n$/,
  },
  {
    name: "an included file that is a link out of the folder",
    files: {
      "p/main": 'default drop\ninclude "part"\nicmp -> drop\n',
      "q/part": "pool $web = 10.0.0.1\n",
    },
    links: { "p/part": "../q/part" },
    flags: ["--policy=FOLDER/p/main"],
    says: /^error: .*main:2:9: .*it is ".*\/q\/part", outside of what may be read/,
  },
  {
    name: "a policy that is a link out of its folder",
    files: { "q/part": "pool $web = 10.0.0.1\n" },
    links: { "main": "q/../q/part" },
    flags: ["--policy=FOLDER/p/main"],
    says: /^error: Cannot read policy ".*main": there is no such file or folder\n$/,
  },
  {
    name: "a user that does not exist",
    files: {},
    flags: ["--user=nobody-at-all"],
    says: /^error: --user: Cannot become "nobody-at-all": there is no such user\n$/,
  },
  {
    name: "a user who could not read the policy again",
    files: { "p/main": "default drop\nicmp -> drop\n" },
    before: "chmod 0600 FOLDER/p/main",
    flags: ["--policy=FOLDER/p/main", "--user=nobody"],
    says: /^error: --user: "nobody" could not read ".*\/p\/main" at a reload: EACCES\n$/,
  },
  {
    name: "a user who could not read an included file again",
    files: {
      "p/main": 'default drop\ninclude "part"\nicmp -> drop\n',
      "p/part": "pool $web = 10.0.0.1\n",
    },
    before: "chmod 0600 FOLDER/p/part",
    flags: ["--policy=FOLDER/p/main", "--user=nobody"],
    says: /^error: --user: "nobody" could not read ".*\/p\/part" at a reload: EACCES\n$/m,
  },
  {
    name: "a user who could not keep a state",
    files: { "p/main": "default drop\nicmp -> drop\n" },
    flags: ["--policy=FOLDER/p/main", "--state=FOLDER/p/state", "--user=nobody"],
    says: /^error: --user: "nobody" could not write to ".*\/p" to keep a state: EACCES\n$/,
  },
];

for (const { name, files, links = {}, before = "true", flags, says } of REFUSED) {
  labTest(`sandbox refuses ${name}: one clear error, and no device`, async () => {
    await using lab = await Lab.make();
    const host = await lab.host("host");
    const fill = (text: string) => text.replaceAll("FOLDER", lab.folder);
    await Deno.chmod(lab.folder, 0o755);
    for (const folder of ["p", "q"]) await Deno.mkdir(`${lab.folder}/${folder}`, { mode: 0o755 });
    for (const [path, text] of Object.entries(files)) {
      await Deno.writeTextFile(`${lab.folder}/${path}`, text);
    }
    for (const [path, to] of Object.entries(links)) await Deno.symlink(to, `${lab.folder}/${path}`);
    await host.script(fill(before));
    const { code, stdout, stderr } = await host.run(
      proxyCommand([...usualOptions, ...flags.map(fill)]),
    );
    assert.match(stderr, says);
    assert.doesNotMatch(stderr, /root:/);
    assert.deepEqual({ code, stdout }, { code: 1, stdout: "" });
    assert.notEqual((await host.run(["ip", "link", "show", "dev", tap])).code, 0);
  }, { otherUsers: true });
}
