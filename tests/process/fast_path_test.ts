import assert from "node:assert/strict";
import type { FastPathMode } from "../../src/datapath/config.ts";
import type { TapDevice } from "../../src/device/tap.ts";
import { buildShim } from "../../src/pack/compile_c.ts";
import { openFastPath, verifierLines } from "../../src/process/fast_path.ts";
import { whyNoBpf } from "../support/bpf_kernel.ts";
import { testConfig } from "../support/config.ts";

const ignore = whyNoBpf() !== undefined;
const ENODEV = 19;

/** Opens it for a device that went away: what comes of it, and what is logged. */
async function openFor(mode: FastPathMode) {
  const lines: string[] = [];
  const log = (line: string) => void lines.push(line);
  const device = { name: "tap7", index: () => -ENODEV } as unknown as TapDevice;
  const fastPath = await openFastPath({
    mode,
    config: testConfig(),
    devices: [device],
    shim: buildShim(),
    log: { debug: log, info: log, warning: log },
  });
  return { fastPath, lines };
}

Deno.test({ name: "openFastPath, off, is none and says nothing", ignore }, async () => {
  assert.deepEqual(await openFor("off"), { fastPath: null, lines: [] });
});

Deno.test({ name: "openFastPath, auto, says in one line why there is none", ignore }, async () => {
  assert.deepEqual(await openFor("auto"), {
    fastPath: null,
    lines: [
      "fast path: off, the proxy forwards each packet. Cannot attach the BPF program: tap7 is gone",
    ],
  });
});

Deno.test({ name: "openFastPath, on, makes that an error", ignore }, async () => {
  await assert.rejects(openFor("on"), {
    message: "--fast-path=on: Cannot attach the BPF program: tap7 is gone",
  });
});

Deno.test("verifierLines: what the verifier said last, bounded and printable", () => {
  const said = Array.from({ length: 20 }, (_, i) => `${i}: \u001b[31m${"x".repeat(500)}`);
  const lines = verifierLines(new Error("refused", { cause: said.join("\n") }));
  assert.equal(lines.length, 8);
  assert.ok(lines.every((line) => line.length < 250 && !line.includes("\u001b")));
  assert.match(lines.at(-1)!, /^19: /);
  for (const cause of ["", undefined]) {
    assert.deepEqual(verifierLines(new Error("x", { cause })), []);
  }
});
