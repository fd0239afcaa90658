import assert from "node:assert/strict";
import { Histogram } from "../../src/core/histogram.ts";

Deno.test("Histogram counts a value up to the first bound that it does not exceed", () => {
  const histogram = new Histogram([1, 4]);
  for (const value of [0, 1, 2, 4, 4.5, 1000]) histogram.add(value);
  assert.deepEqual([...histogram.numbers], [2, 2, 2, 1011.5]);
});
