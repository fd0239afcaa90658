/**
 * Keeps a command from writing over what it reads, and from writing two outputs into one file. A
 * file is known by its device and inode, not by its name: links, hard links and `./` lead to the
 * same one. Only regular files count; a terminal, a pipe or `/dev/null` may be used any number of
 * times.
 */
import { fstatSync } from "node:fs";
import { dirname } from "node:path";
import { printable } from "../core/text.ts";

/** A file and how the command line names it. */
export interface NamedFile {
  /** E.g. `--out`. */
  readonly name: string;
  /** Path, or the number of a standard stream. */
  readonly file: string | number;
}

/** Most symbolic links that are followed, as in Linux. */
const MAX_LINKS = 40;

/**
 * One line about the first of `outputs` that is one of `inputs` or an earlier output; null if there
 * is none. Opens nothing. That the two standard outputs are one file is usual.
 */
export function findSameFile(
  inputs: readonly NamedFile[],
  outputs: readonly NamedFile[],
): string | null {
  const known = new Map<string, NamedFile>();
  for (const input of inputs) {
    const id = identityOf(input.file);
    if (id !== null && !known.has(id)) known.set(id, input);
  }
  for (const output of outputs) {
    const id = identityOf(output.file);
    if (id === null) continue;
    const other = known.get(id);
    if (other === undefined) known.set(id, output);
    else if (!outputs.includes(other) || typeof output.file === "string") {
      return sameFile(output, other);
    }
  }
  return null;
}

function sameFile({ name, file }: NamedFile, other: NamedFile): string {
  const path = typeof file === "number" ? "" : ` "${printable(file)}"`;
  return `${name}: Cannot write${path}: it is the file of ${other.name}, expected another one`;
}

/** What tells the file, or the one that will be made there, from others; null: it may be shared. */
function identityOf(file: string | number): string | null {
  if (typeof file === "number") {
    const stat = attempt(() => fstatSync(file));
    return stat?.isFile() ? `${stat.dev} ${stat.ino}` : null;
  }
  let path = file;
  for (let links = 0; links <= MAX_LINKS; links++) {
    const stat = attempt(() => Deno.statSync(path));
    if (stat !== null) return stat.isFile ? `${stat.dev} ${stat.ino}` : null;
    const target = attempt(() => Deno.readLinkSync(path));
    const folder = dirname(path);
    if (target === null) {
      const parent = attempt(() => Deno.statSync(folder));
      const name = path.slice(path.lastIndexOf("/") + 1);
      return parent === null ? null : `${parent.dev} ${parent.ino} ${name}`;
    }
    path = target.startsWith("/") ? target : `${folder}/${target}`;
  }
  return null;
}

/** What can't be looked at can't be opened either: opening it says why. */
function attempt<T>(look: () => T): T | null {
  try {
    return look();
  } catch {
    return null;
  }
}
