/**
 * Entry of the portable build (`src/pack/package.ts`): the program as it runs inside `./proxy`,
 * where `src/pack/launcher.c` has left the shim, and for `policy svg` what draws it, open under
 * fixed descriptors.
 */
import { main, type Platform } from "../cli/main.ts";
import { CONTROL_THREAD, serveControl } from "../process/control/worker.ts";
import { builtIn } from "../policy/language/built_in.ts";

/** SHIM_FD in `src/pack/launcher.c`. */
const SHIM_FD = 41;

/** SVG_FD in `src/pack/launcher.c`: the bundle of `src/cli/svg.ts`. */
const SVG_FD = 42;

/** PROGRAM_FD in `src/pack/launcher.c`: this bundle. */
const PROGRAM_FD = 40;

const platform: Platform = {
  shim: () => Promise.resolve(`/proc/self/fd/${SHIM_FD}`),
  svg: () => import(`file:///proc/self/fd/${SVG_FD}`),
  build: "portable",
  controlThread: () =>
    new Worker(`file:///proc/self/fd/${PROGRAM_FD}`, { type: "module", name: CONTROL_THREAD }),
};
const program = { policy: builtIn, customs: { predicates: {}, selectors: {} } };

// A thread runs the same bundle, and is told by its name what it is for.
if (globalThis.name === CONTROL_THREAD) serveControl();
else Deno.exit(await main(Deno.args, platform, program));
