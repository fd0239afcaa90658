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
import {
  type Customs,
  formatError,
  MAX_POLICY_LENGTH,
  parseInSlices,
} from "../policy/notation/parse.ts";
import { printable } from "../core/text.ts";
import type { BuiltIn } from "../policy/language/built_in.ts";
import { reasonOf } from "./file_error.ts";
import type { LoadedPolicy } from "./policy_findings.ts";
import { readTextFile, readTextFileAgain } from "./text_file.ts";
import { atOnce, type Work } from "./turns.ts";

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
  work: Work = atOnce,
  read: ReadFile = readFile,
): Promise<{ source: LoadedPolicy; text: PolicyText }> {
  const { file, text, included, ...options } = await readPolicy(path, read, work);
  const parsed = await work(parseInSlices(text, { file, ...options, customs }));
  if (parsed.policy === null) throw new Error(parsed.errors.map(formatError).join("\n"));
  return { source: { name: file, ...parsed }, text: { file, text, included } };
}

/**
 * Reads the file, `-` is standard input, and what it includes. Throws an Error of one line if the
 * file itself can't be read; what is wrong with an included file is for `parse` to report.
 */
export async function readPolicy(
  path: string,
  read: ReadFile = readFile,
  work: Work = atOnce,
): Promise<PolicySource> {
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
    for (const name of await work(includesOf(source.text))) {
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

export function readFile(path: string): ReturnType<ReadFile> {
  return readTextFile(path, MAX_FILE_BYTES);
}

/** For a policy that runs and is read again. */
export function readFileAgain(path: string): ReturnType<ReadFile> {
  return readTextFileAgain(path, MAX_FILE_BYTES);
}
