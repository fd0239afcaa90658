/**
 * Treegate, run from its sources or compiled by `deno compile`; the portable build starts in
 * `ffi/portable.ts`. The program is in `src`: see `src/README.md` for a packet's way through it.
 */
import { builtIn, run } from "./src/mod.ts";

await run(builtIn);
