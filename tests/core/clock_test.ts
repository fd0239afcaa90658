import assert from "node:assert/strict";
import { ManualClock } from "../../src/core/clock.ts";

Deno.test("ManualClock stands still until told to advance", () => {
  const clock = new ManualClock(500);
  assert.equal(clock.nowMs(), 500);
  assert.equal(clock.nowMs(), 500);
  clock.advance(5 * 24 * 3_600_000);
  assert.equal(clock.nowMs(), 432_000_500);
});

Deno.test("ManualClock starts at 0 unless told otherwise", () => {
  assert.equal(new ManualClock().nowMs(), 0);
});
