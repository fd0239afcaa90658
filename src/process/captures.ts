/**
 * The files of captures: of `--capture`, from the start on, and of those that the control socket
 * starts in the folder of `--capture-dir`. One capture at a time.
 *
 * Folders are opened at the start, in C, as the right to write is given up later. What is captured
 * is written off the packet thread, one half of the buffer at a time (`capture/buffer.ts`); a file
 * that takes no more ends the capture, with one line in the log.
 */
import { basename, dirname, extname } from "node:path";
import { errnoName, type FileLibrary, loadFiles } from "../../ffi/file.ts";
import type { Batch } from "../capture/buffer.ts";
import { Capture } from "../capture/capture.ts";
import type { CaptureOptions } from "../capture/options.ts";
import { Refusal } from "../control/request.ts";
import type { CaptureShape } from "../control/shapes.ts";
import type { Log } from "../core/log.ts";
import { printable, quote } from "../core/text.ts";
import type { Appliance } from "../datapath/appliance.ts";
import { type Config, sideOf } from "../datapath/config.ts";
import { interestIn } from "../datapath/interest.ts";
import type { Customs } from "../policy/notation/parse.ts";
import { parsePredicate } from "../policy/notation/parse_one_predicate.ts";
import { folderFault, saveFault, terminated } from "./state_file.ts";

/** What `--capture`, `--capture-options` and `--capture-dir` say. */
export interface CaptureConfig {
  /** Of a capture from the start on; null: there is none. */
  readonly file: string | null;
  readonly options: CaptureOptions;
  /** Folder of captures that the control socket starts; null: it starts none. */
  readonly dir: string | null;
}

export interface CapturesOptions {
  readonly config: CaptureConfig;
  readonly links: Config["links"];
  readonly appliance: Pick<Appliance, "nowMs" | "policy" | "predicate" | "unwatch" | "watch">;
  readonly customs: Customs;
  /** Path of the shim. */
  readonly shim: string;
  /** What files say that they were written by. */
  readonly application: string;
  /** Since 1970, in milliseconds. */
  readonly wallMs: () => number;
  readonly log: Log;
}

/** A capture under way. */
interface Running {
  readonly capture: Capture;
  readonly options: CaptureOptions;
  /** Where its files are, and whether they may take the place of others. */
  readonly folder: number;
  readonly name: string;
  readonly replaces: boolean;
  /** As it was named. */
  readonly path: string;
  fd: number;
  /** Files that were begun. */
  files: number;
  writing: Promise<void> | null;
  ending: Promise<CaptureShape> | null;
}

/** A file that is written could not be, or the next one not begun; the message says why. */
class Fault extends Error {}

export class Captures implements Disposable {
  readonly #options: CapturesOptions;
  readonly #library: FileLibrary;
  /** Descriptors; -1: none. */
  readonly #dir: number;
  readonly #fileFolder: number;
  #running: Running | null = null;
  #hasBegun = false;
  /** The capture of `--capture` has not begun. */
  #isDue: boolean;
  /** Of captures that have ended. */
  #packets = 0;
  #lost = 0;

  /** Opens the folders. Throws an Error of one line if no file can be made there. */
  constructor(options: CapturesOptions) {
    this.#options = options;
    this.#library = loadFiles(options.shim);
    const { dir, file } = options.config;
    this.#isDue = file !== null;
    this.#dir = dir === null ? -1 : this.#open(dir);
    this.#fileFolder = file === null ? -1 : this.#open(dirname(file));
  }

  #open(path: string): number {
    const folder = this.#library.symbols.file_folder(terminated(path));
    if (folder >= 0) return folder;
    throw new Error(`Cannot capture to folder "${printable(path)}": ${folderFault(folder)}`);
  }

  /**
   * Starts the capture of `--capture`, if there is to be one. Throws an Error that says why it
   * can't.
   */
  begin(): void {
    const { file, options } = this.#options.config;
    if (file === null) return;
    this.#isDue = false;
    try {
      this.#start(this.#fileFolder, file, options, true);
    } catch (error) {
      const flag = error instanceof SyntaxError ? "--capture-options" : "--capture";
      throw new Error(`${flag}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /**
   * Starts one in the folder of `--capture-dir`, in a new file. Throws a Refusal if that is not
   * possible, and a SyntaxError or RangeError for a wrong name or filter.
   */
  start(name: string, options: CaptureOptions): CaptureShape {
    if (this.#dir < 0) {
      throw new Refusal(
        409,
        "The proxy was started without --capture-dir: it has no folder for it",
      );
    }
    if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$/.test(name)) {
      throw new RangeError(
        `Cannot use ${
          quote(printable(name))
        } as name: expected at most 100 letters, digits, ".", "_" and "-", ` +
          'no path, and no "." or "-" at its start',
      );
    }
    if (this.#running !== null || this.#isDue) {
      throw new Refusal(409, "Another capture is under way: one at a time");
    }
    try {
      return stateOf(this.#start(this.#dir, name, options, false));
    } catch (error) {
      throw error instanceof Fault ? new Refusal(409, error.message) : error;
    }
  }

  /** Ends the one that is under way. Rejects with a Refusal if there is none. */
  stop(): Promise<CaptureShape> {
    const running = this.#running;
    if (running === null) return Promise.reject(new Refusal(409, "No capture is under way"));
    return this.#end(running, "stopped");
  }

  /** Of the capture that is under way; null: there is none. */
  get state(): CaptureShape | null {
    return this.#running === null ? null : stateOf(this.#running);
  }

  /** Packets of all captures, and those that were lost; null: there was none. */
  get counts(): { readonly packets: number; readonly lost: number } | null {
    if (!this.#hasBegun) return null;
    return { packets: this.#packets + (this.#running?.capture.packets ?? 0), lost: this.lost };
  }

  /** Packets that captures have lost. */
  get lost(): number {
    return this.#lost + (this.#running?.capture.lost ?? 0);
  }

  /** Ends what is under way, at the end of the run. */
  async close(): Promise<void> {
    if (this.#running !== null) await this.#end(this.#running, "the proxy ends");
  }

  [Symbol.dispose](): void {
    const { file_close } = this.#library.symbols;
    if (this.#running !== null) return; // the library may be writing: the program ends with it
    for (const fd of [this.#dir, this.#fileFolder]) if (fd >= 0) file_close(fd);
    this.#library.close();
  }

  #start(folder: number, path: string, options: CaptureOptions, replaces: boolean): Running {
    const { appliance, application, customs, links, log, wallMs } = this.#options;
    const { filter } = options;
    const interest = filter === null
      ? null
      : interestIn(readFilter(filter, appliance, customs), appliance);
    const name = basename(path);
    const first = nameOf(name, options, 0);
    const fd = this.#library.symbols.file_create(folder, terminated(first), Number(replaces));
    if (fd < 0) throw cannotCreate(first, fd);
    const { nowMs } = appliance;
    const capture: Capture = new Capture({
      options,
      interest,
      links: links.map((link) => ({ name: link.net, side: sideOf(links, link) })),
      application,
      epochNs: BigInt(Math.round(wallMs() - nowMs)) * 1_000_000n,
      nowMs,
      filled: () => void (running.writing ??= this.#drain(running)),
      // Not within a burst.
      ended: (why) => void Promise.resolve().then(() => this.#end(running, ENDS[why])),
    });
    const state = { fd, files: 1, writing: null, ending: null };
    const running: Running = { capture, options, folder, name, replaces, path, ...state };
    this.#running = running;
    this.#hasBegun = true;
    running.writing = this.#write(running, () => this.#append(running, capture.head));
    appliance.watch(capture);
    log.info(`capture ${quote(printable(path))} has begun`, "capture-begun", { file: path });
    return running;
  }

  /** Writes what was captured until now. */
  #drain(running: Running): Promise<void> {
    const batch = running.capture.take();
    return this.#write(running, () => this.#writeBatch(running, batch), batch.packets);
  }

  /** Never rejects: what can't be written ends the capture. */
  async #write(running: Running, write: () => Promise<void>, packets = 0): Promise<void> {
    try {
      await write();
    } catch (error) {
      running.capture.unwritten(packets);
      void this.#end(running, null, error instanceof Error ? error.message : String(error));
    }
    running.writing = null;
  }

  async #writeBatch(running: Running, { bytes, cuts }: Batch): Promise<void> {
    let from = 0;
    for (const { at, tail, head } of cuts) {
      await this.#append(running, bytes.subarray(from, at));
      await this.#append(running, tail);
      await this.#nextFile(running);
      await this.#append(running, head);
      from = at;
    }
    await this.#append(running, bytes.subarray(from));
  }

  async #append({ fd }: Running, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (bytes.length === 0) return;
    const status = await this.#library.symbols.file_append(fd, bytes, bytes.length);
    if (status < 0) throw new Fault(saveFault(status));
  }

  /** After the last file the first one is written again. */
  async #nextFile(running: Running): Promise<void> {
    const { symbols } = this.#library;
    const { folder, name, options, files } = running;
    symbols.file_close(running.fd);
    running.fd = -1;
    const next = nameOf(name, options, files);
    const replaces = running.replaces || files >= options.files;
    const fd = await symbols.file_create_later(folder, terminated(next), Number(replaces));
    if (fd < 0) throw cannotCreate(next, fd);
    running.fd = fd;
    running.files++;
  }

  /** `why`: null if it is a fault. */
  #end(running: Running, why: string | null, fault: string | null = null): Promise<CaptureShape> {
    return running.ending ??= this.#finish(running, why, fault);
  }

  async #finish(running: Running, why: string | null, fault: string | null): Promise<CaptureShape> {
    const { appliance, log } = this.#options;
    const { capture, path } = running;
    appliance.unwatch(capture);
    await running.writing;
    const rest = capture.take();
    const tail = capture.finish();
    try {
      if (fault === null) await this.#writeBatch(running, rest);
      else capture.unwritten(rest.packets);
      if (running.fd >= 0) await this.#append(running, tail);
    } catch (error) {
      if (fault === null) {
        fault = error instanceof Error ? error.message : String(error);
        capture.unwritten(rest.packets);
      }
    }
    if (running.fd >= 0) this.#library.symbols.file_close(running.fd);
    running.fd = -1;
    const state = { ...stateOf(running), fault };
    this.#running = null;
    this.#packets += state.packets;
    this.#lost += state.lost;
    const { packets, lost, bytes } = state;
    const counted = `${packets} packets, ${lost} lost, ${bytes} bytes`;
    const text = `capture ${quote(printable(path))} has ended: ${fault ?? why}; ${counted}`;
    const fields = { file: path, reason: fault ?? why ?? "", packets, lost, bytes };
    if (fault === null) log.info(text, "capture-ended", fields);
    else log.error(text, "capture-ended", fields);
    return state;
  }
}

const ENDS = { duration: "its duration is over", "max-size": "its file is full" } as const;

function stateOf({ capture, options, path }: Running): CaptureShape {
  const { packets, lost, bytes } = capture;
  const { dropsOnly, filter } = options;
  return { file: path, filter, dropsOnly, packets, lost, bytes, fault: null };
}

function readFilter(filter: string, { policy }: Pick<Appliance, "policy">, customs: Customs) {
  try {
    return parsePredicate(filter, policy, customs);
  } catch (error) {
    if (error instanceof SyntaxError) throw new SyntaxError(`filter: ${error.message}`);
    throw error;
  }
}

/** Of a capture in one file its own; of one in several `web_1.pcapng`, `web_2.pcapng` … */
export function nameOf(name: string, { files }: CaptureOptions, file: number): string {
  if (files === 1) return name;
  const extension = extname(name);
  const stem = name.slice(0, name.length - extension.length);
  return `${stem}_${1 + file % files}${extension}`;
}

function cannotCreate(name: string, status: number): Fault {
  return new Fault(`Cannot make file ${quote(printable(name))}: ${createFault(status)}`);
}

function createFault(status: number): string {
  const errno = errnoName(status);
  switch (errno) {
    case "EEXIST":
      return "there is one already";
    case "ELOOP":
      return "it is a symbolic link";
    case "EISDIR":
      return "it is a folder";
    case "EINVAL":
      return "it is no regular file";
    case "EPERM":
      return "it is another user's";
    default:
      return saveFault(status);
  }
}
