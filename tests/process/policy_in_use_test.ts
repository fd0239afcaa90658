/** A policy file that is read again while the proxy runs: `SIGHUP` and the control socket. */
import assert from "node:assert/strict";
import { demo } from "../../src/policy/language/built_in.ts";
import { PolicyInUse } from "../../src/process/policy_in_use.ts";
import { World } from "../support/world.ts";

/** Writes each text in turn over a policy file that is in use; what each reload says. */
async function reloads(first: string, ...texts: readonly string[]) {
  const file = await Deno.makeTempFile({ suffix: ".policy" });
  try {
    const logged: string[] = [];
    const line = (message: string) => void logged.push(message.replaceAll(file, "FILE"));
    const log = { info: line, warning: line, error: line };
    await Deno.writeTextFile(file, first);
    const inUse = await PolicyInUse.load(file, demo, {}, log);
    const { appliance } = new World({ policy: inUse.policy });
    const answers = [];
    for (const text of texts) {
      await Deno.writeTextFile(file, text);
      const { isDone, lines } = await inUse.reload(appliance, "test");
      answers.push({ isDone, text: lines.join("\n").replaceAll(file, "FILE") });
    }
    return { answers, logged, inUse, appliance };
  } finally {
    await Deno.remove(file);
  }
}

const SOUND = "default drop\nicmp -> drop\n";

Deno.test("a reload refuses a policy that checks find wrong, and keeps the one in use", async () => {
  const { answers: [wrong], appliance, inUse, logged } = await reloads(
    SOUND,
    "default drop\ntcp and udp -> drop\n",
  );
  assert.equal(wrong!.isDone, false);
  assert.match(wrong!.text, /^policy "FILE" has 1 error\nFILE:2:1: error: "tcp and udp" can never/);
  assert.match(logged.join("\n"), /^policy not reloaded, keeping the current one: policy "FILE"/);
  assert.equal(appliance.policy, inUse.policy);
  assert.equal(inUse.text().text, SOUND);
});

Deno.test("a reload tells whoever asked of warnings, and of what was not checked", async () => {
  const large = `default drop\n${"icmp -> drop\n".repeat(2000)}`;
  const warned = "default drop\nudp -> echo\n";
  const { answers, appliance, inUse, logged } = await reloads(SOUND, warned, large);
  assert.match(
    answers[0]!.text,
    /^policy "FILE" has warnings\nFILE:2:8: warning: echo drops [^]*\npolicy "FILE" reloaded$/,
  );
  assert.equal(
    answers[1]!.text,
    'policy "FILE" not checked: more than 2000 nodes\npolicy "FILE" reloaded',
  );
  assert.deepEqual(logged.join("\n"), answers.map(({ text }) => text).join("\n"));
  assert.notEqual(appliance.policy, inUse.policy);
  assert.equal(inUse.text().text, large);
});

Deno.test("a policy that checks find wrong does not start", async () => {
  await assert.rejects(reloads("default drop\ntcp and udp -> drop\n"), /has 1 error/);
});
