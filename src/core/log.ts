/**
 * What the lower layers need of a log: one finished line for the operator at a time, without a line
 * break. `src/process/log.ts` implements it; nothing on the packet path may call it unbounded.
 */
export interface Log {
  /** Something the operator waits for or will look up, e.g. `backend 192.168.0.1 is 02:00:…`. */
  info(message: string): void;

  /** Something is wrong and the proxy copes, e.g. a backend that does not answer ARP. */
  warning(message: string): void;

  /** Something is wrong that only the operator can mend, e.g. an address conflict. */
  error(message: string): void;
}
