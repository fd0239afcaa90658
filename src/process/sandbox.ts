/**
 * What a run gives up when it has opened what it needs (`--sandbox`, `--user`), for good and in
 * every thread, in this order: new privileges, capabilities and with them the user, files, system
 * calls. `ffi/sandbox.c` does it, `places.ts` says which files stay, `syscalls.ts` which calls.
 *
 * What this kernel can't do is said in one line; with `--sandbox=strict` it is an error.
 */
import { errnoName, loadSandbox, type SandboxLibrary } from "../../ffi/sandbox.ts";
import { sandboxText } from "../control/sandbox_text.ts";
import type { SandboxShape, ThreadCounts } from "../control/shapes.ts";
import type { Log } from "../core/log.ts";
import { printable } from "../core/text.ts";
import type { SandboxMode } from "../datapath/config.ts";
import { checkWithin, type Places, placesOf, writtenBy } from "./places.ts";
import type { PolicySource } from "./policy_file.ts";
import type { Settings } from "./reload.ts";
import { INSTRUCTION_BYTES, syscallFilter } from "./syscall_filter.ts";

export interface SandboxOptions {
  readonly settings: Settings;
  /** The file of `--config`. */
  readonly configFile: string | null;
  /** Path of the built shim. */
  readonly shim: string;
  /** The folder from which threads are loaded; null: they are within the program. */
  readonly sources: string | null;
  readonly log: Log;
}

/** Of linux/landlock.h: what may be done with a file or a folder. */
const WRITE_FILE = 1 << 1;
const READ_FILE = 1 << 2;
const READ_FOLDER = 1 << 3;
const REMOVE_FILE = 1 << 5;
const MAKE_FILE = 1 << 8;
const TRUNCATE = 1 << 14;
const IOCTL = 1 << 15;
const READ = READ_FILE | READ_FOLDER;
const WRITE = WRITE_FILE | READ_FILE | REMOVE_FILE | MAKE_FILE | TRUNCATE;

/** What the runtime and the C library read while they run, where it is there. */
const NEEDED: readonly (readonly [path: string, rights: number])[] = [
  ["/proc/self", READ],
  ["/proc/meminfo", READ],
  ["/sys/devices/system/cpu", READ],
  ["/sys/fs/cgroup", READ],
  ["/etc/localtime", READ],
  ["/usr/share/zoneinfo", READ],
  // Certificates of authorities, for which the runtime looks by itself, some time after the start.
  ["/etc/ssl/certs", READ],
  ["/usr/share/ca-certificates", READ],
  ["/dev/null", READ | WRITE_FILE],
  ["/dev/urandom", READ],
  ["/dev/net/tun", READ_FILE | WRITE_FILE | IOCTL],
];

/** Most groups of a user. */
const MOST_GROUPS = 1024;

/** Of access(2). */
const MAY_READ = 4;
const MAY_WRITE_AND_ENTER = 3;

/** A user, and the groups that it is in: uid, gid, groups. */
interface User {
  readonly name: string;
  readonly ids: Uint32Array<ArrayBuffer>;
  readonly groups: number;
  /** Not who the process is already. */
  readonly isOther: boolean;
}

export class Sandbox implements Disposable {
  readonly #mode: SandboxMode;
  readonly #library: SandboxLibrary;
  readonly #places: Places | null;
  readonly #options: SandboxOptions;
  readonly #user: User | null;

  /** Throws an Error of one line if the settings can't be met. */
  static async open(options: SandboxOptions): Promise<Sandbox> {
    const { settings, configFile } = options;
    const { mode } = settings.tap.sandbox;
    const places = mode === "off" ? null : await placesOf(settings, configFile);
    const sandbox = new Sandbox(options, places);
    try {
      if (configFile !== null) {
        await sandbox.within(configFile).catch(({ message }) => {
          throw new Error(`Cannot read config "${printable(configFile)}": ${message}`);
        });
      }
      return sandbox;
    } catch (error) {
      sandbox[Symbol.dispose]();
      throw error;
    }
  }

  private constructor(options: SandboxOptions, places: Places | null) {
    const { mode, user } = options.settings.tap.sandbox;
    this.#options = options;
    this.#mode = mode;
    this.#places = places;
    this.#library = loadSandbox(options.shim);
    try {
      this.#user = user === null ? null : this.#find(user);
    } catch (error) {
      this.#library.close();
      throw error;
    }
  }

  /** Rejects if the file could not be read once all is given up. */
  async within(path: string): Promise<void> {
    if (this.#places !== null) await checkWithin(this.#places, path);
  }

  /**
   * Throws an Error of one line if the user of `--user` could not read again what a reload reads,
   * or write where it has to.
   */
  checkUser(source: PolicySource): void {
    const user = this.#user;
    if (user === null) return;
    const { settings, configFile } = this.#options;
    const { config } = settings;
    const included = [...source.included].flatMap(([path, one]) => "text" in one ? [path] : []);
    const files = config.policy === null || config.policy === "-"
      ? []
      : [config.policy, ...included];
    if (configFile !== null) files.unshift(configFile);
    for (const path of files) this.#need(user, path, MAY_READ, "read", "at a reload");
    for (const [flag, folder] of writtenBy(settings)) {
      if (folder === null) continue;
      const why = flag === "--state" ? "to keep a state" : "to capture";
      this.#need(user, folder, MAY_WRITE_AND_ENTER, "write to", why);
    }
  }

  /** Gives all up. Throws an Error of one line if that fails. */
  apply(): SandboxShape {
    const { log } = this.#options;
    const missing: string[] = [];
    const landlock = this.#restrict(missing);
    const isFiltered = this.#mode !== "off" && this.#filter(missing);
    if (missing.length > 0 && this.#mode === "strict") {
      throw new Error(`--sandbox=strict: ${missing.join("; ")}`);
    }
    const shape = {
      mode: this.#mode,
      user: this.#user?.name ?? null,
      landlock,
      ...threadsOf(this.#library),
    };
    const { threads } = shape;
    const isWhole = [shape.noNewPrivileges, shape.noCapabilities, shape.filtered]
      .every((count) => count === threads);
    if (this.#mode !== "off" && isFiltered && !isWhole) {
      throw new Error(`--sandbox: Cannot reach all threads: ${sandboxText(shape)}`);
    }
    const text = `sandbox: ${[sandboxText(shape), ...missing].join("; ")}`;
    log[missing.length > 0 ? "warning" : "info"](text, "sandbox", { ...shape });
    return shape;
  }

  [Symbol.dispose](): void {
    this.#library.close();
  }

  /** Privileges, the user, and files: the version of Landlock that keeps them; null: none does. */
  #restrict(missing: string[]): number | null {
    if (this.#mode === "off" && this.#user === null) return null;
    const { sandbox_landlock, sandbox_restrict, tap_close } = this.#library.symbols;
    const version = this.#places === null ? 0 : sandbox_landlock();
    if (version < 0) missing.push(`this kernel has no Landlock (${errnoName(version)})`);
    const rules = version > 0 ? this.#rules(version) : -1;
    const user = this.#user !== null && this.#user.isOther ? this.#user : null;
    const status = sandbox_restrict(user?.ids ?? null, user?.groups ?? 0, rules);
    if (rules >= 0) tap_close(rules);
    if (status >= 0) return version > 0 ? version : null;
    const what = this.#user === null ? "--sandbox" : "--user and --sandbox";
    throw new Error(`${what}: Cannot give up privileges in every thread: ${errnoName(status)}`);
  }

  /** A descriptor of the rules about files. */
  #rules(version: number): number {
    const { sandbox_ruleset, sandbox_allow } = this.#library.symbols;
    const rules = sandbox_ruleset(version);
    const { read, write, clear } = this.#places!;
    const { sources } = this.#options;
    const own = [
      ...(sources === null ? [] : [[sources, READ] as const]),
      ...read.map(({ folder }) => [folder, READ] as const),
      ...write.map(({ folder }) => [folder, WRITE] as const),
      ...clear.map(({ folder }) => [folder, REMOVE_FILE] as const),
    ];
    for (const [path, rights] of [...NEEDED, ...own]) {
      const status = rules < 0 ? rules : sandbox_allow(rules, version, terminated(path), rights);
      if (status >= 0 || errnoName(status) === "ENOENT") continue;
      throw new Error(`--sandbox: Cannot keep "${printable(path)}" open: ${errnoName(status)}`);
    }
    return rules;
  }

  /** System calls: whether they are filtered. */
  #filter(missing: string[]): boolean {
    const { arch } = Deno.build;
    const options = { machine: arch, isStrict: this.#mode === "strict", pid: Deno.pid };
    const program = syscallFilter(options);
    const count = program.length / INSTRUCTION_BYTES;
    const status = this.#library.symbols.sandbox_filter(program, count);
    if (status >= 0) return true;
    missing.push(`this kernel has no such seccomp (${errnoName(status)})`);
    return false;
  }

  #find(name: string): User {
    const { sandbox_user, sandbox_is, sandbox_may } = this.#library.symbols;
    const ids = new Uint32Array(2 + MOST_GROUPS);
    const groups = sandbox_user(terminated(name), ids, MOST_GROUPS);
    const fail = `--user: Cannot become "${printable(name)}"`;
    if (errnoName(groups) === "ENOENT") throw new Error(`${fail}: there is no such user`);
    if (groups < 0) throw new Error(`${fail}: ${errnoName(groups)}`);
    const user = { name, ids, groups, isOther: sandbox_is(ids) === 0 };
    if (!user.isOther) return user;
    const status = sandbox_may(ids, groups, terminated("/"), 0);
    if (status >= 0) return user;
    const why = errnoName(status) === "EPERM"
      ? "this needs CAP_SETUID and CAP_SETGID; run as root, or without the flag"
      : errnoName(status);
    throw new Error(`${fail}: ${why}`);
  }

  #need(user: User, path: string, way: number, what: string, when: string): void {
    if (!user.isOther) return;
    const { ids, groups, name } = user;
    const status = this.#library.symbols.sandbox_may(ids, groups, terminated(path), way);
    if (status >= 0) return;
    const [who, where] = [printable(name), printable(path)];
    throw new Error(`--user: "${who}" could not ${what} "${where}" ${when}: ${errnoName(status)}`);
  }
}

/** How many threads there are, and of how many what is true. Can be asked from any thread. */
export function threadsOf(library: SandboxLibrary): ThreadCounts {
  const counts = new Uint32Array(5);
  library.symbols.sandbox_threads(counts);
  const [threads, noNewPrivileges, noCapabilities, emptyBoundingSet, filtered] = counts;
  return {
    threads: threads!,
    noNewPrivileges: noNewPrivileges!,
    noCapabilities: noCapabilities!,
    emptyBoundingSet: emptyBoundingSet!,
    filtered: filtered!,
  };
}

/** Counts the threads again and again, for as long as the process runs. */
export function threadCounter(shim: string): () => ThreadCounts {
  const library = loadSandbox(shim);
  return () => threadsOf(library);
}

function terminated(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}
