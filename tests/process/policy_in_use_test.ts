/** A policy file that is read again while the proxy runs: `SIGHUP` and the control socket. */
import assert from "node:assert/strict";
import { demo } from "../../src/policy/language/built_in.ts";
import { readPolicyInUse } from "../../src/process/policy_in_use.ts";
import { Reloads } from "../../src/process/reload.ts";
import { atOnce } from "../../src/process/turns.ts";
import { testConfig } from "../support/config.ts";
import { World } from "../support/world.ts";

const granted = (name: "read" | "write" | "run") =>
  Deno.permissions.querySync({ name }).state === "granted";
const ignore = !granted("read") || !granted("write");

/** Writes each text in turn over a policy file that is in use; what each reload says. */
async function reloads(first: string, ...texts: readonly string[]) {
  const file = await Deno.makeTempFile({ suffix: ".policy" });
  try {
    const logged: string[] = [];
    const line = (message: string) => void logged.push(message.replaceAll(file, "FILE"));
    const log = {
      setLevel: () => {},
      info: line,
      warning: line,
      error: line,
    };
    await Deno.writeTextFile(file, first);
    const inUse = await readPolicyInUse(file, {}, log);
    const { appliance } = new World({ policy: inUse.policy });
    const settings = {
      config: testConfig({ policy: file }),
      tap: { offload: true, spinUs: 100, fastPath: "off" as const },
      control: null,
      state: null,
      logLevel: "info" as const,
    };
    const reloads = new Reloads({
      appliance,
      settings,
      inUse,
      reread: () => Promise.resolve(settings),
      builtIn: () => demo,
      customs: {},
      observerOf: () => null,
      work: atOnce,
      log,
    });
    const answers = [];
    for (const text of texts) {
      await Deno.writeTextFile(file, text);
      const { isDone, lines } = await reloads.request("test");
      answers.push({ isDone, text: lines.join("\n").replaceAll(file, "FILE") });
    }
    return { answers, logged, inUse, appliance, text: reloads.policyText().text };
  } finally {
    await Deno.remove(file);
  }
}

const SOUND = "default drop\nicmp -> drop\n";

Deno.test({
  name: "a reload refuses a policy that checks find wrong, and keeps the one in use",
  ignore,
  fn: async () => {
    const { answers: [wrong], appliance, inUse, logged, text } = await reloads(
      SOUND,
      "default drop\ntcp and udp -> drop\n",
    );
    assert.equal(wrong!.isDone, false);
    assert.match(
      wrong!.text,
      /^policy "FILE" has 1 error\nFILE:2:1: error: "tcp and udp" can never/,
    );
    assert.match(logged.join("\n"), /^not reloaded, nothing has changed: policy "FILE"/);
    assert.equal(appliance.policy, inUse.policy);
    assert.equal(text, SOUND);
  },
});

Deno.test({
  name: "a reload does not wait for a pipe or standard input, which would hold up all later ones",
  ignore: ignore || Deno.build.os !== "linux" || !granted("run"),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      const pipe = `${folder}/pipe`;
      await new Deno.Command("mkfifo", { args: [pipe] }).output();
      await Deno.writeTextFile(`${folder}/main`, `default drop\ninclude "pipe"\nicmp -> drop\n`);
      const read = (path: string) =>
        readPolicyInUse(path, {}, { warning: () => assert.fail() }, atOnce);
      await assert.rejects(read(pipe), /"[^"]*\/pipe": it is no regular file[^\n]*$/);
      await assert.rejects(read(`${folder}/main`), /it is no regular file/);
      await assert.rejects(read("-"), { message: /standard input can be read at the start only$/ });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: "a reload tells whoever asked of warnings, and of what was not checked",
  ignore,
  fn: async () => {
    const large = `default drop\n${"icmp -> drop\n".repeat(2000)}`;
    const warned = "default drop\nudp -> echo\n";
    const { answers, appliance, inUse, logged, text } = await reloads(SOUND, warned, large);
    assert.match(
      answers[0]!.text,
      /^policy "FILE" has warnings\nFILE:2:8: warning: echo drops [^]*\npolicy "FILE" reloaded$/,
    );
    assert.equal(
      answers[1]!.text,
      'policy "FILE" not checked: more than 2000 nodes\npolicy "FILE" reloaded',
    );
    assert.deepEqual(logged.join("\n"), answers.map((answer) => answer.text).join("\n"));
    assert.notEqual(appliance.policy, inUse.policy);
    assert.equal(text, large);
  },
});

Deno.test({
  name: "a policy that checks find wrong does not start",
  ignore,
  fn: async () => {
    await assert.rejects(reloads("default drop\ntcp and udp -> drop\n"), /has 1 error/);
  },
});
