/**
 * The simulator's runs that belong to every test run: 200 seeds of 200 connections each, on one
 * LAN and on two. `deno task soak` makes 2,000. `SIM_SEED=7 deno test -A tests/sim` repeats one.
 */
import assert from "node:assert/strict";
import { CALM, Sim } from "./sim.ts";

const SEEDS = 200;
const SEEDS_PER_TEST = 25;

function seedOf(): number | null {
  const { state } = Deno.permissions.querySync({ name: "env", variable: "SIM_SEED" });
  const text = state === "granted" ? Deno.env.get("SIM_SEED") : undefined;
  return text === undefined ? null : Number(text);
}

const only = seedOf();

if (only !== null) {
  for (const twoSided of [false, true]) {
    Deno.test(`sim: seed ${only}${twoSided ? ", two-sided" : ""}`, () => {
      new Sim({ seed: only, twoSided }).run();
    });
  }
} else {
  for (let first = 1; first <= SEEDS; first += SEEDS_PER_TEST) {
    const last = first + SEEDS_PER_TEST - 1;
    Deno.test(`sim: seeds ${first} to ${last}, every connection gets what was sent`, () => {
      for (let seed = first; seed <= last; seed++) new Sim({ seed }).run();
    });
    Deno.test(`sim: seeds ${first} to ${last}, two-sided`, () => {
      for (let seed = first; seed <= last; seed++) new Sim({ seed, twoSided: true }).run();
    });
  }
}

Deno.test("sim: the same seed gives the same run, frame by frame", () => {
  const runs = [1, 2].map(() => new Sim({ seed: 3, connections: 40 }).run());
  assert.deepEqual(runs[0], runs[1]);
  assert.ok(runs[0]!.cutUp > 0, "hosts leave work to interfaces");
});

Deno.test("sim: a calm LAN, nothing is dropped but what is blocked or left of something aborted", () => {
  // An RST about data that was under way when its sender gave up lies behind the window by then.
  const expected = new Set(["policy", "out-of-window", "invalid", "no-mapping"]);
  for (let seed = 1; seed <= 10; seed++) {
    const { drops } = new Sim({ seed, twoSided: seed % 2 === 0, impairments: CALM }).run();
    assert.deepEqual(Object.keys(drops).filter((reason) => !expected.has(reason)), []);
  }
});
