/**
 * Entry of the portable build (`ffi/package.ts`): the program as it runs inside `./proxy`, where
 * `ffi/launcher.c` has left the shim open under a fixed descriptor.
 */
import { main } from "../src/app/main.ts";

/** SHIM_FD in `ffi/launcher.c`. */
const SHIM_FD = 41;

Deno.exit(
  await main(Deno.args, {
    shim: () => Promise.resolve(`/proc/self/fd/${SHIM_FD}`),
    build: "portable",
  }),
);
