/**
 * Connections that open and end, as numbers for a log: at most so many a second, the others are
 * only counted. Whoever reads them makes text of them later, off the packet path.
 *
 *     opened, closed ──▶ a ring of rows ──▶ take
 */
import { ADDRESS6_WORDS } from "../wire/address6.ts";
import { addressOfWords, type HostAddress } from "../wire/host_address.ts";
import { isIpv6 } from "../wire/pdu.ts";
import { OPENED } from "./entry.ts";
import { type FlowTable, SIDE_A, SIDE_B } from "./table.ts";

/** Why a connection has ended, where its state does not say. */
export const EXPIRED = 32;
/** Another connection has taken its room. */
export const EVICTED = 33;
/** Its client has opened another one from the same port. */
export const REPLACED = 34;
/** An operator has ended it. */
export const KILLED = 35;
/** The proxy has reset it, because its backend has gone or the proxy ends. */
export const RESET_BY_PROXY = 36;

/** Integers of a row: the fields of `ConnectionEvent`, from `isOpened` on, */
const FIELDS = 11;
/** and the three addresses, if they are of IPv6. */
const ROW: number = FIELDS + 3 * ADDRESS6_WORDS;
/** In its first one. */
const IS_OPENED = 1;
const HAS_BACKEND = 2;
const BACKEND_OVER6 = 4;
const WINDOW_MS = 1000;

export interface ConnectionEvent {
  /** It has opened; else it has ended. */
  readonly isOpened: boolean;
  readonly protocol: number;
  /** The state that it has, or in which it has ended. */
  readonly state: number;
  /** A state, or one of the reasons above; 0 where it has opened. */
  readonly reason: number;
  readonly ageMs: number;
  readonly client: HostAddress;
  readonly clientPort: number;
  readonly service: HostAddress;
  readonly servicePort: number;
  /** Null: it has none, as the proxy answers itself. */
  readonly backend: HostAddress | null;
  readonly backendPort: number;
}

export class ConnectionEvents {
  /** Events that were one too many, so far. */
  readonly leftOut = { opened: 0, closed: 0 };
  readonly #table: FlowTable;
  readonly #nowMs: () => number;
  readonly #perSecond: number;
  readonly #rows: Int32Array<ArrayBuffer>;
  readonly #capacity: number;
  /** Rows that have been written and read, ever. */
  #written = 0;
  #read = 0;
  #windowMs: number;
  #inWindow = 0;

  constructor(table: FlowTable, perSecond: number, nowMs: () => number) {
    this.#table = table;
    this.#nowMs = nowMs;
    this.#perSecond = perSecond;
    this.#windowMs = nowMs();
    this.#capacity = 2 * perSecond; // the end of one second and the start of the next
    this.#rows = new Int32Array(this.#capacity * ROW);
  }

  opened(entry: number): void {
    const nowMs = this.#nowMs();
    if (this.#mayWrite(nowMs)) this.#write(IS_OPENED, entry, 0, nowMs);
    else this.leftOut.opened++;
  }

  /** To be called while the entry is as it was. */
  closed(entry: number, reason: number): void {
    const nowMs = this.#nowMs();
    if (this.#mayWrite(nowMs)) this.#write(0, entry, reason, nowMs);
    else this.leftOut.closed++;
  }

  /** Takes the oldest that nobody has taken; null: there is none. */
  take(): ConnectionEvent | null {
    if (this.#read === this.#written) return null;
    const at = (this.#read++ % this.#capacity) * ROW;
    const row = this.#rows;
    const protocol = row[at + 1]!;
    const addressOf = (place: number, isOver6 = isIpv6(protocol)): HostAddress =>
      isOver6
        ? addressOfWords(row, at + FIELDS + ADDRESS6_WORDS * place)
        : row[at + 5 + 2 * place]!;
    const isBackendOver6 = (row[at]! & BACKEND_OVER6) !== 0;
    return {
      isOpened: (row[at]! & IS_OPENED) !== 0,
      protocol,
      state: row[at + 2]!,
      reason: row[at + 3]!,
      ageMs: row[at + 4]! >>> 0,
      client: addressOf(0),
      clientPort: row[at + 6]!,
      service: addressOf(1),
      servicePort: row[at + 8]!,
      backend: (row[at]! & HAS_BACKEND) !== 0 ? addressOf(2, isBackendOver6) : null,
      backendPort: row[at + 10]!,
    };
  }

  #mayWrite(nowMs: number): boolean {
    if (nowMs - this.#windowMs >= WINDOW_MS) {
      this.#windowMs = nowMs;
      this.#inWindow = 0;
    }
    if (this.#inWindow >= this.#perSecond) return false;
    if (this.#written - this.#read >= this.#capacity) return false;
    this.#inWindow++;
    return true;
  }

  #write(isOpened: number, entry: number, reason: number, nowMs: number): void {
    const table = this.#table;
    const row = this.#rows;
    const at = (this.#written++ % this.#capacity) * ROW;
    const hasBackend = table.hasSideB(entry);
    row[at] = hasBackend ? isOpened | HAS_BACKEND : isOpened;
    row[at + 1] = table.protocol(entry);
    row[at + 2] = table.state(entry);
    row[at + 3] = reason;
    row[at + 4] = nowMs - table.extra(entry, OPENED);
    row[at + 5] = table.src(entry, SIDE_A);
    row[at + 6] = table.srcPort(entry, SIDE_A);
    row[at + 7] = table.dst(entry, SIDE_A);
    row[at + 8] = table.dstPort(entry, SIDE_A);
    row[at + 9] = hasBackend ? table.src(entry, SIDE_B) : 0;
    row[at + 10] = hasBackend ? table.srcPort(entry, SIDE_B) : 0;
    const whole = table.whole!;
    if (isIpv6(row[at + 1]!)) {
      whole.copySource(entry << 1 | SIDE_A, row, at + FIELDS);
      whole.copyDestination(entry << 1 | SIDE_A, row, at + FIELDS + ADDRESS6_WORDS);
    }
    if (!hasBackend || !isIpv6(table.protocolOf(entry << 1 | SIDE_B))) return;
    row[at]! |= BACKEND_OVER6;
    whole.copySource(entry << 1 | SIDE_B, row, at + FIELDS + 2 * ADDRESS6_WORDS);
  }
}
