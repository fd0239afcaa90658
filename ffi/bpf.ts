/**
 * The binding of `ffi/bpf.c`: programs in the kernel, and memory that is shared with them. Each
 * function returns a value ≥ 0 or `-errno`.
 */

import { loadShim } from "./shim.ts";

export { errnoName } from "./shim.ts";

const symbols = {
  /** (command, attr, attr_bytes) */
  bpf_call: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  /** (fd, bytes, error) */
  bpf_map: { parameters: ["i32", "u32", "buffer"], result: "pointer" },
  /** (), on a thread of its own */
  bpf_wait: { parameters: [], result: "i32", nonblocking: true },
  /** (fd) */
  tap_close: { parameters: ["i32"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

export type BpfLibrary = Deno.DynamicLibrary<typeof symbols>;

/** Loads them from the shim at `path`. */
export function loadBpf(path: string): BpfLibrary {
  return loadShim(path, symbols);
}

/** Where the bytes are, for the kernel. They must not be on V8's heap, where they could move. */
export function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
}

/**
 * The memory at `pointer`, which must stay there as long as anyone has the buffer. A pointer that a
 * function has returned may be used with the permission for that library alone.
 */
export function memoryAt(pointer: Deno.PointerObject, lengthBytes: number): ArrayBuffer {
  return Deno.UnsafePointerView.getArrayBuffer(pointer, lengthBytes);
}
