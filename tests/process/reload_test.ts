/** SIGHUP: what is applied, what waits for a restart, and that a wrong file changes nothing. */
import assert from "node:assert/strict";
import type { Change } from "../../src/datapath/appliance.ts";
import type { Config } from "../../src/datapath/config.ts";
import { builtIn } from "../../src/policy/language/built_in.ts";
import { parse } from "../../src/policy/notation/parse.ts";
import { builtInUse } from "../../src/process/policy_in_use.ts";
import { Reloads, type Settings } from "../../src/process/reload.ts";
import { atOnce } from "../../src/process/turns.ts";
import { formatAddress, parseAddress } from "../../src/wire/address.ts";
import { testConfig } from "../support/config.ts";

const ignore = Deno.permissions.querySync({ name: "write" }).state !== "granted" ||
  Deno.permissions.querySync({ name: "read" }).state !== "granted";

const RUNNING = parse(
  "default drop\npool $web = 10.0.0.1\n-> translate-a-to-b to $web, forward\n",
  {
    file: "",
  },
).policy!;

const TAP = { offload: true, spinUs: 100, fastPath: "off" as const };

/** Reloads whose flags are `next`, and what they have applied and logged. */
function reloadsOf(config: Config) {
  const applied: Change[] = [];
  const log: string[] = [];
  const line = (level: string) => (message: string) => void log.push(`${level}: ${message}`);
  const world = {
    applied,
    log,
    next: (): Promise<Settings> => Promise.resolve({ config, tap: TAP, control: null }),
    reads: 0,
    reloads: new Reloads({
      appliance: {
        get policy() {
          return applied.findLast(({ policy }) => policy !== undefined)?.policy ?? RUNNING;
        },
        *prepare(change) {
          yield;
          return () => void applied.push(change);
        },
      },
      settings: { config, tap: TAP, control: null },
      inUse: builtInUse(RUNNING),
      reread: (): Promise<Settings> => (world.reads++, world.next()),
      builtIn,
      customs: {},
      observerOf: () => null,
      work: atOnce,
      log: { info: line("info"), warning: line("warning"), error: line("error") },
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
  world.next = () =>
    Promise.resolve({ config: changed, tap: { ...TAP, spinUs: 0 }, control: null });
  const restart = [
    "--max-conn changes at the next start only",
    "--spin changes at the next start only",
  ];
  assert.deepEqual(await world.reloads.request("SIGHUP"), {
    isDone: true,
    lines: [...restart, "timeouts changed", "--trace=off from now on"],
  });
  assert.deepEqual(world.applied, [{ timeouts: changed.timeouts, observer: null }]);
  assert.deepEqual(await world.reloads.request("SIGHUP"), { isDone: true, lines: restart });
  assert.deepEqual(world.log.slice(0, 4), [
    ...restart.map((line) => `warning: ${line}`),
    "info: timeouts changed",
    "info: --trace=off from now on",
  ]);
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
      world.next = () => Promise.resolve({ config: changed, tap: TAP, control: null });
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

      world.next = () => Promise.resolve({ config: changed, tap: TAP, control: null });
      await Deno.writeTextFile(file, "default drop\ntcp -> drop\n");
      assert.deepEqual(await world.reloads.request("SIGHUP"), {
        isDone: true,
        lines: [`policy "${file}" reloaded`, "timeouts changed"],
      });
      assert.equal(world.applied.length, 1);
      world.next = () =>
        Promise.resolve({ config: { ...changed, policy: null }, tap: TAP, control: null });
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
        world.applied.map(({ policy }) =>
          policy!.pools.web!.members.map(({ address }) => formatAddress(address)).join(" ")
        );
      await write("10.0.0.1");
      const key = { pool: "web", address: parseAddress("10.0.0.9"), port: 0 };
      const reload = world.reloads.request("SIGHUP");
      while (world.reads === 0) await null;
      await world.reloads.changePools((running, overlay) => {
        assert.equal(running, world.applied[0]!.policy, "that of the reload");
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
