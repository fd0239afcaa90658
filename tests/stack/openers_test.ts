import assert from "node:assert/strict";
import { Openers } from "../../src/stack/openers.ts";

Deno.test("Openers keeps each connection's MAC address, and spends it once", () => {
  const openers = new Openers(3);
  for (const [entry, hi, lo] of [[0, 0xfeff, -1], [2, 0, 0]] as const) {
    assert.deepEqual([openers.has(entry), openers.spend(entry)], [false, false]);
    openers.note(entry, hi, lo);
    assert.deepEqual([openers.has(entry), openers.hi(entry), openers.lo(entry)], [true, hi, lo]);
    assert.deepEqual([openers.spend(entry), openers.spend(entry)], [true, false]);
    assert.deepEqual([openers.has(entry), openers.hi(entry), openers.lo(entry)], [true, hi, lo]);
    openers.note(entry, hi, lo);
    assert.equal(openers.spend(entry), true, "the next connection in that entry");
    openers.forget(entry);
    assert.deepEqual([openers.has(entry), openers.spend(entry)], [false, false]);
  }
  assert.deepEqual([openers.has(-1), openers.spend(-1), openers.has(1)], [false, false, false]);
});
