import assert from "node:assert/strict";
import { findSameFile } from "../../src/process/same_file.ts";

const ignore = !["read", "write"].every((name) =>
  Deno.permissions.querySync({ name } as Deno.PermissionDescriptor).state === "granted"
);

const at = (folder: string, name: string, file: string) => ({
  name,
  file: file.startsWith("/") ? file : `${folder}/${file}`,
});

/** A folder with the capture `in`, a link to it by each kind of name, and links to nothing. */
function withFolder(test: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.mkdirSync(`${folder}/sub`);
    Deno.writeTextFileSync(`${folder}/in`, "capture");
    Deno.writeTextFileSync(`${folder}/other`, "capture");
    Deno.symlinkSync("in", `${folder}/link`);
    Deno.symlinkSync("../link", `${folder}/sub/link`);
    Deno.linkSync(`${folder}/in`, `${folder}/hard`);
    Deno.symlinkSync("none", `${folder}/dangling`);
    Deno.symlinkSync(`${folder}/sub/../dangling`, `${folder}/sub/dangling`);
    Deno.symlinkSync("loop", `${folder}/loop`);
    test(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

const cases: readonly [out: string, outB: string | null, found: string | null][] = [
  ["in", null, "--out in --pcap"],
  ["./in", null, "--out ./in --pcap"],
  ["sub/../in", null, "--out sub/../in --pcap"],
  ["link", null, "--out link --pcap"],
  ["sub/link", null, "--out sub/link --pcap"],
  ["hard", null, "--out hard --pcap"],
  ["new", "hard", "--out-b hard --pcap"],
  ["other", "other", "--out-b other --out"],
  ["new", "new", "--out-b new --out"],
  ["new", "sub/../new", "--out-b sub/../new --out"],
  ["none", "sub/dangling", "--out-b sub/dangling --out"],
  ["dangling", "sub/dangling", "--out-b sub/dangling --out"],
  ["other", null, null],
  ["other", "new", null],
  ["new", "sub/new", null],
  ["/dev/null", "/dev/null", null],
  ["loop", "loop", null], // can't be opened
  ["nowhere/new", "nowhere/new", null], // neither
];
for (const [out, outB, found] of cases) {
  const name = `findSameFile, ${out} and ${outB}: ${found ?? "no file twice"}`;
  Deno.test({ name, ignore }, () =>
    withFolder((folder) => {
      const inputs = [at(folder, "--pcap", "in")];
      const outputs = [at(folder, "--out", out)];
      if (outB !== null) outputs.push(at(folder, "--out-b", outB));
      const before = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
      const said = findSameFile(inputs, outputs)?.replaceAll(`${folder}/`, "") ?? null;
      const [flag, path, other] = found?.split(" ") ?? [];
      const wanted = `${flag}: Cannot write "${path}": it is the file of ${other}, ` +
        "expected another one";
      assert.equal(said, found === null ? null : wanted);
      assert.deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), before);
      assert.equal(Deno.readTextFileSync(`${folder}/in`), "capture");
    }));
}

Deno.test({ name: "findSameFile, a pipe may be read and written", ignore }, () => {
  const fd = { name: "standard input", file: "/dev/null" };
  assert.equal(findSameFile([fd], [{ ...fd, name: "--out" }]), null);
});
