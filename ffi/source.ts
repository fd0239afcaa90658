/**
 * What the program needs from where it is: run from its sources, or compiled by `deno compile`. The
 * portable build has its own, in `ffi/portable.ts`.
 */
import type { Platform } from "../src/app/main.ts";

export function sourcePlatform(): Platform {
  return {
    shim: shimPath,
    svg: () => import("../src/app/svg.ts"),
    build: Deno.build.standalone ? "compiled" : "source",
  };
}

async function shimPath(): Promise<string> {
  if (Deno.build.standalone) {
    return decodeURIComponent(new URL("./build/libtap.so", import.meta.url).pathname);
  }
  const { buildShim } = await import("./build.ts");
  return buildShim();
}
