/** What a run has given up, as people read it. */
import assert from "node:assert/strict";
import { sandboxText } from "../../src/control/sandbox_text.ts";
import type { SandboxShape } from "../../src/control/shapes.ts";

const ALL: SandboxShape = {
  ...{ mode: "on", user: "treegate", landlock: 7, threads: 9 },
  ...{ noNewPrivileges: 9, noCapabilities: 9, emptyBoundingSet: 9, filtered: 9 },
};

const CASES: readonly (readonly [Partial<SandboxShape>, string])[] = [
  [
    {},
    "on: 9 threads with no new privileges, no capabilities, an empty bounding set, " +
    "system calls filtered; files restricted (Landlock 7); user treegate",
  ],
  [
    { mode: "strict", user: null, landlock: null, emptyBoundingSet: 0, filtered: 8 },
    "strict: 9 threads with no new privileges, no capabilities, system calls filtered in 8; " +
    "files not restricted",
  ],
  [
    {
      mode: "off",
      landlock: null,
      noNewPrivileges: 0,
      noCapabilities: 0,
      emptyBoundingSet: 0,
      filtered: 0,
    },
    "off: 9 threads with all that they had; files not restricted; user treegate",
  ],
  [{ mode: "off", user: null, noNewPrivileges: 0 }, "off"],
];

for (const [changes, text] of CASES) {
  Deno.test(`sandbox: "${text}"`, () => assert.equal(sandboxText({ ...ALL, ...changes }), text));
}
