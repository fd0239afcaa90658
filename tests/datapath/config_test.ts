import assert from "node:assert/strict";
import { formatBackends } from "../../src/datapath/config.ts";

Deno.test("formatBackends names all of a few, the first of many", () => {
  const some = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
  assert.equal(formatBackends(some(2)), "0.0.0.1, 0.0.0.2");
  assert.match(formatBackends(some(20)), /, 0\.0\.0\.20$/);
  assert.match(formatBackends(some(10_000)), /, 0\.0\.0\.20 and 9980 more$/);
});
