import assert from "node:assert/strict";
import { Positions } from "../../../src/policy/notation/positions.ts";

Deno.test("Positions finds where each of many nodes is written, in several files, and the last place of one", () => {
  const positions = new Positions();
  const nodes = Array.from({ length: 10_000 }, () => ({}));
  const at = (i: number) => ({ file: i < 7000 ? "a" : "b", line: i + 1, column: 1 + i % 7 });
  for (const [i, node] of nodes.entries()) positions.add(node, at(i));
  for (const i of [0, 1, 4095, 4096, 6999, 7000, 9999]) {
    assert.deepEqual(positions.get(nodes[i]!), at(i));
  }
  assert.equal(positions.get({}), undefined);
  const again = { file: "a", line: 4_000_000, column: 3_000_000 };
  positions.add(nodes[5]!, again);
  assert.deepEqual(positions.get(nodes[5]!), again);
});
