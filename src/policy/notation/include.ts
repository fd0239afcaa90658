/**
 * `include "file"`: what a reader of files must know. The parser reads none itself: it is given a
 * function from path to text.
 */
import { Cursor } from "./lex.ts";
import { readLines } from "./lines.ts";

/** Longest text that is read, included files together with it: 4 Mi characters. */
export const MAX_POLICY_LENGTH = 4 * 1024 * 1024;

/** Most files that a policy includes. */
export const MAX_INCLUDED_FILES = 1000;

/** Most included files that are in one another. */
export const MAX_INCLUDE_DEPTH = 20;

/**
 * A file and its text, or why it can't be read. A file has one name, whatever the path that led to
 * it.
 */
export type Included =
  | { readonly file: string; readonly text: string }
  | { readonly problem: string };

/** Gives the file at a path. */
export type Include = (path: string) => Included;

/**
 * The path of a file that the file at `from` includes as `name`: relative to the folder of `from`.
 */
export function pathOf(from: string, name: string): string {
  return name.startsWith("/") ? name : from.slice(0, from.lastIndexOf("/") + 1) + name;
}

/**
 * The names of the files that a text includes, as written. What is wrong in the text is passed
 * over.
 */
export function includesOf(text: string): string[] {
  if (!/^\ufeff?[ \t]*include\b/m.test(text)) return [];
  return readLines(text, "", () => {}).flatMap((line) => {
    const cursor = new Cursor(line);
    if (!cursor.take("include") || cursor.token.kind !== "string") return [];
    try {
      return [JSON.parse(cursor.token.text) as string];
    } catch {
      return [];
    }
  });
}
