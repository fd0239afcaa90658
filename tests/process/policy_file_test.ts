import assert from "node:assert/strict";
import { MAX_FILE_BYTES, readPolicyFile } from "../../src/process/policy_file.ts";

const granted = (name: "read" | "write") =>
  Deno.permissions.querySync({ name }).state === "granted";
const ignore = !granted("read") || !granted("write");

/** Runs `body` with a directory that is gone afterwards. */
async function inDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    await body(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test({
  name: "readPolicyFile reads text in UTF-8, its byte order mark too",
  ignore,
  fn: () =>
    inDirectory(async (directory) => {
      const path = `${directory}/a`;
      for (
        const text of ["", "default drop\n", "\ufeff# é 漢 🙂\r\n", "x".repeat(MAX_FILE_BYTES)]
      ) {
        await Deno.writeTextFile(path, text);
        assert.ok(await readPolicyFile(path) === text);
      }
    }),
});

Deno.test({
  name: "readPolicyFile says in one line why a file can't be read",
  ignore,
  fn: () =>
    inDirectory(async (directory) => {
      const path = `${directory}/a\n`;
      const fails = (reason: string) =>
        assert.rejects(() => readPolicyFile(path), {
          name: "Error",
          message: `Cannot read policy "${directory}/a\\u000a": ${reason}`,
        });
      await fails("there is no such file or folder");
      await Deno.writeFile(path, Uint8Array.of(0x64, 0xc3, 0x28));
      await fails("expected text in UTF-8");
      await Deno.writeFile(path, new Uint8Array(MAX_FILE_BYTES + 1).fill(0x23));
      await fails("expected at most 4 MiB");
      await Deno.chmod(path, 0);
      if (Deno.uid() !== 0) await fails("permission denied");
      await Deno.remove(path);
      await Deno.mkdir(path);
      await fails("it is a directory");
    }),
});

Deno.test({
  name: "readPolicyFile stops reading an endless file",
  ignore: ignore ||
    Deno.permissions.querySync({ name: "read", path: "/dev/zero" }).state !== "granted",
  fn: () =>
    assert.rejects(
      () => readPolicyFile("/dev/zero"),
      /^Error: Cannot read policy "\/dev\/zero": .*4 MiB$/,
    ),
});
