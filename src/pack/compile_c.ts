/**
 * Builds the shim: `ffi/*.c` → `ffi/build/libtap.so`, with the system's C compiler. Does nothing
 * when the shim is newer than its sources. `deno task shim` runs it; `main.ts` calls it when run
 * from source.
 */

import { refuseOthers } from "./words.ts";

const FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"];
/** One file a trade. */
const SOURCES = ["bpf.c", "file.c", "notify.c", "sandbox.c", "tap.c", "thread.c"];
const NO_COMPILER =
  'there is no C compiler "cc"; install one, on Debian and Ubuntu with: sudo apt-get install gcc libc6-dev';

/** Builds the shim where needed and returns its path. Throws an Error with the compiler's words. */
export function buildShim(): string {
  const sources = SOURCES.map(pathOf);
  const target = pathOf("build/libtap.so");
  if (modifiedMs(target) > Math.max(...sources.map(modifiedMs))) return target;
  Deno.mkdirSync(pathOf("build"), { recursive: true });
  compileC(sources, target, ["-shared", "-fPIC"]);
  return target;
}

/** Compiles C files to `target`, which is replaced at once or not at all. */
export function compileC(
  sources: readonly string[],
  target: string,
  flags: readonly string[],
): void {
  // Threads of one process may compile at once.
  const unfinished = `${target}.${crypto.randomUUID()}.tmp`;
  const result = runCompiler([...FLAGS, ...flags, "-o", unfinished, ...sources]);
  if (!result.success) {
    throw new Error(
      `Cannot compile "${sources.join(" ")}": ${new TextDecoder().decode(result.stderr).trim()}`,
    );
  }
  Deno.renameSync(unfinished, target);
}

function runCompiler(args: string[]): Deno.CommandOutput {
  try {
    return new Deno.Command("cc", { args, stdout: "null", stderr: "piped" }).outputSync();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      throw new Error(`Cannot compile the C sources: ${NO_COMPILER}`);
    }
    throw error;
  }
}

/** File system path of a file next to this one. */
function pathOf(relative: string): string {
  return decodeURIComponent(new URL(`../../ffi/${relative}`, import.meta.url).pathname);
}

/** Time of last change in ms; 0 when there is no such file. */
function modifiedMs(path: string): number {
  try {
    return Deno.statSync(path).mtime?.getTime() ?? 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

if (import.meta.main) {
  try {
    refuseOthers("shim", Deno.args);
    buildShim();
  } catch (error) {
    // deno-lint-ignore no-console
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(1);
  }
}
