/**
 * A policy file as text, with the files that it includes: UTF-8 of a bounded size, or one clear
 * line about what is wrong with it.
 */
import type { PolicyText } from "../control/request.ts";
import type { Policy } from "../policy/language/ast.ts";
import {
  type Included,
  includesOf,
  MAX_INCLUDED_FILES,
  pathOf,
} from "../policy/notation/include.ts";
import {
  type Customs,
  formatError,
  MAX_POLICY_LENGTH,
  type Parsed,
  parseInSlices,
} from "../policy/notation/parse.ts";
import { formatErrorUnquoted, type PolicyError } from "../policy/notation/policy_error.ts";
import { finish, type Slices } from "../core/slices.ts";
import { printable } from "../core/text.ts";
import type { BuiltIn } from "../policy/language/built_in.ts";
import { reasonOf } from "./file_error.ts";
import type { LoadedPolicy } from "./policy_findings.ts";
import { type FileText, readTextFile, readTextFileAgain } from "./text_file.ts";
import { atOnce, type Work } from "./turns.ts";

/** Largest file, in bytes; included files together with it have no more characters. */
export const MAX_FILE_BYTES: number = MAX_POLICY_LENGTH;

/** What `parse` needs, as data. */
export interface ParsableText extends PolicyText {
  /** What is wrong with files that are not among those included; null: none can be included. */
  readonly missing: string | null;
}

/** The same as it was read. */
export interface PolicySource extends ParsableText {
  /** Its text, and after it those of its files in their order, in pieces. */
  readonly pieces: readonly string[];
}

/** The policy in the text, or what is wrong with it. */
export function* parseSource(source: ParsableText, customs: Customs): Slices<Parsed> {
  const { file, text, included, missing } = source;
  const include = (at: string) => included.get(at) ?? { problem: missing! };
  return yield* parseInSlices(text, { file, customs, ...(missing === null ? {} : { include }) });
}

/** Gives what a file says. Rejects if it can't. */
export type ReadFile = (path: string) => Promise<FileText>;

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
  const source = await readPolicy(path);
  return loadedFrom(source.file, finish(parseSource(source, customs)), formatError);
}

/**
 * What was parsed. Throws an Error whose message has the lines that say what is wrong; what is
 * wrong with an included file says `formatIncluded`.
 */
export function loadedFrom(
  name: string,
  parsed: Parsed,
  formatIncluded: (error: PolicyError) => string = formatErrorUnquoted,
): LoadedPolicy {
  if (parsed.policy !== null) return { name, ...parsed };
  const lines = parsed.errors.map((error) =>
    error.file === name ? formatError(error) : formatIncluded(error)
  );
  throw new Error(lines.join("\n"));
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
  let main: FileText;
  try {
    main = await read(path);
  } catch (error) {
    throw new Error(`Cannot read policy "${printable(path)}": ${reasonOf(error, path)}`);
  }
  const { text, id } = main;
  const pieces = [...main.pieces];
  if (path === "-") return { file: "stdin", text, pieces, included: new Map(), missing: null };
  const included = new Map<string, Included>();
  const nameOf = new Map([[id, path]]);
  const sources = [{ file: path, pieces: main.pieces }];
  let left = MAX_POLICY_LENGTH - text.length;
  for (const source of sources) {
    for (const name of await work(includesIn(source.pieces))) {
      const at = pathOf(source.file, name);
      if (included.has(at) || included.size === MAX_INCLUDED_FILES || left < 0) continue;
      try {
        const { text, pieces: more, id } = await read(at);
        const file = nameOf.get(id) ?? at;
        included.set(at, { file, text });
        pieces.push(...more);
        if (nameOf.has(id)) continue;
        nameOf.set(id, file);
        sources.push({ file, pieces: more });
        left -= text.length;
      } catch (error) {
        included.set(at, { problem: reasonOf(error, at) });
      }
    }
  }
  const missing = left < 0
    ? `more than ${MAX_POLICY_LENGTH} characters are included`
    : `more than ${MAX_INCLUDED_FILES} files are included`;
  return { file: path, text, pieces, included, missing };
}

/** The names of what is included, of which each stands in one piece. */
function* includesIn(pieces: readonly string[]): Slices<string[]> {
  const names: string[] = [];
  for (const piece of pieces) names.push(...yield* includesOf(piece));
  return names;
}

export function readFile(path: string): ReturnType<ReadFile> {
  return readTextFile(path, MAX_FILE_BYTES);
}

/** For a policy that runs and is read again. */
export function readFileAgain(path: string): ReturnType<ReadFile> {
  return readTextFileAgain(path, MAX_FILE_BYTES);
}
