/** The tools of the other lab tests, tried on what they must never get wrong. */
import assert from "node:assert/strict";
import { Background, run } from "../support/shell.ts";
import { Lab } from "./lab.ts";
import { labTests } from "./suite.ts";

const labTest = await labTests();

labTest("run, a command's end, texts and time limit", async () => {
  const script = 'cat; echo "seen" >&2; exit 3';
  assert.deepEqual(await run(["sh", "-c", script], { stdin: "given\n" }), {
    code: 3,
    stdout: "given\n",
    stderr: "seen\n",
    timedOut: false,
  });
  // The grandchild keeps the pipe open beyond the end of the command.
  const late = await run(["sh", "-c", "echo started; sleep 5 & sleep 5"], { timeoutMs: 100 });
  assert.deepEqual([late.stdout, late.timedOut], ["started\n", true]);
});

labTest("Background, waits for a text, and reports the end when it does not come", async () => {
  await using background = new Background(["sh", "-c", "echo one; sleep 0.1; echo two >&2"]);
  assert.equal((await background.waitFor(/tw(o)/))[1], "o");
  await assert.rejects(background.waitFor("three"), /the command ended\none\n\ntwo/);
});

labTest("Lab, hosts reach each other over a cable, and all is gone after close()", async () => {
  await using lab = await Lab.make();
  const left = await lab.host("left");
  const right = await lab.host("right");
  await lab.cable(left, "eth0", right, "eth0");
  await left.script("ip addr add 10.0.0.1/24 dev eth0");
  await right.script("ip addr add 10.0.0.2/24 dev eth0");
  const sleeper = right.start(["sleep", "60"]);
  const [grandchild] = await right.start(["sh", "-c", "sleep 60 & echo $!; wait"]).waitFor(/\d+/);
  assert.match(await left.must(["ping", "-c", "1", "10.0.0.2"]), /1 received/);
  await assert.rejects(left.script("exit 7"), /exit code 7/);
  const { folder } = lab;
  await lab.close();
  assert.ok(await sleeper.ended(0));
  await assert.rejects(Deno.stat(folder));
  // Nobody need have waited for it yet: a zombie has no command line.
  const isLeft = `for i in $(seq 100); do grep -q . /proc/$0/cmdline || exit 1; sleep 0.02; done`;
  assert.equal((await run(["sh", "-c", isLeft, grandchild])).code, 1);
  await assert.rejects(left.run(["true"]), /the lab is closed/);
});
