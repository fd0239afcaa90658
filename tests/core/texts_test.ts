import assert from "node:assert/strict";
import { textAt, TextWriter } from "../../src/core/texts.ts";

Deno.test("TextWriter keeps texts of any length and letters, in order", () => {
  const writer = new TextWriter();
  const texts = ["", "a", "ä€😀", "", "\ufeffx", "y".repeat(5000), ..."0123456789".repeat(50)];
  assert.deepEqual(texts.map((text) => writer.add(text)), [...texts.keys()]);
  const made = writer.texts();
  assert.deepEqual(texts.map((_, number) => textAt(made, number)), texts);
  assert.equal(made.bytes.length, new TextEncoder().encode(texts.join("")).length);
});

Deno.test("TextWriter without a text has none", () => {
  const { bytes, ends } = new TextWriter().texts();
  assert.deepEqual([bytes.length, ends.length], [0, 0]);
});
