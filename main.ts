/**
 * Treegate, run from its sources or compiled by `deno compile`; the portable build starts in
 * `ffi/portable.ts`. The program is in `src`: see `src/README.md` for a packet's way through it.
 */
import { ignoreSignals, isRun } from "./src/app/signals.ts";

if (isRun(Deno.args)) ignoreSignals(); // loading the program takes a while
const { builtIn, run } = await import("./src/mod.ts");
await run(builtIn);
