/**
 * The supervisor: who starts the program, starts it again, and keeps descriptors meanwhile, as
 * systemd does. It is told by messages, and hands over what it has kept:
 *
 *     program ──READY=1, RELOADING=1, STOPPING=1, FDSTORE=1 + descriptor──▶ $NOTIFY_SOCKET
 *     program ◀──descriptors 3, 4 …, as many as $LISTEN_FDS says──────────── supervisor
 *
 * A TAP device whose descriptor is kept stays attached, and the frames that come while nobody reads
 * wait in its queue. Read first: sd_notify(3), sd_pid_notify_with_fds(3), sd_listen_fds(3).
 */
import { errnoName, loadNotify, type NotifyLibrary } from "../../ffi/notify.ts";
import type { Log } from "../core/log.ts";

/**
 * Beyond these and the three of `cli/args.ts` the program may see no variable: see
 * `pack/package.ts`.
 */
const VARIABLES = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET"] as const;

export type Environment = Readonly<Partial<Record<typeof VARIABLES[number], string>>>;

/** Descriptors that are handed over begin after the standard streams. */
const FIRST_FD = 3;
/** More than this nobody has kept for us. */
const MOST_FDS = 1024;

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

export class Supervisor implements Disposable {
  /** Descriptors of which some may be of the devices of this run. */
  readonly handed: readonly number[];
  readonly #log: Log;
  /** Null: nobody is to be told. */
  #socket: Uint8Array<ArrayBuffer> | null;
  readonly #library: NotifyLibrary | null;
  #hasFailed = false;

  constructor(environment: Environment, pid: number, shim: string, log: Log) {
    const { NOTIFY_SOCKET: socket = "" } = environment;
    this.handed = handedOver(environment, pid);
    this.#log = log;
    this.#socket = socket === "" ? null : new TextEncoder().encode(socket);
    this.#library = this.#socket === null ? null : loadNotify(shim);
  }

  /** The program works, or does so again after a reload. */
  ready(): void {
    this.#send("READY=1");
  }

  /** The program reads its policy again; `nowMs` is the monotonic clock. */
  reloading(nowMs: number): void {
    this.#send(`RELOADING=1\nMONOTONIC_USEC=${Math.floor(nowMs * 1000)}`);
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

  /** The supervisor shall keep `fd`, the device `name`, for the next run. */
  keep(name: string, fd: number): void {
    this.#send(`FDSTORE=1\nFDNAME=${name}`, fd);
  }

  [Symbol.dispose](): void {
    this.#socket = null;
    this.#library?.close();
  }

  #send(text: string, fd = -1): void {
    if (this.#socket === null || this.#library === null) return;
    const bytes = new TextEncoder().encode(text);
    const { notify_send } = this.#library.symbols;
    const status = notify_send(this.#socket, this.#socket.length, bytes, bytes.length, fd);
    if (status >= 0 || this.#hasFailed) return;
    this.#hasFailed = true;
    this.#log.warning(`Cannot tell the supervisor ($NOTIFY_SOCKET): ${errnoName(status)}`);
  }
}
