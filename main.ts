/**
 * Treegate, run from its sources or compiled by `deno compile`; the portable build starts in
 * `ffi/portable.ts`. The program is in `src`: see `src/README.md` for a packet's way through it.
 */
import { main } from "./src/app/main.ts";

async function shimPath(): Promise<string> {
  if (Deno.build.standalone) {
    return decodeURIComponent(new URL("./ffi/build/libtap.so", import.meta.url).pathname);
  }
  const { buildShim } = await import("./ffi/build.ts");
  return buildShim();
}

const build = Deno.build.standalone ? "compiled" : "source";
Deno.exit(await main(Deno.args, { shim: shimPath, build }));
