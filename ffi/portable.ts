/**
 * Entry of the portable build (`ffi/package.ts`): the program as it runs inside `./proxy`, where
 * `ffi/launcher.c` has left the shim, and for `policy svg` what draws it, open under fixed descriptors.
 */
import { main, type Platform } from "../src/app/main.ts";
import { builtIn } from "../src/tree/demo.ts";

/** SHIM_FD in `ffi/launcher.c`. */
const SHIM_FD = 41;

/** SVG_FD in `ffi/launcher.c`: the bundle of `src/app/svg.ts`. */
const SVG_FD = 42;

const platform: Platform = {
  shim: () => Promise.resolve(`/proc/self/fd/${SHIM_FD}`),
  svg: () => import(`file:///proc/self/fd/${SVG_FD}`),
  build: "portable",
};
const program = { policy: builtIn, customs: { predicates: {}, selectors: {} } };

Deno.exit(await main(Deno.args, platform, program));
