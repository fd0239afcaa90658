/** Names of network devices, as Linux takes them. */

/**
 * Throws a RangeError for an invalid device name: the kernel would refuse it (dev_valid_name in
 * net/core/dev.c), truncate it, or (`%`) replace it with a number.
 */
export function checkDeviceName(name: string): void {
  const fail = `Cannot use "${name}" as device name`;
  if (!/^[!-~]*$/.test(name) || /[/:%]/.test(name) || name === "." || name === "..") {
    throw new RangeError(
      `${fail}: expected ASCII characters without space, "/", ":" or "%", not "." or ".."`,
    );
  }
  if (name.length < 1 || name.length > 15) {
    throw new RangeError(`${fail}: expected 1 to 15 characters, found ${name.length}`);
  }
}

/** `name` as the kernel's 16 bytes. Throws a RangeError for an invalid one. */
export function encodeDeviceName(name: string): Uint8Array<ArrayBuffer> {
  checkDeviceName(name);
  const bytes = new Uint8Array(16);
  new TextEncoder().encodeInto(name, bytes);
  return bytes;
}
