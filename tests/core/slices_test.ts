import assert from "node:assert/strict";
import { below, SeededRandom } from "../../src/core/random.ts";
import { finish, type Slices, sortInSlices } from "../../src/core/slices.ts";

Deno.test("finish does all of it, and throws what it throws", () => {
  let steps = 0;
  function* work(fails: boolean): Slices<string> {
    for (; steps < 3; steps++) yield;
    if (fails) throw new RangeError("too large");
    return "done";
  }
  assert.equal(finish(work(false)), "done");
  assert.equal(steps, 3);
  assert.throws(() => finish(work(true)), new RangeError("too large"));
});

Deno.test("sortInSlices sorts as toSorted does, equal ones in their order, and can be interrupted", () => {
  const random = new SeededRandom(7);
  for (const length of [0, 1, 2, 511, 512, 513, 1024, 1025, 5000, 20_000]) {
    for (const different of [3, 1000, 2 ** 32]) {
      const keys = Float64Array.from({ length }, () => below(random, different));
      const expected = Array.from(keys.keys()).toSorted((a, b) => keys[a]! - keys[b]!);
      const work = sortInSlices(Uint32Array.from(keys.keys()), keys);
      let slices = 0;
      let step = work.next();
      for (; !step.done; step = work.next()) slices++;
      assert.deepEqual([...step.value], expected, `${length} of ${different}`);
      assert.ok(slices >= length / 512, `${slices} slices of ${length}`);
    }
  }
});
