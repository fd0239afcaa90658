/**
 * Makes the single file `./proxy` (`deno task build`): with `deno compile` where Deno's base
 * runtime can be had, else the portable build, which carries Deno's own executable (see
 * `src/pack/launcher.c`). `deno task build --portable` makes that one at once.
 */
import { buildPage } from "./build_page.ts";
import { bundle, ROOT, runDeno } from "./bundle.ts";
import { buildShim, compileC } from "./compile_c.ts";
import { refuseOthers } from "./words.ts";

const TARGET = `${ROOT}proxy`;
const UNFINISHED = `${TARGET}.${Deno.pid}.tmp`;

/** What a compiled program may do; `src/pack/launcher.c` says the same of a portable one. */
const PERMISSIONS = [
  "--allow-ffi",
  "--allow-read",
  "--allow-write",
  "--allow-net",
  "--allow-sys",
  "--allow-env=NO_COLOR,FORCE_COLOR,CLICOLOR_FORCE,"
    .concat("LISTEN_PID,LISTEN_FDS,LISTEN_FDNAMES,NOTIFY_SOCKET,WATCHDOG_USEC,WATCHDOG_PID"),
];

/**
 * Builds `./proxy` and returns which kind it became; with `portable` that kind without trying the
 * other. Throws an Error with the compiler's or Deno's words.
 */
export function buildProxy(portable: boolean): "compiled" | "portable" {
  const shim = buildShim();
  try {
    if (!portable && compile()) return "compiled";
    packPortable(shim, TARGET);
    return "portable";
  } finally {
    removeIfThere(UNFINISHED);
  }
}

/** How packets are made to wait less; why, says `src/pack/launcher.c`, which has the same. */
export const V8_FLAGS: string = "--v8-flags=--max-inlined-bytecode-size=1000," +
  "--max-inlined-bytecode-size-cumulative=5000,--max-semi-space-size=2";

/** Makes `./proxy` with `deno compile`; false where Deno's base runtime cannot be had. */
function compile(): boolean {
  buildPage();
  const failure = runDeno(
    [
      "compile",
      "--quiet",
      "--no-prompt",
      V8_FLAGS,
      ...PERMISSIONS,
      "--include",
      "ffi/build/libtap.so",
      "--include",
      "ffi/build/page.html",
      "--include",
      "src/pack/admin_thread.ts",
      "--include",
      "src/pack/control_thread.ts",
      "--include",
      "src/pack/policy_thread.ts",
    ]
      .concat("--output", UNFINISHED, "main.ts"),
  );
  if (failure === "") {
    Deno.renameSync(UNFINISHED, TARGET);
    return true;
  }
  const noRuntime = failure.split("\n").find((line) => line.includes("denort"));
  if (noRuntime === undefined) throw new Error(`Cannot compile the program: ${failure}`);
  say(`No base runtime for deno compile, making the portable build instead (${noRuntime.trim()})`);
  return false;
}

/** Makes one file of the launcher, this Deno, the bundled program, the shim and the page. */
export function packPortable(shim: string, target: string): void {
  const launcher = `${ROOT}ffi/build/launcher`;
  const program = `${ROOT}ffi/build/proxy.js`;
  const svg = `${ROOT}ffi/build/svg.js`;
  compileC([`${ROOT}src/pack/launcher.c`], launcher, ["-s"]);
  bundle("src/pack/portable.ts", program, "deno");
  bundle("src/cli/svg.ts", svg, "deno");
  // A module, as the runtime lets nobody read files of /proc who may not do all.
  const pageModule = `${ROOT}ffi/build/page.js`;
  Deno.writeTextFileSync(
    pageModule,
    `export default ${JSON.stringify(Deno.readTextFileSync(buildPage()))};\n`,
  );
  joinParts(launcher, [Deno.execPath(), program, shim, svg, pageModule], UNFINISHED);
  Deno.renameSync(UNFINISHED, target);
}

/**
 * Writes the executable `target`: the launcher, the parts (Deno, program, shim, SVG, page), and at
 * the end their sizes and a magic word, which are `struct trailer` in `src/pack/launcher.c`.
 */
export function joinParts(launcher: string, parts: readonly string[], target: string): void {
  const trailer = new DataView(new ArrayBuffer(8 * parts.length + 8));
  new TextEncoder().encodeInto("treegate", new Uint8Array(trailer.buffer, 8 * parts.length));
  Deno.writeFileSync(target, Deno.readFileSync(launcher), { mode: 0o755 });
  parts.forEach((path, i) => {
    const bytes = Deno.readFileSync(path);
    trailer.setBigUint64(8 * i, BigInt(bytes.length), true);
    Deno.writeFileSync(target, bytes, { append: true });
  });
  Deno.writeFileSync(target, new Uint8Array(trailer.buffer), { append: true });
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function say(line: string): void {
  // deno-lint-ignore no-console
  console.error(line);
}

if (import.meta.main) {
  try {
    refuseOthers("build", Deno.args, ["--portable"]);
    say(`Built ./proxy (${buildProxy(Deno.args.includes("--portable"))})`);
  } catch (error) {
    say(error instanceof Error ? error.message : String(error));
    Deno.exit(1);
  }
}
