import assert from "node:assert/strict";
import { buildShim, compileC } from "../../src/pack/compile_c.ts";
import { joinParts } from "../../src/pack/package.ts";
import { permitted } from "../ffi/namespace.ts";

const text = new TextDecoder();

/**
 * A single file of the portable kind, with `launcher_program.js` for the proxy, in its own folder.
 */
class SingleFile {
  readonly folder = Deno.makeTempDirSync({ prefix: "treegate-launcher-" });
  readonly path = `${this.folder}/proxy`;

  constructor() {
    try {
      const launcher = `${this.folder}/launcher`;
      compileC([here("../../src/pack/launcher.c")], launcher, []);
      const shim = buildShim();
      const program = here("launcher_program.js");
      const parts = [Deno.execPath(), program, shim, here("launcher_test.ts"), here("page.html")];
      joinParts(launcher, parts, this.path);
      Deno.removeSync(launcher);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  run(args: readonly string[], env: Record<string, string> = {}, path = this.path): {
    code: number;
    out: string;
    err: string;
  } {
    const options = { args: [...args], env, clearEnv: true, cwd: this.folder };
    const result = new Deno.Command(path, options).outputSync();
    return { code: result.code, out: text.decode(result.stdout), err: text.decode(result.stderr) };
  }

  /** As `run`, by a shell that does `before` first; a code above 128 is a signal. */
  runAfter(before: string, args: readonly string[]): ReturnType<SingleFile["run"]> {
    return this.run(["-c", `${before}; "$0" "$@"`, this.path, ...args], {}, "/bin/bash");
  }

  spawn(args: string[]): Deno.ChildProcess {
    const piped = { stdin: "piped", stdout: "piped", clearEnv: true } as const;
    return new Deno.Command(this.path, { args, ...piped }).spawn();
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}

function here(relative: string): string {
  return new URL(relative, import.meta.url).pathname;
}

Deno.test({ name: "launcher, is its program", ignore: !permitted }, async (t) => {
  using file = new SingleFile();

  await t.step("every argument reaches it, whatever it looks like", () => {
    const args = ["", " ", "a b", "--", "-A", "--allow-all", "--inspect", "--help", "-V", "-", "*"]
      .concat("--v8-flags=--help", "ü\n'\"$HOME", "--", "-h");
    const { code, out, err } = file.run(["args", ...args]);
    assert.deepEqual([JSON.parse(out), err, code], [args, "", 3]);
  });

  await t.step("no argument is none", () => {
    assert.deepEqual(file.run([]), { code: 5, out: "", err: "" });
  });

  await t.step("no variable configures the runtime, and none is needed", () => {
    const hostile = {
      DENO_V8_FLAGS: "--no-such-flag",
      DENO_DIR: `${file.folder}/cache`,
      NODE_OPTIONS: "--no-such-option",
      OTEL_DENO: "true",
      RUST_LOG: "trace",
    };
    assert.deepEqual(file.run(["args"], hostile), { code: 3, out: "[]\n", err: "" });
  });

  await t.step("a folder with broken configuration does not matter", () => {
    for (const name of ["deno.json", "package.json", "deno.lock"]) {
      Deno.writeTextFileSync(`${file.folder}/${name}`, "{ broken");
    }
    assert.deepEqual(file.run(["args", "x"]), { code: 3, out: '["x"]\n', err: "" });
    for (const name of ["deno.json", "package.json", "deno.lock"]) {
      Deno.removeSync(`${file.folder}/${name}`);
    }
  });

  await t.step("nothing is left behind", () => {
    file.run(["args"], { HOME: file.folder, XDG_CACHE_HOME: file.folder, TMPDIR: file.folder });
    assert.deepEqual([...Deno.readDirSync(file.folder)].map(({ name }) => name), ["proxy"]);
  });

  await t.step("ps shows its own name and arguments, not the runtime's", async () => {
    const child = file.spawn(["title", "--a=b c", "d"]);
    const reader = child.stdout.getReader();
    await reader.read();
    const read = (name: string) => Deno.readTextFileSync(`/proc/${child.pid}/${name}`);
    assert.equal(read("comm"), "proxy\n");
    const words = read("cmdline").replace(/\0+$/, "").split("\0");
    assert.deepEqual(words, [file.path, "title", "--a=b c", "d"]);
    await child.stdin.close();
    assert.equal((await child.status).code, 3);
    await reader.cancel();
  });

  const script = new Deno.Command("sh", { args: ["-c", "command -v script"] }).outputSync();
  await t.step({
    name: script.success
      ? "on a terminal it prints nothing but its own, and still an uncaught error"
      : "on a terminal: skipped, the program script (bsdutils) is missing",
    ignore: !script.success,
    fn: () => {
      const onTerminal = (word: string) => {
        const args = ["-qec", `${file.path} ${word} x`, "/dev/null"];
        return file.run(args, { TERM: "xterm", PATH: "/usr/bin:/bin" }, "script");
      };
      assert.deepEqual(onTerminal("args"), { code: 3, out: '["x"]\r\n', err: "" });
      const { code, out } = onTerminal("fail");
      assert.equal(code, 1);
      assert.match(out, /uncaught/);
      assert.doesNotMatch(out, /cache/);
    },
  });

  await t.step("it runs through a symbolic link", () => {
    Deno.symlinkSync("proxy", `${file.folder}/link`);
    assert.equal(file.run(["args", "x"], {}, `${file.folder}/link`).out, '["x"]\n');
    Deno.removeSync(`${file.folder}/link`);
  });

  await t.step("the shim is under its descriptor", () => {
    assert.deepEqual(file.run(["shim"]), { code: 3, out: "1\n", err: "" });
  });

  await t.step(
    "it may use libraries, read, write, open sockets and ask the system, no more",
    () => {
      assert.deepEqual(JSON.parse(file.run(["rights"]).out), {
        ...{ env: "prompt", ffi: "granted", net: "granted", read: "granted" },
        ...{ run: "prompt", sys: "granted", write: "granted" },
      });
    },
  );

  await t.step("standard input and output are its own", async () => {
    const child = file.spawn(["stdin"]);
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode("there and back"));
    await writer.close();
    const { code, stdout } = await child.output();
    assert.deepEqual([code, text.decode(stdout)], [3, "there and back"]);
  });

  await t.step("signals reach it under the same process id", async () => {
    const child = file.spawn(["signals"]);
    await child.stdin.close();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    for (const name of ["ready", "SIGUSR2", "SIGHUP", "SIGINT"] as const) {
      if (name !== "ready") child.kill(name);
      assert.equal((await reader.read()).value, `${name}\n`);
    }
    child.kill("SIGTERM");
    assert.equal((await child.status).code, 3);
    await reader.cancel();
  });

  for (
    const [flag, value, line] of [
      [
        "-v",
        30_000_000,
        "address space (ulimit -v) is 30000000 KiB: expected at least 54525952 KiB",
      ],
      [
        "-v",
        1_000_000,
        "address space (ulimit -v) is 1000000 KiB: expected at least 54525952 KiB",
      ],
      ["-d", 100_000, "data (ulimit -d) is 100000 KiB: expected at least 1048576 KiB"],
      ["-s", 128, "stack (ulimit -s) is 128 KiB: expected at least 2048 KiB"],
      ["-n", 40, "open files (ulimit -n) is 40: expected at least 64"],
    ] as const
  ) {
    await t.step(`ulimit ${flag} ${value} is said in one line`, () => {
      assert.deepEqual(file.runAfter(`ulimit ${flag} ${value}`, ["args"]), {
        code: 1,
        out: "",
        err: `Cannot start: the limit of ${line}\n`,
      });
    });
  }

  await t.step("it starts with the limits that it names", () => {
    const enough = "ulimit -v 54525952 -d 1048576 -s 2048 -n 64";
    assert.deepEqual(file.runAfter(enough, ["args"]), { code: 3, out: "[]\n", err: "" });
  });

  await t.step("a limit of file sizes holds for what it writes, and only for that", () => {
    const { code, out, err } = file.runAfter("ulimit -S -f 20", ["write", "large"]);
    assert.match(out, /^File too large /);
    assert.deepEqual([code, err], [3, ""]);
    assert.equal(Deno.statSync(`${file.folder}/large`).size, 20 * 1024);
    Deno.removeSync(`${file.folder}/large`);
    assert.deepEqual(file.runAfter("ulimit -f 20", ["args"]), {
      code: 1,
      out: "",
      err: "Cannot start: the program could not be copied to memory " +
        "(is the limit of file sizes, ulimit -f, too low?): File too large\n",
    });
  });

  await t.step("it starts in a folder that has been removed", () => {
    const gone = "mkdir gone && cd gone && rmdir ../gone";
    assert.deepEqual(file.runAfter(gone, ["args", "x"]), { code: 3, out: '["x"]\n', err: "" });
    assert.match(file.runAfter(gone, ["read", "x"]).out, /^NotCapable /);
  });

  await t.step("a closed standard stream is no other file", () => {
    assert.deepEqual(file.runAfter("exec <&-", ["stdin"]), { code: 3, out: "", err: "" });
    const { code, out } = file.runAfter("exec >&- 2>&-", ["args", "x"]);
    assert.deepEqual([code, out], [3, ""]);
  });

  await t.step(
    "SIGHUP and SIGUSR2 wait until a run listens, and end other commands",
    () => {
      const both = ["--kill=SIGHUP", "--kill=SIGUSR2"];
      const alive = { code: 3, out: "alive\nSIGHUP SIGUSR2\n", err: "" };
      for (const flags of [[], ["--policy", "policy"], ["--preserve-source", "--net=replay"]]) {
        assert.deepEqual(file.run(["--late", ...both, ...flags]), alive);
      }
      const ended = { SIGHUP: 129, SIGUSR2: 140 };
      for (
        const words of [["policy"], ["--dst-addrs", "x", "explain"], [
          "--preserve-source",
          "replay",
        ]]
      ) {
        for (const [name, code] of Object.entries(ended)) {
          assert.equal(file.run(["--late", `--kill=${name}`, ...words]).code, code, `${words}`);
        }
      }
    },
  );

  await t.step("what a supervisor hands over reaches it, and nothing takes its place", () => {
    const given = 'exec 3<<<"third" 4<<<"fourth"; LISTEN_PID=$$ LISTEN_FDS=2 exec "$0" "$@"';
    const held = file.run(["-c", given, file.path, "held"], {}, "/bin/bash");
    assert.deepEqual(held, { code: 3, out: "true 2 third fourth\n", err: "" });
    const many = 'LISTEN_PID=$$ LISTEN_FDS=33 exec "$0" "$@"';
    assert.deepEqual(file.run(["-c", many, file.path, "args"], {}, "/bin/bash"), {
      code: 1,
      out: "",
      err: "Cannot start: LISTEN_FDS is 33: expected at most 32 descriptors\n",
    });
    const others = { LISTEN_PID: "1", LISTEN_FDS: "33" };
    assert.deepEqual(file.run(["args"], others), { code: 3, out: "[]\n", err: "" });
  });

  await t.step("a cut file says so", () => {
    const cut = `${file.folder}/cut`;
    Deno.writeFileSync(cut, Deno.readFileSync(file.path).subarray(0, 1_000_000), { mode: 0o755 });
    assert.deepEqual(file.run([], {}, cut), {
      code: 1,
      out: "",
      err: "Cannot start: this file is not complete, build or copy it again: Exec format error\n",
    });
  });
});
