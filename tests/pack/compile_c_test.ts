import assert from "node:assert/strict";
import { buildShim, compileC } from "../../src/pack/compile_c.ts";
import { permitted } from "../ffi/namespace.ts";

const ignore = !permitted;

Deno.test({ name: "buildShim, builds once and then leaves the shim alone", ignore }, () => {
  const path = buildShim();
  const built = Deno.statSync(path).mtime;
  assert.equal(buildShim(), path);
  assert.deepEqual(Deno.statSync(path).mtime, built);
  const source = Deno.statSync(new URL("../../ffi/tap.c", import.meta.url)).mtime;
  assert.ok(built! > source!);
});

Deno.test({ name: "compileC, gives the compiler's words and keeps the old file", ignore }, () => {
  const folder = Deno.makeTempDirSync({ prefix: "treegate-build-" });
  try {
    const [source, target] = [`${folder}/bad.c`, `${folder}/bad.so`];
    Deno.writeTextFileSync(source, "int f(int unused) { return missing; }\n");
    Deno.writeTextFileSync(target, "old");
    assert.throws(() => compileC([source], target, ["-shared", "-fPIC"]), (error: Error) => {
      assert.ok(error.message.startsWith(`Cannot compile "${source}": `));
      return /'missing' undeclared/.test(error.message.replaceAll(/[‘’]/g, "'"));
    });
    assert.equal(Deno.readTextFileSync(target), "old");
    assert.equal([...Deno.readDirSync(folder)].length, 2);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test({ name: "compileC, says which package has the compiler", ignore }, () => {
  const module = new URL("../../src/pack/compile_c.ts", import.meta.url).href;
  const { stdout } = new Deno.Command(Deno.execPath(), {
    args: [
      "eval",
      "--no-lock",
      `import { compileC } from "${module}";
      try { compileC(["a.c"], "a.so", []) } catch (error) { console.log(error.message) }`,
    ],
    env: { PATH: "/nonexistent" },
  }).outputSync();
  assert.equal(
    new TextDecoder().decode(stdout),
    'Cannot compile the C sources: there is no C compiler "cc"; ' +
      "install one, on Debian and Ubuntu with: sudo apt-get install gcc libc6-dev\n",
  );
});
