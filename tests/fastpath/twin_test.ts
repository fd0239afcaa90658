/**
 * The fast path does what the appliance does, or leaves the frame to it: `twin.ts`, with the
 * traffic of the test of header prediction; with `FRAMES=1000000` it takes so many.
 */
import assert from "node:assert/strict";
import { KINDS, ROUND_FRAMES } from "./twin_traffic.ts";

const canAsk = Deno.permissions.querySync({ name: "env", variable: "FRAMES" }).state === "granted";
const FRAMES = Number((canAsk && Deno.env.get("FRAMES")) || 45_000);
const ROUNDS = Math.ceil(FRAMES / (KINDS.length * ROUND_FRAMES));

for (const { name, run } of KINDS) {
  Deno.test(`fast path does what the appliance does with ${name}`, () => {
    const all = { forwarded: 0, left: 0, wrongSums: 0, padded: 0 };
    for (let seed = 1; seed <= ROUNDS; seed++) {
      const twin = run({ seed });
      for (const name of Object.keys(all) as (keyof typeof all)[]) all[name] += twin[name];
    }
    const text = JSON.stringify(all);
    assert.ok(all.forwarded > ROUNDS * ROUND_FRAMES / 20, text);
    assert.ok(all.left > ROUNDS * ROUND_FRAMES / 20, text);
    assert.ok(all.wrongSums + all.padded > 0, text);
  });
}
