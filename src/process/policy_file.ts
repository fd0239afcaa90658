/**
 * A policy file as text, with the files that it includes: UTF-8 of a bounded size, or one clear
 * line about what is wrong with it.
 */
import type { PolicyText } from "../control/request.ts";
import type { Policy } from "../policy/language/ast.ts";
import {
  type Include,
  type Included,
  includesOf,
  MAX_INCLUDED_FILES,
  pathOf,
} from "../policy/notation/include.ts";
import { type Customs, formatError, MAX_POLICY_LENGTH, parse } from "../policy/notation/parse.ts";
import { printable } from "../core/text.ts";
import type { BuiltIn } from "../policy/language/built_in.ts";
import { reasonOf } from "./file_error.ts";
import type { LoadedPolicy } from "./policy_findings.ts";

/** Largest file, in bytes; included files together with it have no more characters. */
export const MAX_FILE_BYTES: number = MAX_POLICY_LENGTH;

/** What `parse` needs. */
export interface PolicySource {
  /** What messages call the text. */
  readonly file: string;
  readonly text: string;
  /** Gives the files that the text includes; standard input can include none. */
  readonly include?: Include;
  /** Those files, by path. */
  readonly included: ReadonlyMap<string, Included>;
}

/**
 * Gives a file's text, and what tells the file from others, whatever the path. Rejects if it can't.
 */
export type ReadFile = (path: string) => Promise<{ readonly text: string; readonly id: string }>;

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
export async function loadPolicy(path: string, customs: Customs): Promise<LoadedPolicy> {
  return (await loadPolicyText(path, customs)).source;
}

/** As `loadPolicy`, with the text that it was read from. */
export async function loadPolicyText(
  path: string,
  customs: Customs,
): Promise<{ source: LoadedPolicy; text: PolicyText }> {
  const { file, text, included, ...options } = await readPolicy(path);
  const parsed = parse(text, { file, ...options, customs });
  if (parsed.policy === null) throw new Error(parsed.errors.map(formatError).join("\n"));
  return { source: { name: file, ...parsed }, text: { file, text, included } };
}

/**
 * Reads the file, `-` is standard input, and what it includes. Throws an Error of one line if the
 * file itself can't be read; what is wrong with an included file is for `parse` to report.
 */
export async function readPolicy(path: string, read: ReadFile = readFile): Promise<PolicySource> {
  let main: Awaited<ReturnType<ReadFile>>;
  try {
    main = await read(path);
  } catch (error) {
    throw new Error(`Cannot read policy "${printable(path)}": ${reasonOf(error, path)}`);
  }
  const { text, id } = main;
  if (path === "-") return { file: "stdin", text, included: new Map() };
  const included = new Map<string, Included>();
  const nameOf = new Map([[id, path]]);
  const sources = [{ file: path, text }];
  let left = MAX_POLICY_LENGTH - text.length;
  for (const source of sources) {
    for (const name of includesOf(source.text)) {
      const at = pathOf(source.file, name);
      if (included.has(at) || included.size === MAX_INCLUDED_FILES || left < 0) continue;
      try {
        const { text, id } = await read(at);
        const file = nameOf.get(id) ?? at;
        included.set(at, { file, text });
        if (nameOf.has(id)) continue;
        nameOf.set(id, file);
        sources.push({ file, text });
        left -= text.length;
      } catch (error) {
        included.set(at, { problem: reasonOf(error, at) });
      }
    }
  }
  const problem = left < 0
    ? `more than ${MAX_POLICY_LENGTH} characters are included`
    : `more than ${MAX_INCLUDED_FILES} files are included`;
  return { file: path, text, include: (at) => included.get(at) ?? { problem }, included };
}

const readFile: ReadFile = async (path) => {
  const file = path === "-" ? Deno.stdin : await Deno.open(path);
  try {
    const text = decode(await readBounded(file));
    if (file === Deno.stdin) return { text, id: path };
    const { isFile, dev, ino } = await (file as Deno.FsFile).stat();
    return { text, id: isFile ? `${dev} ${ino}` : path };
  } finally {
    if (file !== Deno.stdin) file.close();
  }
};

/** At most one byte more than a policy may have. A pipe, too: its end is where it says so. */
async function readBounded(file: Pick<Deno.FsFile, "read">): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (let lenBytes = 0; lenBytes <= MAX_FILE_BYTES;) {
    const chunk = new Uint8Array(65_536);
    const read = await file.read(chunk);
    if (read === null) return concat(chunks, lenBytes);
    chunks.push(chunk.subarray(0, read));
    lenBytes += read;
  }
  throw new RangeError("expected at most 4 MiB");
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
