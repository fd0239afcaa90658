// deno-lint-ignore-file no-console
// What the launcher's tests run in place of the proxy: `launcher_program.js ACT …`.
const [word, ...rest] = Deno.args;
const act = word?.replace(/^--/, "");
const acts = {
  args: () => console.log(JSON.stringify(rest)),
  /** Names the process as a run does. */
  title() {
    Deno.dlopen("/proc/self/fd/41", { tap_title: { parameters: [], result: "i32" } })
      .symbols.tap_title();
    console.log("ready");
    Deno.stdin.readSync(new Uint8Array(1));
  },
  fail() {
    throw new Error("uncaught");
  },
  async stdin() {
    for await (const chunk of Deno.stdin.readable) await Deno.stdout.write(chunk);
  },
  shim() {
    const { symbols } = Deno.dlopen("/proc/self/fd/41", {
      tap_kind: { parameters: ["buffer"], result: "i32" },
    });
    console.log(symbols.tap_kind(new TextEncoder().encode("lo\0".padEnd(16, "\0"))));
  },
  /** What a supervisor has handed over. */
  held() {
    const { symbols } = Deno.dlopen("/proc/self/fd/41", {
      file_read: { parameters: ["i32", "buffer", "u32"], result: "i32" },
    });
    const count = Number(Deno.env.get("LISTEN_FDS"));
    const texts = Array.from({ length: count }, (_, i) => {
      const bytes = new Uint8Array(100);
      return new TextDecoder().decode(bytes.subarray(0, symbols.file_read(3 + i, bytes, 100)))
        .trim();
    });
    console.log(Deno.env.get("LISTEN_PID") === String(Deno.pid), count, ...texts);
  },
  rights() {
    const names = ["env", "ffi", "net", "read", "run", "sys", "write"];
    const state = (name) => Deno.permissions.querySync({ name }).state;
    console.log(JSON.stringify(Object.fromEntries(names.map((name) => [name, state(name)]))));
  },
  /** Sends itself signals, then listens for them. */
  async late() {
    const names = [...rest.join().matchAll(/--kill=(\w+)/g)].map(([, name]) => name);
    for (const name of names) Deno.kill(Deno.pid, name);
    console.log("alive");
    const heard = names.map((name) =>
      new Promise((resolve) => Deno.addSignalListener(name, () => resolve(name)))
    );
    Deno.dlopen("/proc/self/fd/41", { tap_unblock: { parameters: [], result: "i32" } })
      .symbols.tap_unblock();
    console.log((await Promise.all(heard)).join(" "));
  },
  read() {
    try {
      Deno.readTextFileSync(rest[0]);
    } catch (error) {
      console.log(error.name, error.message);
    }
  },
  write() {
    try {
      Deno.writeFileSync(rest[0], new Uint8Array(100_000));
    } catch (error) {
      console.log(error.message);
    }
  },
  async signals() {
    for (const name of ["SIGUSR2", "SIGHUP", "SIGINT"]) {
      Deno.addSignalListener(name, () => console.log(name));
    }
    const ended = new Promise((resolve) => Deno.addSignalListener("SIGTERM", resolve));
    console.log("ready");
    await ended;
  },
};
await acts[act]?.();
Deno.exit(act === undefined ? 5 : 3);
