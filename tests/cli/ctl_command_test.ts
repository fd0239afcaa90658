/** `proxy ctl` against what is no proxy that answers. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { ctlCommand } from "../../src/cli/ctl_command.ts";

const ignore = !(["read", "write", "net"] as const).every((name) =>
  Deno.permissions.querySync({ name }).state === "granted"
);

/** What is written to it, as text. */
class Text {
  text = "";

  write(bytes: Uint8Array): Promise<number> {
    this.text += new TextDecoder().decode(bytes);
    return Promise.resolve(bytes.length);
  }
}

Deno.test({
  name: "ctl ends with an error when a proxy takes the request and never answers",
  ignore,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    const control = `${folder}/s`;
    const server = createServer((socket) => socket.on("error", () => {}).resume());
    await new Promise<void>((resolve) => server.listen({ path: control }, resolve));
    const [stdout, stderr] = [new Text(), new Text()];
    const command = { control, name: "status", method: "GET", target: "/status" } as const;
    const code = await ctlCommand(
      { ...command, isJson: false, isWatching: false },
      { stdout, stderr },
      50,
    );
    const text = `error: Cannot reach a proxy at "${control}": it does not answer\n`;
    assert.deepEqual([code, stdout.text, stderr.text], [1, "", text]);
    await new Promise((resolve) => server.close(resolve));
    await Deno.remove(folder, { recursive: true });
  },
});

Deno.test({
  name: "ctl says that no socket has so long a path",
  ignore,
  fn: async () => {
    const control = `/tmp/${"x".repeat(110)}`;
    const [stdout, stderr] = [new Text(), new Text()];
    const command = { control, name: "status", method: "GET", target: "/status" } as const;
    const code = await ctlCommand({ ...command, isJson: false, isWatching: false }, {
      stdout,
      stderr,
    });
    const why = "its path has 115 bytes, expected at most 107";
    assert.deepEqual([code, stderr.text], [
      1,
      `error: Cannot reach a proxy at "${control}": ${why}\n`,
    ]);
  },
});
