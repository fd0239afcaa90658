/**
 * What the program needs from where it is: run from its sources, or compiled by `deno compile`. The
 * portable build has its own, in `src/pack/portable.ts`.
 */
import type { Platform } from "../cli/main.ts";

export function sourcePlatform(): Platform {
  return {
    shim: shimPath,
    svg: () => import("../cli/svg.ts"),
    build: Deno.build.standalone ? "compiled" : "source",
    controlThread: () =>
      new Worker(new URL("./control_thread.ts", import.meta.url), { type: "module" }),
  };
}

async function shimPath(): Promise<string> {
  if (Deno.build.standalone) {
    return decodeURIComponent(new URL("../../ffi/build/libtap.so", import.meta.url).pathname);
  }
  const { buildShim } = await import("./compile_c.ts");
  return buildShim();
}
