/** The binding of `ffi/notify.c`. */
import { loadShim } from "./shim.ts";

export { errnoName } from "./shim.ts";

const symbols = {
  /** (path, path_bytes, text, text_bytes, fd, timeout_us): 0, or `-errno` */
  notify_send: { parameters: ["buffer", "u32", "buffer", "u32", "i32", "u32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

export type NotifyLibrary = Deno.DynamicLibrary<typeof symbols>;

export function loadNotify(path: string): NotifyLibrary {
  return loadShim(path, symbols);
}
