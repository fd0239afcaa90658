/** What is said and done where a kernel can't do all that a sandbox is made of. */
import assert from "node:assert/strict";
import type { SandboxConfig } from "../../src/datapath/config.ts";
import { compileC } from "../../src/pack/compile_c.ts";
import type { Settings } from "../../src/process/reload.ts";
import { Sandbox } from "../../src/process/sandbox.ts";
import { FREE, testConfig } from "../support/config.ts";
import { WHOLE_CAPTURE } from "../../src/capture/options.ts";

const granted = (name: "read" | "write" | "run" | "ffi") =>
  Deno.permissions.querySync({ name }).state === "granted";
const ignore = !granted("read") || !granted("write") || !granted("run") || !granted("ffi");

const LANDLOCK = 1;
const FILTER = 2;

/** Gives all up on a kernel that lacks this: what the log says. */
async function applied(missing: number, config: Partial<SandboxConfig>): Promise<string[]> {
  const folder = await Deno.makeTempDir();
  try {
    const shim = `${folder}/shim.so`;
    const source = decodeURIComponent(new URL("sandbox_kernel.c", import.meta.url).pathname);
    compileC([source], shim, ["-shared", "-fPIC", `-DMISSING=${missing}`]);
    const lines: string[] = [];
    const line = (level: string) => (text: string) => void lines.push(`${level}: ${text}`);
    const log = {
      debug: line("debug"),
      info: line("info"),
      warning: line("warning"),
      error: line("error"),
    };
    const settings: Settings = {
      config: testConfig(),
      tap: {
        ...{ offload: true, spinUs: 100, fastPath: "off", admin: null },
        sandbox: { ...FREE, ...config },
      },
      ...{ control: null, state: null, logLevel: "info", logConnections: 0 },
      captures: { file: null, options: WHOLE_CAPTURE, dir: null },
      log: { format: "text" },
    };
    using sandbox = await Sandbox.open({ settings, configFile: null, shim, sources: null, log });
    const { mode } = sandbox.apply();
    assert.equal(mode, settings.tap.sandbox.mode);
    return lines;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const GIVEN_UP = "9 threads with no new privileges, no capabilities, an empty bounding set";
const NO_LANDLOCK = "this kernel has no Landlock (EOPNOTSUPP)";
const NO_FILTER = "this kernel has no such seccomp (EINVAL)";

const CASES: readonly (readonly [missing: number, said: string])[] = [
  [0, `info: sandbox: on: ${GIVEN_UP}, system calls filtered; files restricted (Landlock 1)`],
  [
    LANDLOCK,
    `warning: sandbox: on: ${GIVEN_UP}, system calls filtered; files not restricted; ${NO_LANDLOCK}`,
  ],
  [FILTER, `warning: sandbox: on: ${GIVEN_UP}; files restricted (Landlock 1); ${NO_FILTER}`],
  [
    LANDLOCK | FILTER,
    `warning: sandbox: on: ${GIVEN_UP}; files not restricted; ${NO_LANDLOCK}; ${NO_FILTER}`,
  ],
];

for (const [missing, said] of CASES) {
  Deno.test({
    name: `sandbox, one line: "${said}"`,
    ignore,
    fn: async () => assert.deepEqual(await applied(missing, { mode: "on" }), [said]),
  });
}

Deno.test({
  name: "sandbox, strict: what the kernel can't do is an error of one line",
  ignore,
  fn: async () => {
    const strict = (missing: number) => applied(missing, { mode: "strict" });
    assert.equal((await strict(0)).length, 1);
    await assert.rejects(strict(LANDLOCK), { message: `--sandbox=strict: ${NO_LANDLOCK}` });
    await assert.rejects(strict(LANDLOCK | FILTER), {
      message: `--sandbox=strict: ${NO_LANDLOCK}; ${NO_FILTER}`,
    });
  },
});

Deno.test({
  name: "sandbox, off: nothing is given up, whatever the kernel could do, and the log says so",
  ignore,
  fn: async () => {
    assert.deepEqual(await applied(0, { mode: "off" }), ["info: sandbox: off"]);
    await assert.rejects(applied(0, { mode: "off", user: "somebody" }), {
      message: '--user: Cannot become "somebody": there is no such user',
    });
  },
});
