/**
 * `--log-connections`: lines of the log about connections that open and end. The packet path notes
 * them as numbers; here they become text, a few at a time, as packets wait meanwhile.
 */
import { protocolName, STATE_NAMES } from "../control/state_names.ts";
import type { Log, LogFields } from "../core/log.ts";
import {
  type ConnectionEvent,
  ConnectionEvents,
  EVICTED,
  EXPIRED,
  KILLED,
  REPLACED,
  RESET_BY_PROXY,
} from "../flow/connection_events.ts";
import type { Connections } from "../flow/connections.ts";
import { formatSocket } from "../wire/host_address.ts";

/** How often events become lines, and how many at once: together more than the highest rate. */
const READ_MS = 20;
const AT_ONCE = 25;
/** How often it is told how many were left out. */
const COUNT_MS = 10_000;

const REASONS: ReadonlyMap<number, string> = new Map([
  [EXPIRED, "expired"],
  [EVICTED, "evicted"],
  [REPLACED, "replaced"],
  [KILLED, "killed"],
  [RESET_BY_PROXY, "reset-proxy"],
]);

const KINDS = [["opened", "connection-opened"], ["closed", "connection-closed"]] as const;

export interface ConnectionLogOptions {
  readonly connections: Pick<Connections, "table" | "events">;
  /** Most lines a second; 0: none. */
  readonly perSecond: number;
  readonly nowMs: () => number;
  readonly log: Log;
}

export class ConnectionLog implements Disposable {
  readonly #options: ConnectionLogOptions;
  #events: ConnectionEvents | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;
  #told = { opened: 0, closed: 0 };
  #countMs = 0;

  constructor(options: ConnectionLogOptions) {
    this.#options = options;
    this.setRate(options.perSecond);
  }

  /** From now on at most so many lines a second. */
  setRate(perSecond: number): void {
    const { connections, nowMs } = this.#options;
    this[Symbol.dispose]();
    if (perSecond === 0) return;
    this.#events = connections.events = new ConnectionEvents(connections.table, perSecond, nowMs);
    this.#told = { opened: 0, closed: 0 };
    this.#countMs = nowMs() + COUNT_MS;
    this.#timer = setInterval(() => this.#read(AT_ONCE), READ_MS);
  }

  /** Writes what there is, and ends. */
  [Symbol.dispose](): void {
    if (this.#events === null) return;
    clearInterval(this.#timer);
    this.#read(Infinity);
    this.#tellLeftOut();
    this.#events = this.#options.connections.events = null;
  }

  #read(most: number): void {
    const { log, nowMs } = this.#options;
    for (let count = 0; count < most; count++) {
      const event = this.#events!.take();
      if (event === null) break;
      const [name, message, fields] = lineOf(event);
      log.info(message, name, fields);
    }
    if (nowMs() >= this.#countMs) this.#tellLeftOut();
  }

  #tellLeftOut(): void {
    const { log, nowMs } = this.#options;
    this.#countMs = nowMs() + COUNT_MS;
    const { leftOut } = this.#events!;
    for (const [key, kind] of KINDS) {
      const count = leftOut[key] - this.#told[key];
      if (count === 0) continue;
      log.info(`${kind}: ${count} more lines were left out`, "lines-left-out", { kind, count });
    }
    this.#told = { ...leftOut };
  }
}

function lineOf(
  event: ConnectionEvent,
): ["connection-opened" | "connection-closed", string, LogFields] {
  const { isOpened, state, reason, ageMs } = event;
  const protocol = protocolName(event.protocol);
  const client = formatSocket(event.client, event.clientPort);
  const service = formatSocket(event.service, event.servicePort);
  const backend = event.backend === null ? null : formatSocket(event.backend, event.backendPort);
  const ends = `${protocol} ${client} to ${service}`;
  const at = backend === null ? "" : `, at ${backend}`;
  const fields = { protocol, client, service, backend };
  if (isOpened) return ["connection-opened", `${ends} opened${at}`, fields];
  const was = STATE_NAMES[state]!;
  const why = REASONS.get(reason) ?? STATE_NAMES[reason]!;
  return [
    "connection-closed",
    `${ends} closed after ${(ageMs / 1000).toFixed(1)} s${at}: ${why}, was ${was}`,
    { ...fields, duration_ms: ageMs, state: was, reason: why },
  ];
}
