/**
 * What the program needs from where it is: run from its sources, or compiled by `deno compile`. The
 * portable build has its own, in `src/pack/portable.ts`.
 */
import process from "node:process";
import type { Platform } from "../cli/main.ts";
import { PROGRAM, programName } from "../cli/program_name.ts";

export function sourcePlatform(): Platform {
  return {
    name: Deno.build.standalone ? programName(process.argv0) : PROGRAM,
    shim: shimPath,
    svg: () => import("../cli/svg.ts"),
    build: Deno.build.standalone ? "compiled" : "source",
    sources: Deno.build.standalone
      ? null
      : decodeURIComponent(new URL("../..", import.meta.url).pathname),
    adminThread: () =>
      new Worker(new URL("./admin_thread.ts", import.meta.url), { type: "module" }),
    controlThread: () =>
      new Worker(new URL("./control_thread.ts", import.meta.url), { type: "module" }),
    policyThread: () =>
      new Worker(new URL("./policy_thread.ts", import.meta.url), { type: "module" }),
  };
}

async function shimPath(): Promise<string> {
  if (Deno.build.standalone) {
    return decodeURIComponent(new URL("../../ffi/build/libtap.so", import.meta.url).pathname);
  }
  const { buildShim } = await import("./compile_c.ts");
  return buildShim();
}

/** The dashboard; null: it was not built yet (`deno task page`). */
export async function builtPage(): Promise<string | null> {
  try {
    return await Deno.readTextFile(new URL("../../ffi/build/page.html", import.meta.url));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
