/** Files of text, as they are read. */
import assert from "node:assert/strict";
import { readPolicy } from "../../src/process/policy_file.ts";
import { readTextFile } from "../../src/process/text_file.ts";

const MAX_BYTES = 1 << 20;
const canWrite = Deno.permissions.querySync({ name: "write" }).state === "granted";

/** What `use` makes of a file with that text. */
async function withFile<T>(text: string, use: (path: string) => Promise<T>): Promise<T> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(path, text);
    return await use(path);
  } finally {
    await Deno.remove(path);
  }
}

Deno.test({
  name: "readTextFile gives pieces of whole lines, which together are the text",
  ignore: !canWrite,
  fn: async () => {
    const line = "ä".repeat(40); // a chunk ends within a character
    const long = "x".repeat(200_000);
    for (
      const text of ["", "one", "one\n", `${line}\n`.repeat(5000), `a\n${long}\nb\n${long}`, long]
    ) {
      const read = await withFile(text, (path) => readTextFile(path, MAX_BYTES));
      assert.equal(read.text, text);
      assert.equal(read.pieces.join(""), text);
      for (const piece of read.pieces.slice(0, -1)) assert.ok(piece.endsWith("\n"));
      assert.ok(text.length < 100_000 || text === long || read.pieces.length > 2);
    }
  },
});

Deno.test({
  name: "readPolicy finds the files that are included anywhere in a long text",
  ignore: !canWrite,
  fn: async () => {
    const lines = Array.from({ length: 9000 }, (_, i) => `include "no-${i}"`);
    const { included, pieces, text } = await withFile(lines.join("\n"), (path) => readPolicy(path));
    assert.equal(pieces.join(""), text);
    assert.ok(pieces.length > 2);
    assert.equal(included.size, 1000);
    const some = `${"# nothing\n".repeat(20_000)}include "last"`;
    const last = await withFile(some, (path) => readPolicy(path));
    assert.deepEqual([...last.included.keys()].map((path) => path.split("/").at(-1)), ["last"]);
  },
});
