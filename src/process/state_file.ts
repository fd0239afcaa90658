/**
 * The file of `--state`: written when a run ends, and taken by the next one, which removes it
 * before it reads it.
 *
 * Whoever could plant it could have connections led elsewhere. So it counts only if it is a regular
 * file of this user that nobody else can write, and of this start of the machine; what is in it is
 * checked by `datapath/saved_state.ts`. The folder is opened at the start (`ffi/file.c`), for the
 * right to write to be given up.
 */
import { basename, dirname } from "node:path";
import { errnoName, type FileLibrary, loadFiles } from "../../ffi/file.ts";
import type { Log } from "../core/log.ts";
import { printable } from "../core/text.ts";
import type { Appliance } from "../datapath/appliance.ts";
import { MAX_STATE_BYTES, type Resumption } from "../datapath/saved_state.ts";
import type { Reloads } from "./reload.ts";

/** What `--state` and `--state-max-age` say. */
export interface StateConfig {
  readonly file: string;
  readonly maxAgeMs: number;
}

/** Which members pools have besides what the policy says. */
export type Members = Pick<Reloads, "resume" | "savedChanges">;

const BOOT_ID_BYTES = 36;
const MISSING = "ENOENT";

export class StateFile implements Disposable {
  readonly #config: StateConfig;
  readonly #library: FileLibrary;
  readonly #folder: number;
  readonly #name: Uint8Array<ArrayBuffer>;
  readonly #boot: string;
  readonly #log: Log;

  /** Opens the file's folder. Throws an Error of one line if no file can be kept there. */
  constructor(config: StateConfig, shim: string, log: Log) {
    this.#config = config;
    this.#log = log;
    this.#name = terminated(basename(config.file));
    this.#library = loadFiles(shim);
    const { file_boot, file_folder } = this.#library.symbols;
    const boot = new Uint8Array(BOOT_ID_BYTES);
    const known = file_boot(boot);
    this.#boot = new TextDecoder().decode(boot);
    this.#folder = known < 0 ? known : file_folder(terminated(dirname(config.file)));
    const fault = this.#folder < 0
      ? folderFault(this.#folder)
      : isFolder(config.file)
      ? "it is a folder"
      : null;
    if (fault === null) return;
    this[Symbol.dispose]();
    throw new Error(`Cannot keep a state in ${this.#quoted}: ${fault}`);
  }

  /**
   * Takes up the state that is there, if it is one that counts; if not, the log says why. Never
   * rejects.
   */
  async resume(appliance: Appliance, members: Members): Promise<void> {
    try {
      const bytes = this.#take();
      if (bytes === null) return;
      const { maxAgeMs } = this.#config;
      const saved = appliance.readState(bytes, this.#boot, Date.now(), maxAgeMs);
      const { changes } = saved.text;
      if (changes.length > 0) {
        await members.resume(changes).catch((error) =>
          this.#log.warning(
            `backends are as the policy says again: ${reasonOf(error)}`,
            "state-members-refused",
          )
        );
      }
      const resumption = appliance.resumeState(saved);
      this.#log.info(`went on from ${this.#quoted}: ${describe(resumption)}`, "state-resumed", {
        file: this.#config.file,
        connections: resumption.resumed,
        expired: resumption.expired,
        without_room: resumption.withoutRoom,
        invalid: resumption.invalid,
        neighbors: resumption.neighbors,
        age_ms: Math.round(resumption.agoMs),
      });
    } catch (error) {
      this.#log.warning(
        `Cannot go on from ${this.#quoted}: ${reasonOf(error)}; starting without`,
        "state-refused",
        { file: this.#config.file, reason: reasonOf(error) },
      );
    }
  }

  /** Saves the appliance's state; false if that failed, and the log says why. */
  save(appliance: Appliance, members: Members): boolean {
    const bytes = appliance.saveState(this.#boot, Date.now(), members.savedChanges());
    const status = this.#library.symbols.file_put(this.#folder, this.#name, bytes, bytes.length);
    if (status < 0) {
      this.#log.error(
        `Cannot save the state to ${this.#quoted}: ${saveFault(status)}`,
        "state-not-saved",
        { file: this.#config.file, reason: saveFault(status) },
      );
      return false;
    }
    const { count } = appliance.connections.table;
    this.#log.info(`${connections(count)} saved to ${this.#quoted}`, "state-saved", {
      file: this.#config.file,
      connections: count,
    });
    return true;
  }

  [Symbol.dispose](): void {
    if (this.#folder >= 0) this.#library.symbols.file_close(this.#folder);
    this.#library.close();
  }

  /** The file's bytes, which are nowhere else then; null if there is none. */
  #take(): Uint8Array<ArrayBuffer> | null {
    const { file_take, file_read } = this.#library.symbols;
    const size = new Uint32Array(1);
    const fd = file_take(this.#folder, this.#name, MAX_STATE_BYTES, size);
    if (errnoName(fd) === MISSING) return null;
    if (fd < 0) throw new Error(fileFault(fd));
    const bytes = new Uint8Array(size[0]!);
    const read = file_read(fd, bytes, bytes.length);
    if (read < 0) throw new Error(errnoName(read));
    return bytes.subarray(0, read);
  }

  get #quoted(): string {
    return `"${printable(this.#config.file)}"`;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** As C has it. */
export function terminated(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}

function describe(
  { resumed, expired, withoutRoom, invalid, neighbors, agoMs }: Resumption,
): string {
  const lost = [
    [expired, "timed out meanwhile"],
    [withoutRoom, "beyond --max-conn"],
    [invalid, "not possible with these flags"],
  ] as const;
  return [
    connections(resumed),
    `${neighbors} ${neighbors === 1 ? "neighbour" : "neighbours"}`,
    ...lost.filter(([count]) => count > 0).map(([count, why]) => `${count} ${why}`),
  ].join(", ") + `, saved ${(agoMs / 1000).toFixed(1)} s ago`;
}

function connections(count: number): string {
  return `${count} ${count === 1 ? "connection" : "connections"}`;
}

function isFolder(path: string): boolean {
  try {
    return Deno.lstatSync(path).isDirectory;
  } catch {
    return false;
  }
}

/** Why no file could be written. */
export function saveFault(status: number): string {
  const name = errnoName(status);
  switch (name) {
    case "ENOSPC":
    case "EDQUOT":
      return `the disk has no space left for it (${name})`;
    case "EISDIR":
      return "a folder is in its place";
    default:
      return folderFault(status);
  }
}

/** Why no file can be made in a folder. */
export function folderFault(status: number): string {
  const name = errnoName(status);
  switch (name) {
    case MISSING:
      return "there is no such folder";
    case "ENOTDIR":
      return "what should be its folder is none";
    case "EACCES":
    case "EROFS":
      return `this user may not write there (${name})`;
    default:
      return name;
  }
}

function fileFault(status: number): string {
  const name = errnoName(status);
  switch (name) {
    case "ELOOP":
      return "it is a symbolic link";
    case "EISDIR":
      return "it is a folder";
    case "EINVAL":
    case "ENXIO":
      return "it is no regular file";
    case "EPERM":
      return "expected a file of this user alone, that nobody else can write and with one name";
    case "EFBIG":
      return "it is too long";
    default:
      return name;
  }
}
