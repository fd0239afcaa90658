/** SIGHUP: what is applied, what waits for a restart, and that a wrong file changes nothing. */
import assert from "node:assert/strict";
import { WHOLE_CAPTURE } from "../../src/capture/options.ts";
import { Overlay } from "../../src/control/overlay.ts";
import type { Change } from "../../src/datapath/appliance.ts";
import type { Config } from "../../src/datapath/config.ts";
import { builtIn } from "../../src/policy/language/built_in.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { builtInUse } from "../../src/process/policy_in_use.ts";
import { Reloads, type Settings } from "../../src/process/reload.ts";
import { atOnce } from "../../src/process/turns.ts";
import { plainMember } from "../../src/flow/backends/member.ts";
import type { PoolDefinition } from "../../src/policy/language/ast.ts";
import { type Address, formatAddress, parseAddress } from "../../src/wire/address.ts";
import { formatHostAddress, parseHostAddress } from "../../src/wire/host_address.ts";
import { FREE, ipv6Config, linkConfig, PROXY6, testConfig } from "../support/config.ts";

const ignore = Deno.permissions.querySync({ name: "write" }).state !== "granted" ||
  Deno.permissions.querySync({ name: "read" }).state !== "granted";

const RUNNING = parse(
  "default drop\npool $web = 10.0.0.1\n-> translate-a-to-b to $web, forward\n",
  {
    file: "",
  },
).policy!;

const LOG = { format: "text" } as const;
const TAP = { offload: true, spinUs: 100, fastPath: "off" as const, sandbox: FREE, admin: null };

function settingsOf(config: Config, more: Partial<Settings> = {}): Settings {
  const logs = { logLevel: "info", log: LOG, logConnections: 0 } as const;
  const captures = { file: null, options: WHOLE_CAPTURE, dir: null };
  return { config, tap: TAP, control: null, state: null, captures, ...logs, ...more };
}

/** Reloads whose flags are `next`, and what they have applied and logged. */
function reloadsOf(config: Config) {
  const applied: Change[] = [];
  const log: string[] = [];
  const line = (level: string) => (message: string) => void log.push(`${level}: ${message}`);
  const world = {
    applied,
    log,
    next: (): Promise<Settings> => Promise.resolve(settingsOf(config)),
    reads: 0,
    reloads: new Reloads({
      appliance: {
        get policy() {
          return applied.findLast(({ policy }) => policy !== undefined)?.policy ?? RUNNING;
        },
        get pools() {
          const before = applied.findLast(({ pools }) => pools !== undefined)?.pools;
          return before ?? { "dst-addrs": { members: config.dstAddrs.map(plainMember) } };
        },
        surroundings: () => assert.fail("there is no thread"),
        *prepare(change) {
          yield;
          return () => void applied.push(change);
        },
      },
      settings: settingsOf(config),
      inUse: builtInUse(RUNNING),
      reread: (): Promise<Settings> => (world.reads++, world.next()),
      builtIn,
      customs: {},
      observerOf: () => null,
      connectionLog: { setRate: (rate) => void log.push(`rate: ${rate}`) },
      work: atOnce,
      within: () => Promise.resolve(),
      thread: null,
      log: {
        debug: () => {},
        info: line("info"),
        warning: line("warning"),
        error: line("error"),
        setLevel: (level) => void log.push(`level: ${level}`),
      },
    }),
  };
  return world;
}

Deno.test("Reloads applies timeouts and trace, and says what needs a restart, each time", async () => {
  const config = testConfig({ trace: "auto" });
  const world = reloadsOf(config);
  const changed: Config = {
    ...config,
    timeouts: { ...config.timeouts, udp: 7 },
    trace: "off",
    maxConn: 9,
  };
  world.next = () => Promise.resolve(settingsOf(changed, { tap: { ...TAP, spinUs: 0 } }));
  const restart = [
    "--max-conn changes at the next start only",
    "--spin changes at the next start only",
  ];
  assert.deepEqual(await world.reloads.request("SIGHUP"), {
    isDone: true,
    lines: [...restart, "timeouts changed", "--trace=off from now on"],
  });
  const [{ observer, ...rest }] = world.applied as [Change];
  assert.deepEqual([rest, typeof observer], [{ timeouts: changed.timeouts }, "function"]);
  assert.deepEqual(await world.reloads.request("SIGHUP"), { isDone: true, lines: restart });
  assert.deepEqual(world.log.slice(0, 4), [
    ...restart.map((line) => `warning: ${line}`),
    "info: timeouts changed",
    "info: --trace=off from now on",
  ]);
});

Deno.test("Reloads applies --dst-addrs and --check, beside what was added meanwhile", async () => {
  const config = testConfig();
  const world = reloadsOf(config);
  const [first, second] = config.dstAddrs as [Address, Address];
  const added = { pool: "dst-addrs", address: parseAddress("192.168.0.77"), port: 0 };
  await world.reloads.changePools((_, overlay) => overlay.with(added, 5));
  const changed: Config = {
    ...config,
    dstAddrs: [second],
    health: { ...config.health, check: { kind: "tcp", port: 80 } },
  };
  world.next = () => Promise.resolve(settingsOf(changed));
  const { lines } = await world.reloads.request("SIGHUP");
  assert.deepEqual(lines, [
    `--dst-addrs=${formatAddress(second)} from now on`,
    "--check changed",
  ]);
  const [before, after] = world.applied.map(({ pools }) => pools!["dst-addrs"]!);
  const addresses = (definition: PoolDefinition) =>
    definition.members.map(({ address, weight }) => [address, weight]);
  assert.deepEqual(addresses(before!).slice(0, 2), [[first, 1], [second, 1]]);
  assert.deepEqual(addresses(after!), [[second, 1], [added.address, 5]]);
  assert.deepEqual(after!.health, changed.health);
  assert.equal(world.applied[1]!.policy, undefined, "the policy that runs stays");
});

Deno.test("Reloads applies --dst-addrs of either family, told in canonical text", async () => {
  const ipv6 = ipv6Config(PROXY6);
  const config = testConfig({ links: [linkConfig({ ipv6 })] });
  const world = reloadsOf(config);
  const dstAddrs = ["192.168.0.7", "2001:DB8:0::7"].map(parseHostAddress);
  world.next = () => Promise.resolve(settingsOf({ ...config, dstAddrs }));
  const { lines } = await world.reloads.request("SIGHUP");
  assert.deepEqual(lines, ["--dst-addrs=192.168.0.7, 2001:db8::7 from now on"]);
  const [{ pools }] = world.applied as [Change];
  assert.deepEqual(pools!["dst-addrs"]!.members.map(({ address }) => address), dstAddrs);
  assert.deepEqual((await world.reloads.request("SIGHUP")).lines, [
    "no --policy file to reload",
  ]);
  const other = linkConfig({ ipv6: ipv6Config("2001:db8::65") });
  world.next = () => Promise.resolve(settingsOf({ ...config, dstAddrs, links: [other] }));
  assert.deepEqual((await world.reloads.request("SIGHUP")).lines, [
    "an address, route or interface changes at the next start only",
  ]);
  const key = { pool: "dst-addrs", address: parseHostAddress("2001:db8::9"), port: 0 };
  await world.reloads.changePools((_, overlay) => overlay.with(key, 2));
  assert.deepEqual(world.reloads.savedChanges(), [
    { pool: "dst-addrs", address: "2001:db8::9", port: 0, weight: 2 },
  ]);
});

Deno.test("Reloads counts those that succeed and those that fail, and knows how the last one went", async () => {
  const config = testConfig({ trace: "auto" });
  const world = reloadsOf(config);
  const { counts } = world.reloads;
  assert.deepEqual([counts.done, counts.failed, counts.hasFailed, counts.doneMs], [
    0,
    0,
    false,
    -1,
  ]);
  const { next } = world;
  world.next = () => Promise.reject(new Error("a wrong flag"));
  await world.reloads.request("SIGHUP");
  assert.deepEqual([counts.done, counts.failed, counts.hasFailed, counts.doneMs], [0, 1, true, -1]);
  world.next = next;
  await world.reloads.request("SIGHUP");
  assert.deepEqual([counts.done, counts.failed, counts.hasFailed], [1, 1, false]);
  assert.ok(counts.doneMs > 1.5e12 && counts.tookMs >= 0);
});

Deno.test("Reloads applies --log-level", async () => {
  const config = testConfig();
  const world = reloadsOf(config);
  world.next = () => Promise.resolve(settingsOf(config, { logLevel: "error" }));
  const { lines } = await world.reloads.request("SIGHUP");
  assert.deepEqual(lines, ["--log-level=error from now on"]);
  assert.deepEqual(world.log, ["level: error", "info: --log-level=error from now on"]);
  await world.reloads.request("SIGHUP");
  assert.equal(world.log.filter((line) => line.startsWith("level")).length, 1);
});

Deno.test("Reloads applies --log-connections", async () => {
  const config = testConfig();
  const world = reloadsOf(config);
  world.next = () => Promise.resolve(settingsOf(config, { logConnections: 5 }));
  const { lines } = await world.reloads.request("SIGHUP");
  assert.deepEqual(lines, ["--log-connections=5/s from now on"]);
  assert.deepEqual(world.log, ["rate: 5", "info: --log-connections=5/s from now on"]);
  await world.reloads.request("SIGHUP");
  assert.equal(world.log.filter((line) => line.startsWith("rate")).length, 1);
});

Deno.test({
  name:
    "Reloads changes nothing if anything is wrong: flags, a policy's text, a policy that can't run",
  ignore,
  fn: async () => {
    const file = await Deno.makeTempFile();
    try {
      const config = testConfig({ policy: file });
      const world = reloadsOf(config);
      const changed = { ...config, timeouts: { ...config.timeouts, udp: 7 } };
      world.next = () => Promise.resolve(settingsOf(changed));
      await Deno.writeTextFile(file, "default drop\ntpc -> drop\n");
      const { isDone, lines } = await world.reloads.request("SIGHUP");
      assert.equal(isDone, false);
      assert.equal(lines[0], `${file}:2:1: Found "tpc", expected a predicate; did you mean "tcp"?`);
      world.next = () => Promise.reject(new Error("a.conf:1:1: no"));
      assert.deepEqual(await world.reloads.request("SIGHUP"), {
        isDone: false,
        lines: ["a.conf:1:1: no"],
      });
      assert.deepEqual(world.applied, []);
      assert.match(world.log[0]!, /^error: not reloaded, nothing has changed: .*2:1/);
      assert.equal(world.log[1], "error: not reloaded, nothing has changed: a.conf:1:1: no");

      world.next = () => Promise.resolve(settingsOf(changed));
      await Deno.writeTextFile(file, "default drop\ntcp -> drop\n");
      assert.deepEqual(await world.reloads.request("SIGHUP"), {
        isDone: true,
        lines: [`policy "${file}" reloaded`, "timeouts changed"],
      });
      assert.equal(world.applied.length, 1);
      world.next = () => Promise.resolve(settingsOf({ ...changed, policy: null }));
      assert.deepEqual((await world.reloads.request("SIGHUP")).lines, ["the built-in policy runs"]);
    } finally {
      await Deno.remove(file);
    }
  },
});

Deno.test("Reloads does one at a time, and one more for all who asked meanwhile", async () => {
  const world = reloadsOf(testConfig());
  const first = world.reloads.request("SIGHUP");
  while (world.reads === 0) await null;
  const others = [1, 2, 3].map(() => world.reloads.request("control socket"));
  assert.equal(world.reads, 1);
  assert.deepEqual(new Set(others).size, 1);
  await first;
  await Promise.all(others);
  assert.equal(world.reads, 2);
  const late = world.reloads.request("SIGHUP");
  assert.notEqual(late, others[0]);
  await late;
  assert.equal(world.reads, 3);
  assert.deepEqual(
    new Set(world.log),
    new Set([
      "info: SIGHUP ignored: no --policy file to reload",
      "info: control socket ignored: no --policy file to reload",
    ]),
  );
});

Deno.test({
  name: "Reloads changes pools after a reload that is under way, and in the policies after it",
  ignore,
  fn: async () => {
    const file = await Deno.makeTempFile();
    try {
      const world = reloadsOf(testConfig({ policy: file }));
      const write = (members: string) =>
        Deno.writeTextFile(
          file,
          `default drop\npool $web = ${members}\n-> translate-a-to-b to $web, forward\n`,
        );
      const members = () =>
        world.applied.map(({ pools }) =>
          pools!.web!.members.map(({ address }) => formatHostAddress(address)).join(" ")
        );
      await write("10.0.0.1");
      const key = { pool: "web", address: parseAddress("10.0.0.9"), port: 0 };
      const reload = world.reloads.request("SIGHUP");
      while (world.reads === 0) await null;
      await world.reloads.changePools((running, overlay) => {
        assert.equal(running, world.applied[0]!.pools, "those of the reload");
        return overlay.with(key, 1);
      });
      await reload;
      assert.deepEqual(members(), ["10.0.0.1", "10.0.0.1 10.0.0.9"]);
      await write("10.0.0.2");
      await world.reloads.request("SIGHUP");
      assert.equal(members().at(-1), "10.0.0.2 10.0.0.9");
      await assert.rejects(world.reloads.changePools(() => assert.fail("no")), /no/);
      await world.reloads.changePools((_, overlay) => overlay.without(key));
      assert.equal(members().at(-1), "10.0.0.2");
      assert.match(world.reloads.policyText().text, /10\.0\.0\.2/);
    } finally {
      await Deno.remove(file);
    }
  },
});

Deno.test("Reloads gives and takes members that ctl has added and taken out", async () => {
  const pool = "dst-addrs";
  const overlay = new Overlay()
    .with({ pool, address: parseAddress("192.168.0.9"), port: 0 }, 3)
    .with({ pool: "web", address: parseAddress("10.0.0.2"), port: 8080 }, 1)
    .without({ pool, address: parseAddress("192.168.0.1"), port: 0 });
  const before = reloadsOf(testConfig());
  assert.deepEqual(before.reloads.savedChanges(), []);
  await before.reloads.changePools(() => overlay);
  const changes = before.reloads.savedChanges();
  assert.deepEqual(changes, [
    { pool, address: "192.168.0.1", port: 0, weight: null },
    { pool, address: "192.168.0.9", port: 0, weight: 3 },
    { pool: "web", address: "10.0.0.2", port: 8080, weight: 1 },
  ]);

  const { applied, reloads } = reloadsOf(testConfig());
  await reloads.resume(changes);
  const members = applied[0]!.pools![pool]!.members.map(({ address, weight }) =>
    `${formatHostAddress(address)} ${weight}`
  );
  assert.deepEqual(members, ["192.168.0.2 1", "192.168.0.3 1", "192.168.0.9 3"]);
  assert.deepEqual(reloads.savedChanges(), changes);
  await assert.rejects(
    reloads.resume([{ pool, address: "10.0.0", port: 0, weight: 1 }]),
    SyntaxError,
  );
  assert.deepEqual(reloads.savedChanges(), changes);
});
