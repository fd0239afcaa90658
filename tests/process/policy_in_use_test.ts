/** A policy file that is read again while the proxy runs: `SIGHUP` and the control socket. */
import assert from "node:assert/strict";
import { WHOLE_CAPTURE } from "../../src/capture/options.ts";
import { demo } from "../../src/policy/language/built_in.ts";
import { readPolicyInUse } from "../../src/process/policy_in_use.ts";
import type { PolicyThread } from "../../src/process/policies/thread.ts";
import { Reloads } from "../../src/process/reload.ts";
import { atOnce, type Work } from "../../src/process/turns.ts";
import { FREE, testConfig } from "../support/config.ts";
import { nearThread } from "../support/policy_thread.ts";
import { World } from "../support/world.ts";

const granted = (name: "read" | "write" | "run") =>
  Deno.permissions.querySync({ name }).state === "granted";
const ignore = !granted("read") || !granted("write");

/** Writes each text in turn over a policy file that is in use; what each reload says. */
function reloads(first: string, ...texts: readonly string[]) {
  return reloadsBy(null, first, ...texts);
}

/** The same, by a thread of policies. */
async function reloadsBy(thread: PolicyThread | null, first: string, ...texts: readonly string[]) {
  const file = await Deno.makeTempFile({ suffix: ".policy" });
  try {
    const logged: string[] = [];
    const line = (message: string) => void logged.push(message.replaceAll(file, "FILE"));
    const log = {
      setLevel: () => {},
      debug: () => {},
      info: line,
      warning: line,
      error: line,
    };
    await Deno.writeTextFile(file, first);
    const inUse = await readPolicyInUse(file, {}, log, thread);
    const { appliance } = new World({ policy: inUse.policy! });
    const settings = {
      config: testConfig({ policy: file }),
      tap: { offload: true, spinUs: 100, fastPath: "off" as const, sandbox: FREE, admin: null },
      control: null,
      state: null,
      captures: { file: null, options: WHOLE_CAPTURE, dir: null },
      logLevel: "info" as const,
      logConnections: 0,
      log: { format: "text" as const },
    };
    const reloads = new Reloads({
      appliance,
      settings,
      inUse,
      reread: () => Promise.resolve(settings),
      builtIn: () => demo,
      customs: {},
      observerOf: () => null,
      connectionLog: { setRate: () => {} },
      work: atOnce,
      within: () => Promise.resolve(),
      thread,
      log,
    });
    await reloads.begin();
    const answers = [];
    for (const text of texts) {
      await Deno.writeTextFile(file, text);
      const { isDone, lines } = await reloads.request("test");
      answers.push({ isDone, text: lines.join("\n").replaceAll(file, "FILE") });
    }
    const { policy: tree } = appliance.snapshot();
    return { answers, logged, inUse, appliance, tree, text: reloads.policyText().text };
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
  name: "what is wrong with an included file is told without a word of it, which may be a secret",
  ignore,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    const write = (name: string, text: string) => Deno.writeTextFile(`${folder}/${name}`, text);
    try {
      await write("main", 'default drop\ninclude "shadow"\nicmp -> drpo\n');
      await write("shadow", "root:secret:0\n");
      const read = async (thread: PolicyThread | null, work?: Work) => {
        const log = { warning: () => assert.fail() };
        const inUse = readPolicyInUse(`${folder}/main`, {}, log, thread, work);
        const { message } = await inUse.then(() => assert.fail(), (error: Error) => error);
        return message.replaceAll(folder, "");
      };
      const [first, ...others] = (await read(null)).split("\n");
      assert.match(first!, /^\/shadow:1:1: Expected /);
      assert.doesNotMatch([first, ...others].join("\n"), /root|secret/);
      assert.match(others.join("\n"), /^\/main:3:9: Found "drpo".*\n {2}3 \| icmp -> drpo\n/);
      assert.equal(await read(nearThread().thread, atOnce), [first, ...others].join("\n"));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  name: "readPolicyInUse reads no file, included ones too, that is not within reach",
  ignore,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    try {
      await Deno.writeTextFile(`${folder}/main`, 'default drop\ninclude "part"\nicmp -> drop\n');
      await Deno.writeTextFile(`${folder}/part`, "pool $web = 10.0.0.1\n");
      const asked: string[] = [];
      const read = (beyond: string) =>
        readPolicyInUse(
          `${folder}/main`,
          {},
          { warning: () => {} },
          null,
          undefined,
          (path) => {
            asked.push(path.replace(folder, ""));
            return path.endsWith(beyond)
              ? Promise.reject(new Error("far away"))
              : Promise.resolve();
          },
        );
      await assert.rejects(read("main"), /^Error: Cannot read policy ".*main": far away$/);
      await assert.rejects(read("part"), /main:2:9: .*far away/);
      assert.deepEqual(asked, ["/main", "/main", "/part"]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
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
        readPolicyInUse(path, {}, { warning: () => assert.fail() }, null, atOnce);
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

Deno.test({
  name: "a reload by the thread says what one in slices says, and runs the same",
  ignore,
  fn: async () => {
    const pools = "default drop\npool $web = 192.168.0.7\ndefine $all = $web, 10.1.0.0/16\n";
    const texts = [
      "default drop\ntpc -> drop\ntcp -> dorp\n",
      "default drop\ntcp and udp -> drop\n",
      "default drop\nudp -> echo\n",
      "",
      `${pools}ip.src in $all -> translate-a-to-b to $web, forward\ntcp -> in turn: drop | drop "b"\n`,
      "default drop\npool $web = 10.0.0.1\n-> translate-a-to-b to $web, forward\n",
      `default drop\ntcp.dport in {1, 3, 5, 7, 9, 11} -> limit 1/second burst 1, drop\n`,
    ];
    const here = await reloads(SOUND, ...texts);
    const { thread, started } = nearThread();
    const there = await reloadsBy(thread, SOUND, ...texts);
    assert.deepEqual(there.answers, here.answers);
    assert.deepEqual(here.answers.map(({ isDone }) => isDone), [
      ...[false, false, true, false, true, false, true],
    ]);
    assert.deepEqual(there.logged, here.logged);
    assert.deepEqual(there.tree, here.tree);
    assert.equal(there.text, here.text);
    assert.equal(started.length, 1);
  },
});

Deno.test({
  name: "the thread checks a policy however long it is, and has a long one from the start",
  ignore,
  fn: async () => {
    const rules = (port: number) =>
      Array.from({ length: 4000 }, (_, i) => `udp.dport = ${port + i} -> drop\n`).join("");
    const { thread, started } = nearThread();
    const wrong = `default drop\n${rules(1)}${"icmp -> drop\n".repeat(2)}`;
    const right = `default drop\n${rules(3)}icmp -> drop\n`;
    const { answers, inUse, tree } = await reloadsBy(
      thread,
      `default drop\n${rules(1)}`,
      wrong,
      right,
    );
    assert.equal(inUse.policy, null);
    assert.equal(started.length, 1);
    assert.match(answers[0]!.text, /^policy "FILE" has 1 error\nFILE:4003:1: error: /);
    assert.equal(answers[1]!.text, 'policy "FILE" reloaded');
    assert.equal(tree.hiddenLines, 4001);
    await assert.rejects(reloadsBy(nearThread().thread, wrong), /has 1 error/);
  },
});
