/**
 * The places that a run needs to reach by name once it has opened what it needs: what is read again
 * at a reload, and where it writes or clears up at the end. They are fixed at the start.
 */
import { dirname } from "node:path";
import { printable } from "../core/text.ts";
import { reasonOf } from "./file_error.ts";
import type { Settings } from "./reload.ts";

/** A folder, with all in it, without symbolic links. */
export interface Place {
  /** The flag that names it. */
  readonly flag: string;
  readonly folder: string;
}

/** As the settings have it; null: the flag is not given. */
type NamedFolder = readonly [flag: string, path: string | null];

export interface Places {
  readonly read: readonly Place[];
  readonly write: readonly Place[];
  /** Of these files are only removed. */
  readonly clear: readonly Place[];
}

/** Folders that would be given away with one that has them in it, and what is worst about it. */
const SECRETS = [["/etc", "/etc/shadow, too"], ["/dev", "disks, too"]] as const;

/**
 * Where the files of the settings, and of `--config`, are. Throws an Error of one line for a folder
 * that says too little about what is needed of it. One that is missing is left out: who opens its
 * file says so.
 */
export async function placesOf(settings: Settings, configFile: string | null): Promise<Places> {
  const { config: { policy }, tap, control } = settings;
  return {
    read: await foldersOf([
      ["--policy", policy === null || !await isRegular(policy) ? null : dirname(policy)],
      [
        "--config",
        configFile === null || !await isRegular(configFile) ? null : dirname(configFile),
      ],
      ...tap.sandbox.includeDirs.map((folder) => ["--include-dir", folder] as const),
    ]),
    write: await foldersOf(writtenBy(settings)),
    clear: await foldersOf([
      ["--control", control === null ? null : dirname(control)],
    ]),
  };
}

/** The folders in which files are made or replaced, each with the flag that asks for it. */
export function writtenBy({ state, captures }: Settings): readonly NamedFolder[] {
  return [
    ["--state", state === null ? null : dirname(state.file)],
    ["--capture", captures.file === null ? null : dirname(captures.file)],
    ["--capture-dir", captures.dir],
  ];
}

/**
 * Throws an Error if `path` is a file, or leads to one, that is in none of the places to read. What
 * is no regular file is read once, at the start, and may be anywhere.
 */
export async function checkWithin({ read }: Places, path: string): Promise<void> {
  if (path === "-" || !await isRegular(path)) return;
  const real = await Deno.realPath(path);
  if (read.some(({ folder }) => isIn(real, folder))) return;
  const folders = [...new Set(read.map(({ folder }) => `"${folder}"`))].join(", ");
  throw new Error(
    `it is "${printable(real)}", outside of what may be read (${folders || "nothing"}); ` +
      "expected a file there, or --include-dir=FOLDER at the start",
  );
}

async function foldersOf(named: readonly NamedFolder[]): Promise<Place[]> {
  const places: Place[] = [];
  for (const [flag, path] of named) {
    if (path === null) continue;
    const folder = await folderAt(path).catch((error) => {
      if (flag !== "--include-dir") return null;
      throw new Error(
        `${flag}: Cannot use "${printable(path)}" as folder: ${reasonOf(error, path)}`,
      );
    });
    if (folder === null) continue;
    const [, secret] = SECRETS.find(([one]) => isIn(one, folder)) ?? [];
    if (secret !== undefined) {
      throw new Error(
        `${flag}: Cannot use the folder "${printable(folder)}": all in it would be within reach, ` +
          `${secret}; expected one of its own, as in /etc/treegate, or --sandbox=off`,
      );
    }
    places.push({ flag, folder });
  }
  return places;
}

/** Where it really is. Throws an Error if it is none. */
async function folderAt(path: string): Promise<string> {
  const folder = await Deno.realPath(path);
  if ((await Deno.stat(folder)).isDirectory) return folder;
  throw new Error("it is none");
}

function isIn(path: string, folder: string): boolean {
  return folder === "/" || path === folder || path.startsWith(`${folder}/`);
}

async function isRegular(path: string): Promise<boolean> {
  return await Deno.stat(path).then(({ isFile }) => isFile, () => false);
}
