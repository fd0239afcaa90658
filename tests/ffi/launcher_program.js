// deno-lint-ignore-file no-console
// What the launcher's tests run in place of the proxy: `launcher_program.js ACT …`.
const [act, ...rest] = Deno.args;
const acts = {
  args: () => console.log(JSON.stringify(rest)),
  async stdin() {
    for await (const chunk of Deno.stdin.readable) await Deno.stdout.write(chunk);
  },
  shim() {
    const { symbols } = Deno.dlopen("/proc/self/fd/41", {
      tap_kind: { parameters: ["buffer"], result: "i32" },
    });
    console.log(symbols.tap_kind(new TextEncoder().encode("lo\0".padEnd(16, "\0"))));
  },
  rights() {
    const names = ["env", "ffi", "net", "read", "run", "sys", "write"];
    const state = (name) => Deno.permissions.querySync({ name }).state;
    console.log(JSON.stringify(Object.fromEntries(names.map((name) => [name, state(name)]))));
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
