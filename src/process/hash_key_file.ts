/** `--hash-key-file`: the key by which instances of the proxy choose the same members. */
import { printable } from "../core/text.ts";
import { type HashKey, hashKeyOf, NO_KEY } from "../wire/keyed_hash.ts";
import { reasonOf } from "./file_error.ts";

const MIN_BYTES = 16;
const MAX_BYTES = 4096;

/** The key in the file; null: none. Throws an Error of one line. */
export async function loadHashKey(path: string | null): Promise<HashKey> {
  if (path === null) return NO_KEY;
  let bytes: Uint8Array;
  try {
    bytes = keyBytes(await readStart(path));
  } catch (error) {
    throw new Error(`Cannot read key "${printable(path)}": ${reasonOf(error, path)}`);
  }
  return hashKeyOf(bytes);
}

/** The bytes that hex digits mean, if the file has nothing else; or the file's own. */
function keyBytes(raw: Uint8Array): Uint8Array {
  const text = new TextDecoder().decode(raw).trim();
  const bytes = /^([0-9a-f]{2})+$/i.test(text)
    ? Uint8Array.from(text.match(/../g)!, (digits) => parseInt(digits, 16))
    : raw;
  if (bytes.length < MIN_BYTES || bytes.length > MAX_BYTES) {
    throw new RangeError(`expected ${MIN_BYTES} to ${MAX_BYTES} bytes, or that many in hex`);
  }
  return bytes;
}

/** At most as many bytes as tell that there are too many. */
async function readStart(path: string): Promise<Uint8Array> {
  using file = await Deno.open(path);
  const bytes = new Uint8Array(2 * MAX_BYTES + 3);
  let length = 0;
  for (;;) {
    const read = await file.read(bytes.subarray(length));
    if (read === null || read === 0) return bytes.subarray(0, length);
    length += read;
  }
}
