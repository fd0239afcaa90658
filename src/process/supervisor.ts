/**
 * The supervisor: who starts the program, starts it again, and keeps descriptors meanwhile, as
 * systemd does. It is told by messages, and hands over what it has kept:
 *
 *     program ──READY=1, RELOADING=1, STOPPING=1, FDSTORE=1 + descriptor──▶ $NOTIFY_SOCKET
 *     program ──FDSTOREREMOVE=1, for a device that has come again──────────▶ $NOTIFY_SOCKET
 *     program ──WATCHDOG=1, twice in $WATCHDOG_USEC────────────────────────▶ $NOTIFY_SOCKET
 *     program ◀──descriptors 3, 4 …, as many as $LISTEN_FDS says──────────── supervisor
 *
 * A TAP device whose descriptor is kept stays attached, and the frames that come while nobody reads
 * wait in its queue. Read first: sd_notify(3), sd_pid_notify_with_fds(3), sd_listen_fds(3),
 * sd_watchdog_enabled(3).
 */
import { errnoName, loadNotify, type NotifyLibrary } from "../../ffi/notify.ts";
import type { Log } from "../core/log.ts";

/**
 * Beyond these and the three of `cli/args.ts` the program may see no variable: see
 * `pack/package.ts`.
 */
const VARIABLES = [
  ...["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] as const,
  ...["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] as const,
];

export type Environment = Readonly<Partial<Record<typeof VARIABLES[number], string>>>;

/** Descriptors that are handed over begin after the standard streams. */
const FIRST_FD = 3;
/** More than this nobody has kept for us. */
const MOST_FDS = 1024;

/** How long a supervisor that does not read may hold us up with what it must know. */
const SEND_TIMEOUT_US = 250_000;

/** Takes what is meant for this program out of the environment, where it may be read. */
export function takeEnvironment(): Environment {
  const taken: Partial<Record<typeof VARIABLES[number], string>> = {};
  for (const variable of VARIABLES) {
    if (Deno.permissions.querySync({ name: "env", variable }).state !== "granted") continue;
    const value = Deno.env.get(variable);
    if (value === undefined) continue;
    taken[variable] = value;
    Deno.env.delete(variable);
  }
  return taken;
}

/** The descriptors that have been handed to process `pid`; none if they are another's. */
export function handedOver({ LISTEN_PID, LISTEN_FDS }: Environment, pid: number): number[] {
  const count = /^\d{1,4}$/.test(LISTEN_FDS ?? "") ? Number(LISTEN_FDS) : 0;
  if (LISTEN_PID !== String(pid) || count > MOST_FDS) return [];
  return Array.from({ length: count }, (_, i) => FIRST_FD + i);
}

/**
 * How often the supervisor of process `pid` wants to hear that it is alive, in ms: twice in the
 * time after which it would end the process. Infinity: never.
 */
export function aliveEveryMs({ WATCHDOG_USEC, WATCHDOG_PID }: Environment, pid: number): number {
  const isOurs = WATCHDOG_PID === undefined || WATCHDOG_PID === String(pid);
  if (!isOurs || !/^[1-9]\d{0,14}$/.test(WATCHDOG_USEC ?? "")) return Infinity;
  return Number(WATCHDOG_USEC) / 2000;
}

export class Supervisor implements Disposable {
  /** Descriptors of which some may be of the devices of this run. */
  readonly handed: readonly number[];
  /** What the supervisor calls them. */
  readonly #names: readonly string[];
  /** How often `alive` is to be called. */
  readonly aliveEveryMs: number;
  readonly #log: Log;
  /** Null: nobody is to be told. */
  #socket: Uint8Array<ArrayBuffer> | null;
  readonly #library: NotifyLibrary | null;
  #hasFailed = false;

  constructor(environment: Environment, pid: number, shim: string, log: Log) {
    const { NOTIFY_SOCKET: socket = "" } = environment;
    this.handed = handedOver(environment, pid);
    this.#names = (environment.LISTEN_FDNAMES ?? "").split(":");
    this.#log = log;
    this.#socket = socket === "" ? null : new TextEncoder().encode(socket);
    this.#library = this.#socket === null ? null : loadNotify(shim);
    this.aliveEveryMs = this.#socket === null ? Infinity : aliveEveryMs(environment, pid);
  }

  /** The program works, or does so again after a reload. */
  ready(): void {
    this.#send("READY=1");
  }

  /** The program reads its policy again; `nowMs` is the monotonic clock. */
  reloading(nowMs: number): void {
    this.#send(`RELOADING=1\nMONOTONIC_USEC=${Math.floor(nowMs * 1000)}`);
  }

  /** The packet thread works. Never waits: if this is lost, the next one comes in time. */
  alive(): void {
    this.#send("WATCHDOG=1", -1, 0);
  }

  /** The last that it is told. */
  stopping(): void {
    this.#send("STOPPING=1");
    this.#socket = null;
  }

  /** Whether there is one, and it has taken all that it was sent. */
  get isThere(): boolean {
    return this.#socket !== null && !this.#hasFailed;
  }

  /**
   * The supervisor shall keep `fd`, the device `name`, for the next run, in place of what it has of
   * that name: a device that is gone would fill its store.
   */
  keep(name: string, fd: number): void {
    this.#remove(name);
    this.#send(`FDSTORE=1\nFDNAME=${name}`, fd);
  }

  /** It shall not hand over `fd` again, nor what else has its name. */
  forget(fd: number): void {
    const name = this.#names[fd - FIRST_FD] ?? "";
    if (name !== "") this.#remove(name);
  }

  [Symbol.dispose](): void {
    this.#socket = null;
    this.#library?.close();
  }

  #remove(name: string): void {
    this.#send(`FDSTOREREMOVE=1\nFDNAME=${name}`);
  }

  #send(text: string, fd = -1, timeoutUs = SEND_TIMEOUT_US): void {
    if (this.#socket === null || this.#library === null) return;
    const bytes = new TextEncoder().encode(text);
    const { notify_send } = this.#library.symbols;
    const [socket, length] = [this.#socket, this.#socket.length];
    const status = notify_send(socket, length, bytes, bytes.length, fd, timeoutUs);
    if (status >= 0 || timeoutUs === 0 || this.#hasFailed) return;
    this.#hasFailed = true;
    const error = errnoName(status);
    this.#log.warning(
      `Cannot tell the supervisor ($NOTIFY_SOCKET): ${error}`,
      "supervisor-lost",
      { error },
    );
  }
}
