/** The binding of `ffi/sandbox.c`, function by function. All return a value ≥ 0, or `-errno`. */
import { loadShim } from "./shim.ts";

export { errnoName } from "./shim.ts";

const symbols = {
  /** (name, ids, most) */
  sandbox_user: { parameters: ["buffer", "buffer", "u32"], result: "i32" },
  /** (ids) */
  sandbox_is: { parameters: ["buffer"], result: "i32" },
  /** (ids, groups, path, mode) */
  sandbox_may: { parameters: ["buffer", "u32", "buffer", "i32"], result: "i32" },
  /** () */
  sandbox_landlock: { parameters: [], result: "i32" },
  /** (abi) */
  sandbox_ruleset: { parameters: ["i32"], result: "i32" },
  /** (ruleset, abi, path, rights) */
  sandbox_allow: { parameters: ["i32", "i32", "buffer", "u32"], result: "i32" },
  /** (ids, groups, ruleset) */
  sandbox_restrict: { parameters: ["buffer", "u32", "i32"], result: "i32" },
  /** (program, count) */
  sandbox_filter: { parameters: ["buffer", "u32"], result: "i32" },
  /** (counts) */
  sandbox_threads: { parameters: ["buffer"], result: "i32" },
  /** (fd) */
  tap_close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

export type SandboxLibrary = Deno.DynamicLibrary<typeof symbols>;

/** Loads them from the shim at `path`. */
export function loadSandbox(path: string): SandboxLibrary {
  return loadShim(path, symbols);
}
