/** The binding of `ffi/file.c`, function by function. All return a value ≥ 0, or `-errno`. */
import { loadShim } from "./shim.ts";

export { errnoName } from "./shim.ts";

const symbols = {
  /** (path) */
  file_folder: { parameters: ["buffer"], result: "i32" },
  /** (folder, name, most_bytes, size) */
  file_take: { parameters: ["i32", "buffer", "u32", "buffer"], result: "i32" },
  /** (fd, bytes, length) */
  file_read: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  /** (folder, name, bytes, length) */
  file_put: { parameters: ["i32", "buffer", "buffer", "u32"], result: "i32" },
  /** (folder, name, replaces) */
  file_create: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  /** The same off this thread: the file that goes may be long. */
  file_create_later: {
    name: "file_create",
    parameters: ["i32", "buffer", "i32"],
    result: "i32",
    nonblocking: true,
  },
  /** (fd, bytes, length) off this thread */
  file_append: { parameters: ["i32", "buffer", "u32"], result: "i32", nonblocking: true },
  /** (id) */
  file_boot: { parameters: ["buffer"], result: "i32" },
  /** (fd) */
  file_close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

export type FileLibrary = Deno.DynamicLibrary<typeof symbols>;

export function loadFiles(path: string): FileLibrary {
  return loadShim(path, symbols);
}
