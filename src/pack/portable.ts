/**
 * Entry of the portable build (`src/pack/package.ts`): the program as it runs inside `./proxy`,
 * where `src/pack/launcher.c` has left the shim, and for `policy svg` what draws it, for a run the
 * dashboard, open under fixed descriptors.
 */
import process from "node:process";
import { main, type Platform } from "../cli/main.ts";
import { programName } from "../cli/program_name.ts";
import { ADMIN_THREAD, serveAdmin } from "../process/admin/worker.ts";
import { CONTROL_THREAD, serveControl } from "../process/control/worker.ts";
import { POLICY_THREAD, servePolicies } from "../process/policies/worker.ts";
import { builtIn } from "../policy/language/built_in.ts";

/** SHIM_FD in `src/pack/launcher.c`. */
const SHIM_FD = 41;

/** SVG_FD in `src/pack/launcher.c`: the bundle of `src/cli/svg.ts`. */
const SVG_FD = 42;

/** PAGE_FD in `src/pack/launcher.c`: the dashboard, as a module. */
const PAGE_FD = 43;

/** PROGRAM_FD in `src/pack/launcher.c`: this bundle. */
const PROGRAM_FD = 40;

function threadOf(name: string): Worker {
  return new Worker(`file:///proc/self/fd/${PROGRAM_FD}`, { type: "module", name });
}

const platform: Platform = {
  name: programName(process.argv0),
  shim: () => Promise.resolve(`/proc/self/fd/${SHIM_FD}`),
  svg: () => import(`file:///proc/self/fd/${SVG_FD}`),
  build: "portable",
  sources: null,
  adminThread: () => threadOf(ADMIN_THREAD),
  controlThread: () => threadOf(CONTROL_THREAD),
  policyThread: () => threadOf(POLICY_THREAD),
};
const program = { policy: builtIn, customs: { predicates: {}, selectors: {} } };

// A thread runs the same bundle, and is told by its name what it is for.
if (globalThis.name === ADMIN_THREAD) {
  serveAdmin(async () => (await import(`file:///proc/self/fd/${PAGE_FD}`)).default);
} else if (globalThis.name === CONTROL_THREAD) serveControl();
else if (globalThis.name === POLICY_THREAD) servePolicies();
else Deno.exit(await main(Deno.args, platform, program));
