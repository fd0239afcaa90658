import assert from "node:assert/strict";
import { print } from "../../src/policy/printing/print.ts";
import { loadPolicy, MAX_FILE_BYTES, readPolicy } from "../../src/process/policy_file.ts";

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
  name: "readPolicy reads text in UTF-8, its byte order mark too",
  ignore,
  fn: () =>
    inDirectory(async (directory) => {
      const path = `${directory}/a`;
      for (
        const text of ["", "default drop\n", "\ufeff# é 漢 🙂\r\n", "x".repeat(MAX_FILE_BYTES)]
      ) {
        await Deno.writeTextFile(path, text);
        assert.ok((await readPolicy(path)).text === text);
      }
    }),
});

Deno.test({
  name: "readPolicy says in one line why a file can't be read",
  ignore,
  fn: () =>
    inDirectory(async (directory) => {
      const path = `${directory}/a\n`;
      const fails = (reason: string) =>
        assert.rejects(() => readPolicy(path), {
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
  name: "readPolicy stops reading an endless file",
  ignore: ignore ||
    Deno.permissions.querySync({ name: "read", path: "/dev/zero" }).state !== "granted",
  fn: () =>
    assert.rejects(
      () => readPolicy("/dev/zero"),
      /^Error: Cannot read policy "\/dev\/zero": .*4 MiB$/,
    ),
});

Deno.test({
  name: "loadPolicy reads included files, relative to the file that includes them, each time anew",
  ignore,
  fn: () =>
    inDirectory(async (directory) => {
      await Deno.mkdir(`${directory}/parts`);
      const write = (name: string, text: string) =>
        Deno.writeTextFile(`${directory}/${name}`, text);
      await write("main", 'default drop\ninclude "parts/a"\nip.src in $a -> drop\n');
      await write("parts/a", 'include "../b"\ndefine $a = $b\n');
      for (const address of ["10.0.0.1", "10.0.0.2"]) {
        await write("b", `define $b = ${address}\n`);
        const { policy } = await loadPolicy(`${directory}/main`, {});
        assert.match(print(policy), new RegExp(`^define \\$b = ${address}$`, "m"));
      }
      await write("b", "define $b = 10.0.0\n");
      await assert.rejects(() => loadPolicy(`${directory}/main`, {}), {
        message: `${directory}/parts/../b:1:13: Found "10.0.0", expected an address, as in ` +
          `10.0.0.1, 10.0.0.0/8 or $list\n  1 | define $b = 10.0.0\n    |             ^^^^^^`,
      });
    }),
});

Deno.test({
  name: "loadPolicy says why an included file can't be read, and at which include",
  ignore,
  fn: () =>
    inDirectory(async (directory) => {
      const main = `${directory}/main`;
      const fails = (message: RegExp) => assert.rejects(() => loadPolicy(main, {}), { message });
      await Deno.writeTextFile(main, 'default drop\ninclude "a"\n-> drop\n');
      await fails(/main:2:9: Found the file "a", .* read; there is no such file or folder\n/);
      await Deno.mkdir(`${directory}/a`);
      await fails(/main:2:9: .*; it is a directory\n/);
      await Deno.remove(`${directory}/a`);
      await Deno.writeFile(`${directory}/a`, Uint8Array.of(0xff));
      await fails(/main:2:9: .*; expected text in UTF-8\n/);
      await Deno.remove(`${directory}/a`);
      await Deno.symlink("main", `${directory}/a`);
      await fails(/main:2:9: .*, expected no cycle of includes; ".*main" includes ".*main"\n/);
    }),
});

Deno.test("readPolicy reads each file once, and no more files than a policy may include", async () => {
  const read: string[] = [];
  const { included, missing } = await readPolicy("d/main", (path) => {
    read.push(path);
    const all = Array.from({ length: 1100 }, (_, i) => `include "${i}"\n`).join("");
    const text = path === "d/main" ? all : 'include "main"';
    return Promise.resolve({ text, pieces: [text], id: path });
  });
  assert.equal(read.length, 1001);
  assert.deepEqual(included.get("d/7"), { file: "d/7", text: 'include "main"' });
  assert.equal(included.has("d/1050"), false);
  assert.equal(missing, "more than 1000 files are included");
});

Deno.test("readPolicy stops at the length that a policy may have, included files together", async () => {
  let read = 0;
  await readPolicy("main", (path) => {
    read++;
    const text = `include "${read}"\n${"#".repeat(1 << 20)}`;
    return Promise.resolve({ text, pieces: [text], id: path });
  });
  assert.equal(read, 4);
});
