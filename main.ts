/**
 * Treegate, run from its sources or compiled by `deno compile`; the portable build starts in
 * `src/pack/portable.ts`. The program is in `src`; its library, which a program
 * of one's own imports, is `src/mod.ts`.
 */
import { ignoreSignals, isRun } from "./src/process/signals.ts";

if (isRun(Deno.args)) ignoreSignals(); // loading the program takes a while
const { builtIn, run } = await import("./src/mod.ts");
await run(builtIn);
