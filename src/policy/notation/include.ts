/**
 * `include "file"`: what a reader of files must know. The parser reads none itself: it is given a
 * function from path to text.
 */
import type { Slices } from "../../core/slices.ts";

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
export function* includesOf(text: string): Slices<string[]> {
  const names: string[] = [];
  const include = /include[ \t]*("(?:[^"\\\n]|\\.)*")/y;
  // No line that begins so is within anything else.
  let at = text.startsWith("\ufeff") ? 1 : 0;
  for (; at >= 0; at = text.indexOf("\ninclude", at) + 1 || -1) {
    yield;
    include.lastIndex = at;
    const [, name] = include.exec(text) ?? [];
    if (name === undefined) continue;
    try {
      names.push(JSON.parse(name) as string);
    } catch {
      // what is wrong with it is said when the text is parsed
    }
  }
  return names;
}
