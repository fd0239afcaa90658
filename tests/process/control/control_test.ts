/** The packet thread's side of the control socket. */
import assert from "node:assert/strict";
import { Controller } from "../../../src/control/controller.ts";
import { openControl } from "../../../src/process/control/control.ts";
import { NO_KEY } from "../../../src/wire/keyed_hash.ts";
import { testConfig } from "../../support/config.ts";
import { World } from "../../support/world.ts";

Deno.test("openControl leaves 32 descriptors to others, or says how many are missing", async () => {
  const world = new World();
  const controller = new Controller({
    appliance: world.appliance,
    customs: {},
    changePools: () => Promise.resolve(),
    reload: () => Promise.resolve({ isDone: true, lines: [] }),
    upgrade: () => {},
    policyFile: () => null,
    log: { info: () => {} },
    policyText: () => ({ file: "", text: "", included: new Map() }),
    captures: {
      start: () => assert.fail("nothing is captured"),
      stop: () => assert.fail("nothing is captured"),
      state: null,
    },
    pause: () => Promise.resolve(),
  });
  // Another thread that serves takes as many.
  for (const [threads, missing] of [[1, 17], [2, 64]] as const) {
    const opening = openControl({
      path: "/run/x",
      thread: () => assert.fail("no thread is started"),
      controller,
      config: testConfig(),
      hashKey: NO_KEY,
      about: { version: "", build: "" },
      shim: "",
      descriptors: { spare: 30, threads },
      log: { info: () => {}, warning: () => {}, error: () => {} },
    });
    await assert.rejects(opening, {
      message:
        'Cannot open control socket "/run/x": the limit of open files (ulimit -n) leaves too few: ' +
        `expected at least ${missing} more`,
    });
  }
});
