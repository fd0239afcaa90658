/** The binding of `ffi/thread.c`. */
import { loadShim } from "./shim.ts";

const symbols = {
  /** (nice): 0, or `-errno` */
  thread_nice: { parameters: ["i32"], result: "i32" },
  /** (how names begin, nice): how many threads have such a name, or `-errno` */
  threads_nice: { parameters: ["buffer", "i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

export type ThreadLibrary = Deno.DynamicLibrary<typeof symbols>;

export function loadThread(path: string): ThreadLibrary {
  return loadShim(path, symbols);
}
