import assert from "node:assert/strict";
import { loadHashKey } from "../../src/process/hash_key_file.ts";
import { hashKeyOf, NO_KEY } from "../../src/wire/keyed_hash.ts";

const granted = (name: "read" | "write") =>
  Deno.permissions.querySync({ name }).state === "granted";
const ignore = !granted("read") || !granted("write");

async function keyOf(content: Uint8Array | string): Promise<unknown> {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
    return await loadHashKey(path).catch((error) => error.message.replace(path, "FILE"));
  } finally {
    await Deno.remove(path);
  }
}

Deno.test({
  name: "loadHashKey reads 16 bytes or more, as they are or in hex; no file is no key",
  ignore,
  fn: async () => {
    const bytes = Uint8Array.from({ length: 20 }, (_, i) => i * 13);
    assert.deepEqual(await keyOf(bytes), hashKeyOf(bytes));
    assert.deepEqual(await keyOf(`${bytes.toHex()}\n`), hashKeyOf(bytes));
    assert.deepEqual(await keyOf(bytes.toHex().toUpperCase()), hashKeyOf(bytes));
    assert.equal(await loadHashKey(null), NO_KEY);
  },
});

Deno.test({
  name: "loadHashKey says in one line what is wrong with a key",
  ignore,
  fn: async () => {
    const wrong = 'Cannot read key "FILE": expected 16 to 4096 bytes, or that many in hex';
    const hex = "0123456789abcdef";
    for (const content of ["", "short", hex.slice(2).repeat(2), new Uint8Array(10_000)]) {
      assert.equal(await keyOf(content), wrong);
    }
    assert.equal(
      await loadHashKey("/nowhere/key").catch((error) => error.message),
      'Cannot read key "/nowhere/key": there is no such file or folder',
    );
  },
});
