/** The shim: one library of all C files here. Each has its own binding; what they share is here. */

/** Loads the shim at `path`. Throws an Error that names the path when that is not possible. */
export function loadShim<S extends Deno.ForeignLibraryInterface>(
  path: string,
  symbols: S,
): Deno.DynamicLibrary<S> {
  try {
    return Deno.dlopen(path, symbols);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot load the TAP shim "${path}": ${why.replaceAll(/\s+/g, " ")}`);
  }
}

/** Linux errno numbers (errno(3), generic) that the shim can give. */
const ERRNO_NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  4: "EINTR",
  5: "EIO",
  6: "ENXIO",
  7: "E2BIG",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  14: "EFAULT",
  16: "EBUSY",
  17: "EEXIST",
  18: "EXDEV",
  19: "ENODEV",
  20: "ENOTDIR",
  21: "EISDIR",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  25: "ENOTTY",
  27: "EFBIG",
  28: "ENOSPC",
  30: "EROFS",
  34: "ERANGE",
  36: "ENAMETOOLONG",
  38: "ENOSYS",
  40: "ELOOP",
  77: "EBADFD",
  90: "EMSGSIZE",
  95: "EOPNOTSUPP",
  100: "ENETDOWN",
  105: "ENOBUFS",
  111: "ECONNREFUSED",
  122: "EDQUOT",
};

/** Name of an errno; takes the number as it is or negated: `errnoName(-16)` is `EBUSY`. */
export function errnoName(status: number): string {
  const errno = Math.abs(status);
  return ERRNO_NAMES[errno] ?? `errno ${errno}`;
}
