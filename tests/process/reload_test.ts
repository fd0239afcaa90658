/** SIGHUP: what is applied, what waits for a restart, and that a wrong file changes nothing. */
import assert from "node:assert/strict";
import type { Change } from "../../src/datapath/appliance.ts";
import type { Config } from "../../src/datapath/config.ts";
import { builtIn } from "../../src/policy/language/built_in.ts";
import { Reloads, type Settings } from "../../src/process/reload.ts";
import { atOnce } from "../../src/process/turns.ts";
import { testConfig } from "../support/config.ts";

const ignore = Deno.permissions.querySync({ name: "write" }).state !== "granted" ||
  Deno.permissions.querySync({ name: "read" }).state !== "granted";

const TAP = { offload: true, spinUs: 100 };

/** Reloads whose flags are `next`, and what they have applied and logged. */
function reloadsOf(config: Config) {
  const applied: Change[] = [];
  const log: string[] = [];
  const line = (level: string) => (message: string) => void log.push(`${level}: ${message}`);
  const world = {
    applied,
    log,
    next: (): Promise<Settings> => Promise.resolve({ config, tap: TAP }),
    reads: 0,
    reloads: new Reloads({
      appliance: {
        *prepare(change) {
          yield;
          return () => void applied.push(change);
        },
      },
      settings: { config, tap: TAP },
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
  world.next = () => Promise.resolve({ config: changed, tap: { ...TAP, spinUs: 0 } });
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
      world.next = () => Promise.resolve({ config: changed, tap: TAP });
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

      world.next = () => Promise.resolve({ config: changed, tap: TAP });
      await Deno.writeTextFile(file, "default drop\ntcp -> drop\n");
      assert.deepEqual(await world.reloads.request("SIGHUP"), {
        isDone: true,
        lines: [`policy "${file}" reloaded`, "timeouts changed"],
      });
      assert.equal(world.applied.length, 1);
      world.next = () => Promise.resolve({ config: { ...changed, policy: null }, tap: TAP });
      assert.deepEqual((await world.reloads.request("SIGHUP")).lines, ["the built-in policy runs"]);
    } finally {
      await Deno.remove(file);
    }
  },
});

Deno.test("Reloads does one at a time, and one more for all who asked meanwhile", async () => {
  const world = reloadsOf(testConfig());
  const first = world.reloads.request("SIGHUP");
  const others = [1, 2, 3].map(() => world.reloads.request("SIGHUP"));
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
    new Set(["info: SIGHUP ignored: no --policy file to reload"]),
  );
});
