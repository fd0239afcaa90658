/** Where the control socket may be, and what must not be removed for it. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { claimSocketPath } from "../../../src/process/control/socket_path.ts";
import { run } from "../../support/shell.ts";

const NEEDED = ["read", "write", "run", "net", "sys"] as const;
const ignore = !NEEDED.every((name) => Deno.permissions.querySync({ name }).state === "granted");

/** A folder of our own. */
class Folder {
  readonly path = Deno.makeTempDirSync();

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** Leaves a socket at `path` at which nobody listens. */
async function oldSocket(path: string): Promise<void> {
  const leave = "Deno.listen({ transport: 'unix', path: Deno.args[0] });" +
    "Deno.kill(Deno.pid, 'SIGKILL')";
  await run([Deno.execPath(), "eval", "--quiet", leave, path]);
  assert.ok((await Deno.lstat(path)).isSocket);
}

async function refusal(path: string): Promise<string> {
  const error = await claimSocketPath(path).then(() => null, (error) => error as Error);
  assert.ok(error !== null, "it was taken");
  assert.match(error.message, /^Cannot open control socket "[^\n]*": [^\n]+$/);
  return error.message;
}

Deno.test({
  name: "claimSocketPath removes an old socket of ours, and follows links to folders",
  ignore,
  fn: async () => {
    using folder = new Folder();
    await Deno.mkdir(`${folder.path}/real`, { mode: 0o755 });
    await Deno.symlink("real", `${folder.path}/link`);
    const real = `${await Deno.realPath(folder.path)}/real/s`;
    await oldSocket(real);
    assert.equal(await claimSocketPath(`${folder.path}/link/s`), real);
    await assert.rejects(Deno.lstat(real), Deno.errors.NotFound);
  },
});

const others: readonly [name: string, make: (path: string) => void, RegExp][] = [
  ["a symbolic link", (path) => Deno.symlinkSync("/etc/passwd", path), /symbolic link/],
  ["a link to nothing", (path) => Deno.symlinkSync("nothing", path), /symbolic link/],
  ["a file", (path) => Deno.writeTextFileSync(path, "kept"), /something else/],
  ["a folder", (path) => Deno.mkdirSync(path), /something else/],
];
for (const [name, make, words] of others) {
  Deno.test({
    name: `claimSocketPath leaves ${name} alone`,
    ignore,
    fn: async () => {
      using folder = new Folder();
      make(`${folder.path}/s`);
      const before = (await Deno.lstat(`${folder.path}/s`)).ino;
      assert.match(await refusal(`${folder.path}/s`), words);
      assert.equal((await Deno.lstat(`${folder.path}/s`)).ino, before);
    },
  });
}

Deno.test({
  name: "claimSocketPath leaves a socket alone at which somebody listens",
  ignore,
  fn: async () => {
    using folder = new Folder();
    const server = createServer();
    await new Promise<void>((resolve) => server.listen({ path: `${folder.path}/s` }, resolve));
    try {
      assert.match(await refusal(`${folder.path}/s`), /another program listens there/);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  },
});

Deno.test({
  name: "claimSocketPath leaves another user's socket alone",
  ignore: ignore || Deno.uid() !== 0,
  fn: async () => {
    using folder = new Folder();
    await oldSocket(`${folder.path}/s`);
    await Deno.chown(`${folder.path}/s`, 65_534, 65_534);
    assert.match(await refusal(`${folder.path}/s`), /socket of another user/);
  },
});

Deno.test({
  name: "claimSocketPath wants folders that only their owner and root can write, all the way up",
  ignore,
  fn: async () => {
    using folder = new Folder();
    await Deno.mkdir(`${folder.path}/in/side`, { recursive: true, mode: 0o755 });
    for (const mode of [0o775, 0o757, 0o1777]) {
      await Deno.chmod(`${folder.path}/in/side`, mode);
      assert.match(await refusal(`${folder.path}/in/side/s`), /others can write the folder/);
    }
    await Deno.chmod(`${folder.path}/in/side`, 0o755);
    await Deno.chmod(`${folder.path}/in`, 0o777);
    assert.match(await refusal(`${folder.path}/in/side/s`), /others can write the folder ".*\/in"/);
    await Deno.chmod(`${folder.path}/in`, 0o1777);
    await claimSocketPath(`${folder.path}/in/side/s`);
    assert.match(await refusal(`${folder.path}/none/s`), /no such file or folder/);
    assert.match(await refusal(`${folder.path}/${"x".repeat(100)}`), /expected at most 107/);
    if (Deno.uid() !== 0) return;
    await Deno.chown(`${folder.path}/in`, 65_534, 65_534);
    assert.match(await refusal(`${folder.path}/in/side/s`), /is another user's/);
  },
});
