/**
 * A policy file as text: UTF-8 of a bounded size, or one clear line about what is wrong with it.
 */
import type { Policy } from "../policy/language/ast.ts";
import { type Customs, formatError, MAX_POLICY_LENGTH, parse } from "../policy/notation/parse.ts";
import { printable } from "../core/text.ts";
import type { BuiltIn } from "../policy/language/built_in.ts";
import { reasonOf } from "./file_error.ts";
import type { PolicySource } from "./policy_findings.ts";

/** Largest file, in bytes. */
export const MAX_FILE_BYTES: number = MAX_POLICY_LENGTH;

/** The policy of the file, or the built-in one for that many interfaces if `path` is null. */
export async function loadPolicyOr(
  builtIn: BuiltIn,
  interfaces: number,
  path: string | null,
  customs: Customs,
): Promise<Policy> {
  return path === null ? builtIn(interfaces) : (await loadPolicy(path, customs)).policy;
}

/**
 * Reads and parses the file. Throws an Error whose message has the lines that say what is wrong.
 */
export async function loadPolicy(path: string, customs: Customs): Promise<PolicySource> {
  const name = path === "-" ? "stdin" : path;
  const text = await readPolicyFile(path);
  const parsed = parse(text, { file: name, customs });
  if (parsed.policy === null) throw new Error(parsed.errors.map(formatError).join("\n"));
  const { policy, positions } = parsed;
  return { name, text, policy, positions };
}

/** Reads the file; `-` is standard input. Throws an Error of one line. */
export async function readPolicyFile(path: string): Promise<string> {
  try {
    return decode(await readBounded(path));
  } catch (error) {
    throw new Error(`Cannot read policy "${printable(path)}": ${reasonOf(error, path)}`);
  }
}

/** At most one byte more than a policy may have. A pipe, too: its end is where it says so. */
async function readBounded(path: string): Promise<Uint8Array> {
  const file = path === "-" ? Deno.stdin : await Deno.open(path);
  try {
    const chunks: Uint8Array[] = [];
    for (let lenBytes = 0; lenBytes <= MAX_FILE_BYTES;) {
      const chunk = new Uint8Array(65_536);
      const read = await file.read(chunk);
      if (read === null) return concat(chunks, lenBytes);
      chunks.push(chunk.subarray(0, read));
      lenBytes += read;
    }
    throw new RangeError("expected at most 4 MiB");
  } finally {
    if (file !== Deno.stdin) file.close();
  }
}

function concat(chunks: readonly Uint8Array[], lenBytes: number): Uint8Array {
  const bytes = new Uint8Array(lenBytes);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Keeps a byte order mark, so that columns are counted in one place. */
function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new SyntaxError("expected text in UTF-8");
  }
}
