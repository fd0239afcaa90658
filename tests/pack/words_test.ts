/** What stands behind `deno task build` and its like. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { refuseOthers } from "../../src/pack/words.ts";
import { run } from "../support/shell.ts";

Deno.test("a task refuses words that it does not know", () => {
  refuseOthers("build", []);
  refuseOthers("build", ["--portable"], ["--portable"]);
  assert.throws(() => refuseOthers("build", ["--portable", "-v", "x"], ["--portable"]), {
    name: "RangeError",
    message: 'Cannot run "deno task build" with "-v x": expected --portable',
  });
});

Deno.test({
  name: "build, package, page and shim make nothing when they are given other words",
  ignore: Deno.permissions.querySync({ name: "run" }).state !== "granted",
  fn: async () => {
    const root = fileURLToPath(new URL("../../", import.meta.url));
    for (const task of ["build", "package", "page", "shim"]) {
      const { code, stderr } = await run([Deno.execPath(), "task", "--quiet", task, "--portabel"], {
        cwd: root,
      });
      assert.equal(code, 1, task);
      const expected = task === "build" ? "--portable" : "nothing behind it";
      assert.equal(
        stderr,
        `Cannot run "deno task ${task}" with "--portabel": expected ${expected}\n`,
      );
    }
  },
});
