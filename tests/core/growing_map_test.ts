import assert from "node:assert/strict";
import { GrowingMap } from "../../src/core/growing_map.ts";

Deno.test("GrowingMap finds what was added, across its parts, and nothing else", () => {
  const map = new GrowingMap<string, number>();
  assert.equal(map.get("0"), undefined);
  for (let i = 0; i < 20_000; i++) map.add(String(i), i);
  for (const i of [0, 1, 8191, 8192, 16_383, 16_384, 19_999]) assert.equal(map.get(String(i)), i);
  assert.equal(map.get("20000"), undefined);
});
